"""Every code of the contract is reached, over HTTP, through the web application as it is served."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from api.mail.errors import MailUnavailable
from api.problems import MEDIA_TYPE, PROBLEMS
from api.web.app import MAX_BODY
from policies.lifecycle import RequestState
from tests.fixtures.door import Door
from tests.fixtures.world import other_than

# The web application is written for Litestar 2, which tells of Litestar 3 wherever it can.
pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

NOWHERE = "0b54e6a6-0d0f-4c5f-8f27-0d7c1f6d2c11"


def _active(door: Door) -> httpx.Response:
    door.until_store()
    return door.call("POST", "/requests", json={})


def _outdated(door: Door) -> httpx.Response:
    begun = door.until(RequestState.TERMS_ACCEPTED)
    door.world.new_terms("2099-01")
    return door.call("PUT", f"/requests/{begun.request_id}/email", json={"email": "a@example.com"})


def _deactivated_twice(door: Door) -> httpx.Response:
    path, body = f"/stores/{door.until_store()}/deactivation", {"reason": "other", "confirm": True}
    assert door.call("POST", path, json=body).json()["status"] == "deactivated"
    return door.call("POST", path, json=body)


def _expired_code(door: Door) -> httpx.Response:
    begun = door.until(RequestState.CODE_SENT)
    door.world.clock.pass_time(seconds=301)
    return door.verify(begun)


def _expired_delivery(door: Door) -> httpx.Response:
    begun = door.until(RequestState.READY)
    door.world.clock.pass_time(seconds=601)
    headers = {"Delivery-Token": begun.token}
    return door.call("POST", f"/requests/{begun.request_id}/password", headers=headers)


def _wrong_code(door: Door) -> httpx.Response:
    begun = door.until(RequestState.CODE_SENT)
    malformed = door.verify(begun, "no code")
    assert (malformed.status_code, malformed.json()["code"]) == (422, "invalid-request")
    return door.verify(begun, other_than(begun.code))


def _locked(door: Door) -> httpx.Response:
    begun = door.until(RequestState.CODE_SENT)
    for left in (4, 3, 2, 1, 0):
        refused = door.verify(begun, other_than(begun.code))
        assert (refused.json()["code"], refused.json()["attempts_left"]) == ("code-invalid", left)
    return door.verify(begun)


def _budget(door: Door) -> httpx.Response:
    for _ in range(50):
        assert door.call("GET", "/terms").status_code == 200
    return door.call("GET", "/terms")


def _no_mail(door: Door) -> httpx.Response:
    begun = door.until(RequestState.TERMS_ACCEPTED)
    door.world.mail.failing = MailUnavailable("down")
    return door.call("PUT", f"/requests/{begun.request_id}/email", json={"email": "a@example.com"})


def _no_issuer(door: Door) -> httpx.Response:
    begun = door.until(RequestState.CODE_SENT)
    door.world.issuer.unreachable = True
    return door.verify(begun)


def _broken(door: Door) -> httpx.Response:
    door.world.texts.reasons = lambda language: {}["secret"]  # type: ignore[method-assign]
    return door.call("GET", "/deactivation-reasons")


def _old_login(door: Door) -> httpx.Response:
    begun = door.until(RequestState.CODE_SENT)
    old = door.world.person()
    door.world.clock.pass_time(seconds=901)
    return door.verify(begun, bearer=old.assertion)


REACHED: dict[str, Callable[[Door], httpx.Response]] = {
    "unauthenticated": lambda door: door.call("GET", "/stores", bearer="forged"),
    "authentication-too-old": _old_login,
    "account-not-valid": lambda door: door.without(account_status_valid=False, luxtrust=False),
    "not-luxtrust": lambda door: door.without(luxtrust=False, health_professional=False),
    "ehealthid-not-primary": lambda door: door.without(ehealthid_primary=False),
    "not-health-professional": lambda door: door.without(health_professional=False),
    "not-found": lambda door: door.call("GET", f"/requests/{NOWHERE}"),
    "method-not-allowed": lambda door: door.call("PATCH", "/stores"),
    "not-acceptable": lambda door: door.call("GET", "/stores", headers={"Accept": "image/png"}),
    "active-store-exists": _active,
    "terms-not-accepted": lambda door: door.call(
        "PUT",
        f"/requests/{door.until(RequestState.CREATED).request_id}/email",
        json={"email": "a@example.com"},
    ),
    "terms-outdated": _outdated,
    "wrong-state": lambda door: door.verify(door.until(RequestState.TERMS_ACCEPTED), "123456"),
    "already-deactivated": _deactivated_twice,
    "renewal-too-early": lambda door: door.call("POST", f"/stores/{door.until_store()}/renewal"),
    "code-expired": _expired_code,
    "delivery-expired": _expired_delivery,
    "too-large": lambda door: door.call("POST", "/requests", json={"x": "x" * MAX_BODY}),
    "unsupported-media-type": lambda door: door.call(
        "POST", "/requests", content=b"<start/>", headers={"Content-Type": "application/xml"}
    ),
    "invalid-request": lambda door: door.call("POST", "/requests", json={"unknown": 1}),
    "email-invalid": lambda door: door.call(
        "PUT", f"/requests/{door.until(RequestState.TERMS_ACCEPTED).request_id}/email", json={"email": "no"}
    ),
    "code-invalid": _wrong_code,
    "confirmation-missing": lambda door: door.call(
        "POST", f"/stores/{door.until_store()}/deactivation", json={"reason": "other", "confirm": False}
    ),
    "delivery-token-invalid": lambda door: door.call(
        "POST", f"/requests/{door.until(RequestState.READY).request_id}/password"
    ),
    "code-locked": _locked,
    "too-many-requests": _budget,
    "internal": _broken,
    "mail-unavailable": _no_mail,
    "ca-unavailable": _no_issuer,
}


def test_every_code_of_the_contract_has_its_case() -> None:
    assert set(REACHED) == set(PROBLEMS)


@pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True)
@pytest.mark.parametrize("code", PROBLEMS)
def test_a_code_is_reached(door: Door, code: str) -> None:
    answer = REACHED[code](door)
    status, _, _ = PROBLEMS[code]
    document = answer.json()
    assert (answer.status_code, document["code"], document["status"]) == (status, code, status)
    assert answer.headers["content-type"].startswith(MEDIA_TYPE)
    more = {"code-invalid": {"attempts_left"}, "renewal-too-early": {"renewable_from"}}.get(code, set())
    assert set(document) - {"retry_after"} == {"type", "title", "status", "detail", "code"} | more
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    if code == "code-invalid":
        assert document["attempts_left"] == 4
    assert "secret" not in answer.text


@pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True)
def test_a_renewal_is_asked_for_over_http(door: Door) -> None:
    store_id = door.until_store()
    not_after = door.world.held_stores.find(door.world.person(), store_id).store.not_after
    assert not_after is not None
    door.world.clock.now = not_after - timedelta(days=90)
    begun = door.call("POST", f"/stores/{store_id}/renewal", json={}, headers={"Idempotency-Key": "k"})
    assert begun.status_code == 201, begun.text
    assert begun.json()["renews"] == store_id
    again = door.call("POST", f"/stores/{store_id}/renewal", headers={"Idempotency-Key": "k"})
    assert again.json() == begun.json()
    door.world.finish(door.world.person(), begun.json()["id"])
    shown = door.call("GET", f"/stores/{store_id}").json()
    assert (shown["status"], shown["reason"]) == ("deactivated", "renewed")
