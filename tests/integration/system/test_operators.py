"""docs/operators.md: from an empty folder to a service behind nginx, and back from its backup."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.x509 import ocsp

from api.demo import idp
from api.demo.mailbox import Mailbox
from issuer.clock import system_clock
from tests.fixtures.assertions import Provider
from tests.fixtures.pages import DOCS, block
from tests.fixtures.postgres import PostgresServer, serve_postgres
from tests.fixtures.processes import wait_until
from tests.fixtures.servers import free_port, make_server_certificate, program, serving_nginx
from tests.fixtures.system import MYCERT, Caller, System, free_ports, serve_system

pytestmark = pytest.mark.slow

PAGE = "operators.md"
ROOT = DOCS.parent
PORTAL, PKI = "mycert.example.lu", "pki.example.lu"
AS_ROOT = os.geteuid() == 0


@dataclass
class Installation:
    home: Path
    port: int
    server: PostgresServer
    environment: dict[str, str]

    def run(self, name: str) -> str:
        """A block of commands as it stands on the page, but for where things are."""
        text = block(PAGE, name).text
        lines = [line for line in text.splitlines() if not line.startswith(("cd ", "scripts/setup.sh"))]
        script = "\n".join(["set -euo pipefail", *lines]).replace("/var/lib/mycert", str(self.home))
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT if name == "keys" else self.home,
            env=self.environment,
            timeout=600,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def serving(self) -> Iterator[System]:
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(block(PAGE, "mycert.service").text)
        command = unit["Service"]["ExecStart"].split()
        assert command == ["/opt/mycert/bin/mycert", "serve"]
        system = serve_system(self.home, self.port, self.environment)
        try:
            wait_until(lambda: system.http.get(f"{system.status_url}/health/ready").status_code == 200)
            yield system
        finally:
            system.http.close()
            ended = system.stop()
        assert ended == 0


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    home, port, mail_port = tmp_path / "mycert", free_ports(2), free_port()
    home.mkdir(mode=0o755)
    # Without root there are no users that a server could tell apart: roles are trusted then.
    peer = {
        "password": "of-the-superuser",
        "access": f"local all postgres scram-sha-256\n{block(PAGE, 'pg_hba.conf').text}",
        "names": block(PAGE, "pg_ident.conf").text,
    }
    with serve_postgres(**(peer if AS_ROOT else {})) as server:
        for statement in block(PAGE, "roles").text.strip().split(";\n"):
            server.execute(statement.removesuffix(";"))
        (home / "mycert.toml").write_text(_configuration(server, port, mail_port))
        (home / "pki.toml").write_text(block(PAGE, "pki.toml").text)
        idp.create_provider(home)
        mailbox = Controller(Mailbox(home / "mailbox", system_clock), hostname="127.0.0.1", port=mail_port)
        mailbox.start()
        try:
            yield Installation(
                home=home,
                port=port,
                server=server,
                environment={
                    **{name: value for name, value in os.environ.items() if not name.startswith("MYCERT_")},
                    "PATH": f"{MYCERT.parent}:{os.environ['PATH']}",
                    "MYCERT_HOME": str(home),
                    "MYCERT_COMMAND": str(MYCERT),
                    "PGHOST": str(server.folder),
                },
            )
        finally:
            mailbox.stop()


def _configuration(server: PostgresServer, port: int, mail_port: int) -> str:
    places: dict[str, object] = {
        "status_port = 8001": f"status_port = {port + 1}",
        "port = 8000": f"port = {port}",
        "/var/run/postgresql": server.folder,
        'jwks_url = "https://login.example.lu/jwks"': 'jwks_file = "{home}/idp/jwks.json"',
        'host = "mail.example.lu"': 'host = "127.0.0.1"',
        "port = 587": f"port = {mail_port}",
        'security = "starttls"': 'security = "none"',
    }
    text = block(PAGE, "mycert.toml").filled(places)
    if subprocess.run(["bash", "-c", "ulimit -l unlimited"], check=False, capture_output=True).returncode:
        assert 'keystore.allow_missing = ["memory-lock"]' in (DOCS / PAGE).read_text()
        text += '\n[keystore]\nallow_missing = ["memory-lock"]\n'
    return text


@contextlib.contextmanager
def front(installation: Installation, folder: Path) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """The page's nginx: visitors by TLS, and relying services."""
    folder.mkdir()
    make_server_certificate(folder)
    tls, plain = free_port(), free_port()
    text = block(PAGE, "mycert.conf").filled(
        {
            "listen 443 ssl": f"listen 127.0.0.1:{tls} ssl",
            "listen 80": f"listen 127.0.0.1:{plain}",
            "/etc/nginx/mycert.": f"{folder}/server.",
            "127.0.0.1:8000": f"127.0.0.1:{installation.port}",
            "127.0.0.1:8001": f"127.0.0.1:{installation.port + 1}",
        }
    )
    with (
        serving_nginx(text, tls, folder, own_user=True),
        httpx.Client(
            base_url=f"https://localhost:{tls}",
            headers={"Host": PORTAL},
            verify=ssl.create_default_context(cafile=folder / "server.pem"),
            trust_env=False,
            timeout=60,
        ) as visitors,
        httpx.Client(
            base_url=f"http://127.0.0.1:{plain}", headers={"Host": PKI}, trust_env=False, timeout=60
        ) as relying,
    ):
        yield visitors, relying


def test_from_an_empty_folder_and_back_from_a_backup(installation: Installation, tmp_path: Path) -> None:
    installation.run("keys")
    provider = Provider(home=installation.home, ehealth_id="2221350001")
    with installation.serving() as system, front(installation, tmp_path / "front") as (visitors, relying):
        walls = system.http.get("/health/ready").json()["walls"]
        assert walls["users"] == ("in force" if AS_ROOT else "missing: not started as root")
        assert walls["confinement"] == "in force"
        for path in ("/metrics", "/metrics/issuer", "/health/ready"):
            assert visitors.get(path).status_code == 404
            assert relying.get(path).status_code == 404
        home = visitors.get("/")
        assert home.status_code == 200
        assert home.headers["strict-transport-security"].startswith("max-age=")
        doctor = Caller(replace(system, http=visitors), provider.assertion(iss="https://login.example.lu"))
        password, keystore = doctor.obtain("anne.muller@example.com")
        store = load_pkcs12(keystore, password.encode())
        assert store.cert is not None
        leaf = store.cert.certificate
        assert b"http://pki.example.lu/pki/ocsp" in leaf.public_bytes(Encoding.DER)
        issuing = x509.load_der_x509_certificate(relying.get("/pki/ca/issuing.cer").content)
        leaf.verify_directly_issued_by(issuing)
        assert standing(relying, leaf, issuing) is ocsp.OCSPCertStatus.GOOD
        system.mycert("crl", "verify")
        for path in ("/health/ready", "/metrics", "/metrics/issuer"):
            assert system.http.get(path).status_code == 200
        installation.run("backup")
    installation.run("upgrade")
    installation.server.execute("DROP DATABASE mycert")
    installation.server.execute("CREATE DATABASE mycert OWNER mycert_owner")
    installation.run("restore")
    with installation.serving() as system, front(installation, tmp_path / "again") as (visitors, relying):
        doctor = Caller(replace(system, http=visitors), provider.assertion(iss="https://login.example.lu"))
        active = doctor.active_store()
        assert int(active["serial_number"].replace(":", ""), 16) == leaf.serial_number
        assert standing(relying, leaf, issuing) is ocsp.OCSPCertStatus.GOOD
        ended = doctor.call(
            "POST", f"/stores/{active['id']}/deactivation", json={"reason": "file-lost", "confirm": True}
        )
        assert ended.status_code == 200, ended.text
        wait_until(lambda: standing(relying, leaf, issuing) is ocsp.OCSPCertStatus.REVOKED)


def standing(relying: httpx.Client, leaf: x509.Certificate, issuing: x509.Certificate) -> ocsp.OCSPCertStatus:
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuing, SHA256()).build()
    answer = relying.post("/pki/ocsp", content=request.public_bytes(Encoding.DER))
    assert answer.status_code == 200, answer.text
    return ocsp.load_der_ocsp_response(answer.content).certificate_status


def test_the_metrics_of_the_page_exist(system: System) -> None:
    said = "".join(
        httpx.get(f"http://127.0.0.1:{port}{path}").text
        for port, path in (
            (system.port, "/metrics/issuer"),
            (system.port + 1, "/metrics"),
            (system.port + 1, "/metrics/publisher"),
        )
    )
    named = set(re.findall(r"`(mycert_(?:status|publisher|issuer)_[a-z_]+)", (DOCS / PAGE).read_text()))
    assert len(named) > 5
    assert not [name for name in named if f"# TYPE {name.removesuffix('_total')}" not in said]


def test_the_programs_of_the_page_are_there() -> None:
    for name in ("pg_dump", "pg_restore", "tar"):
        assert program(name)
    assert (ROOT / "scripts" / "setup.sh").exists()
