from __future__ import annotations

from typing import Any

import pytest
from asn1crypto import core
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from issuer.publisher.ocsp_request import MAX_REQUESTS, CertId, OcspError, parse_request
from tests.fixtures.authorities import chain


def request(
    *serials: int,
    hash_name: str = "sha1",
    lengths: tuple[int, int] | None = None,
    extensions: list[dict[str, Any]] | None = None,
) -> bytes:
    size = {"sha1": 20, "sha256": 32, "sha512": 64}[hash_name]
    name_length, key_length = lengths or (size, size)
    entries = [
        {
            "req_cert": {
                "hash_algorithm": {"algorithm": hash_name},
                "issuer_name_hash": b"n" * name_length,
                "issuer_key_hash": b"k" * key_length,
                "serial_number": serial,
            }
        }
        for serial in serials
    ]
    tbs: dict[str, Any] = {"request_list": entries}
    if extensions:
        tbs["request_extensions"] = extensions
    der: bytes = asn1_ocsp.OCSPRequest({"tbs_request": tbs}).dump()
    return der


def nonce_extension(nonce: bytes, *, critical: bool = False) -> dict[str, Any]:
    value = core.ParsableOctetString(core.OctetString(nonce).dump())
    return {"extn_id": "nonce", "critical": critical, "extn_value": value}


def other_extension(*, critical: bool) -> dict[str, Any]:
    return {"extn_id": "1.3.6.1.4.1.32473.9", "critical": critical, "extn_value": core.Null().dump()}


def outcome(der: bytes) -> str | None:
    try:
        parse_request(der)
    except OcspError as error:
        return error.status
    return None


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
@pytest.mark.parametrize("serials", [(1,), (1, 2), tuple(range(1, MAX_REQUESTS + 1))], ids=len)
@pytest.mark.parametrize("nonce", [None, b"x", b"x" * 32, b"x" * 128])
def test_requests(hash_name: str, serials: tuple[int, ...], nonce: bytes | None) -> None:
    extensions = [other_extension(critical=False)] + ([] if nonce is None else [nonce_extension(nonce)])
    parsed = parse_request(request(*serials, hash_name=hash_name, extensions=extensions))
    assert [one.serial for one in parsed.cert_ids] == list(serials)
    size = 20 if hash_name == "sha1" else 32
    assert {one.issuer for one in parsed.cert_ids} == {(hash_name, b"n" * size, b"k" * size)}
    assert parsed.nonce == nonce


def test_what_a_client_builds() -> None:
    certificate, issuer = chain().certificate(), chain().issuing.certificate
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256())
    der = builder.add_extension(x509.OCSPNonce(b"abc"), critical=False).build().public_bytes(Encoding.DER)
    parsed = parse_request(der)
    assert parsed.cert_ids == (CertId.of(issuer, certificate.serial_number, "sha256"),)
    assert parsed.nonce == b"abc"


@pytest.mark.parametrize("serials", [(1,), (1, 2)], ids=len)
@pytest.mark.parametrize(
    "changes",
    [
        {"extensions": [nonce_extension(b"")]},
        {"extensions": [nonce_extension(b"x" * 129)]},
        {"extensions": [nonce_extension(b"x"), nonce_extension(b"y")]},
        {"extensions": [other_extension(critical=True)]},
        {"lengths": (20, 32)},
        {"lengths": (0, 0)},
    ],
    ids=["empty nonce", "long nonce", "two nonces", "critical", "two lengths", "no hashes"],
)
def test_malformed_requests(serials: tuple[int, ...], changes: dict[str, Any]) -> None:
    """RFC 9654 2.1: a nonce of 0 or more than 128 octets is answered with malformedRequest."""
    with pytest.raises(OcspError) as error:
        parse_request(request(*serials, **changes))
    assert error.value.status == "malformedRequest"
    assert error.value.answer == bytes.fromhex("30030a0101")


def test_a_request_about_nothing_or_too_much() -> None:
    for serials in ((), range(1, MAX_REQUESTS + 2)):
        with pytest.raises(OcspError, match="malformedRequest"):
            parse_request(request(*serials))


@pytest.mark.parametrize("serials", [(1,), (1, 2)], ids=len)
def test_hashes_that_no_answer_bears(serials: tuple[int, ...]) -> None:
    with pytest.raises(OcspError) as error:
        parse_request(request(*serials, hash_name="sha512"))
    assert error.value.status == "unauthorized"


def test_what_follows_a_request_is_not_part_of_it() -> None:
    for serials in ((1,), (1, 2)):
        with pytest.raises(OcspError, match="malformedRequest"):
            parse_request(request(*serials) + b"\0")


@given(st.binary(max_size=300))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    assert outcome(octets) in (None, "malformedRequest", "unauthorized")


@given(st.data(), st.sampled_from([(1,), (1, 2)]))
def test_any_damage_is_read_or_refused(data: st.DataObject, serials: tuple[int, ...]) -> None:
    der = bytearray(request(*serials, extensions=[nonce_extension(b"x" * 16)]))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(bytes(der)) in (None, "malformedRequest", "unauthorized")
