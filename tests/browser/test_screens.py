"""Every screen: accessible in both colour schemes, readable at 320 pixels and at double size (R27)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

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


CUT_OFF = """[...document.querySelectorAll("body *")].filter(element =>
    getComputedStyle(element).overflowX === "hidden" && element.scrollWidth > element.clientWidth
    && element.clientWidth > 1 && element.innerText?.trim()).map(element => element.outerHTML)"""
"""What hides a part of its text. What is for screen readers alone is one pixel wide."""

DOUBLE_TEXT = """document.documentElement.style.fontSize =
    2 * parseFloat(getComputedStyle(document.documentElement).fontSize) + "px" """


def cut_off(page: Page) -> list[str]:
    """What cannot be read without scrolling sideways, or not at all."""
    wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return [*(["the page is wider than its window"] if wide else []), *page.evaluate(CUT_OFF)]


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
        visitor.page.emulate_media(color_scheme="light", forced_colors="active")
        if faults := visitor.faults():
            found[f"{name} in forced colours"] = faults
        visitor.page.emulate_media(forced_colors="none")
        # A window of 1280 pixels is laid out as one of 640 at 200 % (WCAG 1.4.4), of 320 at 400 % (1.4.10).
        for width in (640, 320):
            visitor.page.set_viewport_size({"width": width, "height": 360})
            if cut := cut_off(visitor.page):
                found[f"{name} at {width} pixels"] = cut
        visitor.page.set_viewport_size({"width": 1280, "height": 720})
        visitor.page.evaluate(DOUBLE_TEXT)
        if cut := cut_off(visitor.page):
            found[f"{name} with text of double size"] = cut
        visitor.page.evaluate("document.documentElement.style.fontSize = ''")
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


@pytest.mark.slow
def test_long_names_are_shown_whole_at_every_width(visit: Visit) -> None:
    names = {
        "given_name": "MARIE-FRANÇOISE CHARLOTTE ALEXANDRINE",
        "family_name": "VAN DER STRAETEN-WAILLET DE LA ROCHEFOUCAULD",
    }
    person = visit()
    person.address = f"{'marie-francoise.' * 3}{person.ehealth_id}@{'cabinet-medical.' * 4}example.lu"
    person.arrive(**names, role="mycert-support")
    person.start()
    person.accept()
    person.name_address()
    for width in (320, 545, 640, 768, 960, 1280):
        person.page.set_viewport_size({"width": width, "height": 640})
        assert cut_off(person.page) == [], width
        boxes = [one.bounding_box() for one in person.page.locator(".top a, .top button, .who").all()]
        for at, one in enumerate(boxes):
            for other in boxes[at + 1 :]:
                assert apart(one, other), width


def apart(one: Any, other: Any) -> bool:
    return any(
        first[start] + first[size] <= second[start]
        for start, size in (("x", "width"), ("y", "height"))
        for first, second in ((one, other), (other, one))
    )


@pytest.mark.slow
def test_on_paper_stands_the_overview_and_no_password(visit: Visit) -> None:
    person = visit(color_scheme="dark")
    page = person.page
    person.until_delivery()
    password = person.take_password()
    page.emulate_media(media="print")
    expect(page.get_by_text(password)).to_be_hidden()
    page.emulate_media(media="screen")
    expect(page.get_by_text(password)).to_be_visible()
    person.press("Retour à l'accueil")
    person.press("Retourner quand même à l'accueil")
    page.emulate_media(media="print")
    for name in ("Valable jusqu'au", "Empreinte SHA-256"):
        expect(page.get_by_text(name)).to_be_visible()
    expect(page.locator(".who")).to_be_visible()
    for hidden in page.locator("nav, footer, button, .button, .skip").all():
        expect(hidden).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


@pytest.mark.slow
def test_forced_colours_keep_apart_what_colour_tells(visit: Visit) -> None:
    person = visit(forced_colors="active")
    person.until_code()

    def drawn(selector: str, what: str) -> str:
        asked = f"element => getComputedStyle(element).{what}"
        return str(person.page.locator(selector).first.evaluate(asked))

    steps = [f".steps li:nth-child({number})" for number in (1, 3, 5)]
    done, current, coming = (drawn(step, "borderTopColor") for step in steps)
    assert done == current != coming
    chosen, other = (f".languages a{which}" for which in ("[aria-current]", ":not([aria-current])"))
    assert drawn(chosen, "borderBottomColor") != drawn(other, "borderBottomColor")
    assert drawn(other, "borderBottomColor") == drawn("body", "backgroundColor")
    main, quiet = "button[form=verify]", "main .button.quiet"
    assert drawn(main, "backgroundColor") != drawn(quiet, "backgroundColor")


@pytest.mark.slow
def test_a_second_tab_learns_that_the_store_is_deactivated(visit: Visit) -> None:
    person = visit()
    person.until_delivery()
    person.take_password()
    person.press("Retour à l'accueil")
    person.press("Retourner quand même à l'accueil")
    person.page.get_by_role("link", name="Désactiver mon magasin de certificat").click()
    first, second, third = person.page, person.open_tab(), person.open_tab()
    for tab in (first, second, third):
        tab.goto(first.url)
        tab.get_by_label("Le fichier est perdu").check()
        tab.get_by_label("Je confirme").check()
    for person.page in (first, second):
        person.press("Désactiver")
        person.heading("Mon magasin de certificat")
        expect(person.page.locator(".note.good")).to_contain_text(
            "Votre magasin de certificat est désactivé."
        )
    second.go_back()
    second.reload()
    expect(second.locator("main")).to_contain_text("Ce magasin de certificat n'est plus actif.")
    expect(second.get_by_role("button", name="Désactiver")).to_have_count(0)
    person.page = first
    person.press("Déconnexion")
    person.page = third
    person.press("Désactiver")
    person.heading("Ce formulaire n'est plus valable")
    person.system.wait_for_mail(person.address, "deactivated")
    assert len(person.system.mails(person.address, "deactivated")) == 1
