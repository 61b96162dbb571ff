"""docs/relying-services/clients.md: what each tool says of good, deactivated, never issued certificates."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko_certvalidator.errors import InsufficientRevinfoError, RevokedError

from tests.fixtures.pages import DOCS, block
from tests.fixtures.relying import Relied, until
from tests.fixtures.servers import ENVIRONMENT

PAGE = "relying-services/clients.md"
SOURCES = Path(__file__).parents[2] / "relying" / "java"
CASES = ("good", "deactivated", "never issued")
case = pytest.mark.parametrize("case", CASES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``folders``: one a case, with all files that the page names."""

    folders: dict[str, Path]

    def run(self, name: str, case: str) -> subprocess.CompletedProcess[str]:
        """A block of the page, in the case's folder; both outputs in ``stdout``."""
        return subprocess.run(
            ["bash", "-euc", block(PAGE, name).text],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folders[case],
            env=ENVIRONMENT,
        )


@pytest.fixture(scope="module")
def asked(relied: Relied, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    leaving = relied.deliver()
    leaving.deactivate()
    certificates = {
        "good": relied.good.certificate,
        "deactivated": leaving.certificate,
        "never issued": x509.load_der_x509_certificate(relied.never_issued()),
    }
    folders = {case: tmp_path_factory.mktemp("case") for case in CASES}
    crls = tmp_path_factory.mktemp("crls") / "crls.pem"

    def listed() -> bool:
        relied.fetch_crls(crls)
        issued = x509.load_pem_x509_crl(crls.with_name("crls.pem.issuing").read_bytes())
        return issued.get_revoked_certificate_by_serial_number(leaving.certificate.serial_number) is not None

    until(listed, "never listed")
    for name, folder in folders.items():
        pem = certificates[name].public_bytes(Encoding.PEM)
        (folder / "cert.pem").write_bytes(pem)
        for authority in ("root", "issuing"):
            (folder / f"{authority}.pem").write_bytes((relied.folder / f"{authority}.pem").read_bytes())
            (folder / f"{authority}.crl").write_bytes(
                httpx.get(f"{relied.url}/pki/crl/{authority}.crl").content
            )
        (folder / "chain.pem").write_bytes(pem + (folder / "issuing.pem").read_bytes())
        (folder / "crls.pem").write_bytes(crls.read_bytes())
    asked = Asked(folders=folders)
    until(lambda: "revoked" in asked.run("openssl", "deactivated").stdout, "never revoked")
    return asked


def promised(tool: str) -> dict[str, str]:
    """The row of the page's table."""
    (row,) = [line for line in (DOCS / PAGE).read_text().splitlines() if line.startswith(f"| {tool} |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
    return {
        case: (quoted.group(1) if (quoted := re.match("`(.*?)`", cell)) else cell)
        for case, cell in zip(CASES, cells, strict=True)
    }


@case
def test_openssl(asked: Asked, case: str) -> None:
    done = asked.run("openssl", case)
    assert promised("OpenSSL")[case] in done.stdout
    assert "Response verify OK" in done.stdout
    assert "no nonce" not in done.stdout
    assert ("Reason: keyCompromise" in done.stdout) == (case == "deactivated")


@case
def test_gnutls_with_its_nonce_of_23_octets(asked: Asked, case: str) -> None:
    done = asked.run("gnutls", case)
    assert promised("GnuTLS")[case] in done.stdout
    assert "Verifying OCSP Response: Success" in done.stdout
    nonce = re.search("Nonce: ([0-9a-f]+)", done.stdout)
    assert nonce is not None
    assert len(nonce.group(1)) == 2 * 23


@case
def test_nss(asked: Asked, case: str) -> None:
    made = asked.run("nss-database", case)
    assert made.returncode == 0, made.stdout
    assert promised("NSS")[case] in asked.run("nss-ocsp", case).stdout
    by_crl = asked.run("nss-crl", case).stdout
    assert ("certificate is valid" if case != "deactivated" else "has been revoked") in by_crl


@case
def test_crls_with_openssl_and_gnutls(asked: Asked, case: str) -> None:
    """A CRL knows of the deactivated one alone."""
    openssl, gnutls = asked.run("openssl-crl", case), asked.run("gnutls-crl", case)
    if case == "deactivated":
        assert "certificate revoked" in openssl.stdout
        assert "The certificate chain is revoked" in gnutls.stdout
    assert (openssl.returncode == 0) == (gnutls.returncode == 0) == (case != "deactivated")


def test_java(relied: Relied, asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "MyCertTrust.java").write_text(block("relying-services/java.md", "MyCertTrust.java").text)
    source = (SOURCES / "CheckCertificates.java").read_text()
    for line in block(PAGE, "java").text.splitlines():
        assert line in source
    command = ["javac", "-d", str(tmp_path), str(tmp_path / "MyCertTrust.java")]
    subprocess.run([*command, str(SOURCES / "CheckCertificates.java")], check=True)
    anchors = [str(relied.folder / f"{name}.pem") for name in ("root", "issuing")]
    certificates = [str(asked.folders[case] / "cert.pem") for case in CASES]
    command = ["java", "-XX:+UseSerialGC", "-cp", str(tmp_path), "CheckCertificates", *anchors, *certificates]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(said) == len(CASES)
    for case, line in zip(CASES, said, strict=True):
        assert promised("Java")[case] in line


@pytest.fixture(scope="module")
def page() -> dict[str, Callable[..., object]]:
    """What the page's Python defines, each block after the one before; ``require`` is the last's function."""
    defined: dict[str, Callable[..., object]] = {}
    for name, function in (("certvalidator.py", "by_ocsp"), ("certvalidator-require.py", "require")):
        exec(compile(block(PAGE, name).text, name, "exec"), defined)  # noqa: S102
        defined[function] = defined["validate"]
    return defined


@pytest.mark.parametrize("function", ["by_ocsp", "require"])
def test_certvalidator(
    relied: Relied, asked: Asked, page: dict[str, Callable[..., object]], function: str
) -> None:
    def validate(case: str) -> object:
        files = (str(asked.folders[case] / f"{name}.pem") for name in ("cert", "root", "issuing"))
        return asyncio.run(page[function](*files))  # type: ignore[arg-type]

    assert validate("good") == relied.good.number
    assert promised("pyhanko-certvalidator")["deactivated"] == RevokedError.__name__
    with pytest.raises(RevokedError):
        validate("deactivated")
    assert promised("pyhanko-certvalidator")["never issued"] == InsufficientRevinfoError.__name__
    if function == "require":
        assert validate("never issued") == relied.good.number  # The price that the page names.
        return
    with pytest.raises(InsufficientRevinfoError):
        validate("never issued")
