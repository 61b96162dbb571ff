"""What relying services are told: revocations, CRLs, and OCSP answers signed ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.registry.tables import answers, certificates, crls, revocations
from policies.reasons import X509Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    serial: str
    revoked_at: datetime
    reason: X509Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCrl:
    authority: str
    number: int
    this_update: datetime
    next_update: datetime
    entries: int
    crl: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A certificate that OCSP answers for, with its revocation if it has one."""

    serial: str
    not_after: datetime
    revocation: Revocation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    authority: str
    serial: str
    hash_algorithm: str
    status: str
    this_update: datetime
    next_update: datetime
    answer: bytes


def revoke(
    connection: Connection, *, serial: str, authority: str, reason: X509Reason, entry: bytes, now: datetime
) -> None:
    """Written once and for good: a serial revoked before keeps its first entry."""
    if connection.execute(sa.select(revocations.c.serial).where(revocations.c.serial == serial)).first():
        return
    connection.execute(
        revocations.insert().values(
            serial=serial, authority=authority, revoked_at=now, reason=reason, entry=entry
        )
    )


def crl_entries(connection: Connection, authority: str, now: datetime) -> list[bytes]:
    """DER entries of all revoked certificates that have not expired, by serial (invariant 3)."""
    query = (
        sa.select(revocations.c.entry)
        .join(certificates, certificates.c.serial == revocations.c.serial)
        .where(revocations.c.authority == authority, certificates.c.not_after >= now)
        .order_by(revocations.c.serial)
    )
    return list(connection.execute(query).scalars())


def reserve_crl_number(
    connection: Connection, authority: str, *, this_update: datetime, next_update: datetime, entries: int
) -> int:
    """The next number, written down before anything is signed with it."""
    highest = sa.select(sa.func.max(crls.c.number)).where(crls.c.authority == authority)
    number = (connection.execute(highest).scalar() or 0) + 1
    connection.execute(
        crls.insert().values(
            authority=authority,
            number=number,
            this_update=this_update,
            next_update=next_update,
            entries=entries,
        )
    )
    return number


def publish_crl(connection: Connection, authority: str, number: int, crl: bytes) -> None:
    """Fill a reserved number, and drop the CRLs that it supersedes."""
    connection.execute(
        crls.update().where(crls.c.authority == authority, crls.c.number == number).values(crl=crl)
    )
    connection.execute(crls.delete().where(crls.c.authority == authority, crls.c.number < number))


def current_crl(connection: Connection, authority: str) -> PublishedCrl | None:
    query = (
        sa.select(*(crls.c[name] for name in PublishedCrl.__dataclass_fields__))
        .where(crls.c.authority == authority, crls.c.crl.is_not(None))
        .order_by(crls.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else PublishedCrl(**row._mapping)


def unpublished_revocations(connection: Connection, authority: str, since: datetime) -> bool:
    """Whether a revocation is newer than the CRL whose thisUpdate that is."""
    query = sa.select(revocations.c.serial).where(
        revocations.c.authority == authority, revocations.c.revoked_at >= since
    )
    return connection.execute(query.limit(1)).first() is not None


_SUBJECT = (
    certificates.c.serial,
    certificates.c.not_after,
    revocations.c.revoked_at,
    revocations.c.reason,
)


def _subject(row: sa.Row[*tuple[Any, ...]]) -> Subject:
    serial, not_after, revoked_at, reason = row
    revocation = None
    if revoked_at is not None and reason is not None:
        revocation = Revocation(serial=serial, revoked_at=revoked_at, reason=X509Reason(reason))
    return Subject(serial=serial, not_after=not_after, revocation=revocation)


def subject(connection: Connection, authority: str, serial: str) -> Subject | None:
    """One certificate's standing; None where the serial was never issued: signed and recorded, or revoked."""
    query = (
        sa.select(*_SUBJECT)
        .join_from(certificates, revocations, certificates.c.serial == revocations.c.serial, isouter=True)
        .where(
            certificates.c.authority == authority,
            certificates.c.serial == serial,
            sa.or_(certificates.c.certificate.is_not(None), revocations.c.serial.is_not(None)),
        )
    )
    row = connection.execute(query).first()
    return None if row is None else _subject(row)


def subjects_due(
    connection: Connection, authority: str, *, now: datetime, renew_before: datetime, limit: int
) -> Sequence[Subject]:
    """Certificates whose answers are missing, wrong, or end before ``renew_before``; revoked ones first.

    Expired certificates are left out, and so are those whose signing has not ended.
    """
    sound = (
        sa.select(answers.c.serial)
        .where(
            answers.c.authority == certificates.c.authority,
            answers.c.serial == certificates.c.serial,
            answers.c.next_update > renew_before,
            answers.c.status == sa.case((revocations.c.serial.is_(None), "good"), else_="revoked"),
        )
        .correlate(certificates, revocations)
        .exists()
    )
    query = (
        sa.select(*_SUBJECT)
        .join_from(certificates, revocations, certificates.c.serial == revocations.c.serial, isouter=True)
        .where(
            certificates.c.authority == authority,
            certificates.c.profile == "professional",
            certificates.c.not_after >= now,
            sa.or_(certificates.c.certificate.is_not(None), revocations.c.serial.is_not(None)),
            ~sound,
        )
        .order_by(revocations.c.serial.is_(None))
        .limit(limit)
    )
    return [_subject(row) for row in connection.execute(query)]


def replace_answers(connection: Connection, fresh: Sequence[Answer]) -> None:
    """Put new answers in the place of the old. A ``good`` never replaces a ``revoked`` (invariant 3)."""
    for one in fresh:
        key = (
            answers.c.authority == one.authority,
            answers.c.serial == one.serial,
            answers.c.hash_algorithm == one.hash_algorithm,
        )
        revoked = sa.select(revocations.c.serial).where(revocations.c.serial == one.serial)
        if one.status != "revoked" and connection.execute(revoked).first():
            continue
        connection.execute(answers.delete().where(*key))
        connection.execute(
            answers.insert().values({name: getattr(one, name) for name in Answer.__dataclass_fields__})
        )


def answer(connection: Connection, authority: str, serial: str, hash_algorithm: str) -> Answer | None:
    query = sa.select(*(answers.c[name] for name in Answer.__dataclass_fields__)).where(
        answers.c.authority == authority,
        answers.c.serial == serial,
        answers.c.hash_algorithm == hash_algorithm,
    )
    row = connection.execute(query).first()
    return None if row is None else Answer(**row._mapping)


def all_answers(connection: Connection, authority: str) -> Iterator[Answer]:
    query = sa.select(*(answers.c[name] for name in Answer.__dataclass_fields__)).where(
        answers.c.authority == authority
    )
    for row in connection.execute(query):
        yield Answer(**row._mapping)
