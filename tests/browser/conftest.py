"""Real Chromium against the running demo. Each visitor is a fresh profile and a person of their own."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.fixtures.system import System

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# No sandbox, for CI is root; the rest keeps the browser from talking to anybody but us.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
NUMBERS = itertools.count(3_000_000_001)

START = {
    "fr": "Je demande mon magasin de certificat",
    "de": "Meinen Zertifikatsspeicher beantragen",
    "en": "Request my certificate store",
}


# A module's and no longer: while it lives, this thread has a running event loop, and no asyncio test can run.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
    yield browser
    browser.close()


class Visitor:
    """A professional at a browser. What a page complains about, or asks of others, fails the test."""

    def __init__(self, context: BrowserContext, system: System, ehealth_id: str) -> None:
        self.context = context
        self.system = system
        self.ehealth_id = ehealth_id
        self.address = f"p{ehealth_id}@example.lu"
        self.base = f"http://127.0.0.1:{system.port}"
        self.provider = f"http://127.0.0.1:{system.port + 2}"
        self.complaints: list[str] = []
        self.page = self.open_tab()

    def open_tab(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)
        page.on("request", self._asked)
        return page

    def _heard(self, message: Any) -> None:
        # Chromium's own lines, not the page's: a status of 4xx that we asked for, and a question
        # before leaving that it does not put where nobody has touched the page.
        own = ("Failed to load resource", "Blocked attempt to show a 'beforeunload'")
        if message.type in ("error", "warning") and not message.text.startswith(own):
            self.complaints.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base, self.provider, "data:", "chrome-error:")):
            self.complaints.append(f"asked {request.url}")

    def go(self, path: str = "/") -> None:
        self.page.goto(self.base + path)

    def log_in(self, **claims: str) -> None:
        """From a page that offers to."""
        self.page.locator("main a[href^='/login']").click()
        self.identify(**claims)

    def identify(self, *, auth_age: int = 0, **claims: str) -> None:
        """At the simulated provider."""
        self.page.locator("summary").click()
        for name, value in ({"ehealth_id": self.ehealth_id} | claims).items():
            self.page.locator(f"#{name}").fill(value)
        self.page.locator("#auth_age").fill(str(auth_age))
        self.page.locator("button[value='']").click()
        self.page.wait_for_url(re.compile(re.escape(self.base)))

    def arrive(self, **claims: str) -> None:
        self.go()
        self.log_in(**claims)

    def heading(self, text: str) -> None:
        expect(self.page.get_by_role("heading", level=1, name=text)).to_be_visible(timeout=60_000)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def start(self) -> None:
        self.press("Je demande mon magasin de certificat")
        self.heading("Conditions Générales d'Utilisation")

    def accept(self) -> None:
        self.page.locator("#accepted").check()
        self.press("Accepter")
        self.heading("Validation de mes données")

    def name_address(self) -> None:
        self.page.locator("#email").fill(self.address)
        self.press("Valider")
        self.heading("Vérification de votre adresse email")

    def code(self, count: int = 1) -> str:
        mail = self.system.wait_for_mail(self.address, "code", count)
        body = mail.get_body(("plain",))
        assert body is not None
        found = re.search(r"\b(\d{6})\b", body.get_content())
        assert found is not None
        return found.group(1)

    def verify(self, code: str) -> None:
        self.page.locator("#code").fill(code)
        self.press("Valider")

    def until_code(self) -> None:
        self.arrive()
        self.start()
        self.accept()
        self.name_address()

    def until_delivery(self) -> None:
        self.until_code()
        self.verify(self.code())
        self.heading("Votre magasin de certificat a été généré avec succès")

    def take_password(self) -> str:
        self.page.locator("a[href*='/password']").click()
        return self.page.locator("#password").inner_text()

    def take_file(self, folder: Path) -> Path:
        with self.page.expect_download() as download:
            self.page.locator("a[download]").click()
        kept = folder / download.value.suggested_filename
        download.value.save_as(kept)
        return kept

    def request_path(self) -> str:
        found = re.search(r"/requests/[0-9a-f-]{36}", self.page.url)
        assert found is not None, self.page.url
        return found.group()

    def faults(self) -> list[str]:
        """What axe-core finds against WCAG 2.1 A and AA, and its own best practices.

        Through the debugger, for the page's policy rightly refuses scripts that are not its own.
        """
        session = self.context.new_cdp_session(self.page)
        session.send("Runtime.evaluate", {"expression": AXE})
        run = (
            "axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify(r.violations.map("
            "v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 120)).join(' | '))))"
        )
        answer = session.send("Runtime.evaluate", {"expression": run, "awaitPromise": True})
        return list(json.loads(answer["result"]["value"]))


Visit = Callable[..., Visitor]


@pytest.fixture
def visit_of(chromium: Browser) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def make(system: System, *, ehealth_id: str = "", **options: Any) -> Visitor:
        context = chromium.new_context(**({"locale": "fr-LU"} | options))
        visitors.append(Visitor(context, system, ehealth_id or str(next(NUMBERS))))
        return visitors[-1]

    yield make
    complaints = [line for visitor in visitors for line in visitor.complaints]
    for visitor in visitors:
        visitor.context.close()
    assert complaints == []


@pytest.fixture
def visit(visit_of: Callable[..., Visitor], system: System) -> Visit:
    def make(**options: Any) -> Visitor:
        return visit_of(system, **options)

    return make
