"""docs/relying-services/static-publication.md: files for nginx, in a real nginx, and in crashes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from api.status.config import StatusConfig
from api.status.files import Files
from api.status.follower import Follower
from issuer.publisher.ocsp_request import CertId
from tests.fixtures.pages import block
from tests.fixtures.pki import record_certificate, revoke
from tests.fixtures.processes import wait_until
from tests.fixtures.publication import MakeSite, Site
from tests.fixtures.registries import OpenRegistry
from tests.fixtures.servers import free_port, serving_nginx
from tests.fixtures.system import MYCERT, System
from tests.integration.issuer.publisher.test_publication import YEAR, ahead, request_for

PAGE = "relying-services/static-publication.md"
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


class Published:
    def __init__(self, site: Site, follower: Follower, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.look = follower.look
        self.files = follower._kept
        assert isinstance(self.files, Files)

    def sign(self, *serials: int) -> None:
        for serial in serials:
            record_certificate(self.site.database, serial, self.site.clock(), life=YEAR)
        self.site.answering.round()
        self.site.door.issue_crl("issuing")

    def names(self) -> set[str]:
        ocsp_folder = self.folder / "pki" / "ocsp"
        return {str(path.relative_to(ocsp_folder)) for path in ocsp_folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def published(make_site: MakeSite, open_sqlite_registry: OpenRegistry, tmp_path: Path) -> Published:
    site = make_site(open_sqlite_registry())
    site.pki.write(tmp_path / "home", site.clock())
    return Published(site, open_follower(site, tmp_path), tmp_path / "public")


def open_follower(site: Site, tmp_path: Path) -> Follower:
    pki = tmp_path / "home"
    return Follower(
        kept=Files(tmp_path / "public", pki),
        config=StatusConfig(),
        database=site.database,
        pki=pki,
        clock=site.clock,
    )


@contextlib.contextmanager
def nginx(root: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    port = free_port()
    text = block(PAGE, "static.conf").filled(
        {"listen 80": f"listen 127.0.0.1:{port}", "/var/lib/mycert/public": root}
    )
    with (
        serving_nginx(text, port, tmp_path, own_user=True),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        yield http


def forms(der: bytes) -> list[str]:
    plain = base64.b64encode(der).decode()
    safe = base64.urlsafe_b64encode(der).decode()
    return [plain, quote(plain, safe=""), quote(plain, safe="/+"), plain.rstrip("="), safe, safe.rstrip("=")]


def test_every_form_of_every_request(published: Published, tmp_path: Path) -> None:
    """Serials that bring '/', '//', '+', and '/' at the end into the base64, and every length of padding."""
    serials = [*range(1 << 40, (1 << 40) + 64), *range((1 << 120) + (1 << 17) - 40, (1 << 120) + (1 << 17))]
    serials += [(1 << 124) - 1, 7, 255, 65_535]
    published.sign(*serials)
    published.look()
    ends: set[str] = set()
    with nginx(published.folder, tmp_path) as http:
        for serial in serials:
            der = request_for(published.site, serial)
            ends.add(base64.b64encode(der).decode()[-2:])
            expected = ahead(published.site, serial)
            assert expected is not None
            for form in forms(der):
                found = http.get(f"/pki/ocsp/{form}")
                assert found.status_code == 200, form
                assert ocsp.load_der_ocsp_response(found.content).signature == expected.signature
        assert {end[-1] for end in ends} >= {"=", "/"}
        assert "==" in ends
        assert found.headers["content-type"] == "application/ocsp-response"
        assert "max-age=1," in found.headers["cache-control"]
        unchanged = http.get(f"/pki/ocsp/{form}", headers={"If-None-Match": found.headers["etag"]})
        assert unchanged.status_code == 304
        crl = http.get("/pki/crl/issuing.crl")
        assert x509.load_der_x509_crl(crl.content).is_signature_valid(published.site.pki.issuing.public_key)
        assert crl.headers["content-type"] == "application/pkix-crl"
        assert http.get("/pki/crl/root.crl").status_code == 200
        certificate = http.get("/pki/ca/issuing.cer")
        assert certificate.content == published.site.pki.issuing.certificate_der
        assert certificate.headers["content-type"] == "application/pkix-cert"
        nonced = base64.b64encode(request_for(published.site, 7, nonce=b"n")).decode()
        assert http.get(f"/pki/ocsp/{nonced}").status_code == 404
        assert http.post("/pki/ocsp", content=der).status_code == 405
        assert http.post("/pki/ocsp/", content=der).status_code == 404


def test_a_revocation_takes_the_good_answer_away_before_another_is_signed(published: Published) -> None:
    published.sign(1, 2)
    published.look()
    before = published.names()
    revoke(published.site.database, 1, published.site.clock())
    published.look()
    assert len(before) - len(published.names()) >= 2
    published.sign()
    published.look()
    assert published.names() == before
    path = published.folder / "pki" / "ocsp" / base64.b64encode(request_for(published.site, 1)).decode()
    assert ocsp.load_der_ocsp_response(path.read_bytes()).certificate_status is REVOKED
    listed = x509.load_der_x509_crl((published.folder / "pki/crl/issuing.crl").read_bytes())
    assert [entry.serial_number for entry in listed] == [1]


def test_a_start_tidies_what_a_crash_left(published: Published, tmp_path: Path) -> None:
    """Half a file in .new, an answer that is half there, a good one whose deletion was lost."""
    published.sign(1, 2)
    published.look()
    names = published.names()
    (published.folder / ".new" / "3").write_bytes(b"half a fi")
    good = published.folder / "pki" / "ocsp" / base64.b64encode(request_for(published.site, 1)).decode()
    kept = good.read_bytes()
    revoke(published.site.database, 1, published.site.clock())
    published.look()
    good.write_bytes(kept)
    torn = published.folder / "pki" / "ocsp" / base64.b64encode(request_for(published.site, 2)).decode()
    torn.write_bytes(b"half a fi")
    open_follower(published.site, tmp_path).look()
    assert list((published.folder / ".new").iterdir()) == []
    assert not good.exists()
    assert ocsp.load_der_ocsp_response(torn.read_bytes()).certificate_status is GOOD
    published.sign()
    open_follower(published.site, tmp_path).look()
    assert published.names() == names


def test_answers_that_are_over_are_deleted(published: Published) -> None:
    published.sign(1)
    published.look()
    published.site.clock.pass_(hours=13)
    published.look()
    assert not any(path.is_file() for path in (published.folder / "pki" / "ocsp").rglob("*"))


def test_a_full_disk_is_made_up_for(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    published.sign(1, 2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            published.look()
    answers = published.folder / "pki" / "ocsp"
    assert not any(path.is_file() for path in answers.rglob("*"))
    published.look()
    assert sum(path.is_file() and not path.is_symlink() for path in answers.rglob("*")) == 4
    assert (published.folder / "pki" / "crl" / "issuing.crl").exists()


def test_killed_in_the_middle_nothing_half_is_seen(published: Published, tmp_path: Path) -> None:
    """SIGKILL at many moments of the writing: what is there is whole, and the next run has it all."""
    published.sign(*range(1, 60))
    command = [sys.executable, "-m", "tests.fixtures.publishing", str(published.site.database.url.database)]
    command += [str(tmp_path / "home"), str(published.folder)]
    for renames in (0, 1, 7, 40, 60):
        done = subprocess.run([*command, str(renames)], check=False, env={**os.environ, "PYTHONPATH": "."})
        assert done.returncode == -signal.SIGKILL
        for path in (published.folder / "pki").rglob("*"):
            if path.is_file() and "ocsp" in path.parts:
                assert ocsp.load_der_ocsp_response(path.read_bytes()).certificate_status is GOOD
    published.files._pending.clear()  # type: ignore[union-attr]
    open_follower(published.site, tmp_path).look()
    for serial in range(1, 60):
        name = base64.urlsafe_b64encode(request_for(published.site, serial)).decode()
        assert (published.folder / "pki" / "ocsp" / name).is_file()


def test_the_command_follows_a_running_system(system: System, tmp_path: Path) -> None:
    """Once, and then staying: a deactivation takes the good answer away, and brings the revoked one."""
    holder = system.person("7300000001")
    holder.obtain("static@example.com")
    folder = tmp_path / "public"
    assert json.loads(system.mycert("--json", "status", "publish", "--dry-run", str(folder)).stdout)[
        "dry_run"
    ]
    assert not folder.exists()
    system.mycert("status", "publish", str(folder))
    issuing = x509.load_der_x509_certificate((folder / "pki/ca/issuing.cer").read_bytes())
    serial = int(holder.active_store()["serial_number"].replace(":", ""), 16)
    answer = (
        folder / "pki/ocsp" / base64.urlsafe_b64encode(CertId.of(issuing, serial, "sha1").request).decode()
    )

    def said() -> ocsp.OCSPCertStatus | None:
        try:
            return ocsp.load_der_ocsp_response(answer.read_bytes()).certificate_status
        except FileNotFoundError:
            return None

    assert said() is GOOD
    following = subprocess.Popen(
        [str(MYCERT), "status", "publish", "--follow", str(folder)], env=system.environment
    )
    try:
        store = holder.active_store()["id"]
        confirmed = {"reason": "file-stolen", "confirm": True}
        assert holder.call("POST", f"/stores/{store}/deactivation", json=confirmed).status_code == 200
        wait_until(lambda: said() is REVOKED)
        crl = folder / "pki/crl/issuing.crl"
        wait_until(lambda: serial in {one.serial_number for one in x509.load_der_x509_crl(crl.read_bytes())})
    finally:
        following.terminate()
        assert following.wait(60) == 0
