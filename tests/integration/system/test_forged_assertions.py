"""What is not the provider's word opens nothing: not at web, not straight at the issuer's socket."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api.layout import Layout
from api.problems import PROBLEMS
from api.socket_pass import ShowPass
from tests.fixtures.assertions import FORGED, Provider
from tests.fixtures.system import System

VICTIM = "2221300001"


def refused(answer: httpx.Response, code: str = "unauthenticated") -> None:
    assert answer.status_code == PROBLEMS[code][0], answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def rows(system: System) -> dict[str, int]:
    """How much there is in both databases: a refusal adds nothing and takes nothing away."""
    counts = {}
    layout = Layout(system.home)
    for database in (layout.registry_db, layout.journey_db):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            for table in ("requests", "journey_events", "stores", "deliveries", "certificates"):
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                    query = f"SELECT count(*) FROM {table}"  # noqa: S608 - a name from the line above
                    counts[table] = connection.execute(query).fetchone()[0]
    return counts


@pytest.fixture(scope="module")
def provider(system: System) -> Provider:
    return Provider(home=system.home, ehealth_id=VICTIM)


@pytest.fixture(scope="module")
def victim(system: System, provider: Provider) -> tuple[str, str, str]:
    """A professional with a store that waits to be fetched: request, delivery token, store."""
    caller = system.person(VICTIM)
    request, token = caller.until_ready("victim@example.com")
    return request, token, caller.active_store()["id"]


@pytest.fixture(scope="module")
def door(system: System) -> Iterator[httpx.Client]:
    """The issuer's socket for web, which root may open: what a broken web tier would hold."""
    socket = Layout(system.home).socket("issuer-web")
    transport = httpx.HTTPTransport(uds=str(socket))
    with httpx.Client(
        transport=transport, base_url="http://issuer", auth=ShowPass(socket), timeout=30, trust_env=False
    ) as client:
        yield client


def order(request: str | None = None, **changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {
        "request_id": request or str(uuid.uuid4()),
        "email": "forger@example.com",
        "language": "fr",
        "keystore_profile": "modern",
        "recipient": base64.b64encode(b"\x09" + bytes(31)).decode(),
        "terms_version": "2024-03",
        "terms_sha256": hashlib.sha256(b"terms").hexdigest(),
        "terms_language": "fr",
        "terms_accepted_at": now,
        "accepted_at": now,
    } | changes


def acts_at_the_door(request: str, store: str) -> list[tuple[str, dict[str, Any] | None]]:
    recipient = order()["recipient"]
    return [
        ("/orders", order()),
        (f"/orders/{request}/parts", {"part": "password", "recipient": recipient}),
        (f"/orders/{request}/completion", None),
        (f"/orders/{request}/abandonment", None),
        (f"/stores/{store}/deactivation", {"reason": "other"}),
    ]


def acts_at_web(request: str, token: str, store: str) -> list[tuple[str, str, dict[str, Any]]]:
    delivery = {"headers": {"Delivery-Token": token}}
    return [
        ("GET", "/eligibility", {}),
        ("GET", "/terms", {}),
        ("GET", "/deactivation-reasons", {}),
        ("GET", "/stores", {}),
        ("GET", f"/stores/{store}", {}),
        ("POST", f"/stores/{store}/deactivation", {"json": {"reason": "other", "confirm": True}}),
        ("POST", "/requests", {"json": {}}),
        ("GET", "/requests/current", {}),
        ("GET", f"/requests/{request}", {}),
        ("PUT", f"/requests/{request}/terms", {"json": {"version": "2024-03"}}),
        ("PUT", f"/requests/{request}/email", {"json": {"email": "forger@example.com"}}),
        ("POST", f"/requests/{request}/code", {}),
        ("POST", f"/requests/{request}/verification", {"json": {"code": "000000"}}),
        ("POST", f"/requests/{request}/password", delivery),
        ("GET", f"/requests/{request}/keystore", delivery),
        ("POST", f"/requests/{request}/completion", {}),
        ("DELETE", f"/requests/{request}", {}),
    ]


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_web_refuses_a_forged_assertion_everywhere(
    system: System, victim: tuple[str, str, str], provider: Provider, forge: Callable[[Provider], str]
) -> None:
    before = rows(system)
    for method, path, options in acts_at_web(*victim):
        headers = {"Authorization": f"Bearer {forge(provider)}", **options.get("headers", {})}
        answer = system.http.request(method, f"/api/v1{path}", **{**options, "headers": headers})
        refused(answer)
    assert rows(system) == before


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_the_issuer_refuses_it_too(
    system: System,
    victim: tuple[str, str, str],
    provider: Provider,
    door: httpx.Client,
    forge: Callable[[Provider], str],
) -> None:
    before = rows(system)
    for path, message in acts_at_the_door(victim[0], victim[2]):
        refused(door.post(path, json=message, headers={"Authorization": f"Bearer {forge(provider)}"}))
    assert rows(system) == before


def test_no_token_two_tokens_or_another_scheme(
    system: System, victim: tuple[str, str, str], provider: Provider, door: httpx.Client
) -> None:
    good = provider.assertion()
    for headers in (
        [],
        [("Authorization", "Bearer")],
        [("Authorization", good)],
        [("Authorization", f"Basic {good}")],
        [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")],
        [("Authorization", f"Bearer {good}"), ("authorization", "Bearer x")],
        [("Authorization", "Bearer \xe9")],
        [("Cookie", f"Authorization=Bearer {good}")],
        [("Proxy-Authorization", f"Bearer {good}")],
    ):
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        refused(system.http.get("/api/v1/stores", headers=encoded))
        refused(door.post("/orders", json=order(), headers=encoded))
    refused(system.http.get("/api/v1/stores", params={"access_token": good}))
    form = {"access_token": good}
    refused(system.http.post("/api/v1/requests", data=form))


def test_a_login_that_is_too_old_looks_but_does_not_issue_or_deactivate(
    system: System, victim: tuple[str, str, str], provider: Provider, door: httpx.Client
) -> None:
    request, token, store = victim
    old = provider.assertion(auth_time=int(datetime.now(UTC).timestamp()) - 7201)
    headers = {"Authorization": f"Bearer {old}"}
    before = rows(system)
    confirmed = {"reason": "other", "confirm": True}
    answer = system.http.post(f"/api/v1/stores/{store}/deactivation", json=confirmed, headers=headers)
    refused(answer, "authentication-too-old")
    verification = f"/api/v1/requests/{request}/verification"
    refused(
        system.http.post(verification, json={"code": "000000"}, headers=headers), "authentication-too-old"
    )
    refused(door.post("/orders", json=order(), headers=headers), "authentication-too-old")
    deactivation = f"/stores/{store}/deactivation"
    refused(door.post(deactivation, json={"reason": "other"}, headers=headers), "authentication-too-old")
    assert rows(system) == before
    assert system.http.get(f"/api/v1/stores/{store}", headers=headers).status_code == 200
    assert system.http.get(f"/api/v1/requests/{request}", headers=headers).status_code == 200
    fetched = system.http.post(
        f"/api/v1/requests/{request}/password", headers={**headers, "Delivery-Token": token}
    )
    assert fetched.status_code == 200


def test_a_gate_that_is_closed_is_closed_at_the_issuer_as_well(system: System, door: httpx.Client) -> None:
    """Web alone does not decide: R4, and the walls of the architecture."""
    provider = Provider(home=system.home, ehealth_id="2221300003")
    before = rows(system)
    for changes, code in (
        ({"account_status": "suspended"}, "account-not-valid"),
        ({"acr": "password"}, "not-luxtrust"),
        ({"primary_identifier": "matricule"}, "ehealthid-not-primary"),
        ({"profession_code": ""}, "not-health-professional"),
    ):
        headers = {"Authorization": f"Bearer {provider.assertion(**changes)}"}
        refused(door.post("/orders", json=order(), headers=headers), code)
        refused(system.http.post("/api/v1/requests", json={}, headers=headers), code)
    assert rows(system) == before


def test_another_person_gets_nothing_at_the_door(
    system: System, victim: tuple[str, str, str], door: httpx.Client
) -> None:
    """What a broken web tier can do with an assertion that is good, but somebody else's."""
    stranger = Provider(home=system.home, ehealth_id="2221300002")
    headers = {"Authorization": f"Bearer {stranger.assertion()}"}
    before = rows(system)
    request, _, store = victim
    for path, message in acts_at_the_door(request, store)[1:3]:
        refused(door.post(path, json=message, headers=headers), "not-found")
    refused(
        door.post(f"/stores/{store}/deactivation", json={"reason": "other"}, headers=headers), "not-found"
    )
    for odd in ("%00", "..%2f..", "x" * 36, store.upper()):
        answer = door.post(f"/stores/{odd}/deactivation", json={"reason": "other"}, headers=headers)
        refused(answer, "not-found")
    assert rows(system) == before


@pytest.mark.parametrize(
    "message",
    [
        {"surprise": 1},
        {"ehealth_id": "2221212124"},
        {"request_id": "x"},
        {"recipient": base64.b64encode(bytes(31)).decode()},
        {"recipient": "!"},
        {"keystore_profile": "strong"},
        {"accepted_at": "yesterday"},
        {"email": None},
        [],
        None,
    ],
    ids=str,
)
def test_the_door_takes_only_the_agreed_messages(
    system: System, provider: Provider, door: httpx.Client, message: Any
) -> None:
    before = rows(system)
    content = order(**message) if isinstance(message, dict) else message
    answer = door.post("/orders", json=content, headers={"Authorization": f"Bearer {provider.assertion()}"})
    refused(answer, "invalid-request")
    assert rows(system) == before
