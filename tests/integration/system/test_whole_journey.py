"""The journey over HTTP against all processes, and what OpenSSL and pkilint say of its results."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.x509.ocsp import OCSPRequestBuilder, OCSPResponseStatus, load_der_ocsp_response

from issuer.issuance.lint import lint_certificate, lint_crl
from tests.fixtures.linting import lint_ocsp_answer
from tests.fixtures.system import PATIENCE, System


def openssl(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trust(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """root.pem and issuing.pem, fetched as a relying service fetches them."""
    folder = tmp_path_factory.mktemp("trust")
    for name in ("root", "issuing"):
        der = httpx.get(f"{system.status_url}/pki/ca/{name}.cer").content
        pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
        (folder / f"{name}.pem").write_bytes(pem)
    return folder


def crls(system: System, folder: Path) -> Path:
    """Both CRLs as PEM in one file, fresh."""
    pems = [
        x509.load_der_x509_crl(httpx.get(f"{system.status_url}/pki/crl/{name}.crl").content)
        for name in ("root", "issuing")
    ]
    path = folder / "crls.pem"
    path.write_bytes(b"".join(crl.public_bytes(Encoding.PEM) for crl in pems))
    return path


def verify(system: System, trust: Path, leaf: Path) -> str:
    return openssl(
        *("verify", "-x509_strict", "-crl_check_all", "-purpose", "sslclient"),
        *("-CAfile", str(trust / "root.pem"), "-untrusted", str(trust / "issuing.pem")),
        *("-CRLfile", str(crls(system, trust)), str(leaf)),
        check=False,
    )


def ocsp(system: System, trust: Path, leaf: Path) -> str:
    """``openssl ocsp`` with a nonce, as it asks by default."""
    return openssl(
        *("ocsp", "-issuer", str(trust / "issuing.pem"), "-cert", str(leaf)),
        *("-url", f"{system.status_url}/pki/ocsp", "-CAfile", str(trust / "root.pem")),
        *("-verify_other", str(trust / "issuing.pem")),
        check=False,
    )


def until(condition: object, expected: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        said = condition()  # type: ignore[operator]
        if expected in said:
            return str(said)
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


def test_a_store_is_believed_until_it_is_deactivated(system: System, trust: Path, tmp_path: Path) -> None:
    doctor = system.person("2221219001", given_name="ZOÉ", family_name="MÜLLER-GRÜNEWALD ŠŤASTNÁ")
    password, keystore = doctor.obtain("zoe@example.com")
    file = tmp_path / "store.p12"
    file.write_bytes(keystore)
    secret = tmp_path / "password"
    secret.write_text(password)
    shown = openssl("pkcs12", "-in", str(file), "-passin", f"file:{secret}", "-info", "-noout")
    assert "AES-256-CBC" in shown
    assert "hmacWithSHA256" in shown

    opened = load_pkcs12(keystore, password.encode())
    assert opened.cert is not None
    certificate = opened.cert.certificate
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(certificate.public_bytes(Encoding.PEM))
    lint_certificate(certificate.public_bytes(Encoding.DER), "ncp-natural-person", on_loopback=True)
    lint_crl(httpx.get(f"{system.status_url}/pki/crl/issuing.crl").content, "crl")
    lint_crl(httpx.get(f"{system.status_url}/pki/crl/root.crl").content, "arl")

    assert verify(system, trust, leaf).strip().endswith("OK")
    assert "good" in until(lambda: ocsp(system, trust, leaf), "Response verify OK")

    store = doctor.active_store()
    assert int(store["serial_number"], 16) == certificate.serial_number
    before = x509.load_der_x509_crl(httpx.get(f"{system.status_url}/pki/crl/issuing.crl").content)
    ended = doctor.call(
        "POST", f"/stores/{store['id']}/deactivation", json={"reason": "file-stolen", "confirm": True}
    )
    assert ended.status_code == 200, ended.text
    assert ended.json()["status"] == "deactivated"
    assert "keyCompromise" in until(lambda: ocsp(system, trust, leaf), "revoked")
    assert "certificate revoked" in until(lambda: verify(system, trust, leaf), "certificate revoked")
    after = x509.load_der_x509_crl(httpx.get(f"{system.status_url}/pki/crl/issuing.crl").content)
    number = x509.CRLNumber
    assert (
        after.extensions.get_extension_for_class(number).value.crl_number
        > before.extensions.get_extension_for_class(number).value.crl_number
    )
    assert doctor.call("POST", "/requests", json={}).status_code == 201
    for event in ("issued", "deactivated"):
        mail = system.wait_for_mail("zoe@example.com", event)
        assert mail["Message-ID"]


def test_a_serial_that_was_never_issued_is_not_good(system: System, trust: Path) -> None:
    said = openssl(
        *("ocsp", "-issuer", str(trust / "issuing.pem"), "-serial", "0x1234567890abcdef"),
        *("-url", f"{system.status_url}/pki/ocsp", "-CAfile", str(trust / "root.pem")),
        *("-verify_other", str(trust / "issuing.pem")),
        check=False,
    )
    assert "unknown" in said
    assert "good" not in said


def test_stored_ocsp_answers_have_no_findings(system: System, tmp_path: Path) -> None:
    doctor = system.person("2221219002", given_name="LUC", family_name="WAGNER")
    password, keystore = doctor.obtain("luc@example.com", keystore_profile="legacy")
    opened = load_pkcs12(keystore, password.encode())
    assert opened.cert is not None
    issuer = x509.load_der_x509_certificate(httpx.get(f"{system.status_url}/pki/ca/issuing.cer").content)
    request = OCSPRequestBuilder().add_certificate(opened.cert.certificate, issuer, hashes.SHA1()).build()  # noqa: S303
    body = request.public_bytes(Encoding.DER)
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = httpx.post(
            f"http://127.0.0.1:{system.port}/pki/ocsp",
            content=body,
            headers={"Content-Type": "application/ocsp-request"},
        )
        parsed = load_der_ocsp_response(answer.content)
        if parsed.response_status is OCSPResponseStatus.SUCCESSFUL:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lint_ocsp_answer(answer.content)


def test_readiness_says_what_confines_the_workers(system: System) -> None:
    ready = system.http.get("/health/ready").json()
    assert (
        set(ready["walls"]) == set(ready["issuer"]["walls"]) == {"users", "confinement", "dumpable", "core"}
    )
    assert {"seccomp", "no-new-privs"} <= set(ready["issuer"]["worker_confinement"]["in_force"])
