"""Every screen: accessible in both colour schemes, readable at 320 pixels and at double size (R27)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Visit, Visitor
from tests.unit.api.portal.test_catalogues import french_texts

SCREENS = [
    "landing",
    "home",
    "terms",
    "terms-unread",
    "data",
    "data-refused",
    "code",
    "code-wrong",
    "delivery",
    "password",
    "incomplete",
    "home-active",
    "deactivation",
    "deactivation-unconfirmed",
    "home-after",
    "overview",
    "faq",
    "accessibility",
    "gates",
    "step-up",
    "login-needed",
    "not-found",
    "error",
    "provider",
    "support",
]


def screens(visit: Visit) -> Iterator[tuple[str, Visitor]]:
    """One person's way past every screen, and others' past those that they do not meet."""
    person = visit()
    page = person.page
    person.go()
    yield "landing", person
    person.log_in()
    yield "home", person
    person.start()
    yield "terms", person
    page.locator("form#accept").evaluate("form => form.submit()")
    person.page.get_by_role("alert").wait_for()
    yield "terms-unread", person
    person.accept()
    yield "data", person
    page.locator("#email").fill("a@b")
    person.press("Valider")
    yield "data-refused", person
    person.name_address()
    yield "code", person
    code = person.code()
    person.verify("000000" if code != "000000" else "111111")
    yield "code-wrong", person
    person.verify(code)
    person.heading("Votre magasin de certificat a été généré avec succès")
    yield "delivery", person
    person.take_password()
    yield "password", person
    person.press("Retour à l'accueil")
    person.heading("La remise n'est pas achevée")
    yield "incomplete", person
    person.press("Retourner quand même à l'accueil")
    yield "home-active", person
    page.get_by_role("link", name="Désactiver mon magasin de certificat").click()
    yield "deactivation", person
    page.locator("#reason-file-lost").check()
    page.locator("main form").evaluate("form => form.submit()")
    page.get_by_role("alert").wait_for()
    yield "deactivation-unconfirmed", person
    page.locator("#confirm").check()
    person.press("Désactiver")
    yield "home-after", person
    page.locator(".history a").first.click()
    yield "overview", person
    for name in ("faq", "accessibility"):
        person.go(f"/{name}")
        yield name, person
    closed = visit()
    closed.arrive(account_status="suspended", profession_code="")
    yield "gates", closed
    old = visit()
    old.go()
    old.page.locator("main a[href^='/login']").click()
    old.identify(auth_age=7300)
    old.start()
    old.page.locator("#accepted").check()
    old.press("Accepter")
    old.heading("Confirmez votre identité")
    yield "step-up", old
    stranger = visit()
    stranger.go("/stores/nothing")
    yield "login-needed", stranger
    person.go("/nowhere")
    yield "not-found", person
    stranger.go("/login/callback?state=wrong")
    yield "error", stranger
    stranger.go("/login")
    yield "provider", stranger
    helper = visit()
    helper.arrive(role="mycert-support", ehealth_id="")
    helper.go("/support")
    helper.page.locator("#ehealth_id").fill(person.ehealth_id)
    helper.press("Consulter")
    helper.page.get_by_role("heading", name="Magasins de certificat").wait_for()
    yield "support", helper


def wider_than_the_window(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.mark.slow
def test_every_screen_is_accessible_and_narrow(visit: Visit) -> None:
    found: dict[str, Any] = {}
    seen = []
    for name, visitor in screens(visit):
        seen.append(name)
        for scheme in ("light", "dark"):
            visitor.page.emulate_media(color_scheme=scheme)
            if faults := visitor.faults():
                found[f"{name} {scheme}"] = faults
        visitor.page.emulate_media(color_scheme="light")
        visitor.page.set_viewport_size({"width": 320, "height": 640})
        if wider_than_the_window(visitor.page):
            found[f"{name} at 320 pixels"] = "wider than the window"
        visitor.page.set_viewport_size({"width": 1280, "height": 720})
    assert found == {}
    assert seen == SCREENS


@pytest.mark.slow
@pytest.mark.parametrize("language", ["de", "en"])
def test_no_screen_falls_back_to_french(visit: Visit, language: str) -> None:
    """Walks in French, looks in the other language: every address shows the same screen in each."""
    french = french_texts(language)
    found = {}
    for name, visitor in screens(visit):
        if name in ("provider", "error") or visitor.page.url.endswith(("/email", "/completion")):
            continue  # Not ours, or the answer to a form, which another tab cannot ask for.
        url = visitor.page.url
        other = visitor.context.new_page()
        visitor.context.add_cookies([{"name": "mycert-language", "value": language, "url": visitor.base}])
        other.goto(url)
        assert other.locator("html").get_attribute("lang") == language
        if left := french(other.locator("body").inner_text()):
            found[name] = left
        other.close()
        visitor.context.add_cookies([{"name": "mycert-language", "value": "fr", "url": visitor.base}])
    assert found == {}
