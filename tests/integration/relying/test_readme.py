"""docs/relying-services/README.md: anchors, subjects, test stores; and the script that fetches CRLs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from tests.fixtures.pages import DOCS, block
from tests.fixtures.relying import FETCH, Relied
from tests.fixtures.servers import ENVIRONMENT, free_port, serving

PAGE = "relying-services/README.md"
CHECKOUT = Path(__file__).parents[3]


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
    )


def test_anchors(relied: Relied, tmp_path: Path) -> None:
    done = run(block(PAGE, "anchors").filled({"http://pki.example.org": relied.url}), tmp_path)
    assert done.returncode == 0, done.stderr
    root = x509.load_pem_x509_certificate((tmp_path / "root.pem").read_bytes())
    assert root.fingerprint(hashes.SHA256()).hex(":").upper() in done.stdout
    assert (tmp_path / "trust.pem").read_bytes() == relied.trust.read_bytes()


def test_subject(relied: Relied) -> None:
    page: dict[str, Callable[[x509.Certificate], tuple[str, str]]] = {}
    exec(compile(block(PAGE, "subject.py").text, "subject.py", "exec"), page)  # noqa: S102
    assert page["holder"](relied.good.certificate) == (relied.good.number, "PS-001")


def test_every_page_is_in_the_table() -> None:
    folder = DOCS / "relying-services"
    linked = set(re.findall(r"\]\(([a-z-]+\.(?:md|sh))", (DOCS / PAGE).read_text()))
    assert linked == {path.name for path in folder.iterdir()} - {"README.md"}


def test_test_stores_are_what_they_are_called(tmp_path: Path) -> None:
    port = free_port()
    places: dict[str, object] = {
        ".venv/bin/python": sys.executable,
        "scripts/": f"{CHECKOUT}/scripts/",
        "8888": port,
    }
    command = block(PAGE, "test-stores").filled(places).split()
    folder = tmp_path / "test-stores"
    verdicts = {
        "good": "good.pem: OK",
        "expired": "certificate has expired",
        "revoked": "certificate revoked",
        "other-ca": "unable to get local issuer certificate",
    }
    with serving(command, port, tmp_path) as server:
        for name, verdict in verdicts.items():
            store = load_pkcs12((folder / f"{name}.p12").read_bytes(), b"test")
            assert store.cert is not None
            assert len(store.additional_certs) == 1
            verified = openssl(
                "verify -x509_strict -crl_check_all -CRLfile crls.pem -CAfile root.pem "
                f"-untrusted issuing.pem {name}.pem",
                folder,
            )
            assert verdict in verified
        for name, status in (("good", "good"), ("revoked", "revoked"), ("expired", "unknown")):
            said = openssl(
                f"ocsp -issuer issuing.pem -cert {name}.pem -CAfile root.pem -verify_other issuing.pem "
                f"-url http://127.0.0.1:{port}/pki/ocsp",
                folder,
            )
            assert f"{name}.pem: {status}" in said, server.said
            assert "Response verify OK" in said
        fetched = httpx.get(f"http://127.0.0.1:{port}/pki/crl/issuing.crl").content
        assert fetched == (folder / "issuing.crl").read_bytes()


def openssl(words: str, folder: Path) -> str:
    done = subprocess.run(
        ["openssl", *words.split()], check=False, capture_output=True, text=True, cwd=folder
    )
    return done.stdout + done.stderr


class TestFetchCrls:
    """docs/relying-services/fetch-crls.sh"""

    def test_installs_once_and_reloads_once(self, relied: Relied, tmp_path: Path) -> None:
        crls, reload = tmp_path / "crls.pem", ("sh", "-c", f"echo reloaded >> {tmp_path}/reloads")
        relied.fetch_crls(crls, *reload)
        before = crls.stat().st_ino
        relied.fetch_crls(crls, *reload)
        assert crls.stat().st_ino == before
        assert (tmp_path / "reloads").read_text().count("reloaded") == 1
        relied.system.mycert("crl", "issue")
        relied.fetch_crls(crls, *reload)
        assert crls.stat().st_ino != before
        assert (tmp_path / "reloads").read_text().count("reloaded") == 2
        assert not list(tmp_path.glob(".crls.*"))

    def test_a_failed_reload_is_tried_again(self, relied: Relied, tmp_path: Path) -> None:
        crls = tmp_path / "crls.pem"
        assert relied.fetch_crls(crls, "false", check=False).returncode == 1
        done = relied.fetch_crls(crls, "sh", "-c", f"touch {tmp_path}/reloaded")
        assert done.returncode == 0
        assert (tmp_path / "reloaded").exists()

    @pytest.mark.parametrize("fault", ["down", "stale", "by_stranger", "garbage", "older"])
    def test_nothing_unsound_replaces_what_is_there(self, relied: Relied, tmp_path: Path, fault: str) -> None:
        crls, reload = tmp_path / "crls.pem", ("touch", str(tmp_path / "reloaded"))
        kept = relied.crl()
        if fault == "older":
            relied.system.mycert("crl", "issue")
        relied.fetch_crls(crls)
        before = crls.read_bytes()
        if fault == "down":
            hindrance = relied.front.down()
        else:
            lies = {
                "stale": lambda: relied.stale("crl")(b""),
                "by_stranger": relied.crl_by_stranger,
                "garbage": lambda: b"<html>",
                "older": lambda: kept,
            }
            lie = lies[fault]()
            hindrance = relied.front.lying("/pki/crl/issuing.crl", lambda _: lie)
        with hindrance:
            done = relied.fetch_crls(crls, *reload, check=False)
        assert done.returncode == 1
        assert "fetch-crls: " in done.stderr
        assert crls.read_bytes() == before
        assert not (tmp_path / "reloaded").exists()
        assert not list(tmp_path.glob(".crls.*"))

    def test_says_how_it_is_used(self) -> None:
        done = subprocess.run(["bash", str(FETCH)], check=False, capture_output=True, text=True)
        assert done.returncode == 2
        assert "fetch-crls.sh BASE TRUST OUTPUT" in done.stderr
