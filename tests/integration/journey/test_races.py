"""However many calls a person makes at once, there is one request, one certificate, one store (R14, R15)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa

from api.journey.tokens import format_delivery_token
from api.problems import RemoteProblem
from issuer.errors import IssuerError
from issuer.registry import tables
from policies.errors import PolicyRefusal
from policies.lifecycle import RequestState, StoreStatus
from policies.reasons import DeactivationReason
from tests.fixtures.world import World

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
    token = format_delivery_token(b"t" * 32)
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
