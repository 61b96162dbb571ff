"""Another person's objects are not there: the same answer, at the same cost, whatever is tried."""

from __future__ import annotations

import statistics
import time
import uuid
from typing import Any

import pytest

from tests.fixtures.assertions import Provider
from tests.fixtures.edges import check_refusal
from tests.fixtures.system import Caller, System

REQUEST_ACTS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("PUT", "/terms", {"version": "2024-03"}),
    ("PUT", "/email", {"email": "stranger@example.com"}),
    ("PUT", "/email", {"email": "not an address"}),
    ("POST", "/code", None),
    ("POST", "/verification", {"code": "000000"}),
    ("POST", "/password", None),
    ("GET", "/keystore", None),
    ("POST", "/completion", None),
    ("DELETE", "", None),
]
STORE_ACTS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("POST", "/deactivation", {"reason": "other", "confirm": True}),
    ("POST", "/deactivation", {"reason": "other", "confirm": False}),
    ("POST", "/deactivation", {"reason": "other"}),
]


class Owner:
    """Somebody with a store that waits to be fetched."""

    def __init__(self, system: System) -> None:
        self.caller = system.person("2221320001")
        self.request, self.token = self.caller.until_ready("owner@example.com")
        self.store = self.caller.active_store()["id"]

    @property
    def state(self) -> tuple[Any, Any]:
        return self.caller.call("GET", "/requests/current").json(), self.caller.call("GET", "/stores").json()


@pytest.fixture(scope="module")
def owner(system: System) -> Owner:
    return Owner(system)


@pytest.fixture(scope="module")
def stranger(system: System) -> Caller:
    """Eligible, with a request and thereby a place of their own."""
    caller = Caller(system, Provider(home=system.home, ehealth_id="2221320002").assertion())
    assert caller.call("POST", "/requests", json={}).status_code == 201
    return caller


@pytest.mark.parametrize("token", [None, "the owner's", "another", "malformed"])
def test_another_persons_request_is_not_found(owner: Owner, stranger: Caller, token: str | None) -> None:
    before = owner.state
    shown = {"the owner's": owner.token, "another": "A" * 43, "malformed": "?"}.get(token or "")
    headers = {} if shown is None else {"Delivery-Token": shown}
    for method, rest, body in REQUEST_ACTS:
        there = stranger.call(method, f"/requests/{owner.request}{rest}", json=body, headers=headers)
        nowhere = stranger.call(method, f"/requests/{uuid.uuid4()}{rest}", json=body, headers=headers)
        check_refusal(there, "not-found", echo=owner.request)
        check_refusal(nowhere, "not-found")
        assert there.content == nowhere.content
        assert there.headers.keys() == nowhere.headers.keys()
    assert owner.state == before


def test_another_persons_store_is_not_found(owner: Owner, stranger: Caller) -> None:
    before = owner.state
    for method, rest, body in STORE_ACTS:
        there = stranger.call(method, f"/stores/{owner.store}{rest}", json=body)
        nowhere = stranger.call(method, f"/stores/{uuid.uuid4()}{rest}", json=body)
        check_refusal(there, "not-found", echo=owner.store)
        check_refusal(nowhere, "not-found")
        assert there.content == nowhere.content
    assert stranger.call("GET", "/stores").json() == {"items": []}
    assert owner.state == before


def test_what_is_ill_formed_is_so_for_everybody(owner: Owner, stranger: Caller) -> None:
    for who in (owner.caller, stranger):
        for method, rest, body in REQUEST_ACTS + STORE_ACTS:
            if body is None:
                continue
            kind = "stores" if rest == "/deactivation" else "requests"
            identifier = owner.store if kind == "stores" else owner.request
            answer = who.call(method, f"/{kind}/{identifier}{rest}", json=body | {"more": 1})
            check_refusal(answer, "invalid-request")


@pytest.mark.parametrize("kind", ["requests", "stores"])
def test_not_yours_costs_what_not_there_costs(owner: Owner, stranger: Caller, kind: str) -> None:
    """Measured in turns, so that the machine's other work meets both alike."""
    taken: dict[str, list[float]] = {"there": [], "nowhere": []}
    identifier = owner.request if kind == "requests" else owner.store
    for _ in range(150):
        for case, name in (("there", identifier), ("nowhere", str(uuid.uuid4()))):
            begun = time.perf_counter()
            assert stranger.call("GET", f"/{kind}/{name}").status_code == 404
            taken[case].append(time.perf_counter() - begun)
    there, nowhere = (statistics.median(times) for times in taken.values())
    assert 0.75 < there / nowhere < 1.33


TOKENS = [
    None, "", "A", "A" * 42, "A" * 43, "A" * 44, "A" * 86, "=" * 43, "?" * 43, "A" * 42 + "\xe9", " " * 43,
    "AAAA AAAA" * 5, "A" * 42 + "/", "A" * 42 + "+", "A" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: repr(token)[:24])
def test_the_owner_without_the_right_token_gets_nothing(owner: Owner, token: str | None) -> None:
    headers = {} if token is None else {"Delivery-Token": token.strip().encode("latin-1")}
    before = owner.state
    for method, part in (("POST", "password"), ("GET", "keystore")):
        answer = owner.caller.call(method, f"/requests/{owner.request}/{part}", headers=headers)
        check_refusal(answer, "delivery-token-invalid", echo="AAAA")
    assert owner.state == before


def test_a_repeated_verification_wants_the_same_token(owner: Owner) -> None:
    path, body = f"/requests/{owner.request}/verification", {"code": "000000"}
    check_refusal(owner.caller.call("POST", path, json=body), "wrong-state")
    malformed = owner.caller.call("POST", path, json=body, headers={"Delivery-Token": "?"})
    check_refusal(malformed, "delivery-token-invalid")
    right = owner.caller.call("POST", path, json=body, headers={"Delivery-Token": owner.token})
    check_refusal(right, "wrong-state")


def test_the_right_token_still_opens_it(owner: Owner) -> None:
    password, keystore = owner.caller.fetch(owner.request, owner.token)
    assert password
    assert keystore[0] == 0x30
