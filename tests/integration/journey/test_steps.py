"""Every step from every state: resume, start over, cancel, and what a state does not allow (R14)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.journey.tables import code_sends, journey_events, requests
from api.journey.tokens import base64url
from api.texts import Language
from issuer.errors import DeliveryExpired, NotFound
from issuer.registry.tables import revocations, stores
from policies.errors import PolicyRefusal, WrongState
from policies.lifecycle import UNFINISHED, RequestState, StoreStatus
from policies.reasons import DeactivationReason, X509Reason
from tests.fixtures.invariants import check_invariants, rows
from tests.fixtures.world import Person, World, on_postgresql_at_length

BEGUN = (RequestState.GENERATING, RequestState.READY)


@on_postgresql_at_length
@pytest.mark.parametrize("state", UNFINISHED)
def test_a_request_is_resumed_wherever_it_stands(world: World, state: RequestState) -> None:
    begun = world.until_state(world.person(), state)
    # A reload, another tab, another login.
    current = world.journey.current(world.person())
    assert current is not None
    assert (current.id, current.state) == (begun.request_id, state)
    assert world.journey.find(world.person(), begun.request_id) == current
    assert world.journey.current(world.person("2221212132")) is None
    with pytest.raises(NotFound):
        world.journey.find(world.person("2221212132"), begun.request_id)


@pytest.mark.parametrize("state", UNFINISHED)
def test_starting_over_revokes_what_had_begun(world: World, state: RequestState) -> None:
    person = world.person()
    begun = world.until_state(person, state)
    again = world.journey.start(person)
    assert again.state is RequestState.CREATED
    assert world.journey.find(person, begun.request_id).state is RequestState.SUPERSEDED
    _check_nothing_is_left(world, state)
    # What was under way comes too late, and the new request goes on undisturbed.
    world.go_on()
    check_invariants(world)
    world.until_ready(person)
    check_invariants(world)


@pytest.mark.parametrize("state", UNFINISHED)
def test_cancelling_revokes_what_had_begun(world: World, state: RequestState) -> None:
    person = world.person()
    begun = world.until_state(person, state)
    world.journey.cancel(person, begun.request_id)
    assert world.journey.current(person) is None
    assert world.journey.find(person, begun.request_id).state is RequestState.CANCELLED
    _check_nothing_is_left(world, state)
    world.go_on()
    check_invariants(world)
    with pytest.raises(WrongState):
        world.journey.cancel(person, begun.request_id)


def _check_nothing_is_left(world: World, state: RequestState) -> None:
    found = rows(world, stores)
    assert [store["status"] for store in found] == [StoreStatus.REVOKED] * (state in BEGUN)
    assert [(store["reason"], store["ended_by"]) for store in found] == [("abandoned", "holder")] * len(found)
    revoked = [row["reason"] for row in rows(world, revocations)]
    assert revoked == [X509Reason.CESSATION_OF_OPERATION] * (state is RequestState.READY)


def _terms(world: World, person: Person, request_id: str) -> object:
    return world.journey.accept_terms(person, request_id, world.texts.terms_version, Language.FRENCH)


def _email(world: World, person: Person, request_id: str) -> object:
    return world.verification.set_email(person, request_id, "b@example.com", "modern", Language.FRENCH)


def _verify(world: World, person: Person, request_id: str) -> object:
    return world.verification.verify(person, request_id, "000000", None)


def _fetch(world: World, person: Person, request_id: str) -> object:
    return world.journey.fetch(person, request_id, "password", base64url(b"t" * 32))


STEPS: dict[str, Callable[[World, Person, str], object]] = {
    "terms": _terms,
    "email": _email,
    "resend": lambda world, person, request_id: world.verification.resend(person, request_id),
    "verify": _verify,
    "fetch": _fetch,
    "complete": lambda world, person, request_id: world.journey.complete(person, request_id),
}
FIRST = {
    RequestState.CREATED: ("terms-not-accepted", {"email": "terms-not-accepted"}),
    RequestState.TERMS_ACCEPTED: ("wrong-state", {"terms": "done", "email": "done"}),
    RequestState.CODE_SENT: (
        "wrong-state",
        {"terms": "done", "email": "done", "resend": "too-many-requests", "verify": "code-invalid"},
    ),
    RequestState.GENERATING: ("wrong-state", {}),
    RequestState.READY: ("wrong-state", {"fetch": "delivery-token-invalid", "complete": "done"}),
}


@on_postgresql_at_length
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", UNFINISHED)
def test_each_state_allows_its_steps_and_no_others(world: World, state: RequestState, step: str) -> None:
    person = world.person()
    begun = world.until_state(person, state)
    expected = FIRST[state][1].get(step, "wrong-state")
    if state is RequestState.CREATED and step == "terms":
        expected = "done"
    before = world.journey.find(person, begun.request_id)
    try:
        STEPS[step](world, person, begun.request_id)
        outcome = "done"
    except Exception as refusal:  # noqa: BLE001 - what is no refusal has no code
        outcome = getattr(refusal, "code", repr(refusal))
    assert outcome == expected
    if outcome not in ("done", "code-invalid"):
        assert world.journey.find(person, begun.request_id) == before
    check_invariants(world)


ENDS: dict[RequestState, Callable[[World, Person, str], object]] = {
    RequestState.CANCELLED: lambda world, person, request_id: world.journey.cancel(person, request_id),
    RequestState.SUPERSEDED: lambda world, person, request_id: world.journey.start(person),
    RequestState.DELIVERED: lambda world, person, request_id: world.journey.complete(person, request_id),
    RequestState.EXPIRED: lambda world, person, request_id: world.clock.pass_time(minutes=11),
    RequestState.FAILED: lambda world, person, request_id: world.held_stores.deactivate(
        person, world.held_stores.all_of(person)[0].store.id, DeactivationReason.OTHER, confirmed=True
    ),
}


@on_postgresql_at_length
@pytest.mark.parametrize("end", ENDS)
def test_nothing_follows_an_end(world: World, end: RequestState) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    ENDS[end](world, person, begun.request_id)
    ended = world.journey.find(person, begun.request_id)
    assert ended.state is end
    for step in STEPS.values():
        try:
            step(world, person, begun.request_id)
        except (WrongState, DeliveryExpired):
            continue
        except PolicyRefusal as refusal:
            raise AssertionError(refusal.code) from refusal
        # Completion may be repeated: whoever clicks twice has gone home.
        assert end is RequestState.DELIVERED
    with pytest.raises(WrongState):
        world.journey.cancel(person, begun.request_id)
    assert world.journey.find(person, begun.request_id) == ended
    check_invariants(world)


def test_a_start_can_be_repeated_under_its_key(world: World) -> None:
    person = world.person()
    first = world.journey.start(person, "key-1")
    assert world.journey.start(person, "key-1") == first
    _terms(world, person, first.id)
    again = world.journey.start(person, "key-1")
    assert (again.id, again.state) == (first.id, RequestState.TERMS_ACCEPTED)
    second = world.journey.start(person, "key-2")
    assert second.id != first.id
    # Of a request that has ended too: the same key is the same act.
    assert world.journey.start(person, "key-1").state is RequestState.SUPERSEDED
    # Another person's key is another key.
    assert world.journey.start(world.person("2221212132"), "key-1").id != first.id
    check_invariants(world)


def test_a_day_later_an_unfinished_request_is_gone(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    world.clock.pass_time(hours=23, minutes=59)
    assert world.journey.sweep() == 0
    world.clock.pass_time(minutes=2)
    assert world.journey.sweep() == 1
    with pytest.raises(NotFound):
        world.journey.find(person, begun.request_id)
    assert world.journey.current(person) is None
    check_purged(world, begun.request_id)


def test_what_is_being_made_is_left_to_its_own_bounds(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    world.clock.pass_time(hours=23, minutes=58)
    world.verification.resend(person, begun.request_id)
    world.verification.verify(person, begun.request_id, world.mail.last_code(), None)
    world.clock.pass_time(minutes=1, seconds=30)
    assert world.journey.sweep() == 0
    world.go_on()
    assert world.journey.find(person, begun.request_id).state is RequestState.READY
    world.clock.pass_time(minutes=5)
    assert world.journey.sweep() == 0
    world.clock.pass_time(minutes=6)
    assert world.journey.sweep() == 1
    world.reaper.round()
    check_purged(world, begun.request_id)
    assert [store["status"] for store in rows(world, stores)] == [StoreStatus.ACTIVE]


def check_purged(world: World, request_id: str) -> None:
    """Nothing is left but events, and these name no address and hold no code."""
    assert rows(world, requests) == []
    world.clock.pass_time(hours=1)
    world.journey.sweep()
    assert rows(world, code_sends) == []
    events = rows(world, journey_events)
    assert [event["action"] for event in events][-1] == "request-deadline"
    assert {event["object_id"] for event in events} == {request_id}
    assert "adresse" not in str(events)
