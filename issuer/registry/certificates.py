"""Certificates, written down before they are signed (invariant 2); and those of the OCSP signer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from issuer.registry.tables import certificates, revocations

# Spelt out, because no planner takes a partial index (tables.py) for a parameter.
_OCSP = sa.literal("ocsp", sa.String, literal_execute=True)


def prepare(connection: Connection, intent: Mapping[str, object], now: datetime) -> None:
    """Write the intent to sign: ``issuer.issuance.templates.Template.intent``."""
    connection.execute(certificates.insert(), {**intent, "created_at": now})


def complete(connection: Connection, serial: str, certificate: bytes) -> None:
    connection.execute(
        certificates.update().where(certificates.c.serial == serial).values(certificate=certificate)
    )


def unfinished_responders(connection: Connection, authority: str, before: datetime) -> list[str]:
    """Serials that were written down before then and whose signature never came to be known."""
    query = _unrevoked_responders(certificates.c.serial, authority).where(
        certificates.c.certificate.is_(None), certificates.c.created_at < before
    )
    return list(connection.execute(query).scalars())


def valid_responders(connection: Connection, authority: str, now: datetime) -> list[bytes]:
    """DER of those that are valid now and not revoked, the one that ends last first."""
    query = (
        _unrevoked_responders(certificates.c.certificate, authority)
        .where(
            certificates.c.certificate.is_not(None),
            certificates.c.not_before <= now,
            certificates.c.not_after > now,
        )
        .order_by(certificates.c.not_after.desc())
    )
    return list(connection.execute(query).scalars())


def _unrevoked_responders(column: sa.Column[Any], authority: str) -> sa.Select[tuple[Any]]:
    return (
        sa.select(column)
        .join(revocations, revocations.c.serial == certificates.c.serial, isouter=True)
        .where(
            certificates.c.authority == authority,
            certificates.c.profile == _OCSP,
            revocations.c.serial.is_(None),
        )
    )
