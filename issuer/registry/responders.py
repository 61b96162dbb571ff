"""Certificates of the OCSP signer, written down before they are signed like all others (invariant 2)."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.registry.tables import certificates, revocations

PROFILE = "ocsp"


def prepare(
    connection: Connection,
    *,
    serial: str,
    authority: str,
    tbs: bytes,
    not_before: datetime,
    not_after: datetime,
    now: datetime,
) -> None:
    connection.execute(
        certificates.insert().values(
            serial=serial,
            authority=authority,
            profile=PROFILE,
            tbs=tbs,
            not_before=not_before,
            not_after=not_after,
            created_at=now,
        )
    )


def complete(connection: Connection, serial: str, certificate: bytes) -> None:
    connection.execute(
        certificates.update().where(certificates.c.serial == serial).values(certificate=certificate)
    )


def unfinished(connection: Connection, authority: str, before: datetime) -> list[str]:
    """Serials that were written down before then and whose signature never came to be known."""
    query = (
        sa.select(certificates.c.serial)
        .join(revocations, revocations.c.serial == certificates.c.serial, isouter=True)
        .where(
            certificates.c.authority == authority,
            certificates.c.profile == PROFILE,
            certificates.c.certificate.is_(None),
            certificates.c.created_at < before,
            revocations.c.serial.is_(None),
        )
    )
    return list(connection.execute(query).scalars())


def valid(connection: Connection, authority: str, now: datetime) -> list[bytes]:
    """DER of those that are valid now and not revoked, the one that ends last first."""
    query = (
        sa.select(certificates.c.certificate)
        .join(revocations, revocations.c.serial == certificates.c.serial, isouter=True)
        .where(
            certificates.c.authority == authority,
            certificates.c.profile == PROFILE,
            certificates.c.certificate.is_not(None),
            certificates.c.not_before <= now,
            certificates.c.not_after > now,
            revocations.c.serial.is_(None),
        )
        .order_by(certificates.c.not_after.desc())
    )
    return list(connection.execute(query).scalars())
