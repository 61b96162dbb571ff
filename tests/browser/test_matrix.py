"""What people do at a browser besides going straight on: back, reload, two tabs, too late, by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import START, Visit, Visitor
from tests.browser.test_journey import opens
from tests.fixtures.system import System, free_ports, start_system

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A demo in which codes live for seconds, every store may be renewed, and sessions fall asleep."""
    running = start_system(
        tmp_path_factory.mktemp("hasty"),
        free_ports(4),
        MYCERT_JOURNEY__CODE_LIFETIME="4",
        MYCERT_RENEWAL__WINDOW_DAYS="1000",
        MYCERT_JOURNEY__RESEND_PAUSE="0",
    )
    yield running
    running.http.close()
    assert running.stop() == 0


def test_back_and_reload_show_where_it_stands(visit: Visit) -> None:
    person = visit()
    person.until_code()
    place = person.request_path()
    person.page.go_back()
    person.page.reload()
    person.heading("Vérification de votre adresse email")
    person.go("/")
    person.page.get_by_role("link", name="Reprendre ma demande").click()
    assert person.request_path() == place
    person.verify(person.code())
    person.heading("Votre magasin de certificat a été généré avec succès")
    person.page.go_back()
    person.page.reload()
    person.heading("Votre magasin de certificat a été généré avec succès")
    assert len(person.system.mails(person.address, "issued")) <= 1


def test_a_double_click_makes_one_store(visit: Visit) -> None:
    person = visit()
    person.until_code()
    person.page.locator("#code").fill(person.code())
    person.page.get_by_role("button", name="Valider", exact=True).dblclick()
    person.heading("Votre magasin de certificat a été généré avec succès")
    person.take_password()
    person.system.wait_for_mail(person.address, "issued")
    assert len(person.system.mails(person.address, "issued")) == 1
    person.go("/")
    assert person.page.locator(".badge.active").count() == 1


def test_two_tabs_are_one_request(visit: Visit, tmp_path: Path) -> None:
    person = visit()
    person.until_code()
    second = person.open_tab()
    second.goto(person.page.url)
    person.verify(person.code())
    person.heading("Votre magasin de certificat a été généré avec succès")
    second.reload()
    expect(second.get_by_role("heading", level=1)).to_have_text(
        "Votre magasin de certificat a été généré avec succès"
    )
    password = person.take_password()
    person.page = second
    assert opens(person.take_file(tmp_path), password)


def test_leaving_the_delivery_is_asked_about(visit: Visit) -> None:
    person = visit()
    person.until_delivery()
    asked: list[str] = []
    person.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    person.page.locator("h1").click()
    person.page.goto(person.base + "/faq")
    assert asked == ["beforeunload"]
    person.go("/")
    person.page.get_by_role("link", name="Reprendre ma demande").click()
    person.press("Retour à l'accueil")
    person.heading("La remise n'est pas achevée")
    person.press("Retourner quand même à l'accueil")
    expect(person.page.get_by_text("La remise n'a pas été achevée.")).to_be_visible()
    assert asked == ["beforeunload"]


def test_attempts_used_up_and_a_new_code(visit_of: Callable[..., Visitor], hasty: System) -> None:
    person = visit_of(hasty)
    person.until_code()
    for left in ("4 tentatives", "3 tentatives", "2 tentatives", "1 tentative"):
        person.verify("000000")
        expect(person.page.get_by_role("alert")).to_contain_text(left)
        person.press("Envoyer un nouveau code") if left == "1 tentative" else None
    expect(person.page.get_by_role("status").first).to_contain_text("Le code précédent ne vaut plus")


def test_a_code_that_ran_out_while_the_page_was_looked_at(
    visit_of: Callable[..., Visitor], hasty: System
) -> None:
    person = visit_of(hasty)
    person.until_code()
    code = person.code()
    expect(person.page.locator(".clock")).to_contain_text("expiré", timeout=15_000)
    person.verify(code)
    expect(person.page.get_by_role("alert")).to_contain_text("Le code a expiré")
    assert person.page.locator("#code").count() == 0
    person.press("Envoyer un nouveau code")
    person.verify(person.code(2))
    person.heading("Votre magasin de certificat a été généré avec succès")


def test_renewal_is_guided(visit_of: Callable[..., Visitor], hasty: System) -> None:
    person = visit_of(hasty)
    person.until_delivery()
    person.take_password()
    with person.page.expect_download():
        person.page.locator("a[download]").click()
    person.press("Retour à l'accueil")
    person.page.get_by_role("link", name="Renouveler mon magasin de certificat").click()
    person.heading("Renouveler mon magasin de certificat")
    assert person.faults() == []
    person.press("Commencer le renouvellement")
    person.accept()
    person.name_address()
    person.verify(person.code(2))
    person.heading("Votre magasin de certificat a été généré avec succès")
    person.go("/")
    assert person.page.locator(".badge.active").count() == 1
    expect(person.page.locator(".history")).to_contain_text("Renouvelé")


def test_a_gate_lost_half_way_ends_the_request(visit: Visit) -> None:
    person = visit()
    person.until_code()
    place, code = person.request_path(), person.code()
    person.press("Déconnexion")
    person.arrive(account_status="suspended")
    expect(person.page.locator(".unmet")).to_have_count(1)
    person.go(place)
    assert person.page.locator("#code").count() == 0 or person.verify(code) is None
    person.press("Déconnexion")
    person.arrive()
    assert person.page.get_by_text("généré avec succès").count() == 0


@pytest.mark.parametrize("language", sorted(START))
def test_the_journey_in_each_language(visit: Visit, tmp_path: Path, language: str) -> None:
    person = visit(locale=f"{language}-LU")
    page = person.page
    person.arrive()
    assert page.locator("html").get_attribute("lang") == language
    person.press(START[language])
    page.locator("#accepted").check()
    page.locator("button[form=accept]").click()
    page.locator("#email").fill(person.address)
    page.locator("button[form=validate]").click()
    page.locator("#code").fill(person.code())
    page.locator("button[form=verify]").click()
    page.locator("a[href$='/password']").wait_for(timeout=30_000)
    assert opens(person.take_file(tmp_path), person.take_password())
    mail = person.system.wait_for_mail(person.address, "issued")
    html = mail.get_body(("html",))
    assert html is not None
    assert f'<html lang="{language}">' in html.get_content()


def test_by_keyboard_alone(visit: Visit) -> None:
    person = visit()
    page = person.page

    def to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
                ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert ring != "none", f"{selector} shows no focus"
                return
        raise AssertionError(f"{selector} cannot be reached")

    person.go()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    to("main a[href^='/login']")
    page.keyboard.press("Enter")
    person.identify()
    to("main form[action='/requests'] button")
    page.keyboard.press("Enter")
    person.heading("Conditions Générales d'Utilisation")
    to("#accepted")
    page.keyboard.press("Space")
    to("button[form=accept]")
    page.keyboard.press("Enter")
    person.heading("Validation de mes données")
    to("#email")
    page.keyboard.type(person.address)
    page.keyboard.press("Enter")
    person.heading("Vérification de votre adresse email")
    to("#code")
    page.keyboard.type(person.code())
    page.keyboard.press("Enter")
    person.heading("Votre magasin de certificat a été généré avec succès")
    to("a[href$='/password']")
    page.keyboard.press("Enter")
    page.locator("#password").wait_for()
    to("[data-copy]")
    to("a[download]")
    with page.expect_download():
        page.keyboard.press("Enter")
    to("form[action$='/completion'] button")
    page.keyboard.press("Enter")
    person.heading("Mon magasin de certificat")
    to("a[href$='/deactivation']")
    page.keyboard.press("Enter")
    person.heading("Désactiver mon magasin de certificat")
    to("input[name=reason]")
    page.keyboard.press("Space")
    to("#confirm")
    page.keyboard.press("Space")
    to("button.danger")
    page.keyboard.press("Enter")
    person.heading("Mon magasin de certificat")
    assert re.search("désactivé", page.locator(".note").inner_text())
