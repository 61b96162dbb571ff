"""A PKI as the demo's ceremony leaves it, seen by OpenSSL and by pkilint's own commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hsm.signing import PrivateKey
from issuer.clock import system_random
from issuer.issuance.authority import Authority
from issuer.issuance.config import PkiConfig
from issuer.issuance.crl import build_crl, encode_entry
from issuer.issuance.keys import sample_public_key
from issuer.issuance.keystore.keypairs import KeyType
from issuer.issuance.profiles import load_profiles
from issuer.issuance.subjects import Subject
from issuer.publisher.ocsp import Responder, SingleAnswer, Status, build_answer
from issuer.publisher.ocsp_request import CertId, HashName
from issuer.registry.status import Revocation
from policies.reasons import X509Reason
from tests.integration.ceremony.conftest import PUBLIC, CommandFailed, Room, Run

KEY_TYPES: list[KeyType] = ["rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384"]
LOOPBACK = PkiConfig(public_url="http://127.0.0.1:8001")

RSA_SCRIPT = """
name = "rsa"
title = "All in RSA"
operators = 1
[authorities.root]
token = "root"
key = "root"
certificate = "root.cer"
[authorities.issuing]
token = "issuing"
key = "issuing"
certificate = "issuing.cer"
[[steps]]
make = "ca"
authority = "root"
key_type = "rsa-3072"
[[steps]]
make = "ca"
authority = "issuing"
key_type = "rsa-3072"
[[steps]]
make = "ocsp"
authority = "issuing"
token = "status"
key = "ocsp"
key_type = "rsa-2048"
output = "ocsp.cer"
[[steps]]
make = "crl"
authority = "root"
output = "root.crl"
"""


@dataclass
class World:
    room: Room
    run: Run
    folder: Path
    pki: PkiConfig = PUBLIC
    issuing: Authority = field(init=False)
    responder: Responder = field(init=False)

    def __post_init__(self) -> None:
        root, issuing = (self._load(f"{name}.cer") for name in ("root", "issuing"))
        self.issuing = Authority.open(
            "issuing", issuing, self._key("issuing", "issuing"), (root,), now=self.room.now
        )
        self.responder = Responder.open(
            self._load("ocsp.cer"), self._key("status", "ocsp"), issuing, now=self.room.now
        )

    def professional(self, key_type: KeyType = "p-256") -> x509.Certificate:
        profiles = load_profiles(self.pki, clock=lambda: self.room.now, random=system_random)
        template = profiles.professional.prepare(
            issuer=self.issuing.issuer,
            key=sample_public_key(key_type),
            now=self.room.now,
            random=system_random,
            subject=Subject(
                given_name="Zoé",
                family_name="Lefèvre-Müller",
                ehealth_id="2221212124",
                profession_code="PS-001",
                profession_label=None,
            ),
        )
        return x509.load_der_x509_certificate(self.issuing.sign(template))

    def crl(self, *entries: bytes) -> Path:
        path = self.folder / "issuing.crl"
        der = build_crl(
            self.issuing,
            number=1,
            this_update=self.room.now,
            next_update=self.room.now + timedelta(days=7),
            entries=entries,
        )
        path.write_bytes(der)
        return path

    def answer(self, certificate: x509.Certificate, status: Status, hash_name: HashName = "sha1") -> Path:
        path = self.folder / "answer.der"
        cert_id = CertId.of(self.issuing.certificate, certificate.serial_number, hash_name)
        der = build_answer(
            self.responder,
            [SingleAnswer(cert_id=cert_id, status=status)],
            this_update=self.room.now,
            next_update=self.room.now + timedelta(hours=12),
        )
        path.write_bytes(der)
        return path

    def pem(self, name: str, certificate: x509.Certificate | None = None) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_bytes((certificate or self._load(f"{name}.cer")).public_bytes(Encoding.PEM))
        return path

    def _load(self, name: str) -> x509.Certificate:
        return x509.load_der_x509_certificate((self.room.output / name).read_bytes())

    def _key(self, token: str, label: str) -> PrivateKey:
        opened = self.room.tokens[token]
        return opened.private_key(label, opened.public_key(label))


@pytest.fixture(params=["demo", "rsa"])
def world(request: pytest.FixtureRequest, room: Room, run: Run, tmp_path: Path) -> World:
    room.run(None if request.param == "demo" else RSA_SCRIPT)
    return World(room, run, tmp_path)


def test_openssl_verifies_the_chain_strictly_and_against_crls(world: World) -> None:
    chain = ("-CAfile", world.pem("root"), "-untrusted", world.pem("issuing"))
    trust = ("-x509_strict", "-crl_check_all", *chain)
    lists = ("-CRLfile", world.crl(), "-CRLfile", world.room.output / "root.crl")
    for key_type in KEY_TYPES:
        holder = world.pem("holder", world.professional(key_type))
        assert "OK" in world.run("openssl", "verify", "-purpose", "sslclient", *trust, *lists, holder)
    world.run("openssl", "verify", "-x509_strict", "-CAfile", world.pem("root"), world.pem("issuing"))
    world.run("openssl", "verify", "-x509_strict", *chain, world.pem("ocsp"))


def test_openssl_sees_a_revocation_in_the_crl(world: World) -> None:
    revoked, other = world.professional(), world.professional()
    crl = world.crl(encode_entry(revoked.serial_number, world.room.now, X509Reason.KEY_COMPROMISE))
    text = world.run(
        "openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text", "-CAfile", world.pem("issuing")
    )
    assert "verify OK" in text
    assert "Key Compromise" in text
    trust = ("-crl_check", "-CAfile", world.pem("root"), "-untrusted", world.pem("issuing"), "-CRLfile", crl)
    world.run("openssl", "verify", *trust, world.pem("holder", other))
    with pytest.raises(CommandFailed, match="certificate revoked"):
        world.run("openssl", "verify", *trust, world.pem("holder", revoked))


def test_openssl_accepts_ocsp_answers(world: World) -> None:
    certificate = world.professional()
    issuing = world.pem("issuing")
    asked = ("-no_nonce", "-issuer", issuing, "-cert", world.pem("holder", certificate))
    trust = ("-CAfile", world.pem("root"), "-verify_other", issuing)
    revoked = [Revocation(revoked_at=world.room.now, reason=reason) for reason in X509Reason]
    statuses: list[Status] = ["good", "unknown", *revoked]
    hash_names: list[HashName] = ["sha1", "sha256"]
    for status in statuses:
        for hash_name in hash_names:
            answer = world.answer(certificate, status, hash_name)
            output = world.run("openssl", "ocsp", "-respin", answer, *trust, f"-{hash_name}", *asked)
            assert "Response verify OK" in output
            assert f": {'revoked' if isinstance(status, Revocation) else status}" in output


def test_pkilint_finds_nothing(world: World) -> None:
    """By its own commands, which fail where they find something."""

    def lint(command: str, *arguments: str | Path) -> None:
        assert world.run(command, "lint", "-s", "WARNING", *arguments).strip() == ""

    for name in ("root", "issuing", "ocsp"):
        lint("lint_pkix_cert", world.pem(name))
    for issuer, subject in (("root", "issuing"), ("issuing", "ocsp")):
        lint("lint_pkix_signer_signee_cert_chain", world.pem(issuer), world.pem(subject))
    for key_type in KEY_TYPES:
        holder = world.pem("holder", world.professional(key_type))
        lint("lint_pkix_cert", holder)
        lint("lint_etsi_cert", "-t", "NCP-NATURAL-PERSON-CERTIFICATE", holder)
    lint("lint_crl", "-t", "ARL", "-p", "BR", world.room.output / "root.crl")
    entries = [encode_entry(1000 + index, world.room.now, reason) for index, reason in enumerate(X509Reason)]
    for listed in (entries, []):
        lint("lint_crl", "-t", "CRL", "-p", "BR", world.crl(*listed))
    statuses: list[Status] = [
        "good",
        "unknown",
        Revocation(revoked_at=world.room.now, reason=X509Reason.SUPERSEDED),
    ]
    for status in statuses:
        lint("lint_ocsp_response", world.answer(world.professional(), status))


def test_on_loopback_etsi_objects_to_the_address_alone(room: Room, run: Run, tmp_path: Path) -> None:
    """The demo's certificates name the status port, which is under no public suffix."""
    room.run(pki=LOOPBACK)
    world = World(room, run, tmp_path, LOOPBACK)
    holder = world.pem("holder", world.professional())
    assert run("lint_pkix_cert", "lint", "-s", "WARNING", holder).strip() == ""
    etsi = ("lint_etsi_cert", "lint", "-t", "NCP-NATURAL-PERSON-CERTIFICATE", "-s", "WARNING", "-f", "CSV")
    with pytest.raises(CommandFailed) as finding:
        run(*etsi, holder)
    lines = [line for line in str(finding.value).splitlines() if ",ERROR," in line or ",WARNING," in line]
    assert len(lines) == 3
    assert all("etsi.internal_domain_name" in line for line in lines)
