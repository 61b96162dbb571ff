"""The whole system seen by OpenSSL's own client, until a deactivation has reached it (R21)."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509 import ocsp

from issuer.publisher.ocsp_request import CertId
from tests.fixtures.system import Caller, System

PATIENCE = 30
"""Seconds, for a busy machine. How fast a deactivation is seen (R21) is measured by `make bench`."""


@pytest.fixture(scope="module")
def trust(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """root.pem and issuing.pem, as a relying service fetches them."""
    folder = tmp_path_factory.mktemp("trust")
    for name in ("root", "issuing"):
        der = httpx.get(f"{system.status_url}/pki/ca/{name}.cer").content
        pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
        (folder / f"{name}.pem").write_bytes(pem)
    return folder


def obtain(caller: Caller, address: str) -> x509.Certificate:
    password, keystore = caller.obtain(address)
    certificate = pkcs12.load_key_and_certificates(keystore, password.encode())[1]
    assert certificate is not None
    return certificate


def deactivate(caller: Caller) -> None:
    store = caller.active_store()["id"]
    answer = caller.call(
        "POST", f"/stores/{store}/deactivation", json={"reason": "file-lost", "confirm": True}
    )
    assert answer.status_code == 200, answer.text


def openssl_ocsp(system: System, trust: Path, serial: int, *options: str) -> str:
    done = subprocess.run(
        [
            *("openssl", "ocsp", "-url", f"{system.status_url}/pki/ocsp"),
            *("-CAfile", str(trust / "root.pem"), "-verify_other", str(trust / "issuing.pem")),
            *("-issuer", str(trust / "issuing.pem"), *options, "-serial", hex(serial)),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "Response verify OK" in done.stderr, done.stderr + done.stdout
    if "-no_nonce" not in options:
        assert "no nonce in response" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [(), ("-no_nonce",), ("-sha256", "-no_nonce")], ids=" ".join)
def test_openssl_asks_for_good_revoked_and_unknown(
    system: System, trust: Path, options: tuple[str, ...]
) -> None:
    number = f"77{len(options)}0000001"
    holder = system.person(number)
    certificate = obtain(holder, f"{number}@example.com")
    serial = certificate.serial_number
    assert ": good" in openssl_ocsp(system, trust, serial, *options)
    deactivate(holder)
    poll(lambda: ": revoked" in openssl_ocsp(system, trust, serial, *options), seconds=PATIENCE)
    assert "Reason: superseded" in openssl_ocsp(system, trust, serial, *options)
    assert ": unknown" in openssl_ocsp(system, trust, serial + 1, *options)


def test_openssl_verifies_against_the_crl(system: System, trust: Path, tmp_path: Path) -> None:
    kept, given_up = system.person("7790000001"), system.person("7790000002")
    good, bad = obtain(kept, "kept@example.com"), obtain(given_up, "given-up@example.com")
    deactivate(given_up)
    poll(lambda: bad.serial_number in on_crl(system), seconds=PATIENCE)
    bundle = b"".join((trust / name).read_bytes() for name in ("root.pem", "issuing.pem"))
    for name in ("root", "issuing"):
        der = httpx.get(f"{system.status_url}/pki/crl/{name}.crl").content
        bundle += x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    (tmp_path / "bundle.pem").write_bytes(bundle)

    def verify(certificate: x509.Certificate) -> str:
        (tmp_path / "leaf.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        command = ["openssl", "verify", "-crl_check_all", "-x509_strict", "-CAfile", "bundle.pem", "leaf.pem"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
        return done.stdout + done.stderr

    assert "leaf.pem: OK" in verify(good)
    assert "certificate revoked" in verify(bad)


def test_a_deactivation_is_seen_by_ocsp_and_by_crl(system: System, trust: Path) -> None:
    issuer = x509.load_pem_x509_certificate((trust / "issuing.pem").read_bytes())
    holder = system.person("7780000000")
    serial = obtain(holder, "latency@example.com").serial_number
    request = CertId.of(issuer, serial, "sha256").request
    poll(lambda: said(system, request) is ocsp.OCSPCertStatus.GOOD, seconds=PATIENCE)
    assert serial not in on_crl(system)
    deactivate(holder)
    poll(lambda: said(system, request) is ocsp.OCSPCertStatus.REVOKED, seconds=PATIENCE)
    poll(lambda: serial in on_crl(system), seconds=PATIENCE)


def said(system: System, request: bytes) -> ocsp.OCSPCertStatus | None:
    answer = ocsp.load_der_ocsp_response(httpx.post(f"{system.status_url}/pki/ocsp", content=request).content)
    if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return None
    return answer.certificate_status


def on_crl(system: System) -> set[int]:
    response = httpx.get(f"{system.status_url}/pki/crl/issuing.crl")
    return {entry.serial_number for entry in x509.load_der_x509_crl(response.content)}


def poll(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
