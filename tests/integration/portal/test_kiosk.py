"""eSanté's kiosk asks with the person's own assertion whether to show the tile, and learns why not (R3)."""

from __future__ import annotations

from dataclasses import replace

import httpx

from api.web.budget import CallBudget
from tests.fixtures.world import ELIGIBLE
from tests.integration.portal.conftest import ADDRESS, Portal


def ask(portal: Portal, **gates: bool) -> httpx.Response:
    person = portal.world.person(standing=replace(ELIGIBLE, **gates))
    headers = {"Authorization": f"Bearer {person.assertion}", "Accept-Language": "de"}
    return portal.browser().get("/kiosk", headers=headers)


def test_who_may_sees_the_tile(portal: Portal) -> None:
    assert ask(portal).json() == {
        "visible": True,
        "reasons": [],
        "name": "myCert",
        "address": f"{ADDRESS}/",
    }


def test_each_closed_gate_is_named_with_what_to_do(portal: Portal) -> None:
    tile = ask(portal, luxtrust=False, health_professional=False).json()
    assert tile["visible"] is False
    assert [reason["code"] for reason in tile["reasons"]] == ["luxtrust-authenticated", "health-professional"]
    assert "LuxTrust" in tile["reasons"][0]["message"]
    assert "nicht" in tile["reasons"][0]["message"]


def test_nobody_is_asked_about_without_their_assertion(portal: Portal) -> None:
    refused = portal.browser().get("/kiosk")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


def test_what_asks_too_often_waits(portal: Portal) -> None:
    portal.desk.budget = CallBudget(2, portal.world.clock)
    answers = [ask(portal) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
