"""A registry of any size without issuing: certificates are rows, the PKI and its signatures are real."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path

from issuer.clock import system_clock
from issuer.issuance.crl import encode_entry
from issuer.issuance.templates import serial_text
from issuer.publisher.config import PublisherConfig
from issuer.registry.database import Database
from issuer.registry.migrate import SCRIPTS, upgrade
from issuer.registry.tables import certificates, revocations
from policies.reasons import X509Reason
from tests.fixtures.pki import HandClock, Pki
from tests.fixtures.publication import Site, build_site

YEAR = timedelta(days=365)


def make_site(folder: Path, *, good: int, revoked: int = 0) -> tuple[Site, list[int]]:
    """The site, nothing published yet, and its serials: those that are good first."""
    folder.mkdir()
    clock = HandClock(system_clock() - timedelta(seconds=5))
    database = Database(f"sqlite:///{folder / 'registry.db'}", channel="registry")
    upgrade(database, SCRIPTS)
    pki = Pki.make(clock())
    pki.write(folder / "pki", clock())
    serials = [secrets.randbits(127) | 1 << 126 for _ in range(good + revoked)]
    now = clock()
    reasons = [X509Reason.KEY_COMPROMISE, X509Reason.SUPERSEDED, X509Reason.UNSPECIFIED]
    with database.write() as connection:
        connection.execute(
            certificates.insert(),
            [
                {
                    "serial": serial_text(serial),
                    "authority": "issuing",
                    "profile": "professional",
                    "tbs": b"tbs",
                    "certificate": b"certificate",
                    "not_before": now,
                    "not_after": now + YEAR,
                    "created_at": now,
                }
                for serial in serials
            ],
        )
        rows = [
            {
                "serial": serial_text(serial),
                "authority": "issuing",
                "revoked_at": now,
                "reason": reasons[sequence % 3],
                "not_after": now + YEAR,
                "entry": encode_entry(serial, now, reasons[sequence % 3]),
                "sequence": sequence,
            }
            for sequence, serial in enumerate(serials[good:], 1)
        ]
        if rows:
            connection.execute(revocations.insert(), rows)
    return build_site(database, pki, clock, PublisherConfig()), serials
