from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from issuer.clock import system_random
from issuer.issuance.config import PkiConfig
from issuer.issuance.errors import LintRefused, ProfileRefused
from issuer.issuance.keystore.keypairs import KeyType, key_type_of
from issuer.issuance.profiles import Profiles, load_profiles
from tests.fixtures.authorities import (
    JEANNE,
    NOW,
    PUBLIC,
    chain,
    private_key,
    profiles,
    responder_certificate,
)


def load(pki: PkiConfig = PUBLIC) -> Profiles:
    return load_profiles(pki, clock=lambda: NOW, random=system_random)


def override(folder: Path, name: str, text: str) -> PkiConfig:
    (folder / f"{name}.toml").write_text(text)
    return PkiConfig(public_url="http://pki.example.org", profiles=str(folder))


PROFESSIONAL = """
lint = "ncp-natural-person"
key_types = ["p-256"]
validity_days = 365
key_usage = ["digital-signature"]
extended_key_usage = ["client-auth"]
policy = "own"
crl = true
ocsp = true
ca_issuers = true
"""


def extensions(certificate: x509.Certificate) -> dict[str, tuple[Any, bool]]:
    return {type(one.value).__name__: (one.value, one.critical) for one in certificate.extensions}


def test_root() -> None:
    found = extensions(chain().root.certificate)
    assert found.keys() == {"AuthorityKeyIdentifier", "SubjectKeyIdentifier", "KeyUsage", "BasicConstraints"}
    assert found["BasicConstraints"] == (x509.BasicConstraints(ca=True, path_length=None), True)
    usage, critical = found["KeyUsage"]
    assert critical
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)


def test_issuing() -> None:
    found = extensions(chain().issuing.certificate)
    assert found["BasicConstraints"] == (x509.BasicConstraints(ca=True, path_length=0), True)
    (policy,) = found["CertificatePolicies"][0]
    assert policy.policy_identifier.dotted_string == "2.5.29.32.0"
    assert addresses(found) == {
        "crl": ["http://pki.example.org/pki/crl/root.crl"],
        "ca": ["http://pki.example.org/pki/ca/root.cer"],
        "ocsp": [],
    }


def test_ocsp_signer() -> None:
    """RFC 6960 4.2.2.2.1: no-check, for which it lives short; it names no address."""
    certificate = responder_certificate(chain())
    found = extensions(certificate)
    assert list(found["ExtendedKeyUsage"][0]) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert "OCSPNoCheck" in found
    assert not found.keys() & {"CRLDistributionPoints", "AuthorityInformationAccess", "BasicConstraints"}
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days < 90


def test_professional() -> None:
    found = extensions(chain().certificate())
    usage, critical = found["KeyUsage"]
    assert critical
    assert usage == x509.KeyUsage(True, *[False] * 8)
    assert list(found["ExtendedKeyUsage"][0]) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    (policy,) = found["CertificatePolicies"][0]
    assert policy.policy_identifier.dotted_string == PUBLIC.policy_oid
    assert policy.policy_qualifiers == [PUBLIC.cps_url]
    assert addresses(found) == {
        "crl": ["http://pki.example.org/pki/crl/issuing.crl"],
        "ca": ["http://pki.example.org/pki/ca/issuing.cer"],
        "ocsp": ["http://pki.example.org/pki/ocsp"],
    }
    assert not found.keys() & {"BasicConstraints", "SubjectAlternativeName", "Admissions"}


def addresses(found: dict[str, tuple[Any, bool]]) -> dict[str, list[str]]:
    access = found["AuthorityInformationAccess"][0]
    by_method: dict[str, list[str]] = {"ca": [], "ocsp": []}
    for one in access:
        name = "ca" if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS else "ocsp"
        by_method[name].append(one.access_location.value)
    points = found["CRLDistributionPoints"][0]
    return {"crl": [name.value for point in points for name in point.full_name], **by_method}


def test_professionals_have_rsa_3072_for_two_years_by_default() -> None:
    assert profiles().professional.key_type == "rsa-3072"
    assert profiles().professional.validity.days == 730


@pytest.mark.parametrize("key_type", ["rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384"])
def test_key_types_by_setting(key_type: KeyType) -> None:
    found = load_profiles(PUBLIC, clock=lambda: NOW, random=system_random, professional_key=key_type)
    assert found.professional.key_type == key_type


def test_a_key_type_that_the_profile_has_not_refuses_the_start(tmp_path: Path) -> None:
    pki = override(tmp_path, "professional", PROFESSIONAL)
    assert load(pki).professional.key_type == "p-256"
    with pytest.raises(ProfileRefused, match="rsa-3072 is not among its key types"):
        load_profiles(pki, clock=lambda: NOW, random=system_random, professional_key="rsa-3072")


def test_ncp_is_stated_only_by_an_audited_operator() -> None:
    audited = load(PkiConfig(public_url="http://pki.example.org", ncp_audited=True))
    template = audited.professional.prepare(
        issuer=chain().issuing.issuer,
        key=private_key("p-256").public_key(),
        now=NOW,
        random=system_random,
        subject=JEANNE,
    )
    certificate = x509.load_der_x509_certificate(chain().issuing.sign(template))
    policies = extensions(certificate)["CertificatePolicies"][0]
    assert [one.policy_identifier.dotted_string for one in policies] == [PUBLIC.policy_oid, "0.4.0.2042.1.1"]


def test_admission_extension_where_configured(tmp_path: Path) -> None:
    more = 'admission = true\n[profession_oids]\n"PS-001" = "1.3.6.1.4.1.32473.1.2.1"\n'
    admitting = load(override(tmp_path, "professional", PROFESSIONAL + more)).professional
    template = admitting.prepare(
        issuer=chain().issuing.issuer,
        key=private_key("p-256").public_key(),
        now=NOW,
        random=system_random,
        subject=JEANNE,
    )
    certificate = x509.load_der_x509_certificate(chain().issuing.sign(template))
    ((admission,),) = [extensions(certificate)["Admissions"][0]]
    (info,) = admission.profession_infos
    assert info.profession_items == ["Médecin"]
    assert [one.dotted_string for one in info.profession_oids] == ["1.3.6.1.4.1.32473.1.2.1"]
    assert info.registration_number == "2221212124"


def test_the_operators_profile_takes_the_place_of_ours(tmp_path: Path) -> None:
    own = load(override(tmp_path, "professional", PROFESSIONAL))
    assert own.professional.validity.days == 365
    assert own.ocsp.validity == profiles().ocsp.validity


@pytest.mark.parametrize(
    ("name", "before", "after", "why"),
    [
        ("professional", 'lint = "ncp', 'colour = "red"\nlint = "ncp', "colour"),
        (
            "professional",
            '["digital-signature"]',
            '["digital-signature", "crl-sign"]',
            "only root and",
        ),
        ("professional", '["digital-signature"]', '["key-cert-sign", "crl-sign"]', "only root and"),
        ("professional", '["client-auth"]', '["client-auth", "ocsp-signing"]', "only ocsp signs"),
        ("professional", '"ncp-natural-person"', '"pkix"', "natural persons"),
        ("professional", "crl = true", "ocsp_no_check = true", "exempt"),
        ("professional", "= 365", "= 1097", "1 to 1096 days"),
        ("professional", "= 365", "= 0", "1 to 1096 days"),
        ("professional", '["p-256"]', "[]", "key types"),
        ("professional", '["p-256"]', '["rsa-1024"]', "rsa-1024"),
    ],
)
def test_profiles_that_break_their_role_are_refused(
    tmp_path: Path, name: str, before: str, after: str, why: str
) -> None:
    assert before in PROFESSIONAL
    with pytest.raises(ProfileRefused, match=f"^{name}: .*{why}"):
        load(override(tmp_path, name, PROFESSIONAL.replace(before, after)))


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ('["digital-signature"]', '["digital-signature", "content-commitment"]', "mixed_key_usage_setting"),
        ('["digital-signature"]', '["digital-signature", "key-encipherment"]', "prohibited_for_ec"),
        ("crl = true\nocsp = true", "crl = false\nocsp = false", "ocsp_aia_access_method_absent"),
        ("ca_issuers = true", "", "ca_issuers_aia_access_method_absent"),
    ],
)
def test_profiles_that_would_not_lint_are_refused_at_start(
    tmp_path: Path, before: str, after: str, finding: str
) -> None:
    assert before in PROFESSIONAL
    with pytest.raises(ProfileRefused, match=finding) as refusal:
        load(override(tmp_path, "professional", PROFESSIONAL.replace(before, after)))
    assert isinstance(refusal.value.__cause__, LintRefused)


@pytest.mark.parametrize("host", ["pki.internal", "pki.mycert.test", "10.0.0.7"])
def test_addresses_that_etsi_objects_to_are_refused_at_start(host: str) -> None:
    with pytest.raises(ProfileRefused, match=r"etsi\.internal_domain_name"):
        load(PkiConfig(public_url=f"http://{host}"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8001", "http://[::1]:8001"])
def test_a_demo_may_serve_on_loopback(url: str) -> None:
    assert load(PkiConfig(public_url=url)).professional.pki.ocsp_url == f"{url}/pki/ocsp"


@pytest.mark.parametrize(
    "changes",
    [
        {"public_url": "http://localhost:8001"},
        {"public_url": "https://pki.example.org"},
        {"public_url": "http://pki.example.org/?a=b"},
        {"public_url": "http://user@pki.example.org"},
        {"public_url": "pki.example.org"},
        {"cps_url": "ftp://pki.example.org"},
        {"country": "lu"},
        {"policy_oid": "1.3.6.x"},
        {"root_name": "A", "ocsp_name": "A"},
    ],
)
def test_settings_that_cannot_stand(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        PkiConfig(**changes)  # type: ignore[arg-type]


def test_a_key_that_the_profile_does_not_allow() -> None:
    with pytest.raises(ProfileRefused, match="rsa-2048"):
        profiles().issuing.prepare(
            issuer=chain().root.issuer,
            key=private_key("rsa-2048").public_key(),
            now=NOW,
            random=system_random,
        )


@pytest.mark.parametrize(
    "key",
    [
        rsa.RSAPublicNumbers(3, (1 << 2047) | 1).public_key(),
        rsa.RSAPublicNumbers(65537, (1 << 1023) | 1).public_key(),
        ec.generate_private_key(ec.SECP521R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
    ],
    ids=["exponent 3", "rsa-1024", "p-521", "ed25519"],
)
def test_other_keys_have_no_type(key: object) -> None:
    with pytest.raises(ValueError, match="not served"):
        key_type_of(key)
