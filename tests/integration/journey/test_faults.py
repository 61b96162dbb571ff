"""Whatever fails, and whenever: the person's next start works, and no phantom store is active.

A journey is walked again and again, and each time another statement, commit, or moment after
a commit fails, in whichever database it is. What failed may go on, or its process may have
died there. Afterwards everything that runs by itself has its turn, and the person starts over.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from api.journey.steps import Person
from api.journey.tables import journey_events
from api.journey.tokens import base64url
from api.problems import RemoteProblem, problem_of
from hsm.token import Token
from issuer.audit.events import record
from issuer.errors import CaUnavailable
from issuer.registry.database import Database
from issuer.registry.tables import audit_events, certificates, stores
from policies.errors import ActiveStoreExists
from policies.lifecycle import RequestState, StoreStatus
from policies.reasons import DeactivationReason
from tests.fixtures.faults import Faults, broken
from tests.fixtures.invariants import check_invariants, rows
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.world import World

Way = Callable[[World, Person], None]

OWN_TOKEN = base64url(b"t" * 32)
EVERY = 13
"""Of the fast suite; the slow one takes them all."""


class Died(BaseException):
    """The process ended there: nobody catches this, and nobody tidies up."""


def die() -> None:
    raise Died


def journey(world: World, person: Person) -> None:
    """All of it, and the store's end."""
    request_id, code = world.until_code(person)
    world.verification.verify(person, request_id, code, OWN_TOKEN)
    world.go_on()
    world.journey.find(person, request_id)
    for part in ("password", "keystore"):
        world.journey.fetch(person, request_id, part, OWN_TOKEN)  # type: ignore[arg-type]
    world.journey.complete(person, request_id)
    (held,) = world.held_stores.all_of(person)
    world.held_stores.deactivate(person, held.store.id, DeactivationReason.OTHER, confirmed=True)


def changes_of_mind(world: World, person: Person) -> None:
    """A store that is started over before it was fetched, and one that is cancelled while it is made."""
    world.until_ready(person)
    request_id, code = world.until_code(person)
    world.verification.verify(person, request_id, code, None)
    world.journey.cancel(person, request_id)


WAYS = (journey, changes_of_mind)


def recover(world: World, person: Person) -> None:
    """What runs by itself has its turn; then the person starts over, and comes to a store."""
    check_invariants_but_progress(world, person)
    world.reaper.round()
    world.journey.sweep()
    check_invariants(world, [person.ehealth_id])
    try:
        world.journey.start(person)
    except ActiveStoreExists:
        # No phantom: its holder went home with it.
        (held,) = (one for one in world.held_stores.all_of(person) if one.store.status is StoreStatus.ACTIVE)
        assert held.delivered
        assert world.journey.find(person, held.store.request_id).state is RequestState.DELIVERED
        world.held_stores.deactivate(person, held.store.id, DeactivationReason.OTHER, confirmed=True)
    request_id, _ = world.until_ready(person)
    assert world.journey.find(person, request_id).state is RequestState.READY
    check_invariants(world, [person.ehealth_id])


def check_invariants_but_progress(world: World, person: Person) -> None:
    """Right after the fault: each database by itself holds together."""
    active = Counter(
        store["status"] for store in rows(world, stores, stores.c.ehealth_id == person.ehealth_id)
    )
    assert active[StoreStatus.ACTIVE] + active[StoreStatus.ISSUING] <= 1


def walk_with(world: World, way: Way, faults: Faults, number: int, act: Callable[[], None], who: str) -> bool:
    """One journey with one fault; False where the journey was over before it."""
    person = world.person(who)
    world.hold_generations()
    said = "done"
    with faults.at(number, act):
        try:
            way(world, person)
        except Died:
            world.start_issuer()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be one that clients understand
            said = problem_of(error).code
    assert said in ("done", "ca-unavailable", "wrong-state")
    world.go_on()
    recover(world, person)
    return faults.happened


def people() -> Iterator[str]:
    return (f"{number:010d}" for number in range(1, 10**6))


@pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("death", [False, True])
def test_a_database_may_fail_now_and_then(world: World, death: bool, way: Way) -> None:
    _fail_at_each(world, way, range(1 + 4 * death, 10**6, EVERY), death)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("death", [False, True])
def test_a_database_may_fail_at_any_moment(world: World, death: bool, way: Way) -> None:
    assert _fail_at_each(world, way, range(1, 10**6), death) > 100


def _fail_at_each(world: World, way: Way, numbers: range, death: bool) -> int:
    faults = Faults(world.registry, world.database)
    who = people()
    for tried, number in enumerate(numbers):
        if not walk_with(world, way, faults, number, die if death else broken, next(who)):
            check_invariants(world)
            return tried
    raise AssertionError("a journey without end")


@pytest.mark.parametrize("world_urls", ["postgresql"], indirect=True)
def test_postgresql_may_throw_everybody_out(world: World, postgres_server: PostgresServer) -> None:
    """Connections are killed in the middle: of a statement's transaction, of a commit."""
    name = world.registry.url.database

    def kill() -> None:
        postgres_server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
        )

    faults = Faults(world.registry, world.database)
    who = people()
    killed = 0
    for number in range(2, 10**6, EVERY):
        if not walk_with(world, journey, faults, number, kill, next(who)):
            break
        killed += 1
    assert killed > 10
    check_invariants(world)


@contextlib.contextmanager
def each_connection(database: Database, statement: str) -> Iterator[None]:
    """Whoever connects from now on begins with it."""

    def begin(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        if not database.is_sqlite:
            connection.commit()

    database.engine.dispose()
    sa.event.listen(database.engine, "connect", begin)
    try:
        yield
    finally:
        sa.event.remove(database.engine, "connect", begin)
        database.engine.dispose()


@contextlib.contextmanager
def locked(database: Database) -> Iterator[None]:
    """Somebody else writes, and does not end; nobody has the patience that is usual."""
    patience = "PRAGMA busy_timeout = 50" if database.is_sqlite else "SET lock_timeout = '50ms'"
    other = sa.create_engine(database.url, poolclass=sa.NullPool)
    with each_connection(database, patience), other.connect() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            found = connection.exec_driver_sql(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s", (database.channel,)
            )
            for table in list(found.scalars()):
                connection.exec_driver_sql(f"LOCK TABLE {database.channel}.{table} IN EXCLUSIVE MODE")
        yield


@contextlib.contextmanager
def full(database: Database, events: sa.Table) -> Iterator[None]:
    """SQLite: the file may not grow by a page, and the pages that are there are full."""
    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    with each_connection(database, f"PRAGMA max_page_count = {pages + 1}"):
        for size in (1000, 100, 10, 1):
            with contextlib.suppress(sa.exc.OperationalError):
                while True:
                    with database.write() as connection:
                        record(
                            connection,
                            events,
                            at=datetime(2027, 1, 1, tzinfo=UTC),
                            actor="filler",
                            action="filled",
                            object_id="nothing",
                            details={"x": "x" * size},
                        )
        yield


def try_everything(world: World, person: Person, begun_id: str, code: str) -> list[str]:
    """Each call of the journey, and how it ended."""
    calls: list[Callable[[], object]] = [
        lambda: world.journey.find(person, begun_id),
        lambda: world.verification.resend(person, begun_id),
        lambda: world.verification.verify(person, begun_id, code, OWN_TOKEN),
        lambda: world.go_on(),
        lambda: world.journey.complete(person, begun_id),
        lambda: world.journey.cancel(person, begun_id),
        lambda: world.journey.start(person),
        lambda: world.reaper.round(),
    ]
    outcomes = []
    for call in calls:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be one that clients understand
            outcomes.append(problem_of(error).code)
    return outcomes


@pytest.mark.parametrize("state", [RequestState.CODE_SENT, RequestState.GENERATING, RequestState.READY])
@pytest.mark.parametrize("which", ["registry", "database"])
def test_a_locked_database_is_waited_for_and_then_said_to_be_unavailable(
    world: World, which: str, state: RequestState
) -> None:
    person = world.person()
    begun = world.until_state(person, state)
    database: Database = getattr(world, which)
    with locked(database):
        outcomes = try_everything(world, person, begun.request_id, begun.code)
    assert "ca-unavailable" in outcomes
    assert "internal" not in outcomes
    world.clock.pass_time(seconds=121)
    recover(world, person)


@pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True)
@pytest.mark.parametrize("state", [RequestState.CODE_SENT, RequestState.GENERATING, RequestState.READY])
@pytest.mark.parametrize("which", ["registry", "database"])
def test_a_full_disk_makes_nothing_by_halves(world: World, which: str, state: RequestState) -> None:
    person = world.person()
    begun = world.until_state(person, state)
    database: Database = getattr(world, which)
    with full(database, audit_events if which == "registry" else journey_events):
        outcomes = try_everything(world, person, begun.request_id, begun.code)
    assert "ca-unavailable" in outcomes
    assert "internal" not in outcomes
    world.clock.pass_time(seconds=121)
    recover(world, person)


@contextlib.contextmanager
def pulled(token: Token) -> Iterator[None]:
    """The token's files are elsewhere, and what the module remembers of them is forgotten."""
    configuration = Path(os.environ["SOFTHSM2_CONF"])
    tokens = configuration.parent / "tokens"
    aside = tokens.rename(tokens.with_name("aside"))
    tokens.mkdir()
    try:
        yield
    finally:
        tokens.rmdir()
        aside.rename(tokens)


@pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True)
def test_a_token_that_is_gone_is_said_so_and_comes_back_without_a_restart(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    with pulled(world.token):
        for _ in range(6):
            with pytest.raises(RemoteProblem, match="ca-unavailable"):
                world.verification.verify(person, begun.request_id, begun.code, OWN_TOKEN)
        assert (rows(world, stores), rows(world, certificates)) == ([], [])
        request = world.journey.find(person, begun.request_id)
        assert (request.state, request.attempts_left) == (RequestState.CODE_SENT, 5)
        # What needs no key still works.
        world.journey.start(person)
    check_invariants(world)
    request_id, _ = world.until_ready(person)
    # Gone after the claim: the generation fails, what was prepared is revoked.
    world.journey.cancel(person, request_id)
    world.until_state(person, RequestState.GENERATING)
    with pulled(world.token):
        world.go_on()
    assert {store["status"] for store in rows(world, stores)} == {StoreStatus.REVOKED}
    recover(world, person)


def test_an_order_that_cannot_be_written_is_given_back(world: World) -> None:
    """The registry fails while the order is claimed: nothing was begun, and the same code does."""
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    claim = world.issuance._claim

    def fail(*_: object) -> None:
        raise sa.exc.OperationalError("INSERT", None, Exception("database is locked"))

    world.issuance._claim = fail  # type: ignore[assignment, method-assign]
    with pytest.raises((RemoteProblem, CaUnavailable)) as refused:
        world.verification.verify(person, begun.request_id, begun.code, None)
    assert problem_of(refused.value).code == "ca-unavailable"
    assert not world.issuance.in_hand()
    world.issuance._claim = claim  # type: ignore[method-assign]
    world.verification.verify(person, begun.request_id, begun.code, None)
    world.go_on()
    check_invariants(world)
