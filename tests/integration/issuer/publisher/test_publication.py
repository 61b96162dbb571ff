"""Answers signed ahead and on demand, the signer's renewal, and what failures leave behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from hsm.errors import TokenUnavailable
from issuer.errors import CaUnavailable, Overloaded
from issuer.issuance.authority import Authority
from issuer.issuance.config import IssuanceConfig
from issuer.issuance.errors import AuthorityRefused
from issuer.issuance.reaper import Reaper
from issuer.issuance.templates import serial_text
from issuer.publisher.ocsp_request import ERROR_ANSWERS
from issuer.publisher.responder import LiveResponder
from issuer.publisher.responder_issuer import RenewalRefused
from issuer.publisher.signer import Signer
from issuer.registry import answers, status
from issuer.registry.database import Database
from issuer.registry.tables import certificates, revocations
from policies.reasons import X509Reason
from tests.fixtures.pki import HandClock, Pki, record_certificate, revoke
from tests.fixtures.publication import MakeSite, Site, build_site

HOUR = timedelta(hours=1)
YEAR = timedelta(days=365)


def ahead(site: Site, serial: int, hash_name: str = "sha1") -> ocsp.OCSPResponse | None:
    with site.database.read() as connection:
        stored = {
            (one.serial, one.hash_algorithm): one.answer
            for one in answers.after_batch(connection, "issuing", 0)
        }
    der = stored.get((serial_text(serial), hash_name))
    return None if der is None else ocsp.load_der_ocsp_response(der)


def batch(site: Site) -> int:
    with site.database.read() as connection:
        return status.marks(connection, "issuing").batch


def request_for(
    site: Site, serial: int, *, nonce: bytes | None = None, issuer: x509.Certificate | None = None
) -> bytes:
    issuer = issuer or site.pki.issuing.certificate
    key_hash = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest  # type: ignore[arg-type]
    name_hash = hashes.Hash(hashes.SHA1())  # noqa: S303 - CertIDs are asked for in SHA-1
    name_hash.update(issuer.subject.public_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name_hash.finalize(),
        key_hash,
        serial,
        hashes.SHA1(),  # noqa: S303
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


@pytest.fixture
def live(site: Site) -> LiveResponder:
    return LiveResponder(site.signer, site.clock.monotonic)


def test_answers_for_both_hashes_say_what_the_registry_says(site: Site) -> None:
    for serial in (1, 2):
        record_certificate(site.database, serial, site.clock(), life=YEAR)
    revoke(site.database, 2, site.clock(), X509Reason.SUPERSEDED)
    site.answering.round()
    for hash_name in ("sha1", "sha256"):
        good, revoked = ahead(site, 1, hash_name), ahead(site, 2, hash_name)
        assert good is not None
        assert revoked is not None
        assert good.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert good.hash_algorithm.name == hash_name
        assert good.next_update_utc == site.clock() + 12 * HOUR
        assert revoked.certificate_status is ocsp.OCSPCertStatus.REVOKED
        assert revoked.revocation_time_utc == site.clock()
        assert revoked.revocation_reason is x509.ReasonFlags.superseded
        assert revoked.certificates == [site.pki.ocsp_certificate]


def test_a_round_without_work_writes_nothing(site: Site) -> None:
    record_certificate(site.database, 1, site.clock(), life=YEAR)
    site.answering.round()
    assert batch(site) == 1
    site.clock.pass_(hours=1)
    site.answering.round()
    assert batch(site) == 1


def test_answers_are_renewed_at_half_their_life(site: Site) -> None:
    record_certificate(site.database, 1, site.clock(), life=YEAR)
    site.answering.round()
    site.clock.pass_(hours=6)
    site.answering.round()
    renewed = ahead(site, 1)
    assert renewed is not None
    assert renewed.this_update_utc == site.clock()


def test_a_revocation_replaces_the_good_answer(site: Site) -> None:
    record_certificate(site.database, 1, site.clock(), life=YEAR)
    site.answering.round()
    revoke(site.database, 1, site.clock())
    site.answering.round()
    answer = ahead(site, 1)
    assert answer is not None
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED


def test_more_than_a_batch(make_site: MakeSite, registry: Database) -> None:
    site = make_site(registry, answer_batch=3)
    for serial in range(1, 11):
        record_certificate(registry, serial, site.clock(), life=YEAR)
    for serial in range(1, 8):
        revoke(registry, serial, site.clock())
    site.answering.round()
    found = {serial: ahead(site, serial) for serial in range(1, 11)}
    assert [s for s, one in found.items() if one and one.revocation_time_utc] == list(range(1, 8))
    assert None not in found.values()


def test_answers_of_expired_certificates_are_dropped(site: Site) -> None:
    record_certificate(site.database, 1, site.clock(), life=HOUR)
    record_certificate(site.database, 2, site.clock(), life=YEAR)
    site.answering.round()
    site.clock.pass_(days=2)
    site.answering.round()
    site.clock.pass_(seconds=10)
    site.answering.round()
    assert ahead(site, 1) is None
    assert ahead(site, 2) is not None


def test_no_answer_outlives_its_signer(site: Site) -> None:
    """Renewal has failed for weeks: answers end with the signer, and are not signed again and again."""
    end = site.pki.ocsp_certificate.not_valid_after_utc
    site.clock.now = end - HOUR
    record_certificate(site.database, 1, site.clock(), life=YEAR)
    site.answering.round()
    answer = ahead(site, 1)
    assert answer is not None
    assert answer.next_update_utc == end
    site.clock.pass_(minutes=5)
    site.answering.round()
    assert batch(site) == 1
    site.clock.now = end + HOUR
    with pytest.raises(AuthorityRefused):
        site.answering.round()


def test_the_token_gone_leaves_everything_due(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    record_certificate(site.database, 1, site.clock(), life=YEAR)
    site.answering.round()
    revoke(site.database, 1, site.clock())

    def gone(*_arguments: object, **_named: object) -> bytes:
        raise TokenUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr("issuer.publisher.answering.build_answer", gone)
        for _ in range(3):
            with pytest.raises(TokenUnavailable):
                site.answering.round()
            site.clock.pass_(minutes=20)
    site.answering.round()
    answer = ahead(site, 1)
    assert answer is not None
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED


# Live.


def test_live_answers_carry_the_nonce(site: Site, live: LiveResponder) -> None:
    record_certificate(site.database, 1, site.clock(), life=YEAR)
    for nonce in (b"\x01", bytes(range(128))):
        answer = ocsp.load_der_ocsp_response(live.answer(request_for(site, 1, nonce=nonce)))
        assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


def test_live_answers_see_a_revocation_at_once(site: Site, live: LiveResponder) -> None:
    record_certificate(site.database, 1, site.clock(), life=YEAR)
    revoke(site.database, 1, site.clock())
    answer = ocsp.load_der_ocsp_response(live.answer(request_for(site, 1)))
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED


def test_what_was_never_issued_is_unknown(site: Site, live: LiveResponder) -> None:
    for serial in (77, 2**170):
        answer = ocsp.load_der_ocsp_response(live.answer(request_for(site, serial)))
        assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
        assert answer.next_update_utc == site.clock() + timedelta(minutes=5)


def test_no_certificate_has_a_serial_below_one(site: Site, live: LiveResponder) -> None:
    request = request_for(site, 77)
    for octet in (0x00, 0xFB):
        wrong = request.replace(bytes([2, 1, 77]), bytes([2, 1, octet]))
        assert wrong != request
        assert live.answer(wrong) == ERROR_ANSWERS["unauthorized"]


def test_unknown_may_be_unauthorized(make_site: MakeSite, registry: Database) -> None:
    site = make_site(registry, unknown="unauthorized")
    live = LiveResponder(site.signer, site.clock.monotonic)
    assert live.answer(request_for(site, 77)) == ERROR_ANSWERS["unauthorized"]


def test_foreign_expired_and_malformed_requests(site: Site, live: LiveResponder) -> None:
    record_certificate(site.database, 1, site.clock(), life=HOUR)
    site.clock.pass_(hours=2)
    assert live.answer(request_for(site, 1)) == ERROR_ANSWERS["unauthorized"]
    foreign = Pki.make(site.clock()).issuing.certificate
    assert live.answer(request_for(site, 1, issuer=foreign)) == ERROR_ANSWERS["unauthorized"]
    assert live.answer(b"") == ERROR_ANSWERS["malformedRequest"]


def test_a_flood_of_unknown_serials_leaves_known_ones_alone(make_site: MakeSite, registry: Database) -> None:
    site = make_site(registry, live_rate=1.0, live_burst=2)
    live = LiveResponder(site.signer, site.clock.monotonic)
    record_certificate(registry, 1, site.clock(), life=YEAR)
    for _ in range(2):
        live.answer(request_for(site, 77))
    with pytest.raises(Overloaded):
        live.answer(request_for(site, 78))
    live.answer(request_for(site, 1, nonce=b"n"))
    site.clock.pass_(seconds=1)
    live.answer(request_for(site, 78))


# The signer's certificate.


def signer_end(site: Site) -> datetime:
    return site.signer.responder().not_after


def test_the_signer_renews_itself_with_the_same_key(site: Site) -> None:
    first_end = signer_end(site)
    site.signer.renew_if_due(site.door)
    assert site.door.asked == []
    site.clock.now = first_end - timedelta(days=29)
    site.signer.renew_if_due(site.door)
    assert signer_end(site) > first_end
    site.signer.renew_if_due(site.door)
    assert site.door.asked == ["certificate"]
    record_certificate(site.database, 1, site.clock(), life=YEAR)
    site.answering.round()
    answer = ahead(site, 1)
    assert answer is not None
    assert answer.certificates[0].not_valid_after_utc == signer_end(site)


def test_a_restarted_publisher_finds_the_renewed_certificate(site: Site) -> None:
    site.clock.now = signer_end(site) - timedelta(days=1)
    site.signer.renew_if_due(site.door)
    again = build_site(site.database, site.pki, site.clock, site.config)
    assert signer_end(again) == signer_end(site)
    again.signer.renew_if_due(again.door)
    assert again.door.asked == []


def test_even_an_ended_signer_comes_back(site: Site) -> None:
    site.clock.now = signer_end(site) + timedelta(days=3)
    site.door.broken = True
    with pytest.raises(CaUnavailable):
        site.signer.renew_if_due(site.door)
    site.door.broken = False
    site.signer.renew_if_due(site.door)
    assert signer_end(site) > site.clock()


def test_only_who_has_the_signers_key_gets_a_certificate(site: Site) -> None:
    name = site.pki.ocsp_certificate.subject
    other = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(other, hashes.SHA256())
    with pytest.raises(RenewalRefused):
        site.door.renew_responder(request.public_bytes(Encoding.DER))
    with pytest.raises(RenewalRefused):
        site.door.renew_responder(b"no request")


def test_a_signature_that_was_not_made_is_revoked_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.clock.now = signer_end(site) - timedelta(days=1)

    def gone(_self: Authority, _template: object) -> bytes:
        raise TokenUnavailable("gone")

    with monkeypatch.context() as patched, pytest.raises(CaUnavailable):
        patched.setattr(Authority, "sign", gone)
        site.signer.renew_if_due(site.door)
    site.clock.pass_(minutes=6)
    site.signer.renew_if_due(site.door)
    # No store is being made here, so nobody is asked for those in hand.
    Reaper(site.database, cast("Any", None), IssuanceConfig(), site.clock).round()
    with site.database.read() as connection:
        intents = connection.execute(sa.select(certificates.c.serial, certificates.c.certificate)).all()
        revoked = connection.execute(sa.select(revocations.c.serial)).scalars().all()
    assert len(intents) == 2
    assert revoked == [serial for serial, certificate in intents if certificate is None]


def test_another_sites_certificate_is_not_taken_up(site: Site, clock: HandClock) -> None:
    other = Pki.make(clock())
    signer = Signer(
        key=other.ocsp_key,
        certificate=site.pki.ocsp_certificate,
        issuer=site.pki.issuing.certificate,
        authority="issuing",
        database=site.database,
        config=site.config,
        clock=clock,
    )
    with pytest.raises(AuthorityRefused):
        signer.responder()
