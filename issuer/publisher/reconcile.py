"""Whether what is published is what the registry says: registry, CRL and OCSP answers compared.

A moment's delay between a revocation and its publication is no difference: only revocations
older than ``settled`` are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from cryptography.x509 import ocsp as x509_ocsp
from sqlalchemy.engine import Connection

from issuer.issuance.crl import crl_entries, verify_crl
from issuer.issuance.errors import CrlRefused
from issuer.issuance.templates import Issuer, serial_text
from issuer.registry import crls
from issuer.registry.tables import answers, certificates, revocations

SETTLED = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    where: str
    what: str


def compare(connection: Connection, issuer: Issuer, now: datetime) -> list[Difference]:
    """Everything that differs, for one authority. Reads all of its revocations and answers."""
    return [*_crl(connection, issuer, now), *_answers(connection, issuer.name, now)]


def _crl(connection: Connection, issuer: Issuer, now: datetime) -> Iterator[Difference]:
    current = crls.current(connection, issuer.name)
    der = None if current is None else crls.read(connection, issuer.name, current.number)
    if current is None or der is None:
        yield Difference(where="crl", what="none is published")
        return
    if now >= current.next_update:
        yield Difference(where="crl", what=f"number {current.number} ended at {current.next_update}")
    try:
        verify_crl(der, issuer, previous_number=None)
    except CrlRefused as refusal:
        yield Difference(where="crl", what=f"number {current.number}: {refusal}")
        return
    listed = {serial_text(serial) for serial in crl_entries(der)}
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
    revoked = _revoked(connection, authority)
    query = sa.select(answers.c.serial, answers.c.hash_algorithm, answers.c.answer).where(
        answers.c.authority == authority
    )
    for serial, hash_algorithm, der in connection.execute(query):
        said = x509_ocsp.load_der_ocsp_response(der).certificate_status
        which = f"{serial} ({hash_algorithm})"
        if serial not in revoked and said is not x509_ocsp.OCSPCertStatus.GOOD:
            yield Difference(where="ocsp", what=f"{which} is not revoked, the answer is {said}")
        settled = serial in revoked and revoked[serial][0] <= now - SETTLED
        if settled and said is not x509_ocsp.OCSPCertStatus.REVOKED:
            yield Difference(where="ocsp", what=f"{which} is revoked, the answer is {said}")


def _revoked(connection: Connection, authority: str) -> dict[str, tuple[datetime, datetime]]:
    """serial → when it was revoked, and when it ends."""
    query = (
        sa.select(revocations.c.serial, revocations.c.revoked_at, certificates.c.not_after)
        .join(certificates, certificates.c.serial == revocations.c.serial)
        .where(revocations.c.authority == authority)
    )
    return {serial: (revoked_at, not_after) for serial, revoked_at, not_after in connection.execute(query)}
