"""What becomes of a store: its age, officers, another address, and its successor (R20, R22–R24)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from api.journey.tables import requests
from api.mail.messages import notice_message
from api.problems import RemoteProblem
from api.web.schemas import store_out
from issuer.errors import NotFound
from issuer.registry import outbox as outbox_queries
from issuer.registry import stores as store_queries
from issuer.registry.tables import audit_events, outbox, revocations, stores
from policies.errors import (
    ActiveStoreExists,
    AlreadyDeactivated,
    ConfirmationMissing,
    RenewalTooEarly,
    WrongState,
)
from policies.lifecycle import RequestState, StoreStatus
from policies.reasons import DeactivationReason, RevocationReason, x509_reason
from policies.renewal import RenewalRules
from tests.fixtures.invariants import check_invariants, rows
from tests.fixtures.world import Person, World, on_postgresql_at_length

ACTIVE, RETIRING, DEACTIVATED = StoreStatus.ACTIVE, StoreStatus.RETIRING, StoreStatus.DEACTIVATED


def mails(world: World, event: str) -> list[str]:
    """The addresses; and each mail can be written."""
    with world.registry.write() as connection:
        entries = outbox_queries.claim_due(connection, world.clock(), world.clock.now, 100)
    for entry in entries:
        assert notice_message(entry, world.mail.sender)["X-MyCert-Event"] == entry.event
    return [row["address"] for row in rows(world, outbox) if row["event"] == event]


def obtain(world: World, person: Person, address: str = "mon@adresse.lu") -> str:
    """The id of a store that was delivered."""
    request_id, _ = world.until_ready(person, address)
    world.journey.complete(person, request_id)
    return world.held_stores.all_of(person)[0].store.id


def test_a_store_expires_with_its_certificate(world: World) -> None:
    person = world.person()
    store_id = obtain(world, person)
    not_after = world.held_stores.find(person, store_id).store.not_after
    assert not_after is not None
    world.clock.now = not_after - timedelta(seconds=1)
    world.reaper.round()
    assert world.held_stores.find(person, store_id).store.status is ACTIVE
    world.clock.now = not_after + timedelta(seconds=1)
    world.reaper.round()
    world.reaper.round()
    assert world.held_stores.find(person, store_id).store.status is StoreStatus.EXPIRED
    assert mails(world, "expired") == ["mon@adresse.lu"]
    assert mails(world, "deactivated") == []
    assert rows(world, revocations) == []
    with pytest.raises(RemoteProblem, match="already-deactivated"):
        world.held_stores.deactivate(person, store_id, DeactivationReason.OTHER, confirmed=True)
    check_invariants(world)


def test_an_earlier_address_is_told_of_another_one(world: World) -> None:
    person = world.person()
    store_id = obtain(world, person, "first@example.com")
    assert mails(world, "address-changed") == []
    world.held_stores.deactivate(person, store_id, DeactivationReason.REPLACED, confirmed=True)
    store_id = obtain(world, person, "second@example.com")
    assert mails(world, "address-changed") == ["first@example.com"]
    world.held_stores.deactivate(person, store_id, DeactivationReason.REPLACED, confirmed=True)
    obtain(world, person, "second@example.com")
    assert mails(world, "address-changed") == ["first@example.com"]
    assert mails(world, "issued") == ["first@example.com", "second@example.com", "second@example.com"]
    assert mails(world, "deactivated") == ["first@example.com", "second@example.com"]


@on_postgresql_at_length
@pytest.mark.parametrize("reason", DeactivationReason)
def test_each_reason_has_its_meaning_for_relying_services(world: World, reason: DeactivationReason) -> None:
    person = world.person()
    store_id = obtain(world, person)
    with pytest.raises(ConfirmationMissing):
        world.held_stores.deactivate(person, store_id, reason, confirmed=False)
    with pytest.raises(NotFound):
        world.held_stores.deactivate(world.person("2221212132"), store_id, reason, confirmed=True)
    ended = world.held_stores.deactivate(person, store_id, reason, confirmed=True).store
    assert (ended.status, ended.reason, ended.ended_by) == (DEACTIVATED, reason, "holder")
    assert [row["reason"] for row in rows(world, revocations)] == [x509_reason(reason)]
    assert mails(world, "deactivated") == ["mon@adresse.lu"]
    check_invariants(world)


@pytest.mark.parametrize("many", [1, 3])
def test_officers_revoke_one_or_many_with_the_same_effect(world: World, many: int) -> None:
    people = [world.person(f"222121214{number}") for number in range(many)]
    ids = [obtain(world, person) for person in people]
    desk = world.officers
    planned = desk.revoke(ids, RevocationReason.RIGHT_WITHDRAWN, "officer-1", dry_run=True)
    assert {store.status for store in planned} == {ACTIVE}
    ended = desk.revoke([*ids, ids[0]], RevocationReason.RIGHT_WITHDRAWN, "officer-1", dry_run=False)
    assert {store.id for store in ended} == set(ids)
    assert {(store.status, store.ended_by) for store in ended} == {(StoreStatus.REVOKED, "officer")}
    assert {row["reason"] for row in rows(world, revocations)} == {"privilegeWithdrawn"}
    told = [event for event in rows(world, audit_events) if event["action"] == "store-revoked"]
    assert [event["actor"] for event in told] == ["officer:officer-1"] * many
    assert len(mails(world, "deactivated")) == many
    # One that has ended keeps all from their end: an officer is told, and nothing happens by halves.
    running = obtain(world, world.person("2221212150"))
    with pytest.raises(AlreadyDeactivated):
        desk.revoke([running, ids[0]], RevocationReason.INCIDENT, "officer-1", dry_run=False)
    with pytest.raises(NotFound):
        desk.revoke([running, "no such store"], RevocationReason.INCIDENT, "officer-1", dry_run=False)
    with world.registry.read() as connection:
        assert store_queries.find(connection, running).status is ACTIVE
    check_invariants(world)


def test_officers_end_what_is_being_made_too(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)
    (store,) = rows(world, stores)
    world.officers.revoke([store["id"]], RevocationReason.INCIDENT, "officer-1", dry_run=False)
    world.go_on()
    with world.registry.read() as connection:
        assert store_queries.find(connection, store["id"]).status is StoreStatus.REVOKED
    assert world.journey.find(person, begun.request_id).state is RequestState.FAILED
    check_invariants(world)


def into_window(world: World, person: Person, days: float = 90) -> str:
    """A delivered store with that many days left."""
    store_id = obtain(world, person)
    not_after = world.held_stores.find(person, store_id).store.not_after
    assert not_after is not None
    world.clock.now = not_after - timedelta(days=days)
    return store_id


def renew(world: World, person: Person, store_id: str) -> str:
    """The id of the successor, ready to be fetched."""
    request = world.journey.renew(person, store_id)
    assert request.renews == store_id
    world.finish(person, request.id)
    assert world.journey.find(person, request.id).state is RequestState.READY
    (successor,) = rows(world, stores, stores.c.request_id == request.id)
    return str(successor["id"])


def statuses(world: World, *ids: str) -> list[str]:
    found = {row["id"]: row["status"] for row in rows(world, stores)}
    return [found[store_id] for store_id in ids]


def test_without_overlap_the_old_store_ends_with_the_activation_of_the_new(world: World) -> None:
    person = world.person()
    old = into_window(world, person)
    request = world.journey.renew(person, old)
    # Until then nothing has happened to it.
    assert statuses(world, old) == [ACTIVE]
    world.journey.cancel(person, request.id)
    new = renew(world, person, old)
    assert statuses(world, old, new) == [DEACTIVATED, ACTIVE]
    assert [row["reason"] for row in rows(world, revocations)] == ["superseded"]
    assert world.held_stores.find(person, old).store.reason == RevocationReason.RENEWED
    assert len(mails(world, "deactivated")) == 1
    check_invariants(world)


def test_with_overlap_the_old_store_retires_and_ends_by_itself(world: World) -> None:
    world.renewal = RenewalRules(overlap_days=14)
    world.start_web()
    world.start_issuer()
    person = world.person()
    old = into_window(world, person)
    new = renew(world, person, old)
    assert statuses(world, old, new) == [RETIRING, ACTIVE]
    shown = store_out(world.held_stores.find(person, old), world.clock())
    (row,) = rows(world, stores, stores.c.id == old)
    assert (shown.retires_at, shown.days_left) == (row["retires_at"], 13)  # Whole days, as of not_after.
    assert (rows(world, revocations), mails(world, "deactivated")) == ([], [])
    check_invariants(world)
    world.clock.pass_time(days=13, hours=23)
    world.reaper.round()
    assert statuses(world, old, new) == [RETIRING, ACTIVE]
    world.clock.pass_time(hours=1)
    world.reaper.round()
    assert statuses(world, old, new) == [DEACTIVATED, ACTIVE]
    assert mails(world, "deactivated") == ["mon@adresse.lu"]
    check_invariants(world)


def test_a_retiring_store_can_be_deactivated_before_its_time(world: World) -> None:
    world.renewal = RenewalRules(overlap_days=14)
    world.start_web()
    world.start_issuer()
    person = world.person()
    old = into_window(world, person, days=5)
    new = renew(world, person, old)
    retires_at = world.held_stores.find(person, old).store.retires_at
    assert retires_at == world.held_stores.find(person, old).store.not_after
    with pytest.raises(WrongState):
        world.journey.renew(person, old)
    world.held_stores.deactivate(person, old, DeactivationReason.REPLACED, confirmed=True)
    assert statuses(world, old, new) == [DEACTIVATED, ACTIVE]
    check_invariants(world)


def test_a_successor_that_is_given_up_leaves_the_retiring_store_its_time(world: World) -> None:
    world.renewal = RenewalRules(overlap_days=14)
    world.start_web()
    world.start_issuer()
    person = world.person()
    old = into_window(world, person)
    new = renew(world, person, old)
    # Started over: nothing is active, so an ordinary request is enough.
    request = world.journey.start(person)
    assert statuses(world, old, new) == [RETIRING, StoreStatus.REVOKED]
    world.finish(person, request.id)
    assert sorted(row["status"] for row in rows(world, stores)) == [ACTIVE, RETIRING, StoreStatus.REVOKED]
    check_invariants(world)


def test_renewal_is_for_ones_own_active_store_in_its_window(world: World) -> None:
    person = world.person()
    old = into_window(world, person, days=91)
    with pytest.raises(RenewalTooEarly):
        world.journey.renew(person, old)
    world.clock.pass_time(days=1)
    with pytest.raises(NotFound):
        world.journey.renew(world.person("2221212132"), old)
    with pytest.raises(ActiveStoreExists):
        world.journey.start(person)
    first = world.journey.renew(person, old, "key")
    assert world.journey.renew(person, old, "key") == first
    # An ordinary start beside it changes nothing: the active store is in its way.
    with pytest.raises(ActiveStoreExists):
        world.journey.start(person)
    assert world.journey.current(person) == first
    again = world.journey.renew(person, old)
    assert world.journey.find(person, first.id).state is RequestState.SUPERSEDED
    world.held_stores.deactivate(person, old, DeactivationReason.OTHER, confirmed=True)
    with pytest.raises(AlreadyDeactivated):
        world.journey.renew(person, old)
    # What is left of the renewal is a request like any other.
    world.finish(person, again.id)
    assert world.journey.find(person, again.id).state is RequestState.READY
    check_invariants(world)


def test_the_issuer_has_its_own_idea_of_the_window(world: World) -> None:
    """A broken web asks for a successor years too early, or in the place of a store that is not renewed."""
    person = world.person()
    old = obtain(world, person)
    stranger = obtain(world, world.person("2221212132"))
    for renews, refused in ((old, "renewal-too-early"), (stranger, "not-found")):
        request_id, code = world.until_code_of(person, world.journey._replace(person, None, None, renews).id)
        with pytest.raises(RemoteProblem, match=refused):
            world.verification.verify(person, request_id, code, None)
        assert world.journey.find(person, request_id).state is RequestState.FAILED
    assert statuses(world, old, stranger) == [ACTIVE, ACTIVE]
    assert len(rows(world, requests)) == 4
    check_invariants(world)


def test_what_an_officer_looks_at_is_recorded(world: World) -> None:
    store_id = obtain(world, world.person())
    found = world.officers.search("o1", ehealth_id="2221212124", serial=None, status=None, limit=10)
    assert [store.id for store in found] == [store_id]
    assert world.officers.show("o2", store_id).id == store_id
    with pytest.raises(NotFound):
        world.officers.show("o2", "none")
    looks = [event for event in rows(world, audit_events) if event["actor"].startswith("officer:")]
    assert [(event["actor"], event["action"], event["ehealth_id"]) for event in looks] == [
        ("officer:o1", "stores-searched", "2221212124"),
        ("officer:o2", "store-shown", "2221212124"),
    ]
    assert looks[0]["details"] == {"serial": None, "status": None, "shown": 1}


def test_a_broken_web_ends_nobody_elses_store(world: World) -> None:
    """With one person's assertion, and another person's store as the one to be renewed."""
    victim = world.person("2221212132")
    theirs = into_window(world, victim)
    attacker = world.person()
    for _ in range(2):  # With no store before, and with one that has ended.
        request = world.journey.start(attacker, None)
        with world.database.write() as connection:
            connection.execute(requests.update().where(requests.c.id == request.id).values(renews=theirs))
        request_id, code = world.until_code_of(attacker, request.id)
        with pytest.raises(RemoteProblem, match="not-found"):
            world.verification.verify(attacker, request_id, code, None)
        assert world.journey.find(attacker, request_id).state is RequestState.FAILED
        assert statuses(world, theirs) == [ACTIVE]
        world.held_stores.deactivate(
            attacker, obtain(world, attacker), DeactivationReason.OTHER, confirmed=True
        )
    check_invariants(world)


def test_a_renewal_that_fails_leaves_the_old_store_as_it_was(world: World) -> None:
    person = world.person()
    old = into_window(world, person)
    world.hold_generations()
    request = world.journey.renew(person, old)
    request_id, code = world.until_code_of(person, request.id)
    world.verification.verify(person, request_id, code, None)
    world.clock.pass_time(minutes=3)
    world.go_on()
    assert world.journey.find(person, request_id).state is RequestState.FAILED
    assert statuses(world, old) == [ACTIVE]
    assert len(rows(world, revocations)) == 0
    check_invariants(world)
    world.held = None
    world.start_issuer()
    renew(world, person, old)
    check_invariants(world)
