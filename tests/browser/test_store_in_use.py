"""What the portal hands out is used: by OpenSSL, by Java, and by a browser that logs in at nginx with it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM, Visitor
from tests.browser.test_journey import opens
from tests.fixtures.relying import Relied, Start

pytestmark = pytest.mark.slow

OPEN_STORE = Path(__file__).parents[1] / "relying" / "java" / "OpenStore.java"


def said(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Desktop:
    """A machine of its own for Chromium: NSS's store of certificates, and the administrator's policy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.databases = [folder / ".pki" / "nssdb", folder / ".local" / "share" / "pki" / "nssdb"]
        for database in self.databases:
            database.mkdir(parents=True)
            said("certutil", "-N", "-d", f"sql:{database}", "--empty-password")

    def install(self, store: Path, password: Path) -> None:
        for database in self.databases:
            said("pk12util", "-i", store, "-d", f"sql:{database}", "-w", password, "-K", "")

    def looks_at(self, playwright: Playwright, port: int) -> tuple[int, str]:
        """Status and text of the page, in a browser that has just been started."""
        managed = self.folder / "etc" / "policies" / "managed"
        managed.mkdir(parents=True, exist_ok=True)
        chosen = json.dumps({"pattern": f"https://localhost:{port}", "filter": {}})
        (managed / "mycert.json").write_text(json.dumps({"AutoSelectCertificateForUrls": [chosen]}))
        # The policy lies below /etc: for this browser alone, in a mount namespace of its own.
        unshare = "unshare --mount" if os.geteuid() == 0 else "unshare --mount --map-root-user"
        started = self.folder / "chromium"
        started.write_text(
            f"#!/bin/sh\nexec {unshare} sh -c 'mount --bind {self.folder}/etc /etc/chromium"
            f' && exec {CHROMIUM} "$@"\' sh "$@"\n'
        )
        started.chmod(0o755)
        context = playwright.chromium.launch_persistent_context(
            self.folder / f"profile-{len(list(self.folder.iterdir()))}",
            executable_path=started,
            args=list(ARGUMENTS),
            env={**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder / ".local/share")},
            ignore_https_errors=True,
        )
        try:
            answer = context.new_page().goto(f"https://localhost:{port}/")
            assert answer is not None
            return answer.status, answer.text()
        finally:
            context.close()


def test_a_downloaded_store_logs_in_until_it_is_deactivated(
    visit_of: Callable[..., Visitor], relied: Relied, nginx: Start, playwright: Playwright, tmp_path: Path
) -> None:
    person = visit_of(relied.system)
    person.until_delivery()
    password, store = person.take_password(), person.take_file(tmp_path)
    secret = tmp_path / "password"
    secret.write_text(password)
    assert opens(store, password)
    listed = said(
        *("keytool", "-J-Duser.language=en", "-list", "-v", "-storetype", "PKCS12"),
        *("-keystore", store, "-storepass:file", secret),
    )
    assert "Certificate chain length: 2" in listed
    said("javac", "-d", tmp_path, OPEN_STORE)
    opened = said("java", "-cp", tmp_path, "OpenStore", store, secret)
    assert opened.splitlines()[-1] == f"mycert {person.ehealth_id} 2 true"
    person.press("Retour à l'accueil")
    with nginx("ocsp.conf") as server:
        empty, desktop = Desktop(tmp_path / "empty"), Desktop(tmp_path / "desktop")
        desktop.install(store, secret)
        assert empty.looks_at(playwright, server.port)[0] == 400
        status, text = desktop.looks_at(playwright, server.port)
        assert status == 200, server.said
        assert json.loads(text)["x-ehealthid"] == person.ehealth_id
        person.page.get_by_role("link", name="Désactiver mon magasin de certificat").click()
        person.page.get_by_label("Le fichier est perdu").check()
        person.page.get_by_label("Je confirme").check()
        person.press("Désactiver")
        person.heading("Mon magasin de certificat")
        assert desktop.looks_at(playwright, server.port)[0] == 400
        assert "revoked" in server.said
