"""What has ended, was signed or was published stays so, whatever SQL somebody sends (invariants 1 and 3)."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from issuer.registry.database import Database
from issuer.registry.tables import answers, certificates, crls, revocations, stores
from tests.fixtures.authorities import NOW

_LATER = NOW + timedelta(days=1)
_TIMES = {"not_before": NOW, "not_after": _LATER}


@pytest.fixture
def filled(registry: Database) -> Database:
    """Signed 01 (active), 02 (revoked); 03 has its intent alone. CRLs 1 to 3, of which 2 was published."""
    with registry.write() as connection:
        for serial, certificate in (("01", b"c"), ("02", b"c"), ("03", None)):
            connection.execute(
                certificates.insert().values(
                    serial=serial,
                    authority="issuing",
                    profile="professional",
                    tbs=b"t",
                    certificate=certificate,
                    created_at=NOW,
                    **_TIMES,
                )
            )
        for serial, status in (("01", "active"), ("02", "revoked"), ("03", "issuing")):
            connection.execute(stores.insert().values(_store(serial, status)))
        revoked = {"serial": "02", "authority": "issuing", "revoked_at": NOW, "reason": "superseded"}
        connection.execute(revocations.insert().values(**revoked, not_after=_LATER, entry=b"e", sequence=1))
        for number in (1, 2, 3):
            connection.execute(crls.insert().values(_crl(number, b"crl" if number == 2 else None)))
        for serial, status in (("01", "good"), ("02", "revoked")):
            answer = {"authority": "issuing", "serial": serial, "hash_algorithm": "sha1", "status": status}
            times = {"this_update": NOW, "next_update": _LATER}
            connection.execute(answers.insert().values(**answer, **times, answer=b"a", batch=1))
    return registry


def _store(serial: str, status: str) -> dict[str, object]:
    texts = ("given_name", "family_name", "profession_code", "email", "language", "key_type")
    texts += ("keystore_profile", "terms_version", "terms_sha256", "terms_language", "run")
    return {
        **dict.fromkeys(texts, "x"),
        "id": f"store-{serial}",
        "request_id": f"request-{serial}",
        "ehealth_id": f"person-{serial}",
        "serial": serial,
        "status": status,
        "terms_accepted_at": NOW,
        "recipient": b"r",
        "created_at": NOW,
    }


def _crl(number: int, crl: bytes | None = None) -> dict[str, object]:
    times = {"this_update": NOW, "next_update": _LATER}
    return {"authority": "issuing", "number": number, "entries": 0, "covers": 0, "crl": crl, **times}


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE stores SET status = 'active' WHERE serial = '02'",
        "UPDATE stores SET status = 'expired' WHERE serial = '02'",
        "UPDATE stores SET status = 'active' WHERE serial = '03'",
        "UPDATE stores SET serial = '03' WHERE serial = '01'",
        "UPDATE stores SET ehealth_id = 'another' WHERE serial = '01'",
        "UPDATE stores SET recipient = 'mine' WHERE serial = '03'",
        "DELETE FROM stores WHERE serial = '02'",
        "UPDATE certificates SET certificate = 'other' WHERE serial = '01'",
        "UPDATE certificates SET tbs = 'other' WHERE serial = '03'",
        "DELETE FROM certificates WHERE serial = '03'",
        "UPDATE revocations SET not_after = revoked_at",
        "DELETE FROM revocations",
        "TRUNCATE revocations",  # Which SQLite has no word for.
        "UPDATE crls SET number = 9 WHERE number = 2",
        "UPDATE crls SET crl = 'other' WHERE number = 2",
        "UPDATE crls SET covers = 9 WHERE number = 3",
        "DELETE FROM crls WHERE number = 2",
        "UPDATE answers SET status = 'good' WHERE serial = '02'",
    ],
)
def test_what_is_final_cannot_be_changed(filled: Database, attack: str) -> None:
    with pytest.raises(DatabaseError), filled.write() as connection:
        connection.exec_driver_sql(attack)


@pytest.mark.parametrize("serial", ["03", None])
def test_nothing_begins_as_active_without_a_certificate(filled: Database, serial: str | None) -> None:
    unsigned = _store("04", "active") | {"serial": serial}
    with pytest.raises(DatabaseError), filled.write() as connection:
        connection.execute(stores.insert().values(unsigned))


def test_numbers_of_crls_rise(filled: Database) -> None:
    with filled.write() as connection:
        connection.execute(crls.delete().where(crls.c.number == 1))
        connection.execute(crls.update().where(crls.c.number == 3).values(crl=b"crl"))
        connection.execute(crls.delete().where(crls.c.number == 2))
        connection.execute(crls.insert().values(_crl(4)))
    with pytest.raises(DatabaseError), filled.write() as connection:
        connection.execute(crls.insert().values(_crl(2)))
    with filled.read() as connection:
        assert connection.execute(sa.select(crls.c.number).order_by(crls.c.number)).scalars().all() == [3, 4]
