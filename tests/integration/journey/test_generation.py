"""From an accepted code to a store: bounds, answers that were lost, processes that died (R13, R14)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from api.internal.client import IssuerSilent, IssuerUnreachable
from api.journey.ordering import order_store
from api.journey.tokens import base64url
from api.problems import RemoteProblem
from issuer.clock import system_random
from issuer.issuance.keystore.errors import WorkerFailed, WorkshopError
from issuer.issuance.keystore.workshop import Workshop
from issuer.registry.certificates import prepare as prepare_certificate
from issuer.registry.tables import abandonments, audit_events, certificates, deliveries, revocations, stores
from policies.errors import WrongState
from policies.lifecycle import RequestState, StoreStatus
from tests.fixtures.invariants import check_invariants, rows
from tests.fixtures.world import World

OWN_TOKEN = base64url(b"t" * 32)


def statuses(world: World) -> Counter[str]:
    return Counter(store["status"] for store in rows(world, stores))


def test_a_repeated_verification_with_ones_own_token_gives_the_same_answer(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    first = world.verification.verify(person, begun.request_id, begun.code, OWN_TOKEN)
    again = world.verification.verify(person, begun.request_id, begun.code, OWN_TOKEN)
    assert again == first
    # Another token, another code, or none: that is another act.
    for code, token in (
        (begun.code, None),
        (begun.code, base64url(b"x" * 32)),
        ("no code", OWN_TOKEN),
    ):
        with pytest.raises(WrongState):
            world.verification.verify(person, begun.request_id, code, token)
    world.go_on()
    ready = world.verification.verify(person, begun.request_id, begun.code, OWN_TOKEN)
    assert (ready.request.state, ready.token) == (RequestState.READY, first.token)
    assert world.journey.fetch(person, begun.request_id, "password", OWN_TOKEN)
    assert len(rows(world, certificates)) == 1
    check_invariants(world)


def test_an_answer_lost_between_issuer_and_web_is_made_up_for(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    world.issuer.losing_answers = True
    with pytest.raises(IssuerSilent):
        world.verification.verify(person, begun.request_id, begun.code, OWN_TOKEN)
    world.issuer.losing_answers = False
    assert world.journey.find(person, begun.request_id).state is RequestState.GENERATING
    world.verification.verify(person, begun.request_id, begun.code, OWN_TOKEN)
    world.go_on()
    assert world.journey.fetch(person, begun.request_id, "password", OWN_TOKEN)
    assert len(rows(world, certificates)) == 1
    check_invariants(world)


def test_an_order_that_never_left_is_made_up_for_by_the_repeated_verification(world: World) -> None:
    """Web died after it had accepted the code: the request says generating, the issuer knows of nothing."""
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    order = world.issuer.order
    world.issuer.order = die  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyboardInterrupt):
        world.verification.verify(person, begun.request_id, begun.code, OWN_TOKEN)
    world.issuer.order = order  # type: ignore[method-assign]
    assert (world.journey.find(person, begun.request_id).state, rows(world, stores)) == (
        RequestState.GENERATING,
        [],
    )
    world.verification.verify(person, begun.request_id, begun.code, OWN_TOKEN)
    world.go_on()
    assert world.journey.fetch(person, begun.request_id, "password", OWN_TOKEN)
    check_invariants(world)


def test_without_a_repetition_such_a_request_fails_at_its_bound(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    world.issuer.losing_answers = True
    order = world.issuance.order
    world.issuance.order = lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
    with pytest.raises(IssuerSilent):
        world.verification.verify(person, begun.request_id, begun.code, None)
    world.issuance.order = order  # type: ignore[method-assign]
    world.issuer.losing_answers = False
    world.clock.pass_time(seconds=119)
    assert world.journey.find(person, begun.request_id).state is RequestState.GENERATING
    world.clock.pass_time(seconds=1)
    assert world.journey.find(person, begun.request_id).state is RequestState.FAILED
    world.until_ready(person)
    check_invariants(world)


@pytest.mark.parametrize("seconds", [114, 115, 119, 120, 600])
def test_what_ends_after_its_bound_leaves_nothing_active(world: World, seconds: int) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)
    sign = world.authority.sign

    def slowly(*arguments: object) -> bytes:
        signed = sign(*arguments)  # type: ignore[arg-type]
        world.clock.pass_time(seconds=seconds)
        return signed

    world.issuance._authority = replaced(world, sign=slowly)
    world.go_on()
    in_time = seconds < 115
    assert statuses(world) == {StoreStatus.ACTIVE if in_time else StoreStatus.REVOKED: 1}
    # It was signed, so it stands on the CRL, and that is written down.
    assert len(rows(world, revocations)) == (not in_time)
    assert world.journey.find(person, begun.request_id).state is (
        RequestState.READY if in_time else RequestState.FAILED
    )
    check_invariants(world)


def replaced(world: World, **methods: object) -> object:
    """The authority with other methods, for a proxy is less than a token that fails on command."""

    class Other:
        def __getattr__(self, name: str) -> object:
            return methods.get(name) or getattr(world.authority, name)

    return Other()


def test_web_gives_up_at_its_own_bound_and_the_issuer_later_makes_nothing(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)
    deadline = world.journey.find(person, begun.request_id).deadline
    assert deadline is not None
    world.clock.now = deadline
    assert world.journey.find(person, begun.request_id).state is RequestState.FAILED
    # The person starts again while the late generation is still in hand.
    world.reaper.round()
    again = world.journey.start(person)
    world.go_on()
    assert statuses(world) == {StoreStatus.REVOKED: 1}
    assert world.journey.current(person) == again
    world.until_ready(person)
    check_invariants(world)


def test_a_generation_that_hangs_is_ended_at_its_bound(world: World) -> None:
    person = world.person()
    world.until_state(person, RequestState.GENERATING)
    world.reaper.round()
    assert statuses(world) == {StoreStatus.ISSUING: 1}
    world.clock.pass_time(seconds=116)
    world.reaper.round()
    assert statuses(world) == {StoreStatus.REVOKED: 1}
    check_invariants(world)


def test_an_order_past_its_bound_is_not_taken(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    order = world.issuer.order

    def late(*arguments: object) -> object:
        world.clock.pass_time(seconds=116)
        return order(*arguments)  # type: ignore[arg-type]

    world.issuer.order = late  # type: ignore[assignment, method-assign]
    with pytest.raises(RemoteProblem, match="wrong-state"):
        world.verification.verify(person, begun.request_id, begun.code, None)
    assert rows(world, stores) == []
    assert world.journey.find(person, begun.request_id).state is RequestState.FAILED
    check_invariants(world)


@pytest.mark.parametrize("step", ["claimed", "prepared", "signed"])
def test_a_new_run_of_the_issuer_ends_what_the_last_one_left(world: World, step: str) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)
    if step != "claimed":
        _die_at(world, step)
        with pytest.raises(KeyboardInterrupt):
            world.go_on()
    before = statuses(world)
    world.start_issuer()
    world.reaper.round()
    assert (before, statuses(world)) == ({StoreStatus.ISSUING: 1}, {StoreStatus.REVOKED: 1})
    assert len(rows(world, revocations)) == (step != "claimed")
    assert world.journey.find(person, begun.request_id).state is RequestState.FAILED
    (event,) = [e for e in rows(world, audit_events) if e["action"] == "store-revoked"]
    assert (event["actor"], event["details"]["reason"]) == ("service", "generation-failed")
    check_invariants(world)
    world.until_ready(person)
    check_invariants(world)


def test_a_responders_certificate_that_was_never_signed_is_revoked(world: World) -> None:
    """Its signature may exist: whoever wrote it down died before its row could say so."""
    key = generate_private_key(SECP256R1()).public_key()
    template = world.profiles.ocsp.prepare(
        issuer=world.authority.issuer, key=key, now=world.clock(), random=system_random
    )
    with world.registry.write() as connection:
        prepare_certificate(connection, template.intent, world.clock())
    world.reaper.round()
    assert rows(world, revocations) == []  # Another issuer may be about to sign it.
    world.clock.pass_time(minutes=6)
    for _ in range(2):
        world.reaper.round()
        assert [row["serial"] for row in rows(world, revocations)] == [template.serial_number]
    assert [event["action"] for event in rows(world, audit_events)] == ["ocsp-signer-given-up"]


def test_several_issuers_leave_each_others_stores_alone(world: World) -> None:
    """Over one registry, until the bound is past: then nobody can be making it any more."""
    world.until_state(world.person(), RequestState.GENERATING)
    world.issuance_config = msgspec.structs.replace(world.issuance_config, instance="another")
    world.start_issuer()
    world.reaper.round()
    assert statuses(world) == {StoreStatus.ISSUING: 1}
    world.clock.pass_time(seconds=116)
    world.reaper.round()
    assert statuses(world) == {StoreStatus.REVOKED: 1}
    check_invariants(world)


def test_without_a_template_no_order_is_taken(world: World) -> None:
    begun = world.until_state(person := world.person(), RequestState.CODE_SENT)
    keeper = world.workshop._keeper
    keeper._refusal = WorkshopError("cannot be confined")
    try:
        with pytest.raises(RemoteProblem, match="ca-unavailable"):
            world.verification.verify(person, begun.request_id, begun.code, None)
    finally:
        keeper._refusal = None
    assert rows(world, stores) == []
    world.verification.verify(person, begun.request_id, begun.code, None)
    world.go_on()
    assert statuses(world) == {StoreStatus.ACTIVE: 1}
    check_invariants(world)


def _die_at(world: World, step: str) -> None:
    """As a killed process does: nothing after this moment happens, tidying up neither."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    sign = world.authority.sign
    world.issuance._give_up = lambda store: None  # type: ignore[method-assign]
    if step == "signed":

        def sign_and_die(*arguments: object) -> None:
            sign(*arguments)  # type: ignore[arg-type]
            die()

        world.issuance._authority = replaced(world, sign=sign_and_die)  # type: ignore[assignment]
    else:
        world.issuance._authority = replaced(world, sign=die)  # type: ignore[assignment]


@pytest.mark.parametrize("where", ["worker", "sign"])
def test_a_generation_that_fails_is_written_down(
    world: World, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)

    def fail(*_: object) -> None:
        raise WorkerFailed("told to")

    if where == "worker":
        monkeypatch.setattr(Workshop, "open", fail)
    else:
        world.issuance._authority = replaced(world, sign=fail)  # type: ignore[assignment]
    world.go_on()
    assert statuses(world) == {StoreStatus.REVOKED: 1}
    assert world.journey.find(person, begun.request_id).state is RequestState.FAILED
    check_invariants(world)
    monkeypatch.undo()
    world.start_issuer()
    world.until_ready(person)


def test_an_unreachable_issuer_gives_the_code_back(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    world.issuer.unreachable = True
    for _ in range(7):  # More often than there are tries: none is taken.
        with pytest.raises(IssuerUnreachable):
            world.verification.verify(person, begun.request_id, begun.code, None)
    request = world.journey.find(person, begun.request_id)
    assert (request.state, request.attempts_left) == (RequestState.CODE_SENT, 5)
    # Nothing was begun, so starting over needs no issuer either.
    assert world.journey.start(person).state is RequestState.CREATED
    world.issuer.unreachable = False
    world.until_ready(person)
    check_invariants(world)


def test_starting_over_waits_for_the_issuer_where_something_had_begun(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)
    world.issuer.unreachable = True
    for step in (world.journey.start, lambda who: world.journey.cancel(who, begun.request_id)):
        with pytest.raises(IssuerUnreachable):
            step(person)
    assert world.journey.find(person, begun.request_id).state is RequestState.GENERATING
    world.issuer.unreachable = False
    world.journey.start(person)
    check_invariants(world)


def test_a_cancelled_requests_late_order_makes_nothing(world: World) -> None:
    """The cancellation overtakes the order that it is about (ADR 1)."""
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    order = world.issuer.order

    def overtaken(*arguments: object) -> object:
        world.journey.cancel(person, begun.request_id)
        return order(*arguments)  # type: ignore[arg-type]

    world.issuer.order = overtaken  # type: ignore[assignment, method-assign]
    with pytest.raises(RemoteProblem, match="wrong-state"):
        world.verification.verify(person, begun.request_id, begun.code, None)
    assert [row["request_id"] for row in rows(world, abandonments)] == [begun.request_id]
    assert (rows(world, stores), rows(world, certificates)) == ([], [])
    assert world.journey.find(person, begun.request_id).state is RequestState.CANCELLED
    check_invariants(world)


def test_an_order_under_another_token_takes_nothing_from_the_first(world: World) -> None:
    """What a broken web could try: the same request again, sealed to a key of its own."""
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)
    request = world.journey.find(person, begun.request_id)
    with pytest.raises(RemoteProblem, match="wrong-state"):
        order_store(world.steps, person, replace(request, recipient=b"x" * 32), repeated=True)
    world.go_on()
    assert world.journey.fetch(person, begun.request_id, "password", begun.token)
    check_invariants(world)


def test_the_issuers_own_limit_a_person(world: World) -> None:
    world.issuance_config = type(world.issuance_config)(per_person_hour=2)
    world.start_issuer()
    person = world.person()
    for _ in range(2):
        world.until_state(person, RequestState.GENERATING)
    begun = world.until_state(person, RequestState.CODE_SENT)
    with pytest.raises(RemoteProblem, match="too-many-requests"):
        world.verification.verify(person, begun.request_id, begun.code, None)
    assert world.journey.find(person, begun.request_id).state is RequestState.CODE_SENT
    check_invariants(world)


def test_a_full_queue_refuses_before_anything_is_begun(world: World) -> None:
    world.issuance_config = type(world.issuance_config)(queue=2, per_person_hour=100)
    world.start_issuer()
    waiting = [
        world.until_state(world.person(f"222121213{number}"), RequestState.GENERATING) for number in range(2)
    ]
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    with pytest.raises(RemoteProblem, match="too-many-requests"):
        world.verification.verify(person, begun.request_id, begun.code, None)
    assert len(rows(world, stores)) == len(waiting)
    world.go_on()
    world.verification.verify(person, begun.request_id, begun.code, None)
    world.go_on()
    assert statuses(world) == {StoreStatus.ACTIVE: 3}
    check_invariants(world)


def test_a_stopping_issuer_leaves_no_claim_behind(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    world.held = None
    world.start_issuer()
    world.issuance.close()
    world.verification.verify(person, begun.request_id, begun.code, None)
    assert statuses(world) == {StoreStatus.REVOKED: 1}
    assert not world.issuance.in_hand()
    assert world.journey.find(person, begun.request_id).state is RequestState.FAILED
    check_invariants(world)


def test_a_registry_without_the_delivery_fails_nobody(world: World) -> None:
    """Web slept through the whole delivery: it learns of store and deadline at once."""
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)
    world.go_on()
    world.clock.pass_time(minutes=11)
    world.reaper.round()
    with world.registry.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(deliveries)).scalar() == 0
    assert world.journey.find(person, begun.request_id).state is RequestState.EXPIRED
    check_invariants(world)
