"""That the linter is really asked: what it would find is not let through."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from issuer.issuance.config import LintKind
from issuer.issuance.errors import LintRefused
from issuer.issuance.lint import _certificate, lint_certificate
from tests.fixtures.authorities import JEANNE, NOW, chain, private_key, responder_certificate


def plain(
    *extensions: x509.ExtensionType,
    country: str = "LU",
    critical: bool = False,
    common_name: str = "Jeanne Muller",
) -> bytes:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, country),
            x509.NameAttribute(NameOID.SURNAME, "Muller"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False),
        ]
    )
    key = private_key("p-256", 7)
    builder = x509.CertificateBuilder(
        issuer_name=chain().issuing.certificate.subject,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1 << 120,
        not_valid_before=NOW,
        not_valid_after=NOW + timedelta(days=10),
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(private_key("p-384", 20), hashes.SHA384()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("kind", ["pkix", "ncp-natural-person"])
def test_a_bare_certificate_is_refused(kind: LintKind) -> None:
    with pytest.raises(LintRefused, match="authority_key_identifier") as refusal:
        lint_certificate(plain(), kind)
    assert all(finding.startswith(("ERROR ", "WARNING ", "FATAL ")) for finding in refusal.value.findings)


def test_findings_name_places_and_never_a_person() -> None:
    with pytest.raises(LintRefused) as refusal:
        lint_certificate(plain(x509.OCSPNoCheck(), country="ZZ", critical=True), "ncp-natural-person")
    assert JEANNE.family_name not in str(refusal.value)


def test_warnings_are_refused_too() -> None:
    with pytest.raises(LintRefused) as refusal:
        lint_certificate(plain(), "pkix")
    assert any(finding.startswith("WARNING ") for finding in refusal.value.findings)


def test_a_natural_person_is_held_to_all_of_pkix_too() -> None:
    findings = {kind: {one.code for one in _certificate(kind).validations} for kind in get_args(LintKind)}
    assert findings["pkix"] < findings["ncp-natural-person"]
    # EN 319 412-2 4.2.4 would let it pass.
    with pytest.warns(UserWarning, match="length"):
        too_long = plain(common_name="J" * 65)
    with pytest.raises(LintRefused, match=r"subject\.rdnSequence\.2"):
        lint_certificate(too_long, "ncp-natural-person")


def test_every_certificate_of_the_chain_is_free_of_findings() -> None:
    authorities = chain()
    for certificate in (
        authorities.root.certificate,
        authorities.issuing.certificate,
        responder_certificate(authorities),
    ):
        lint_certificate(certificate.public_bytes(Encoding.DER), "pkix")
    for key_type in ("rsa-2048", "rsa-3072", "p-256", "p-384"):
        der = authorities.certificate(key_type).public_bytes(Encoding.DER)
        lint_certificate(der, "ncp-natural-person")
