"""OCSP answers signed ahead, in batches that a follower reads one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.registry.database import upsert
from issuer.registry.tables import answers, batches, revocations


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    authority: str
    serial: str
    hash_algorithm: str
    status: str
    this_update: datetime
    next_update: datetime
    answer: bytes


_COLUMNS = tuple(answers.c[name] for name in Answer.__dataclass_fields__)


def replace(connection: Connection, authority: str, fresh: Sequence[Answer]) -> None:
    """Put new answers in the place of the old. A ``good`` never replaces a ``revoked`` (invariant 3).

    ``fresh`` is a batch of some hundred: all their serials stand in one query.
    """
    number = sa.select(batches.c.number).where(batches.c.authority == authority)
    upsert(
        connection,
        batches,
        [{"authority": authority, "number": 1}],
        key=("authority",),
        change={"number": batches.c.number + 1},
    )
    batch = connection.execute(number).scalar_one()
    # Asked under the lock on the batch: another publisher's revoked answer is seen here, or comes later.
    serials = {one.serial for one in fresh}
    query = sa.select(revocations.c.serial).where(revocations.c.serial.in_(serials))
    revoked = set(connection.execute(query).scalars())
    rows = [
        {name: getattr(one, name) for name in Answer.__dataclass_fields__} | {"batch": batch}
        for one in fresh
        if one.status == "revoked" or one.serial not in revoked
    ]
    if rows:
        upsert(connection, answers, rows, key=("authority", "serial", "hash_algorithm"))


def after_batch(connection: Connection, authority: str, batch: int) -> Iterator[Answer]:
    """The answers of later batches, from the server as they are read; 0 asks for all."""
    query = sa.select(*_COLUMNS).where(answers.c.authority == authority, answers.c.batch > batch)
    for row in connection.execute(query.execution_options(yield_per=1000)):
        yield Answer(**row._mapping)


def earliest_end(connection: Connection, authority: str) -> datetime | None:
    """When the first of the present answers ends: an alarm long before it passes."""
    query = sa.select(sa.func.min(answers.c.next_update)).where(answers.c.authority == authority)
    return connection.execute(query).scalar()


def drop_ended(connection: Connection, authority: str, before: datetime) -> int:
    """Forget the answers of certificates that have expired: nobody renews them."""
    return connection.execute(
        answers.delete().where(answers.c.authority == authority, answers.c.next_update < before)
    ).rowcount
