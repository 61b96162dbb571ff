from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from asn1crypto import crl as asn1_crl
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from issuer.ceremony.script import ARL_DAYS
from issuer.issuance.crl import build_crl, crl_entries, encode_entry, verify_crl
from issuer.issuance.errors import CrlRefused, LintRefused
from issuer.issuance.keystore.keypairs import KeyType
from issuer.issuance.lint import lint_crl
from policies.reasons import X509Reason
from tests.fixtures.authorities import NOW, chain, private_key

SECOND = NOW.replace(microsecond=0)
CRL_LIFE = timedelta(days=7)
ARL_LIFE = timedelta(days=ARL_DAYS)


def build(entries: list[bytes], number: int = 1, key_type: KeyType = "p-384", **changes: Any) -> bytes:
    arguments: dict[str, Any] = {"this_update": NOW, "next_update": NOW + CRL_LIFE, **changes}
    return build_crl(chain("p-384", key_type).issuing, number=number, entries=entries, **arguments)


def entry(serial: int, reason: X509Reason = X509Reason.SUPERSEDED, at: datetime = NOW) -> bytes:
    return encode_entry(serial, at, reason)


@pytest.mark.parametrize("key_type", ["p-384", "p-256", "rsa-3072"])
@pytest.mark.parametrize("count", [0, 1, 6, 300])
def test_what_was_listed_is_what_is_read(key_type: KeyType, count: int) -> None:
    reasons = list(X509Reason)
    entries = [entry(1000 + index, reasons[index % len(reasons)]) for index in range(count)]
    der = build(entries, key_type=key_type)
    lint_crl(der, "crl")
    crl = x509.load_der_x509_crl(der)
    assert [one.serial_number for one in crl] == [1000 + index for index in range(count)]
    for index, one in enumerate(crl):
        assert one.revocation_date_utc == SECOND
        found = [str(extension.value.reason.value) for extension in one.extensions]
        reason = reasons[index % len(reasons)]
        assert found == ([] if reason is X509Reason.UNSPECIFIED else [reason.value])
        assert not any(extension.critical for extension in one.extensions)


def test_an_empty_list_is_absent() -> None:
    """RFC 5280 5.1.2.6: when there are no revoked certificates, the list MUST be absent."""
    tbs = asn1_crl.CertificateList.load(build([]), strict=True)["tbs_cert_list"]
    assert "revoked_certificates" not in {name for name, value in tbs.native.items() if value is not None}
    assert tbs["version"].native == "v2"


def test_a_full_crl_has_no_issuing_distribution_point() -> None:
    crl = x509.load_der_x509_crl(build([entry(1)]))
    assert {type(one.value) for one in crl.extensions} == {x509.AuthorityKeyIdentifier, x509.CRLNumber}


@pytest.mark.parametrize("year", [2049, 2050])
def test_times_change_their_form_in_2050(year: int) -> None:
    """RFC 5280 5.1.2.4: through the year 2049 as UTCTime, in 2050 or later as GeneralizedTime."""
    at = NOW.replace(year=year)
    revoked = asn1_crl.RevokedCertificate.load(entry(1, at=at), strict=True)
    assert revoked["revocation_date"].name == ("utc_time" if year < 2050 else "general_time")
    assert revoked["revocation_date"].native == at.replace(microsecond=0)


@given(
    st.integers(min_value=1, max_value=(1 << 159) - 1),
    st.integers(min_value=0, max_value=40 * 365 * 86_400),
    st.sampled_from(X509Reason),
)
def test_any_entry_reads_back(serial: int, seconds: int, reason: X509Reason) -> None:
    at = SECOND + timedelta(seconds=seconds)
    read = asn1_crl.RevokedCertificate.load(encode_entry(serial, at, reason), strict=True)
    assert read["user_certificate"].native == serial
    assert read["revocation_date"].native == at.replace(microsecond=0)


def test_facts() -> None:
    facts = verify_crl(build([entry(1), entry(2)], number=7), chain().issuing.issuer, previous_number=6)
    assert (facts.number, facts.entries) == (7, 2)
    assert (facts.this_update, facts.next_update) == (SECOND, SECOND + CRL_LIFE)


@pytest.mark.parametrize("previous", [7, 8])
def test_numbers_only_rise(previous: int) -> None:
    with pytest.raises(CrlRefused, match="number 7"):
        verify_crl(build([], number=7), chain().issuing.issuer, previous_number=previous)


def test_another_authoritys_crl_is_refused() -> None:
    with pytest.raises(CrlRefused, match="another"):
        verify_crl(build([]), chain(number=1).issuing.issuer, previous_number=None)
    with pytest.raises(CrlRefused, match="another"):
        verify_crl(build([]), chain().root.issuer, previous_number=None)


@pytest.mark.parametrize("position", [40, -1])
def test_a_flipped_bit_is_refused(position: int) -> None:
    der = bytearray(build([entry(1)]))
    der[position] ^= 1
    with pytest.raises(CrlRefused):
        verify_crl(bytes(der), chain().issuing.issuer, previous_number=None)


def test_what_is_no_entry_never_leaves() -> None:
    with pytest.raises(CrlRefused):
        build([b"\x04\x03abc"])


def test_two_entries_in_one_are_noticed() -> None:
    with pytest.raises(CrlRefused, match="meant"):
        build([entry(1) + entry(2)])


def test_a_crl_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(CrlRefused, match="nextUpdate"):
        build([], next_update=NOW)


def test_partitions_and_deltas_are_not_ours() -> None:
    issuer = chain().issuing
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + CRL_LIFE)
        .add_extension(x509.CRLNumber(3), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(issuer.issuer.key_identifier, None, None), critical=False)
        .add_extension(x509.DeltaCRLIndicator(2), critical=True)
    )
    der = builder.sign(private_key("p-384", 20), hashes.SHA384()).public_bytes(Encoding.DER)
    with pytest.raises(CrlRefused, match="partition or a delta"):
        verify_crl(der, issuer.issuer, previous_number=None)


def test_entries_are_carried_over_as_they_are() -> None:
    entries = {serial: entry(serial, X509Reason.KEY_COMPROMISE) for serial in (5, 9)}
    assert crl_entries(build(list(entries.values()))) == entries
    assert crl_entries(build([])) == {}


def test_lint_refuses_what_lives_too_long() -> None:
    """profiles.md: an ARL lives 12 months at most."""
    arl = build_crl(chain().root, number=1, this_update=NOW, next_update=NOW + ARL_LIFE, entries=[])
    lint_crl(arl, "arl")
    longer = build([], next_update=NOW + timedelta(days=366))
    for kind in ("crl", "arl"):
        with pytest.raises(LintRefused, match="validity_period"):
            lint_crl(longer, kind)
