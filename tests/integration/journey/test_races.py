"""However many calls a person makes at once, there is one request, one certificate, one store (R14, R15)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from api.journey.tokens import base64url
from api.problems import RemoteProblem
from api.texts import Language
from issuer.errors import IssuerError
from issuer.issuance import ending, holding, officers
from issuer.registry import tables
from policies.errors import PolicyRefusal
from policies.lifecycle import RequestState, StoreStatus
from policies.reasons import DeactivationReason, RevocationReason
from tests.fixtures.invariants import check_invariants
from tests.fixtures.world import World, other_than

REFUSALS = (PolicyRefusal, IssuerError, RemoteProblem)


def at_once(count: int, call: Callable[[int], Any]) -> Counter[str]:
    """How the calls ended: ``done``, or the code of the refusal. Anything else fails the test."""

    def one(number: int) -> str:
        try:
            call(number)
        except REFUSALS as refusal:
            return str(refusal.code)
        return "done"

    with ThreadPoolExecutor(min(count, 32)) as threads:
        return Counter(threads.map(one, range(count)))


def certificates(world: World) -> int:
    with world.registry.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(tables.certificates)).scalar_one()


def test_a_hundred_verifications_make_one_certificate(world: World) -> None:
    person = world.person()
    request_id, code = world.until_code(person)
    token = base64url(b"t" * 32)
    ends = at_once(100, lambda _: world.verification.verify(person, request_id, code, token))
    world.settle()
    assert ends["done"] >= 1
    assert set(ends) <= {"done", "wrong-state", "code-locked"}
    assert certificates(world) == 1
    assert world.journey.find(person, request_id).state is RequestState.READY


def test_a_hundred_verifications_without_tokens_give_one_token(world: World) -> None:
    person = world.person()
    request_id, code = world.until_code(person)
    ends = at_once(100, lambda _: world.verification.verify(person, request_id, code, None))
    world.settle()
    assert ends["done"] == 1
    assert certificates(world) == 1


def test_sixty_starts_leave_one_request_that_can_be_finished(world: World) -> None:
    person = world.person()
    ends = at_once(60, lambda _: world.journey.start(person))
    assert set(ends) <= {"done", "too-many-requests"}
    current = world.journey.current(person)
    assert current is not None
    world.until_ready(person)
    assert certificates(world) == 1


def test_starts_and_whole_journeys_of_one_person_leave_one_active_store(world: World) -> None:
    def journey(_: int) -> None:
        person = world.person()
        request_id, code = world.until_code(person, "one@example.com")
        world.verification.verify(person, request_id, code, None)

    at_once(24, journey)
    world.settle()
    with world.registry.read() as connection:
        found = Counter(connection.execute(sa.select(tables.stores.c.status)).scalars())
        revoked = connection.execute(sa.select(sa.func.count()).select_from(tables.revocations)).scalar_one()
    assert found[StoreStatus.ACTIVE] <= 1
    assert found[StoreStatus.ISSUING] == 0
    # Whatever was signed and is not active is revoked.
    assert certificates(world) == revoked + found[StoreStatus.ACTIVE]


def test_deactivations_at_once_revoke_once(world: World) -> None:
    person = world.person()
    world.until_ready(person)
    (held,) = world.held_stores.all_of(person)
    ends = at_once(
        20,
        lambda _: world.held_stores.deactivate(
            person, held.store.id, DeactivationReason.OTHER, confirmed=True
        ),
    )
    assert ends == {"done": 1, "already-deactivated": 19}


@pytest.mark.parametrize("deed", ["abandon", "officer", "reaper"])
def test_a_serial_prepared_while_its_store_is_ended_does_not_escape(
    world: World, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was looked at, and is ended a moment later: the generation goes on in between, or waits."""
    person = world.person()
    begun = world.until_state(person, RequestState.GENERATING)
    module = {"abandon": holding, "officer": officers, "reaper": ending}[deed]
    real = ending.end_store
    making = threading.Thread(target=world.go_on)

    def end_store(*arguments: Any, **options: Any) -> Any:
        making.start()
        making.join(0.5)  # Where it does not have to wait, it has happened by then.
        return real(*arguments, **options)

    monkeypatch.setattr(module, "end_store", end_store)
    if deed == "abandon":
        world.journey.cancel(person, begun.request_id)
    elif deed == "officer":
        (held,) = world.held_stores.all_of(person)
        world.officers.revoke([held.store.id], RevocationReason.INCIDENT, "o", dry_run=False)
    else:
        world.clock.pass_time(seconds=116)
        world.reaper.round()
    making.join()
    check_invariants(world)
    (held,) = world.held_stores.all_of(person)
    assert held.store.status is StoreStatus.REVOKED


def test_many_resends_and_addresses_at_once_send_what_the_caps_allow(world: World) -> None:
    world.journey_config = msgspec.structs.replace(world.journey_config, sends_per_request=5)
    world.start_web()
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    world.clock.pass_time(seconds=31)
    ends = at_once(16, lambda _: world.verification.resend(person, begun.request_id))
    # One went out, and the pause was on for everybody else.
    assert ends == {"done": 1, "too-many-requests": 15}
    assert len(world.mail.messages) == 2
    ends = at_once(
        16,
        lambda n: world.verification.set_email(
            person, begun.request_id, f"a{n}@example.com", "modern", Language.FRENCH
        ),
    )
    assert set(ends) <= {"done", "too-many-requests", "wrong-state"}
    assert len(world.mail.messages) == 5
    # The code that counts is the one of the address that counts.
    found = world.journey.find(person, begun.request_id)
    code = world.mail.last_code_to(found.email or "")
    world.verification.verify(person, begun.request_id, code, None)


def test_tries_at_once_are_five_and_a_right_one_among_them_counts(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    wrong = other_than(begun.code)
    ends = at_once(32, lambda _: world.verification.verify(person, begun.request_id, wrong, None))
    assert ends == {"code-invalid": 5, "code-locked": 27}
    begun = world.until_state(person, RequestState.CODE_SENT)
    wrong = other_than(begun.code)
    ends = at_once(
        5,
        lambda n: world.verification.verify(person, begun.request_id, wrong if n else begun.code, None),
    )
    assert ends.pop("done") == 1
    assert set(ends) <= {"code-invalid", "wrong-state"}
    world.go_on()
    assert world.journey.find(person, begun.request_id).state is RequestState.READY


def test_fetches_completions_and_ends_at_once(world: World) -> None:
    """Each takes the store's lock before the delivery's, so that nobody waits in a circle."""
    for _ in range(5):
        _everything_at_once(world)


def _everything_at_once(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.READY)
    (store_id,) = (h.store.id for h in world.held_stores.all_of(person) if h.store.ended_at is None)
    deeds: list[Callable[[], Any]] = [
        lambda: world.journey.fetch(person, begun.request_id, "password", begun.token),
        lambda: world.journey.fetch(person, begun.request_id, "keystore", begun.token),
        lambda: world.journey.complete(person, begun.request_id),
        lambda: world.held_stores.deactivate(person, store_id, DeactivationReason.OTHER, confirmed=True),
        lambda: world.officers.revoke([store_id], RevocationReason.INCIDENT, "o", dry_run=False),
        lambda: world.journey.cancel(person, begun.request_id),
        lambda: world.journey.start(person),
        lambda: world.reaper.round(),
        lambda: world.journey.sweep(),
    ]
    at_once(18, lambda number: deeds[number % len(deeds)]())
    check_invariants(world)


def test_officers_with_overlapping_lists_do_not_wait_in_a_circle(world: World) -> None:
    people = [world.person(f"222121214{number}") for number in range(4)]
    ids = []
    for person in people:
        world.until_ready(person)
        ids.append(world.held_stores.all_of(person)[0].store.id)
    lists = [ids[::-1] if number % 2 else ids for number in range(8)]
    ends = at_once(
        8,
        lambda number: world.officers.revoke(lists[number], RevocationReason.INCIDENT, "o", dry_run=False),
    )
    assert ends == {"done": 1, "already-deactivated": 7}
    check_invariants(world)
