#!/usr/bin/env python3
"""Make the pictures of README and docs from the running demo: one professional's way through the portal.

    make demo                                          in one terminal
    .venv/bin/python scripts/screenshots.py            in another (the same MYCERT_HOME, MYCERT_PORT)

Writes docs/images/*.png, 256 colours each, in light; those of home and delivery in dark too.
The professional must hold no active store: the last step deactivates the one that was made.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update"]
ADDRESS = "mon@adresse.lu"
SIZE = {"width": 1024, "height": 640}
MAILS = {"code": "mail-code", "issued": "mail-delivrance", "deactivated": "mail-desactivation"}


class Camera:
    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder

    def take(self, name: str, *, dark: bool = False) -> None:
        for scheme in ("light", "dark") if dark else ("light",):
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            path = self.folder / f"{name}{'-dark' if scheme == 'dark' else ''}.png"
            self.page.screenshot(path=path, full_page=True)
            # Smaller by two thirds, and no different to the eye; left alone where the tool is missing.
            subprocess.run(
                ["pngquant", "--force", "--ext", ".png", "--skip-if-larger", str(path)], check=False
            )
        self.page.emulate_media(color_scheme="light")


def newest_mail(home: Path, event: str, since: float, part: str) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for path in (home / "mailbox").glob("*.eml"):
            if path.stat().st_mtime < since:
                continue
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            body = message.get_body((part,))
            if message["X-MyCert-Event"] == event and ADDRESS in str(message["To"]) and body is not None:
                return str(body.get_content())
        time.sleep(0.1)
    raise SystemExit(f"no mail arrived: {event}")


def newest_code(home: Path, since: float) -> str:
    found = re.search(r"\b\d{6}\b", newest_mail(home, "code", since, "plain"))
    return found.group() if found else ""


def walk(page: Page, base: str, home: Path, camera: Camera) -> None:
    page.goto(base)
    camera.take("accueil-public")
    page.get_by_role("link", name="Connexion", exact=True).click()
    camera.take("connexion-simulee")
    page.get_by_role("button", name=re.compile("EDOUARD GUERRA")).click()
    page.get_by_role("heading", name="Mon magasin de certificat").wait_for()
    camera.take("accueil-sans-magasin", dark=True)
    page.get_by_role("button", name="Je demande mon magasin de certificat").click()
    camera.take("conditions")
    page.locator("#accepted").check()
    page.get_by_role("button", name="Accepter").click()
    page.locator("#email").fill(ADDRESS)
    camera.take("donnees")
    before = time.time() - 1  # noqa: TID251 - the age of files, not a decision
    page.get_by_role("button", name="Valider").click()
    page.locator("#code").fill("······")
    camera.take("code")
    page.locator("#code").fill(newest_code(home, before))
    page.get_by_role("button", name="Valider").click()
    page.get_by_role("heading", name="Votre magasin de certificat a été généré avec succès").wait_for()
    camera.take("remise")
    page.get_by_role("link", name="Afficher le mot de passe").click()
    camera.take("remise-mot-de-passe", dark=True)
    with page.expect_download():
        page.get_by_role("link", name="Télécharger").click()
    page.get_by_role("button", name="Retour à l'accueil").click()
    page.get_by_text("Actif", exact=True).wait_for()
    camera.take("apercu")
    page.get_by_role("link", name="Désactiver mon magasin de certificat").click()
    page.get_by_label("Le fichier est perdu").check()
    page.get_by_label("Je confirme").check()
    camera.take("desactivation")
    page.get_by_role("button", name="Désactiver").click()
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(base)
    camera.take("telephone")
    page.set_viewport_size({"width": 680, "height": 300})
    for event, name in MAILS.items():
        # A page of its own: what stands in a mail is not the portal's, whose policy would forbid its look.
        page.goto("about:blank")
        page.set_content(newest_mail(home, event, before, "html"))
        camera.take(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(os.environ.get("MYCERT_HOME") or ROOT / "var" / "demo")
    base = f"http://127.0.0.1:{os.environ.get('MYCERT_PORT') or 8000}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        page = browser.new_page(locale="fr-LU", viewport=SIZE)
        page.set_default_timeout(20_000)
        walk(page, base, home, Camera(page, folder))
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
