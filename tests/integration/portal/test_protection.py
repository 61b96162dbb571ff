"""Forms from elsewhere change nothing; every page says what it allows; the token stays with the browser."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from litestar.exceptions import NotFoundException
from litestar.testing import RequestFactory

from api.journey.tables import journey_events, requests
from api.portal.app import not_found_pages
from api.portal.sessions import form_token, parse_cookie
from api.web.budget import CallBudget
from policies.lifecycle import RequestState, StoreStatus
from tests.integration.portal.conftest import ADDRESS, Browser, Portal


def count(portal: Portal) -> int:
    with portal.world.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(requests)).scalar_one())


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"Origin": "https://evil.example"}, {}),
        ({"Origin": "null"}, {}),
        ({"Sec-Fetch-Site": "cross-site"}, {}),
        ({"Sec-Fetch-Site": "same-site"}, {}),
        ({}, {"form_token": ""}),
        ({}, {"form_token": "A" * 43}),
    ],
)
def test_forms_from_elsewhere(portal: Portal, headers: dict[str, str], fields: dict[str, str]) -> None:
    browser = portal.browser().log_in(portal.world.person())
    refused = browser.post("/requests", headers, **fields)
    assert refused.status_code == 403
    assert "Ce formulaire n'est plus valable" in refused.text
    assert count(portal) == 0


def test_an_asterisk_is_no_page(portal: Portal) -> None:
    """``GET *`` (RFC 9112 3.2.4) is a request without a path."""
    request = RequestFactory().get("/", headers={"Accept": "text/html"})
    request.scope["path"] = "*"
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    page = not_found_pages(portal.desk)[404](request, NotFoundException()).to_asgi_response(None, request)
    asyncio.run(page(request.scope, request.receive, send))
    assert sent[0]["status"] == 404
    assert "Cette page n'existe pas" in sent[1]["body"].decode()


def test_who_is_lost_stays_logged_in(portal: Portal) -> None:
    """A path that nobody serves, another's store, a form refused, no budget left: name and log-out stay."""
    browser = portal.browser().log_in(portal.world.person())
    pages = [
        browser.get("/no/such/page", headers={"Accept": "text/html"}),
        browser.get("/stores/none"),
        browser.get("/requests/none"),
        browser.post("/requests", form_token=""),
    ]
    portal.desk.budget = CallBudget(0, portal.world.clock)
    pages += [browser.get("/"), browser.get("/no/such/page", headers={"Accept": "text/html"})]
    assert [page.status_code for page in pages] == [404, 404, 404, 403, 429, 404]
    for page in pages:
        assert '<span class="who">EDOUARD GUERRA</span>' in page.text
        assert f'name="form_token" value="{form_token_of(browser)}"' in page.text
        assert 'href="/language/de?to=/' in page.text
    assert 'href="/language/de?to=/no/such/page"' in pages[0].text
    stranger = portal.browser().get("/no/such/page", headers={"Accept": "text/html"})
    assert "Déconnexion" not in stranger.text


def form_token_of(browser: Browser) -> str:
    cookie = parse_cookie(browser.client.cookies["__Host-mycert-session"])
    assert cookie is not None
    return form_token(cookie)


def test_another_sessions_token_is_refused(portal: Portal) -> None:
    first = portal.browser().log_in(portal.world.person())
    second = portal.browser().log_in(portal.world.person("2221212132"))
    assert second.post("/requests", form_token=first.token()).status_code == 403
    assert second.post("/requests").status_code == 303
    assert count(portal) == 1


def test_every_kind_of_answer_is_protected(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    request = browser.post("/requests").headers["location"]
    for path in ("/", request, "/faq", "/requests/none", "/nowhere", "/static/none", "/login/callback"):
        answer = browser.get(path, headers={"Accept": "text/html"})
        headers = answer.headers
        assert headers["cache-control"] == "no-store", path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["strict-transport-security"].startswith("max-age=")
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert not re.search(r"<(script|style)[^>]*>[^<]|\son\w+=|style=", answer.text), path


def test_text_names_its_charset_once(portal: Portal) -> None:
    browser = portal.browser()
    named = re.findall(r'(?:href|src)="(/static/[^"]+\.(?:css|js))"', browser.get("/").text)
    assert len(named) >= 2
    for path in named:
        assert browser.get(path).headers["content-type"].count("charset=utf-8") == 1, path


def test_a_forms_address_opened_by_itself_leads_to_its_request(portal: Portal) -> None:
    browser = portal.browser()
    for step in ("terms", "code", "verification", "completion", "cancellation"):
        assert browser.get(f"/requests/any/{step}").headers["location"] == "/requests/any"
    assert (
        browser.get("/requests/%2F%2Fevil.example/code")
        .headers.get("location", "/requests/")
        .startswith("/requests/")
    )


def test_cookies_under_tls(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    request = until_code(browser)
    cookie = browser.get(request).headers["set-cookie"]
    assert cookie.startswith("__Secure-mycert-delivery=")
    for part in ("HttpOnly", "Secure", "SameSite=strict", f"Path={request}"):
        assert part.lower() in cookie.lower()
    language = browser.get("/language/de?to=/faq").headers["set-cookie"]
    for part in ("__Host-mycert-language=de", "HttpOnly", "Secure", "SameSite=lax", "Path=/;"):
        assert part.lower() in language.lower() + ";"


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example", "/\\evil", "/a?b", "", "/%0d"])
def test_no_address_leads_away(portal: Portal, place: str) -> None:
    answer = portal.browser().get("/language/en", params={"to": place})
    assert answer.headers["location"] == "/"


def test_the_delivery_token_is_the_browsers_alone(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    request = until_code(browser)
    code = portal.world.mail.last_code()
    browser.get(request)
    browser.get(request)
    token = browser.client.cookies["__Secure-mycert-delivery"]
    for no_code in ("", "12345", "abcdef"):
        answer = browser.post(f"{request}/verification", code=no_code)
        assert answer.headers["location"] == f"{request}?note=code-invalid"
    assert "Il vous reste 5 tentatives" in browser.get(f"{request}?note=code-invalid").text
    for _ in range(2):  # A double click, or an answer that was lost.
        assert browser.post(f"{request}/verification", code=code).headers["location"] == request
    portal.world.settle()
    delivery = browser.get(request)
    assert "a été généré avec succès" in delivery.text
    shown = browser.get(f"{request}/password").text
    password = re.search(r'id="password"[^>]*>([^<]+)<', shown)
    assert password is not None
    assert password.group(1) not in delivery.text
    assert browser.get(f"{request}/keystore").headers["content-type"] == "application/x-pkcs12"
    # The same person in another browser sees where it stands, and cannot open it.
    assert browser.person is not None
    other = portal.browser().log_in(browser.person)
    assert "a été généré avec succès" in other.get(request).text
    assert other.get(f"{request}/password").headers["location"] == f"{request}?note=other-browser"
    with portal.world.database.read() as connection:
        rows = str(
            [tuple(row) for table in (requests, journey_events) for row in connection.execute(table.select())]
        )
    assert token not in rows
    assert password.group(1) not in rows
    assert browser.get(f"{request}/progress").json() == {
        "state": "ready",
        "fetched": ["keystore", "password"],
    }
    assert browser.post(f"{request}/completion").headers["location"] == "/?notice=delivered"
    deactivation = re.search(r"/stores/[0-9a-f-]{36}/deactivation", browser.get("/").text)
    assert deactivation is not None
    for _ in range(2):  # In another tab the store is deactivated already: as its holder wants it.
        answer = browser.post(deactivation.group(), reason="other", confirm="yes")
        assert answer.headers["location"] == "/?notice=deactivated"


def test_a_second_tab_goes_on_and_starting_over_is_asked_for(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    first = browser.post("/requests", start_key="a").headers["location"]
    assert browser.post("/requests", start_key="b").headers["location"] == first
    again = browser.post("/requests", start_key="c", restart="yes").headers["location"]
    assert again != first
    assert browser.get(first).status_code == 410
    assert "Reprendre ma demande" in browser.get("/").text


def test_starting_over_where_what_is_renewed_has_made_way(portal: Portal) -> None:
    """Another browser cannot open the delivery, and sends its person home to start over."""
    world, person = portal.world, portal.world.person()
    first, _ = world.until_ready(person)
    world.journey.complete(person, first)
    (old,) = world.held_stores.all_of(person)
    assert old.store.not_after is not None
    world.clock.now = old.store.not_after - timedelta(days=30)
    person = world.person()
    renewal = world.journey.renew(person, old.store.id)
    world.finish(person, renewal.id)
    browser = portal.browser().log_in(person)
    again = browser.post("/requests", restart="yes").headers["location"]
    assert again != f"/requests/{renewal.id}"
    assert state(portal, again) is RequestState.CREATED
    assert not [one for one in world.held_stores.all_of(person) if one.store.status is StoreStatus.ACTIVE]


@pytest.mark.parametrize("path", ["/requests/%00", "/stores/%00", "/requests/x/email", "/stores/x/renewal"])
def test_what_is_no_id_is_not_sought(portal: Portal, path: str) -> None:
    browser = portal.browser().log_in(portal.world.person())
    assert browser.get(path).status_code == 404


def test_steps_that_are_past_lead_to_where_it_stands(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    request = until_code(browser)
    for path, fields in (
        ("/terms", {"accepted": "yes", "version": "none"}),
        ("/completion", {"incomplete": "yes"}),
        ("/verification", {"code": "12"}),
    ):
        answer = browser.post(f"{request}{path}", **fields)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith(request)
    assert browser.get(f"{request}/password").headers["location"] == request
    assert state(portal, request) is RequestState.CODE_SENT


def test_another_persons_things_are_not_found(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    request = until_code(browser)
    other = portal.browser().log_in(portal.world.person("2221212132"))
    unknown = other.get("/requests/5b0c7f3e-0000-4000-8000-000000000001")
    assert unknown.status_code == other.get(request).status_code == 404
    assert unknown.text.replace("5b0c7f3e-0000-4000-8000-000000000001", "") == other.get(
        request
    ).text.replace(request.removeprefix("/requests/"), "")
    assert other.post(f"{request}/cancellation").status_code == 404
    assert state(portal, request) is RequestState.CODE_SENT


def test_the_support_sees_states_and_no_secret_and_is_seen(portal: Portal) -> None:
    person = portal.world.person()
    portal.world.until_ready(person)
    browser = portal.browser().log_in(portal.world.person("2221212132", roles=("mycert-support",)))
    assert "Support" in browser.get("/").text
    shown = browser.post("/support", ehealth_id=str(person.ehealth_id))
    assert shown.status_code == 200
    assert "Actif" in shown.text
    with portal.world.database.read() as connection:
        (event,) = connection.execute(
            sa.select(journey_events).where(journey_events.c.action == "support-looked")
        ).all()
    assert (event.actor, event.ehealth_id) == ("support", person.ehealth_id)
    assert event.details == {"supporter": "s-2221212132"}
    assert browser.post("/support", ehealth_id="<script>").status_code == 422
    for outsider in (portal.browser(), portal.browser().log_in(person)):
        assert outsider.get("/support").status_code in (401, 404)


def test_a_log_in_too_long_ago_is_renewed_before_it_matters(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    request = until_code(browser)
    portal.world.clock.pass_time(minutes=16)
    asked = browser.get(request)
    assert asked.status_code == 401
    assert f'href="/login?again=true&amp;to={request}"' in asked.text
    assert browser.post(f"{request}/verification", code="123456").status_code == 401


def until_code(browser: Browser) -> str:
    request = str(browser.post("/requests").headers["location"])
    version = browser.portal.world.texts.terms_version
    assert browser.post(f"{request}/terms", accepted="yes", version=version).headers["location"] == request
    assert browser.post(f"{request}/email", email="mon@adresse.lu").headers["location"] == request
    return request


def state(portal: Portal, request: str) -> RequestState:
    with portal.world.database.read() as connection:
        found = connection.execute(
            sa.select(requests.c.state).where(requests.c.id == request.removeprefix("/requests/"))
        ).scalar_one()
    return RequestState(found)


def test_the_address_is_the_public_one(portal: Portal) -> None:
    answer = portal.browser().get("/login", headers={"Host": "10.0.0.1"})
    assert answer.headers["location"] == f"{ADDRESS}/login?to=/"
