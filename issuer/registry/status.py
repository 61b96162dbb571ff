"""Revocations, and what is known of each certificate: the ground of every CRL and OCSP answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.registry.database import insert_unless_conflict
from issuer.registry.tables import answers, batches, certificates, crls, revocations
from policies.reasons import X509Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    revoked_at: datetime
    reason: X509Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A certificate that OCSP answers for, with its revocation if it has one."""

    serial: str
    not_after: datetime
    revocation: Revocation | None


def revoke(
    connection: Connection, *, serial: str, authority: str, reason: X509Reason, entry: bytes, now: datetime
) -> None:
    """Written once and for good: a serial revoked before keeps its first entry.

    On PostgreSQL revocations wait for each other until the transaction ends: so revoke
    late in it, and one serial a transaction where there are many.
    """
    known = sa.select(revocations.c.serial).where(revocations.c.serial == serial)
    highest = sa.select(sa.func.coalesce(sa.func.max(revocations.c.sequence), 0))
    not_after = sa.select(certificates.c.not_after).where(certificates.c.serial == serial)
    while connection.execute(known).first() is None:
        # Who else took this number keeps the insert waiting until the number is committed,
        # or free again. So numbers have no gaps and are seen in their order.
        insert_unless_conflict(
            connection,
            revocations,
            serial=serial,
            authority=authority,
            revoked_at=now,
            reason=reason,
            not_after=not_after.scalar_subquery(),
            entry=entry,
            sequence=connection.execute(highest).scalar_one() + 1,
        )


# Followers ask these two at every commit: built once, for building costs more than asking.
_AUTHORITY = sa.bindparam("authority", type_=sa.Text)
_LAST_REVOCATION = sa.select(sa.func.coalesce(sa.func.max(revocations.c.sequence), 0)).where(
    revocations.c.authority == _AUTHORITY
)
_LAST_BATCH = sa.select(batches.c.number).where(batches.c.authority == _AUTHORITY)
_LAST_CRL = sa.select(sa.func.max(crls.c.number)).where(
    crls.c.authority == _AUTHORITY, crls.c.crl.is_not(None)
)
_MARKS = sa.select(
    _LAST_REVOCATION.scalar_subquery(),
    sa.func.coalesce(_LAST_BATCH.scalar_subquery(), 0),
    sa.func.coalesce(_LAST_CRL.scalar_subquery(), 0),
)


def last_revocation(connection: Connection, authority: str) -> int:
    """The highest sequence of this authority's revocations; 0 where there is none."""
    last: int = connection.execute(_LAST_REVOCATION, {"authority": authority}).scalar_one()
    return last


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """How far an authority's status has come. They only rise; while they stand there is nothing new."""

    revocation: int
    batch: int
    crl: int


def marks(connection: Connection, authority: str) -> Marks:
    """One statement that costs the same whatever the number of certificates; 0 for what there is none of."""
    revocation, batch, crl = connection.execute(_MARKS, {"authority": authority}).one()
    return Marks(revocation=revocation, batch=batch, crl=crl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the status service may know of a revocation."""

    sequence: int
    serial: str
    revoked_at: datetime
    not_after: datetime


def revoked_after(connection: Connection, authority: str, sequence: int) -> list[Ended]:
    """The revocations after that one, in their order."""
    query = (
        sa.select(*(revocations.c[name] for name in Ended.__dataclass_fields__))
        .where(revocations.c.authority == authority, revocations.c.sequence > sequence)
        .order_by(revocations.c.sequence)
    )
    return [Ended(**row._mapping) for row in connection.execute(query)]


def oldest_revocation_after(connection: Connection, authority: str, sequence: int) -> datetime | None:
    """When the first revocation after that one was made: what a CRL that covers it has yet to tell."""
    query = (
        sa.select(revocations.c.revoked_at)
        .where(revocations.c.authority == authority, revocations.c.sequence > sequence)
        .order_by(revocations.c.sequence)
        .limit(1)
    )
    return connection.execute(query).scalar()


_STANDING = sa.join(certificates, revocations, certificates.c.serial == revocations.c.serial, isouter=True)
_SUBJECT = (
    certificates.c.serial,
    certificates.c.not_after,
    revocations.c.revoked_at,
    revocations.c.reason,
)
# A serial counts as issued when its signature is known, or when it was revoked because it may exist.
_ISSUED = sa.or_(certificates.c.certificate.is_not(None), revocations.c.serial.is_not(None))


def _subject(row: sa.Row[*tuple[Any, ...]]) -> Subject:
    serial, not_after, revoked_at, reason = row
    revocation = None if reason is None else Revocation(revoked_at=revoked_at, reason=X509Reason(reason))
    return Subject(serial=serial, not_after=not_after, revocation=revocation)


def subject(connection: Connection, authority: str, serial: str) -> Subject | None:
    """One certificate's standing; None where the serial was never issued: signed and recorded, or revoked."""
    query = (
        sa.select(*_SUBJECT)
        .select_from(_STANDING)
        .where(certificates.c.authority == authority, certificates.c.serial == serial, _ISSUED)
    )
    row = connection.execute(query).first()
    return None if row is None else _subject(row)


def subjects_due(
    connection: Connection,
    authority: str,
    *,
    now: datetime,
    renew_before: datetime,
    limit: int,
    revoked_after: int | None = None,
    issued_before: datetime | None = None,
) -> Sequence[Subject]:
    """Certificates whose answers are missing, wrong, of the future, or end before ``renew_before``.

    Expired certificates are left out, those whose signing has not ended, and sound ones of OCSP signers.
    ``revoked_after`` asks for revocations after that one alone, oldest first: a look that
    stays cheap whatever the number of certificates. Without it revoked ones come first.
    """
    sound = (
        sa.select(answers.c.serial)
        .where(
            answers.c.authority == certificates.c.authority,
            answers.c.serial == certificates.c.serial,
            answers.c.next_update > renew_before,
            answers.c.this_update <= now,
            answers.c.status == sa.case((revocations.c.serial.is_(None), "good"), else_="revoked"),
        )
        .correlate(certificates, revocations)
        .exists()
    )
    query = (
        sa.select(*_SUBJECT)
        .select_from(_STANDING)
        .where(
            certificates.c.authority == authority,
            sa.or_(certificates.c.profile == "professional", revocations.c.serial.is_not(None)),
            certificates.c.not_after >= now,
            _ISSUED,
            ~sound,
        )
        .limit(limit)
    )
    if issued_before is not None:
        query = query.where(certificates.c.created_at <= issued_before)
    if revoked_after is None:
        query = query.order_by(revocations.c.serial.is_(None))
    else:
        query = query.where(revocations.c.sequence > revoked_after).order_by(revocations.c.sequence)
    return [_subject(row) for row in connection.execute(query)]
