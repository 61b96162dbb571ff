"""Who waits for a store is told when it is settled, by whatever process settled it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from api.web.waiting import Settlements
from issuer.registry.database import Database
from issuer.registry.orders import claim
from issuer.registry.tables import stores
from policies.lifecycle import StoreStatus
from policies.renewal import RenewalRules
from tests.fixtures.registries import OpenRegistry

NOW = datetime(2027, 3, 1, tzinfo=UTC)


def begin_store(registry: Database, request_id: str, number: int = 0) -> None:
    new = dict(  # noqa: C408 - columns, not keys
        id=str(uuid.uuid4()),
        request_id=request_id,
        ehealth_id=f"{2221350001 + number}",
        given_name="EDOUARD",
        family_name="GUERRA",
        profession_code="PS-001",
        profession_label=None,
        email="a@example.com",
        language="fr",
        key_type="p-256",
        keystore_profile="modern",
        terms_version="1",
        terms_language="fr",
        terms_sha256="0" * 64,
        terms_accepted_at=NOW,
        recipient=bytes(32),
        run=str(uuid.uuid4()),
        renews=None,
    )
    with registry.write() as connection:
        claim(connection, new, RenewalRules(), NOW)


def settle_store(registry: Database, request_id: str) -> None:
    with registry.write() as connection:
        changed = connection.execute(
            sa.update(stores).where(stores.c.request_id == request_id).values(status=StoreStatus.REVOKED)
        )
        assert changed.rowcount == 1


@pytest.fixture
def settlements(open_registry: OpenRegistry) -> Iterator[Settlements]:
    made = Settlements(open_registry(read_only=True), most=6, most_of_request=2)
    yield made
    made.close()


async def waits(settlements: Settlements, request_id: str, seconds: float = 120) -> float:
    """How long it took; -1 where there was no place."""
    begun = time.monotonic()
    return time.monotonic() - begun if await settlements.wait(request_id, seconds) else -1.0


def test_each_is_woken_by_its_own_store(registry: Database, settlements: Settlements) -> None:
    requests = [str(uuid.uuid4()) for _ in range(3)]
    for number, request in enumerate(requests):
        begin_store(registry, request, number)

    async def run() -> None:
        first, second, third = (asyncio.create_task(waits(settlements, request)) for request in requests)
        await asyncio.sleep(0.5)  # It is to be seen that nobody is woken without reason.
        assert not any(task.done() for task in (first, second, third))
        await asyncio.to_thread(settle_store, registry, requests[1])
        assert 0.4 < await second < 60
        assert not first.done()
        await asyncio.to_thread(settle_store, registry, requests[0])
        assert await first < 60
        settlements.close()
        assert await third < 60

    asyncio.run(run())


def test_a_store_that_is_settled_already_is_not_waited_for(
    registry: Database, settlements: Settlements
) -> None:
    request = str(uuid.uuid4())
    begin_store(registry, request)
    settle_store(registry, request)

    async def run() -> None:
        # Twice: the second follower begins where the first has ended.
        assert 0 <= await waits(settlements, request) < 60
        assert 0 <= await waits(settlements, request) < 60

    asyncio.run(run())


def test_the_time_that_was_asked_for_ends_it(settlements: Settlements) -> None:
    assert 0.2 <= asyncio.run(waits(settlements, str(uuid.uuid4()), 0.2)) < 60


def test_places_are_limited_in_all_and_for_each_request(settlements: Settlements) -> None:
    one, others = str(uuid.uuid4()), [str(uuid.uuid4()) for _ in range(4)]

    async def run() -> None:
        waiting = [asyncio.create_task(waits(settlements, request)) for request in (one, one, *others)]
        await asyncio.sleep(0)
        assert await waits(settlements, one) == -1
        assert await waits(settlements, str(uuid.uuid4())) == -1
        for task in waiting[1:]:
            task.cancel()
        await asyncio.gather(*waiting[1:], return_exceptions=True)
        assert 0.05 <= await waits(settlements, one, 0.05) < 60
        settlements.close()
        assert await waiting[0] >= 0
        assert await waits(settlements, one) == -1

    asyncio.run(run())


def test_a_registry_that_is_gone_lets_everybody_go(registry: Database, settlements: Settlements) -> None:
    with registry.write() as connection:
        connection.execute(sa.text("ALTER TABLE stores RENAME TO elsewhere"))
    assert 0 <= asyncio.run(waits(settlements, str(uuid.uuid4()))) < 60
