"""CRLs from the issuer's own registry: what is on them, when a new one is signed, what a failure leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from issuer.errors import CaUnavailable, NotFound, Overloaded
from issuer.issuance.authority import Authority
from issuer.issuance.errors import CrlRefused
from issuer.issuance.keystore.keypairs import sign
from issuer.issuance.templates import BACKDATE
from issuer.publisher.crl_issuer import CrlIssuer
from issuer.registry import crls
from issuer.registry.database import Database
from issuer.registry.tables import audit_events
from issuer.registry.tables import crls as crl_table
from policies.reasons import X509Reason
from tests.fixtures.pki import record_certificate, revoke
from tests.fixtures.publication import Site

DAY = timedelta(days=1)


def published(site: Site) -> x509.CertificateRevocationList:
    with site.database.read() as connection:
        current = crls.current(connection, "issuing")
        assert current is not None
        der = crls.read(connection, "issuing", current.number)
    assert der is not None
    parsed = x509.load_der_x509_crl(der)
    assert parsed.is_signature_valid(site.pki.issuing.public_key)
    return parsed


def serials(site: Site) -> set[int]:
    return {entry.serial_number for entry in published(site)}


def revoke_some(site: Site, some: Iterable[int], *, life: timedelta = 700 * DAY) -> None:
    for serial in some:
        record_certificate(site.database, serial, site.clock(), life=life)
        revoke(site.database, serial, site.clock())


def test_a_crl_lists_what_is_revoked_and_says_why(site: Site) -> None:
    record_certificate(site.database, 1, site.clock(), life=DAY)
    record_certificate(site.database, 2, site.clock(), life=DAY)
    record_certificate(site.database, 3, site.clock(), life=DAY)
    assert site.door.issue_crl("issuing") == 1
    assert serials(site) == set()
    revoke(site.database, 1, site.clock(), X509Reason.KEY_COMPROMISE)
    revoke(site.database, 2, site.clock(), X509Reason.UNSPECIFIED)
    assert site.door.issue_crl("issuing") == 2
    crl = published(site)
    assert {entry.serial_number: len(entry.extensions) for entry in crl} == {1: 1, 2: 0}
    assert crl.last_update_utc == site.clock() - BACKDATE + timedelta(seconds=1)  # the second of this second
    assert crl.next_update_utc == crl.last_update_utc + 7 * DAY


def test_nothing_is_signed_while_the_present_one_does(site: Site) -> None:
    assert site.door.issue_crl("issuing") == 1
    site.clock.pass_(hours=23)
    assert site.door.issue_crl("issuing") == 1
    site.clock.pass_(hours=1)
    assert site.door.issue_crl("issuing") == 2
    assert site.door.crl_issuer.issue("issuing", officer="anne") == 3


def test_a_clock_that_was_ahead_is_corrected(site: Site) -> None:
    site.door.issue_crl("issuing")
    site.clock.pass_(days=-2)
    assert site.door.issue_crl("issuing") == 2
    assert published(site).last_update_utc == site.clock() - BACKDATE
    assert site.door.issue_crl("issuing") == 2


def test_no_two_begin_in_the_same_second_and_none_in_the_future(site: Site) -> None:
    """Of two CRLs that begin in one second OpenSSL keeps the one it has: a revocation would not be seen."""
    begins = []
    with pytest.raises(Overloaded):
        while len(begins) < 400:
            site.door.crl_issuer.issue("issuing", officer="anne")
            begins.append(published(site).last_update_utc)
    assert begins == [site.clock() - BACKDATE + timedelta(seconds=n) for n in range(301)]
    site.clock.pass_(seconds=1)
    assert site.door.crl_issuer.issue("issuing", officer="anne") == 302
    assert published(site).last_update_utc == site.clock()


def test_expired_certificates_stay_for_a_month(site: Site) -> None:
    revoke_some(site, [1], life=DAY)
    revoke_some(site, [2], life=60 * DAY)
    site.clock.pass_(days=31)
    site.door.issue_crl("issuing")
    assert serials(site) == {1, 2}
    site.clock.pass_(days=1)
    site.door.issue_crl("issuing")
    assert serials(site) == {2}


def test_only_its_own_authority(site: Site) -> None:
    with pytest.raises(NotFound):
        site.door.issue_crl("root")


def test_a_failing_token_uses_a_number_up_and_publishes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoke_some(site, [1])

    def fail(_self: Authority, _data: bytes) -> bytes:
        raise CaUnavailable("gone")

    with monkeypatch.context() as patched, pytest.raises(CaUnavailable):
        patched.setattr(Authority, "sign_bytes", fail)
        site.door.issue_crl("issuing")
    with site.database.read() as connection:
        assert crls.current(connection, "issuing") is None
        assert connection.execute(sa.select(sa.func.count()).select_from(crl_table)).scalar() == 1
    assert site.door.issue_crl("issuing") == 2
    assert serials(site) == {1}


def test_a_signature_of_another_key_is_not_published(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    monkeypatch.setattr(Authority, "sign_bytes", lambda _self, data: sign(other, data))
    with pytest.raises(CrlRefused, match="signed by another"):
        site.door.issue_crl("issuing")
    with site.database.read() as connection:
        assert crls.current(connection, "issuing") is None


def test_many_at_once_take_in_every_revocation_before_their_call(site: Site) -> None:
    """Each thread revokes one, asks, and finds it on the list that is then published."""
    for serial in range(1, 9):
        record_certificate(site.database, serial, site.clock(), life=DAY)
    missing: list[int] = []

    def work(serial: int) -> None:
        revoke(site.database, serial, site.clock() - timedelta(hours=1))
        site.door.issue_crl("issuing")
        if serial not in serials(site):
            missing.append(serial)

    threads = [threading.Thread(target=work, args=(serial,)) for serial in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missing == []
    assert serials(site) == set(range(1, 9))


def test_two_issuers_never_take_anybody_off(site: Site) -> None:
    second = CrlIssuer(site.database, site.pki.issuing, site.config, site.clock)
    revoke_some(site, [1])
    first_number = site.door.issue_crl("issuing")
    revoke_some(site, [2])
    assert second.issue("issuing") > first_number
    assert site.door.issue_crl("issuing") == published_number(site.database)
    assert serials(site) == {1, 2}


def published_number(database: Database) -> int:
    with database.read() as connection:
        current = crls.current(connection, "issuing")
    assert current is not None
    return current.number


def test_each_crl_leaves_an_audit_event(site: Site) -> None:
    revoke_some(site, [1])
    site.door.issue_crl("issuing")
    with site.database.read() as connection:
        event = connection.execute(sa.select(audit_events)).one()
    assert (event.action, event.object_id) == ("crl-published", "issuing/1")
    assert event.details == {"entries": 1, "covers": 1, "reason": "first"}
