"""Sessions: bounded, ended at both ends, and worth nothing to who holds the database."""

from __future__ import annotations

import base64
from datetime import timedelta

import sqlalchemy as sa

from api.journey.tables import sessions
from tests.integration.portal.conftest import Portal


def test_idle_and_absolute_bounds(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    for _ in range(3):
        portal.world.clock.pass_time(minutes=29)
        assert "Je demande" in browser.get("/").text
    portal.world.clock.pass_time(minutes=31)
    expired = browser.get("/")
    assert "Votre session a expiré" in expired.text
    assert "GUERRA" not in expired.text
    # Nor does looking in time keep it for ever: the assertion's own end is the bound.
    browser.log_in(portal.world.person())
    for _ in range(5):
        portal.world.clock.pass_time(minutes=25)
        last = browser.get("/")
    assert "Votre session a expiré" in last.text


def test_a_log_out_ends_it_at_the_server(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    thief = portal.browser()
    thief.client.cookies = browser.client.cookies.__class__(browser.client.cookies)
    assert "GUERRA" in thief.get("/").text
    answer = browser.post("/logout")
    assert answer.status_code == 303
    assert "__Host-mycert-session" not in dict(browser.client.cookies)
    assert "GUERRA" not in thief.get("/").text


def test_a_log_out_at_the_provider_ends_its_session_alone(portal: Portal) -> None:
    person = portal.world.person()
    ours = portal.desk.sessions.open(person.assertion, person.identity.expires_at, "one")
    other = portal.desk.sessions.open(person.assertion, person.identity.expires_at, "two")
    assert portal.desk.sessions.close_of_provider("one") == 1
    browser = portal.browser()
    for value, known in ((ours, False), (other, True)):
        browser.client.cookies.set("__Host-mycert-session", value, domain="mycert.example.lu")
        assert ("GUERRA" in browser.get("/").text) is known


def test_a_stolen_database_opens_no_session(portal: Portal) -> None:
    browser = portal.browser().log_in(portal.world.person())
    assert browser.person is not None
    cookie = browser.client.cookies["__Host-mycert-session"]
    with portal.world.database.read() as connection:
        (row,) = connection.execute(sa.select(sessions)).all()
    stored = b"|".join(bytes(value) for value in row if isinstance(value, bytes))
    assert browser.person.assertion.encode() not in stored
    assert cookie.encode() not in stored
    for value in (row.id, row.content[:32]):
        browser.client.cookies.set(
            "__Host-mycert-session",
            base64.urlsafe_b64encode(value).decode().rstrip("="),
            domain="mycert.example.lu",
        )
        assert "GUERRA" not in browser.get("/").text
    # A row that was moved or changed does not open either.
    changed = row.content[:-1] + bytes([row.content[-1] ^ 1])
    with portal.world.database.write() as connection:
        connection.execute(sessions.update().values(content=changed))
    browser.client.cookies.set("__Host-mycert-session", cookie, domain="mycert.example.lu")
    assert "GUERRA" not in browser.get("/").text


def test_what_is_over_is_purged(portal: Portal) -> None:
    portal.browser().log_in(portal.world.person())
    portal.world.clock.now += timedelta(hours=1)
    portal.desk.sessions.purge()
    with portal.world.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(sessions)).scalar_one() == 0
