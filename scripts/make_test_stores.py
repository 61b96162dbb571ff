#!/usr/bin/env python3
"""Stores to test a relying service with: good, expired, revoked, and another CA's.

    .venv/bin/python scripts/make_test_stores.py FOLDER [--port 8888] [--serve]

They come from two CAs made here and now, by the profiles of the real ones, with keys that
were never in a token and names that say so: a service under test trusts FOLDER/root.pem, a
service in production never does. An expired store cannot be had from a CA that keeps its
rules; this one's ceremony is held four years ago, by a clock that is handed in.

FOLDER is made, and must not exist. The password of every store is ``test``. The certificates
name this machine's loopback; with ``--serve`` their CRLs and OCSP answers are had there until
the script is interrupted.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from issuer.clock import system_clock, system_random
from issuer.issuance.authority import Authority, complete
from issuer.issuance.config import PkiConfig
from issuer.issuance.crl import build_crl, encode_entry
from issuer.issuance.keystore.pkcs12 import make_pkcs12
from issuer.issuance.profiles import Profiles, load_profiles
from issuer.issuance.subjects import Subject, authority_name
from issuer.issuance.templates import Issuer
from issuer.publisher.ocsp import Responder, SingleAnswer, Status, build_answer
from issuer.publisher.ocsp_request import OcspError, parse_request
from issuer.registry.status import Revocation
from policies.reasons import X509Reason

PASSWORD = "test"  # noqa: S105
CEREMONY = timedelta(days=4 * 365)
HOLDER = Subject(
    given_name="TESTA",
    family_name="TESTER",
    ehealth_id="0000000000",
    profession_code="PS-001",
    profession_label="Médecin",
)


class TestPki:
    """Root, issuing CA and OCSP signer, their keys in memory."""

    def __init__(self, name: str, url: str, now: datetime) -> None:
        config = PkiConfig(
            public_url=url,
            organisation=f"TEST {name}, trust nothing of it",
            root_name=f"TEST {name} root CA",
            issuing_name=f"TEST {name} issuing CA",
            ocsp_name=f"TEST {name} OCSP responder",
        )
        self.profiles: Profiles = load_profiles(config, clock=lambda: now, random=system_random)
        begun = now - CEREMONY
        root_key, key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
        itself = Issuer.itself("root", authority_name(config, "root"), root_key.public_key())
        template = self.profiles.root.prepare(
            issuer=itself, key=root_key.public_key(), now=begun, random=system_random
        )
        certificate = x509.load_der_x509_certificate(complete(template, itself, root_key))
        self.root = Authority.open("root", certificate, root_key, now=now)
        template = self.profiles.issuing.prepare(
            issuer=self.root.issuer, key=key.public_key(), now=begun, random=system_random
        )
        issuing = x509.load_der_x509_certificate(self.root.sign(template))
        self.issuing = Authority.open("issuing", issuing, key, (certificate,), now=now)
        self.ocsp_key = ec.generate_private_key(ec.SECP256R1())
        template = self.profiles.ocsp.prepare(
            issuer=self.issuing.issuer, key=self.ocsp_key.public_key(), now=now, random=system_random
        )
        self.ocsp = x509.load_der_x509_certificate(self.issuing.sign(template))

    def store(self, folder: Path, name: str, at: datetime) -> x509.Certificate:
        """<name>.p12 and <name>.pem, as if asked for at ``at``."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
        template = self.profiles.professional.prepare(
            issuer=self.issuing.issuer, key=key.public_key(), now=at, random=system_random, subject=HOLDER
        )
        certificate = x509.load_der_x509_certificate(self.issuing.sign(template))
        keystore = make_pkcs12(
            key,
            certificate,
            [self.issuing.certificate],
            friendly_name=f"TEST {name}",
            password=PASSWORD,
            profile="modern",
            rounds=20_000,
        )
        (folder / f"{name}.p12").write_bytes(keystore)
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        return certificate


class TestStatus(BaseHTTPRequestHandler):
    """CRLs from the folder, OCSP answers signed when asked for."""

    folder: Path
    pki: TestPki
    known: dict[int, Status]

    def do_GET(self) -> None:
        place, _, name = self.path.removeprefix("/pki/").partition("/")
        if place == "ocsp":
            self._answer(base64.b64decode(unquote(name)))
        elif place == "crl" and name in ("root.crl", "issuing.crl"):
            self._send("application/pkix-crl", (self.folder / name).read_bytes())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, der: bytes) -> None:
        now = system_clock()
        try:
            request = parse_request(der)
            answer = build_answer(
                Responder.open(self.pki.ocsp, self.pki.ocsp_key, self.pki.issuing.certificate, now=now),
                [
                    SingleAnswer(cert_id=one, status=self.known.get(one.serial, "unknown"))
                    for one in request.cert_ids
                ],
                this_update=now,
                next_update=now + timedelta(hours=1),
                nonce=request.nonce,
            )
        except OcspError as error:
            answer = error.answer
        self._send("application/ocsp-response", answer)

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8888, help="for CRLs and OCSP, on loopback")
    parser.add_argument("--serve", action="store_true", help="answer there until interrupted")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True)
    now, url = system_clock(), f"http://127.0.0.1:{arguments.port}"
    ours, another = TestPki("PKI", url, now), TestPki("other PKI", url, now)
    good = ours.store(folder, "good", now)
    ours.store(folder, "expired", now - timedelta(days=3 * 365))
    revoked = ours.store(folder, "revoked", now)
    another.store(folder, "other-ca", now)

    reason = X509Reason.KEY_COMPROMISE
    entries = [encode_entry(revoked.serial_number, now, reason)]
    trusted, crls = b"", b""
    for authority, listed in ((ours.root, []), (ours.issuing, entries)):
        pem = authority.certificate.public_bytes(Encoding.PEM)
        (folder / f"{authority.name}.pem").write_bytes(pem)
        der = build_crl(
            authority, number=1, this_update=now, next_update=now + timedelta(days=365), entries=listed
        )
        (folder / f"{authority.name}.crl").write_bytes(der)
        trusted += pem
        crls += x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    (folder / "trust.pem").write_bytes(trusted)
    (folder / "crls.pem").write_bytes(crls)

    stores = ", ".join(sorted(path.name for path in folder.glob("*.p12")))
    print(f"{folder}: {stores} (password: {PASSWORD}); trust.pem, crls.pem", flush=True)  # noqa: T201
    if arguments.serve:
        TestStatus.folder, TestStatus.pki = folder, ours
        TestStatus.known = {
            good.serial_number: "good",
            revoked.serial_number: Revocation(revoked_at=now, reason=reason),
        }
        with contextlib.suppress(KeyboardInterrupt):
            ThreadingHTTPServer(("127.0.0.1", arguments.port), TestStatus).serve_forever()


if __name__ == "__main__":
    main()
