"""Mails before a store expires: once each, whatever restarts, and no backlog (R24)."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from issuer.issuance.reminders import remind
from issuer.registry.tables import outbox, stores
from policies.reasons import DeactivationReason
from tests.fixtures.world import World


def sent(world: World) -> list[tuple[int, str]]:
    query = (
        sa.select(outbox.c.reminder, outbox.c.parameters)
        .where(outbox.c.event == "expiring")
        .order_by(outbox.c.created_at)
    )
    with world.registry.read() as connection:
        return [(row.reminder, row.parameters["days"]) for row in connection.execute(query)]


def obtain(world: World) -> str:
    person = world.person()
    request_id, _ = world.until_ready(person)
    store = world.journey.find(person, request_id).store_id
    assert store is not None
    with world.registry.read() as connection:
        not_after = connection.execute(sa.select(stores.c.not_after)).scalar_one()
    world.clock.now = not_after - timedelta(days=91)
    return store


def test_one_each_in_their_days(world: World) -> None:
    obtain(world)
    for _ in range(91 * 2):
        # A new run each time: what was sent is known by the registry alone.
        for _ in range(2):
            remind(world.registry, world.clock())
        world.clock.pass_time(hours=12)
    assert sent(world) == [(90, "90"), (30, "30"), (7, "7"), (1, "1")]


def test_after_a_long_stop_the_nearest_alone(world: World) -> None:
    obtain(world)
    world.clock.pass_time(days=86)
    assert [remind(world.registry, world.clock()) for _ in range(3)] == [1, 0, 0]
    assert sent(world) == [(7, "5")]


def test_an_ended_store_is_not_spoken_of(world: World) -> None:
    store = obtain(world)
    world.held_stores.deactivate(world.person(), store, DeactivationReason.REPLACED, confirmed=True)
    world.clock.pass_time(days=60)
    assert remind(world.registry, world.clock()) == 0


def test_the_reaper_reminds(world: World) -> None:
    obtain(world)
    world.clock.pass_time(days=2)
    world.reaper.round()
    assert sent(world) == [(90, "89")]
