from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from issuer.clock import system_random
from issuer.issuance.authority import Authority
from issuer.issuance.errors import AuthorityRefused, TemplateRefused
from issuer.issuance.keys import PrivateKey
from issuer.issuance.keystore.keypairs import KeyType, verifies
from issuer.issuance.templates import Template
from tests.fixtures.authorities import (
    JEANNE,
    NOW,
    Chain,
    chain,
    load,
    private_key,
    profiles,
    responder_certificate,
)


class WrongKey(ec.EllipticCurvePrivateKey):
    """A token whose handles went stale: it has the right public key and signs with another."""

    def __init__(self, shown: ec.EllipticCurvePrivateKey, used: ec.EllipticCurvePrivateKey) -> None:
        self._shown, self._used = shown, used

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._shown.public_key()

    def sign(self, data: Any, signature_algorithm: Any) -> bytes:
        return self._used.sign(data, signature_algorithm)

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._shown.curve

    @property
    def key_size(self) -> int:
        return self._shown.key_size

    def _unused(self, *_: object, **__: object) -> Any:
        raise NotImplementedError

    exchange = private_numbers = private_bytes = __copy__ = __deepcopy__ = _unused


def template(authorities: Chain) -> Template:
    return profiles().professional.prepare(
        issuer=authorities.issuing.issuer,
        key=private_key("p-256").public_key(),
        now=NOW,
        random=system_random,
        subject=JEANNE,
    )


@pytest.mark.parametrize("issuing_type", ["p-384", "p-256", "rsa-3072", "rsa-4096"])
@pytest.mark.parametrize("root_type", ["p-384", "rsa-3072"])
def test_what_was_linted_is_what_is_signed(root_type: KeyType, issuing_type: KeyType) -> None:
    authorities = chain(root_type, issuing_type)
    prepared = template(authorities)
    certificate = load(authorities.issuing.sign(prepared))
    assert certificate.tbs_certificate_bytes == prepared.tbs
    certificate.verify_directly_issued_by(authorities.issuing.certificate)
    authorities.issuing.certificate.verify_directly_issued_by(authorities.root.certificate)
    expected = "sha384" if issuing_type == "p-384" else "sha256"
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == expected


def test_a_template_signs_once_and_for_its_authority() -> None:
    prepared = template(chain())
    with pytest.raises(TemplateRefused):
        chain().root.sign(prepared)
    chain().issuing.sign(prepared)
    with pytest.raises(TemplateRefused):
        chain().issuing.sign(prepared)


def test_a_key_that_signs_with_another_is_found_out() -> None:
    issuing = chain().issuing
    right = cast("ec.EllipticCurvePrivateKey", private_key("p-384", 20))
    wrong = cast("ec.EllipticCurvePrivateKey", private_key("p-384", 99))
    stale = Authority.open(
        "issuing",
        issuing.certificate,
        cast("PrivateKey", WrongKey(right, wrong)),
        (chain().root.certificate,),
        now=NOW,
    )
    with pytest.raises(AuthorityRefused, match="does not verify") as refusal:
        stale.sign(template(chain()))
    assert refusal.value.code == "ca-unavailable"
    with pytest.raises(AuthorityRefused, match="does not verify"):
        stale.probe()


def test_a_template_that_was_tampered_with_is_refused() -> None:
    prepared = template(chain())
    with pytest.raises(AuthorityRefused, match="not its template"):
        chain().issuing.sign(replace(prepared, serial=prepared.serial + 1))


def test_signed_bytes_verify() -> None:
    signature = chain().root.sign_bytes(b"record")
    assert verifies(chain().root.public_key, signature, b"record")
    assert not verifies(chain().root.public_key, signature, b"another")
    chain().root.probe()


def test_key_and_certificate_must_fit() -> None:
    issuing = chain().issuing
    with pytest.raises(AuthorityRefused, match="not the certificate's"):
        Authority.open(
            "issuing", issuing.certificate, private_key("p-384", 99), (chain().root.certificate,), now=NOW
        )


@pytest.mark.parametrize("days", [-1, 3700])
def test_not_before_and_not_after_its_time(days: int) -> None:
    issuing = chain().issuing
    with pytest.raises(AuthorityRefused, match="not valid now"):
        Authority.open(
            "issuing",
            issuing.certificate,
            private_key("p-384", 20),
            (chain().root.certificate,),
            now=NOW + timedelta(days=days),
        )


def test_chain_must_hold() -> None:
    issuing, other = chain().issuing, chain(number=1).root
    key = private_key("p-384", 20)
    with pytest.raises(AuthorityRefused, match="broken chain"):
        Authority.open("issuing", issuing.certificate, key, (other.certificate,), now=NOW)
    with pytest.raises(AuthorityRefused, match="broken chain"):
        Authority.open("issuing", issuing.certificate, key, (), now=NOW)


@pytest.mark.parametrize("which", ["ocsp", "professional"])
def test_only_a_ca_is_an_authority(which: str) -> None:
    authorities = chain()
    certificate, key = (
        (responder_certificate(authorities), private_key("p-256", 30))
        if which == "ocsp"
        else (authorities.certificate(), private_key("p-256", 7))
    )
    above = (authorities.issuing.certificate, authorities.root.certificate)
    with pytest.raises(AuthorityRefused):
        Authority.open("issuing", certificate, key, above, now=NOW)


def test_identifiers_are_the_issuers() -> None:
    """RFC 5280 4.2.1.1: AKI is the issuer's SKI; 4.2.1.2: by method 1."""
    certificate, issuing = chain().certificate(), chain().issuing
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    expected = x509.SubjectKeyIdentifier.from_public_key(issuing.public_key).digest
    assert identifier.key_identifier == issuing.issuer.key_identifier == expected
    assert (identifier.authority_cert_issuer, identifier.authority_cert_serial_number) == (None, None)
