"""The delivery window: fetched as often as asked, by the token's bearer alone, until its end (R16–R18)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from api.journey.tokens import base64url
from api.problems import RemoteProblem
from issuer.errors import DeliveryExpired, DeliveryTokenInvalid, NotFound
from issuer.registry.deliveries import Part
from issuer.registry.tables import audit_events, deliveries, stores
from policies.errors import ActiveStoreExists, WrongState
from policies.lifecycle import RequestState, StoreStatus
from policies.reasons import DeactivationReason, RevocationReason
from tests.fixtures.invariants import check_invariants, rows
from tests.fixtures.world import World, on_postgresql_at_length

PARTS: tuple[Part, ...] = ("password", "keystore")


@on_postgresql_at_length
@pytest.mark.parametrize("fetched", [(), ("password",), ("keystore",), ("keystore", "password")])
@pytest.mark.parametrize("swept", [True, False])
def test_the_deadline_ends_a_delivery(world: World, fetched: tuple[Part, ...], swept: bool) -> None:
    """Both sides by themselves: the reaper may be late, or web may be."""
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    for part in fetched:
        world.journey.fetch(person, begun.request_id, part, begun.token)
    deadline = world.journey.find(person, begun.request_id).deadline
    assert deadline is not None
    world.clock.now = deadline
    world.clock.pass_time(seconds=-1)
    world.reaper.round()
    assert world.journey.fetch(person, begun.request_id, "password", begun.token)
    world.clock.now = deadline
    if swept:
        world.reaper.round()
        assert rows(world, deliveries) == []
    for part in PARTS:
        with pytest.raises(DeliveryExpired):
            world.journey.fetch(person, begun.request_id, part, begun.token)
    with pytest.raises(DeliveryExpired):
        world.journey.complete(person, begun.request_id)
    assert world.journey.find(person, begun.request_id).state is RequestState.EXPIRED
    # The store stays, and says whether its holder can have it.
    (held,) = world.held_stores.all_of(person)
    assert (held.store.status, held.delivered) == (StoreStatus.ACTIVE, "keystore" in fetched)
    world.reaper.round()
    assert rows(world, deliveries) == []
    (held,) = world.held_stores.all_of(person)
    assert held.delivered == ("keystore" in fetched)
    with pytest.raises(ActiveStoreExists):
        world.journey.start(person)
    check_invariants(world)


def test_ten_minutes(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    (delivery,) = rows(world, deliveries)
    (store,) = rows(world, stores)
    assert 599 < (delivery["deadline"] - store["activated_at"]).total_seconds() <= 600
    assert world.journey.find(person, begun.request_id).deadline == delivery["deadline"]


def test_both_parts_open_each_other_as_often_as_asked(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    fetched = {
        tuple(world.journey.fetch(world.person(), begun.request_id, part, begun.token) for part in PARTS)
        for _ in range(3)
    }
    ((password, keystore),) = fetched
    opened = load_pkcs12(keystore, password)
    assert opened.cert is not None
    assert [chain.certificate for chain in opened.additional_certs] == [world.authority.certificate]
    told = [event["action"] for event in rows(world, audit_events)]
    assert (told.count("password-fetched"), told.count("keystore-fetched")) == (3, 3)


def test_a_delivery_is_opened_by_its_own_token_and_person_alone(world: World) -> None:
    person, other = world.person(), world.person("2221212132")
    begun = world.until_state(person, RequestState.READY)
    foreign = world.until_state(other, RequestState.READY)
    for wrong in (None, "", "?", begun.token[:-4], begun.token + "AAAA", foreign.token):
        with pytest.raises(DeliveryTokenInvalid):
            world.journey.fetch(person, begun.request_id, "password", wrong)
    with pytest.raises(NotFound):
        world.journey.fetch(other, begun.request_id, "password", begun.token)
    # The issuer does not take web's word for it.
    with pytest.raises(RemoteProblem, match="not-found"):
        world.issuer.collect(other.assertion, begun.request_id, "password", b"x" * 32)
    with pytest.raises(RemoteProblem, match="delivery-token-invalid"):
        world.issuer.collect(person.assertion, begun.request_id, "password", b"x" * 32)
    assert [row["password_fetched_at"] for row in rows(world, deliveries)] == [None, None]


def test_what_was_cancelled_in_the_same_moment_is_not_told_as_delivered(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    complete = world.issuer.complete

    def cancelled_first(*arguments: str) -> None:
        world.journey.cancel(person, begun.request_id)
        complete(*arguments)

    world.issuer.complete = cancelled_first  # type: ignore[method-assign]
    with pytest.raises(WrongState):
        world.journey.complete(person, begun.request_id)
    assert world.journey.find(person, begun.request_id).state is RequestState.CANCELLED
    check_invariants(world)


def test_nothing_is_fetched_while_it_is_made(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)
    with pytest.raises(WrongState):
        world.journey.fetch(person, begun.request_id, "password", begun.token)
    with pytest.raises(RemoteProblem, match="wrong-state"):
        world.issuer.collect(person.assertion, begun.request_id, "password", b"x" * 32)
    with pytest.raises(RemoteProblem, match="wrong-state"):
        world.issuer.complete(person.assertion, begun.request_id)


@pytest.mark.parametrize("fetched", [(), PARTS])
def test_going_home_ends_the_delivery(world: World, fetched: tuple[Part, ...]) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    for part in fetched:
        world.journey.fetch(person, begun.request_id, part, begun.token)
    for _ in range(2):
        assert world.journey.complete(person, begun.request_id).state is RequestState.DELIVERED
    (held,) = world.held_stores.all_of(person)
    assert (held.store.status, held.delivered) == (StoreStatus.ACTIVE, bool(fetched))
    # Delivered is not abandoned, whatever an old tab still says.
    with pytest.raises(WrongState):
        world.journey.cancel(person, begun.request_id)
    with pytest.raises(RemoteProblem, match="wrong-state"):
        world.issuer.abandon(person.assertion, begun.request_id)
    check_invariants(world)


def test_a_completion_whose_answer_was_lost_is_still_a_completion(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    for part in PARTS:
        world.journey.fetch(person, begun.request_id, part, begun.token)
    world.issuer.complete(person.assertion, begun.request_id)  # And web died before it wrote it down.
    assert world.journey.find(person, begun.request_id).state is RequestState.DELIVERED
    assert world.journey.complete(person, begun.request_id).state is RequestState.DELIVERED
    check_invariants(world)


@pytest.mark.parametrize("by", ["holder", "officer"])
def test_a_store_that_ends_during_its_delivery_takes_it_along(world: World, by: str) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    (held,) = world.held_stores.all_of(person)
    if by == "holder":
        world.held_stores.deactivate(
            person, held.store.id, DeactivationReason.KEY_COMPROMISED, confirmed=True
        )
    else:
        world.officers.revoke([held.store.id], RevocationReason.INCIDENT, "o1", dry_run=False)
    assert rows(world, deliveries) == []
    with pytest.raises(WrongState):
        world.journey.fetch(person, begun.request_id, "keystore", begun.token)
    assert world.journey.find(person, begun.request_id).state is RequestState.FAILED
    world.journey.start(person)
    check_invariants(world)


def test_both_parts_fetched_and_then_deactivated_was_still_delivered(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    for part in PARTS:
        world.journey.fetch(person, begun.request_id, part, begun.token)
    (held,) = world.held_stores.all_of(person)
    assert world.held_stores.deactivate(
        person, held.store.id, DeactivationReason.OTHER, confirmed=True
    ).delivered


def test_the_same_token_in_other_spellings(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    token = base64url(bytes(range(224, 256)))
    accepted = world.verification.verify(person, begun.request_id, begun.code, token + "=")
    world.go_on()
    assert base64url(accepted.token) == token
    for spelling in (token, token + "=", token + "=="):
        assert world.journey.fetch(person, begun.request_id, "password", spelling)
