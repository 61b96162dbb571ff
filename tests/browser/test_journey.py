"""The manual's journey in a browser, in the manual's words (R6–R20)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit


def opens(file: Path, password: str) -> bool:
    command = ["openssl", "pkcs12", "-in", str(file), "-passin", f"pass:{password}", "-nodes"]
    shown = subprocess.run(command, check=False, capture_output=True, text=True)
    return "BEGIN PRIVATE KEY" in shown.stdout and "BEGIN CERTIFICATE" in shown.stdout


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no-javascript"])
def test_from_log_in_to_deactivation(visit: Visit, tmp_path: Path, scripts: bool) -> None:
    person = visit(java_script_enabled=scripts)
    page = person.page
    person.arrive()
    person.heading("Mon magasin de certificat")
    expect(page.get_by_text("Aucun magasin de certificat actif. Vous pouvez en demander un")).to_be_visible()
    person.start()
    for block in ("Informations essentielles", "Conditions générales d'utilisation", "Informations utiles"):
        expect(page.get_by_role("heading", name=block, exact=True)).to_be_visible()
    person.accept()
    data = page.locator("dl").inner_text().split("\n")
    assert [line for line in data if line] == [
        *("Prénom", "EDOUARD", "Nom", "GUERRA"),
        *("eHealthid", person.ehealth_id, "Profession", "Médecin (PS-001)"),
    ]
    person.name_address()
    expect(page.get_by_text("Vous disposez de 5 minutes pour entrer ce code ici")).to_be_visible()
    right = person.code()
    person.verify("000000" if right != "000000" else "111111")
    expect(page.get_by_role("alert")).to_contain_text("Il vous reste 4 tentatives")
    person.verify(right)
    person.heading("Votre magasin de certificat a été généré avec succès")
    assert page.locator("#password").count() == 0
    parts = page.locator("[data-part]")
    expect(parts).to_have_text(["Pas encore affiché", "Pas encore téléchargé"])
    password = person.take_password()
    expect(parts).to_have_text(["Affiché", "Pas encore téléchargé"])
    page.reload()
    assert page.locator("#password").inner_text() == password
    file = person.take_file(tmp_path)
    assert file.name == f"myCert-{person.ehealth_id}.p12"
    assert opens(file, password)
    if not scripts:
        page.reload()
    expect(parts).to_have_text(["Affiché", "Téléchargé"])
    page.reload()
    expect(page.locator("main .note.good")).to_contain_text("Vérifiez qu'ils sont bien enregistrés")
    expect(page.locator("[data-copy]")).to_be_visible(visible=scripts)
    person.press("Retour à l'accueil")
    person.heading("Mon magasin de certificat")
    expect(page.get_by_text("Actif", exact=True)).to_be_visible()
    letter = person.system.wait_for_mail(person.address, "issued").get_body(("plain",))
    numbers = page.locator("dd.code").all_inner_texts()
    assert letter is not None
    assert [number in letter.get_content() for number in numbers] == [True, True]
    page.get_by_role("link", name="Désactiver mon magasin de certificat").click()
    page.get_by_label("Le fichier est perdu").check()
    page.get_by_label("Je confirme").check()
    person.press("Désactiver")
    person.heading("Mon magasin de certificat")
    expect(page.get_by_role("button", name="Je demande mon magasin de certificat")).to_be_visible()
    expect(page.locator(".history")).to_contain_text("Désactivé")
    person.press("Déconnexion")
    person.heading("Votre certificat pour les services eSanté")
    person.go("/support")
    person.heading("Connectez-vous pour continuer")


def test_an_outdated_browser_session_resumes_where_it_was(visit: Visit) -> None:
    person = visit()
    person.until_code()
    place = person.request_path()
    cookie = next(c for c in person.context.cookies() if c["name"] == "mycert-session")
    person.context.add_cookies([{**cookie, "value": "A" * 43}])
    person.verify("123456")
    person.heading("Ce formulaire n'est plus valable")
    person.go(place)
    person.heading("Votre session a expiré")
    person.log_in()
    person.heading("Vérification de votre adresse email")
    assert person.request_path() == place


def test_who_may_not_is_told_why_and_what_to_do(visit: Visit) -> None:
    person = visit()
    person.arrive(acr="password", account_status="suspended")
    person.heading("Mon magasin de certificat")
    unmet = person.page.locator(".unmet")
    expect(unmet).to_have_count(2)
    expect(unmet.first).to_contain_text(
        "Non rempli Votre compte eSanté n'est pas valide. Contactez le support"
    )
    assert person.page.get_by_role("button", name="Je demande").count() == 0
