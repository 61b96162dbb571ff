"""What people do at a browser besides going straight on: back, reload, two tabs, too late, by keyboard."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import START, Visit, Visitor
from tests.browser.test_journey import opens
from tests.fixtures.processes import children
from tests.fixtures.system import System, free_ports, start_system
from tests.fixtures.world import other_than

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A demo in which codes and generations have seconds, and every store may be renewed."""
    running = start_system(
        tmp_path_factory.mktemp("hasty"),
        free_ports(4),
        MYCERT_JOURNEY__CODE_LIFETIME="20",
        MYCERT_JOURNEY__GENERATION_BOUND="30",
        MYCERT_ISSUANCE__BOUND="25",
        MYCERT_RENEWAL__WINDOW_DAYS="1000",
        MYCERT_JOURNEY__RESEND_PAUSE="0",
    )
    yield running
    running.http.close()
    assert running.stop() == 0


def test_back_reload_and_leaving_at_every_step(visit: Visit) -> None:
    person = visit()
    person.arrive()
    steps = {
        "Conditions Générales d'Utilisation": person.start,
        "Validation de mes données": person.accept,
        "Vérification de votre adresse email": person.name_address,
        "Votre magasin de certificat a été généré avec succès": lambda: person.verify(person.code()),
    }
    places = set()
    for heading, step in steps.items():
        step()
        person.heading(heading)
        places.add(person.request_path())
        person.page.reload()
        person.heading(heading)
        person.page.go_back()
        person.page.go_forward()
        person.heading(heading)
        person.page.close()
        person.page = person.open_tab()
        person.go("/")
        person.page.get_by_role("link", name="Reprendre ma demande").click()
        person.heading(heading)
    assert len(places) == 1
    person.system.wait_for_mail(person.address, "issued")
    assert len(person.system.mails(person.address, "issued")) == 1
    assert len(person.system.mails(person.address, "code")) == 1


def test_giving_up_at_every_step_and_beginning_anew(visit: Visit) -> None:
    person = visit()
    person.arrive()
    steps = [person.start, person.accept, person.name_address]
    for last in range(1, len(steps) + 1):
        for step in steps[:last]:
            step()
        place = person.request_path()
        person.press("Annuler")
        person.heading("Mon magasin de certificat")
        expect(person.page.locator(".note")).to_contain_text("annulée")
        person.go(place)
        person.heading("Cette demande est terminée")
        person.go("/")


def test_double_clicks_all_the_way_make_one_store(visit: Visit) -> None:
    person = visit()
    person.arrive()
    page = person.page

    def twice(name: str, heading: str) -> None:
        page.get_by_role("button", name=name, exact=True).dblclick()
        person.heading(heading)

    twice(START["fr"], "Conditions Générales d'Utilisation")
    page.locator("#accepted").check()
    twice("Accepter", "Validation de mes données")
    page.locator("#email").fill(person.address)
    twice("Valider", "Vérification de votre adresse email")
    page.locator("#code").fill(person.code())
    twice("Valider", "Votre magasin de certificat a été généré avec succès")
    person.take_password()
    person.system.wait_for_mail(person.address, "issued")
    assert len(person.system.mails(person.address, "issued")) == 1
    assert len(person.system.mails(person.address, "code")) == 1
    person.go("/")
    assert page.locator(".badge.active").count() == 1
    page.get_by_role("link", name="Désactiver mon magasin de certificat").click()
    page.get_by_label("Le fichier est perdu").check()
    page.get_by_label("Je confirme").check()
    twice("Désactiver", "Mon magasin de certificat")
    expect(page.locator(".note")).to_contain_text("désactivé")
    person.system.wait_for_mail(person.address, "deactivated")
    assert len(person.system.mails(person.address, "deactivated")) == 1


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


def test_another_browser_is_sent_back_to_the_one_that_can_open(visit: Visit) -> None:
    person = visit()
    person.until_delivery()
    other = visit(ehealth_id=person.ehealth_id)
    other.arrive()
    other.page.get_by_role("link", name="Reprendre ma demande").click()
    expect(other.page.get_by_role("alert")).to_contain_text("Seul le navigateur qui a entré le code")
    expect(other.page.locator("main section, main form")).to_have_count(0)
    other.page.get_by_role("link", name="Retour à l'accueil").click()
    other.heading("Mon magasin de certificat")
    assert len(person.take_password()) > 20


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
    person.take_password()
    person.press("Retour à l'accueil")
    person.heading("La remise n'est pas achevée")
    expect(person.page.locator("main li")).to_have_text(["Le fichier n'a pas encore été téléchargé."])
    person.press("Retourner quand même à l'accueil")
    expect(person.page.get_by_text("La remise n'a pas été achevée.")).to_be_visible()
    assert person.page.locator(".note.good").count() == 0
    assert asked == ["beforeunload"]


def test_attempts_used_up_and_a_new_code(visit: Visit) -> None:
    person = visit()
    person.until_code()
    wrong = other_than(person.code())
    for left in ("4 tentatives", "3 tentatives", "2 tentatives", "1 tentative"):
        person.verify(wrong)
        expect(person.page.get_by_role("alert")).to_contain_text(left)
    person.verify(wrong)
    expect(person.page.get_by_role("alert")).to_contain_text("Toutes les tentatives sont épuisées")
    assert person.page.locator("#code").count() == 0
    person.page.get_by_role("link", name="Changer d'adresse").click()
    person.name_address()
    person.verify(person.code(2))
    person.heading("Votre magasin de certificat a été généré avec succès")


def test_a_code_that_ran_out_while_the_page_was_looked_at(
    visit_of: Callable[..., Visitor], hasty: System
) -> None:
    person = visit_of(hasty)
    person.until_code()
    code = person.code()
    expect(person.page.locator(".clock")).to_contain_text("expiré", timeout=60_000)
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


def lose_a_gate(person: Visitor) -> Page:
    """In another tab; the one that was left open."""
    left_open, person.page = person.page, person.open_tab()
    person.go("/")
    person.press("Déconnexion")
    person.arrive(account_status="suspended")
    expect(person.page.locator(".unmet")).to_have_count(1)
    assert person.page.locator("form[action='/requests']").count() == 0
    return left_open


def test_a_gate_lost_half_way_lets_nobody_on(visit: Visit) -> None:
    person = visit()
    person.until_code()
    place, code = person.request_path(), person.code()
    left_open = lose_a_gate(person)
    person.go(place)
    person.heading("Une condition d'accès n'est pas remplie")
    assert person.page.locator("#code").count() == 0
    person.page = left_open
    person.verify(code)
    person.heading("Ce formulaire n'est plus valable")
    assert person.system.mails(person.address, "issued") == []


def test_a_gate_lost_at_the_delivery_ends_it(visit: Visit) -> None:
    person = visit()
    person.until_delivery()
    place = person.request_path()
    person.page = lose_a_gate(person)
    person.page.on("dialog", lambda dialog: dialog.accept())
    person.page.get_by_role("link", name="Afficher le mot de passe").click()
    person.heading("Une condition d'accès n'est pas remplie")
    assert person.page.locator("#password").count() == 0
    person.go("/")
    person.press("Déconnexion")
    person.arrive()
    assert person.page.locator(".badge.active").count() == 0
    expect(person.page.locator(".history")).to_contain_text("Révoqué")
    person.go(place)
    person.heading("Votre demande a été arrêtée")
    assert person.faults() == []


def test_a_generation_past_its_bound_ends_and_leaves_no_store(
    visit_of: Callable[..., Visitor], hasty: System
) -> None:
    """R13's two minutes are seconds here, and the process that makes workers is held."""
    person = visit_of(hasty)
    person.until_code()
    (template,) = children(hasty.processes()["issuer"])
    os.kill(template, signal.SIGSTOP)
    try:
        person.verify(person.code())
        person.heading("Génération en cours")
        expect(person.page.locator(".elapsed")).to_have_text(re.compile("En cours depuis [1-9]"))
        moving = []
        for motion in ("no-preference", "reduce"):
            person.page.emulate_media(reduced_motion=motion)
            moving.append(person.page.evaluate("document.getAnimations().length"))
        assert moving == [1, 0]
        assert person.faults() == []
        person.heading("La génération n'a pas abouti")
        assert person.faults() == []
    finally:
        os.kill(template, signal.SIGCONT)
    person.page.get_by_role("link", name="Retour à l'accueil").click()
    assert person.page.locator(".badge.active").count() == 0
    person.start()
    person.accept()
    person.name_address()
    person.verify(person.code(2))
    person.heading("Votre magasin de certificat a été généré avec succès")
    person.system.wait_for_mail(person.address, "issued")
    person.go("/")
    assert person.page.locator(".badge.active").count() == 1
    assert len(person.system.mails(person.address, "issued")) == 1


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
    page.locator("a[href*='/password']").wait_for(timeout=60_000)
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
    to("a[href*='/password']")
    page.keyboard.press("Enter")
    page.locator("#password").wait_for()
    assert page.evaluate("document.activeElement.id") == "secret"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('[data-copy]')")
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
