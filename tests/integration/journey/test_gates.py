"""A gate lost half-way ends the request; data that change half-way are confirmed anew (R4, R5, R9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from api.journey.tables import journey_events
from api.problems import RemoteProblem
from api.texts import Language
from issuer.errors import NotFound
from issuer.registry.tables import certificates, revocations, stores
from policies.eligibility import (
    AccountNotValid,
    EHealthIdNotPrimary,
    GateRefused,
    NotHealthProfessional,
    NotLuxtrust,
)
from policies.errors import ActiveStoreExists, WrongState
from policies.lifecycle import UNFINISHED, RequestState, StoreStatus
from policies.reasons import DeactivationReason
from tests.fixtures.invariants import check_invariants, rows
from tests.fixtures.world import ELIGIBLE, Begun, Person, World, on_postgresql_at_length

LOST: dict[type[GateRefused], str] = {
    AccountNotValid: "account_status_valid",
    NotLuxtrust: "luxtrust",
    EHealthIdNotPrimary: "ehealthid_primary",
    NotHealthProfessional: "health_professional",
}
Step = Callable[[World, Person, Begun], object]
STEPS: dict[str, Step] = {
    "start": lambda world, person, begun: world.journey.start(person),
    "terms": lambda world, person, begun: world.journey.accept_terms(
        person, begun.request_id, world.texts.terms_version, Language.FRENCH
    ),
    "email": lambda world, person, begun: world.verification.set_email(
        person, begun.request_id, "b@example.com", "modern", Language.FRENCH
    ),
    "resend": lambda world, person, begun: world.verification.resend(person, begun.request_id),
    "verify": lambda world, person, begun: world.verification.verify(
        person, begun.request_id, begun.code, begun.token or None
    ),
    "fetch": lambda world, person, begun: world.journey.fetch(
        person, begun.request_id, "password", begun.token
    ),
    "complete": lambda world, person, begun: world.journey.complete(person, begun.request_id),
    "cancel": lambda world, person, begun: world.journey.cancel(person, begun.request_id),
}
OWN = {
    RequestState.CREATED: "terms",
    RequestState.TERMS_ACCEPTED: "email",
    RequestState.CODE_SENT: "verify",
    RequestState.GENERATING: "cancel",
    RequestState.READY: "fetch",
}


def without(world: World, gate: type[GateRefused]) -> Person:
    return world.person(standing=replace(ELIGIBLE, **{LOST[gate]: False}))


@on_postgresql_at_length
@pytest.mark.parametrize("gate", LOST)
@pytest.mark.parametrize("state", UNFINISHED)
def test_a_gate_lost_at_a_step_ends_the_request(
    world: World, state: RequestState, gate: type[GateRefused]
) -> None:
    begun = world.until_state(world.person(), state)
    with pytest.raises(gate):
        STEPS[OWN[state]](world, without(world, gate), begun)
    ended = world.journey.find(world.person(), begun.request_id)
    assert ended.state is RequestState.REJECTED
    (event,) = [e for e in rows(world, journey_events) if e["action"] == "request-reject"]
    assert event["details"] == {"state": "rejected", "gate": gate.code}
    # What had begun is revoked, whichever gate it was, and what is under way comes too late.
    world.go_on()
    assert {store["status"] for store in rows(world, stores)} <= {StoreStatus.REVOKED}
    check_invariants(world)
    world.until_ready(world.person())
    check_invariants(world)


@on_postgresql_at_length
@pytest.mark.parametrize("step", STEPS)
def test_every_step_asks_for_the_gates(world: World, step: str) -> None:
    begun = world.until_state(world.person(), RequestState.READY)
    with pytest.raises(NotHealthProfessional):
        STEPS[step](world, without(world, NotHealthProfessional), begun)
    assert world.journey.find(world.person(), begun.request_id).state is RequestState.REJECTED


def test_whoever_has_no_gate_learns_nothing_of_any_id(world: World) -> None:
    begun = world.until_state(world.person(), RequestState.CREATED)
    stranger = world.person("2221212132", standing=replace(ELIGIBLE, luxtrust=False))
    for request_id in (begun.request_id, "0b54e6a6-0d0f-4c5f-8f27-0d7c1f6d2c11"):
        with pytest.raises(NotLuxtrust):
            world.journey.cancel(stranger, request_id)
        with pytest.raises(NotFound):
            world.journey.cancel(world.person("2221212132"), request_id)
    assert world.journey.find(world.person(), begun.request_id).state is RequestState.CREATED


def test_looking_is_refused_and_ends_nothing(world: World) -> None:
    begun = world.until_state(world.person(), RequestState.READY)
    lost = without(world, NotHealthProfessional)
    for look in (lambda: world.journey.find(lost, begun.request_id), lambda: world.journey.current(lost)):
        with pytest.raises(NotHealthProfessional):
            look()
    assert world.journey.find(world.person(), begun.request_id).state is RequestState.READY


def test_without_any_ehealthid_nobodys_request_ends(world: World) -> None:
    begun = world.until_state(world.person(), RequestState.CODE_SENT)
    nobody = world.person(ehealth_id=None, standing=replace(ELIGIBLE, ehealthid_primary=False))
    with pytest.raises(EHealthIdNotPrimary):
        world.journey.cancel(nobody, begun.request_id)
    assert world.journey.find(world.person(), begun.request_id).state is RequestState.CODE_SENT


def test_the_first_failed_gate_is_named(world: World) -> None:
    nothing = replace(
        ELIGIBLE,
        account_status_valid=False,
        luxtrust=False,
        ehealthid_primary=False,
        health_professional=False,
    )
    for refused, regained in zip(LOST, LOST.values(), strict=True):
        with pytest.raises(refused):
            world.journey.start(world.person(standing=nothing))
        nothing = replace(nothing, **{regained: True})
    world.journey.start(world.person(standing=nothing))


def test_a_gate_that_the_issuer_alone_finds_closed_rejects_too(world: World) -> None:
    """Web is not believed: the issuer reads the assertion by itself, and it may have its own idea of it."""
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    at_issuer = world.identities[person.assertion]
    world.identities[person.assertion] = replace(
        at_issuer, standing=replace(ELIGIBLE, health_professional=False)
    )
    with pytest.raises(RemoteProblem, match="not-health-professional"):
        world.verification.verify(person, begun.request_id, begun.code, None)
    assert world.journey.find(world.person(), begun.request_id).state is RequestState.REJECTED
    assert rows(world, stores) == []
    check_invariants(world)


def test_a_rejection_that_cannot_reach_the_issuer_is_made_up_for(world: World) -> None:
    begun = world.until_state(world.person(), RequestState.READY)
    lost = without(world, NotHealthProfessional)
    world.issuer.unreachable = True
    with pytest.raises(NotHealthProfessional):
        world.journey.fetch(lost, begun.request_id, "password", begun.token)
    # Not rejected, for then its store would stay active with nobody to end it.
    assert world.journey.find(world.person(), begun.request_id).state is RequestState.READY
    world.issuer.unreachable = False
    with pytest.raises(NotHealthProfessional):
        world.journey.complete(lost, begun.request_id)
    assert world.journey.find(world.person(), begun.request_id).state is RequestState.REJECTED
    check_invariants(world)


def test_who_has_retired_still_sees_and_deactivates(world: World) -> None:
    world.until_ready(world.person())
    retired = world.person(
        standing=replace(ELIGIBLE, account_status_valid=False, health_professional=False),
        profession_code=None,
    )
    (held,) = world.held_stores.all_of(retired)
    ended = world.held_stores.deactivate(
        retired, held.store.id, DeactivationReason.END_OF_PRACTICE, confirmed=True
    )
    assert ended.store.status is StoreStatus.DEACTIVATED
    assert [row["reason"] for row in rows(world, revocations)] == ["cessationOfOperation"]
    for gone in (replace(ELIGIBLE, luxtrust=False),):
        with pytest.raises(NotLuxtrust):
            world.held_stores.all_of(world.person(standing=gone))


CHANGES: dict[str, dict[str, str]] = {
    "given name": {"given_name": "ÉDOUARD"},
    "family name": {"family_name": "GUERRA-SCHMIT"},
    "profession": {"profession_code": "PS-777", "profession_label": "Sage-femme"},
}


@on_postgresql_at_length
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("step", ["email", "verify", "resend"])
def test_data_that_changed_after_they_were_shown_are_shown_again(
    world: World, step: str, change: str
) -> None:
    state = RequestState.TERMS_ACCEPTED if step == "email" else RequestState.CODE_SENT
    begun = world.until_state(world.person(), state)
    world.clock.pass_time(seconds=31)
    changed = world.person(**CHANGES[change])
    mails = len(world.mail.messages)
    with pytest.raises(WrongState):
        STEPS[step](world, changed, begun)
    assert len(world.mail.messages) == mails
    found = world.journey.find(changed, begun.request_id)
    assert found.state is RequestState.TERMS_ACCEPTED
    assert {name: getattr(found, name) for name in CHANGES[change]} == CHANGES[change]
    assert found.code_hmac is None
    # Confirmed as they are now, they are certified as they are now.
    STEPS["email"](world, changed, begun)
    begun.code = world.mail.last_code()
    STEPS["verify"](world, changed, begun)
    world.go_on()
    (store,) = rows(world, stores)
    assert {name: store[name] for name in CHANGES[change]} == CHANGES[change]
    (certificate,) = rows(world, certificates)
    for name in ("given_name", "family_name"):
        assert str(store[name]).encode() in certificate["tbs"]
    check_invariants(world)


def test_terms_are_accepted_with_the_data_of_that_moment(world: World) -> None:
    begun = world.until_state(world.person(), RequestState.CREATED)
    changed = world.person(given_name="ÉDOUARD")
    accepted = world.journey.accept_terms(
        changed, begun.request_id, world.texts.terms_version, Language.FRENCH
    )
    assert accepted.given_name == "ÉDOUARD"


def test_whoever_holds_a_store_cannot_ask_for_another(world: World) -> None:
    person = world.person()
    request_id, _ = world.until_ready(person)
    world.journey.complete(person, request_id)
    with pytest.raises(ActiveStoreExists):
        world.journey.start(person)
    check_invariants(world)
