"""CRLs: their numbers only rise, and what was published once is never missing again (invariant 3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.errors import IssuerError
from issuer.registry.database import insert_unless_conflict
from issuer.registry.status import last_revocation
from issuer.registry.tables import crls, revocations


class CrlSuperseded(IssuerError):
    """Another CRL was published meanwhile that is newer, or tells of more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlContent:
    """DER entries, oldest first, and the last revocation that they are known to take in."""

    entries: list[bytes]
    covers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCrl:
    """What is known of a published CRL without reading it: it may be large."""

    authority: str
    number: int
    this_update: datetime
    next_update: datetime
    entries: int
    covers: int


def content(connection: Connection, authority: str, not_expired_at: datetime) -> CrlContent:
    """All revoked certificates that end at ``not_expired_at`` or later.

    ``covers`` is read first: what is committed between the two looks is listed too, and
    merely asked for once more.
    """
    covers = last_revocation(connection, authority)
    query = (
        sa.select(revocations.c.entry)
        .where(revocations.c.authority == authority, revocations.c.not_after >= not_expired_at)
        .order_by(revocations.c.sequence)
    )
    return CrlContent(entries=list(connection.execute(query).scalars()), covers=covers)


def reserve(
    connection: Connection,
    authority: str,
    *,
    this_update: datetime,
    next_update: datetime,
    entries: int,
    covers: int,
) -> int:
    """The next number, written down before anything is signed with it."""
    highest = sa.select(sa.func.coalesce(sa.func.max(crls.c.number), 0)).where(crls.c.authority == authority)
    while True:
        number: int = connection.execute(highest).scalar_one() + 1
        if insert_unless_conflict(
            connection,
            crls,
            authority=authority,
            number=number,
            this_update=this_update,
            next_update=next_update,
            entries=entries,
            covers=covers,
        ):
            return number


def publish(connection: Connection, authority: str, number: int, crl: bytes) -> None:
    """Fill a reserved number, and drop the CRLs before it. Raises CrlSuperseded."""
    rows = connection.execute(
        sa.select(crls.c.number, crls.c.covers, crls.c.crl.is_not(None))
        .where(crls.c.authority == authority)
        .with_for_update()
    ).all()
    covers = {row_number: row_covers for row_number, row_covers, _ in rows}
    published = [row_number for row_number, _, filled in rows if filled]
    if number not in covers or any(number <= other or covers[number] < covers[other] for other in published):
        raise CrlSuperseded(f"CRL {number} of {authority}")
    connection.execute(
        crls.update().where(crls.c.authority == authority, crls.c.number == number).values(crl=crl)
    )
    connection.execute(crls.delete().where(crls.c.authority == authority, crls.c.number < number))


def current(connection: Connection, authority: str) -> PublishedCrl | None:
    query = (
        sa.select(*(crls.c[name] for name in PublishedCrl.__dataclass_fields__))
        .where(crls.c.authority == authority, crls.c.crl.is_not(None))
        .order_by(crls.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else PublishedCrl(**row._mapping)


def read(connection: Connection, authority: str, number: int) -> bytes | None:
    """The DER of a published CRL; None where a newer one has taken its place."""
    query = sa.select(crls.c.crl).where(crls.c.authority == authority, crls.c.number == number)
    return connection.execute(query).scalar()
