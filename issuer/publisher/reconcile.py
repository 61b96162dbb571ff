"""Whether what is published says what the registry says: registry, CRL and OCSP answers compared.

A moment's delay before publication is no difference: what is younger than ``SETTLED`` is not looked for.
What is published is read first and the registry after it, so that what is committed in between is
never taken for a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from cryptography import x509
from cryptography.x509 import ocsp
from sqlalchemy.engine import Connection

from issuer.issuance.crl import verify_crl
from issuer.issuance.errors import CrlRefused
from issuer.issuance.templates import Issuer, serial_text
from issuer.registry import answers, crls, status
from issuer.registry.tables import revocations

SETTLED = timedelta(seconds=5)
_ANSWERED = timedelta(minutes=1)
"""A certificate may be issued, or all answers be renewed, at a time when much else is to be signed."""
_MOST_MISSING = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    where: str
    what: str


def compare(
    connection: Connection,
    issuer: Issuer,
    now: datetime,
    *,
    crl_until: datetime | None = None,
    answers_until: datetime | None = None,
) -> list[Difference]:
    """Everything that differs, for one authority. Reads all of its revocations and answers: 20 µs each.

    What is published must reach to ``crl_until`` and ``answers_until`` (now, where nothing is said).
    """
    return [
        *_crl(connection, issuer, now, crl_until or now),
        *_answers(connection, issuer.name, now),
        *_missing(connection, issuer.name, now, answers_until or now),
    ]


def _crl(connection: Connection, issuer: Issuer, now: datetime, until: datetime) -> Iterator[Difference]:
    current = crls.current(connection, issuer.name)
    der = None if current is None else crls.read(connection, issuer.name, current.number)
    if current is None or der is None:
        yield Difference(where="crl", what="none is published")
        return
    if current.next_update <= until:
        yield Difference(where="crl", what=f"number {current.number} ends at {current.next_update}")
    try:
        verify_crl(der, issuer, previous_number=None)
    except CrlRefused as refusal:
        yield Difference(where="crl", what=f"number {current.number}: {refusal}")
        return
    listed = {serial_text(entry.serial_number) for entry in x509.load_der_x509_crl(der)}
    revoked = _revoked(connection, issuer.name)
    due = {
        serial
        for serial, (revoked_at, not_after) in revoked.items()
        if revoked_at <= now - SETTLED and not_after >= now
    }
    for serial in sorted(due - listed):
        yield Difference(where="crl", what=f"{serial} is revoked and not listed")
    for serial in sorted(listed - revoked.keys()):
        yield Difference(where="crl", what=f"{serial} is listed and not revoked")


def _answers(connection: Connection, authority: str, now: datetime) -> Iterator[Difference]:
    """Each stored answer, read from its bytes, against the registry."""
    said: dict[tuple[str, str], str] = {}
    for stored in answers.after_batch(connection, authority, 0):
        which = stored.serial, stored.hash_algorithm
        try:
            answer = ocsp.load_der_ocsp_response(stored.answer)
            found = serial_text(answer.serial_number), answer.hash_algorithm.name
            said[which] = answer.certificate_status.name if found == which else "another certificate's"
        except ValueError:
            said[which] = "no answer at all"
    revoked = _revoked(connection, authority)
    for (serial, hash_algorithm), status_said in said.items():
        if serial in revoked and revoked[serial][0] > now - SETTLED:
            continue
        if status_said != ("REVOKED" if serial in revoked else "GOOD"):
            standing = "is revoked" if serial in revoked else "is not revoked"
            what = f"{serial} ({hash_algorithm}) {standing}, the answer is {status_said}"
            yield Difference(where="ocsp", what=what)


def _missing(connection: Connection, authority: str, now: datetime, until: datetime) -> Iterator[Difference]:
    due = status.subjects_due(
        connection,
        authority,
        now=now,
        renew_before=until,
        limit=_MOST_MISSING,
        issued_before=now - _ANSWERED,
    )
    for subject in due:
        if subject.revocation is None or subject.revocation.revoked_at <= now - _ANSWERED:
            yield Difference(where="ocsp", what=f"{subject.serial} has no answer that holds until {until}")


def _revoked(connection: Connection, authority: str) -> dict[str, tuple[datetime, datetime]]:
    """serial → when it was revoked, and when it ends."""
    query = sa.select(revocations.c.serial, revocations.c.revoked_at, revocations.c.not_after).where(
        revocations.c.authority == authority
    )
    return {serial: (revoked_at, not_after) for serial, revoked_at, not_after in connection.execute(query)}
