"""``Prefer: wait=N``: one call instead of many, and an answer as soon as there is one."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

from tests.fixtures.assertions import Provider
from tests.fixtures.system import Caller, System

PEOPLE = itertools.count(2221340001)


def somebody(system: System) -> Caller:
    return Caller(system, Provider(home=system.home, ehealth_id=str(next(PEOPLE))).assertion())


def test_the_answer_comes_when_the_store_is_made(system: System) -> None:
    for path in ("/requests/current", "/requests/{}"):
        caller = somebody(system)
        request, code = caller.until_code("wait@example.com")
        assert (
            caller.call("POST", f"/requests/{request}/verification", json={"code": code}).status_code == 202
        )
        begun = time.monotonic()
        answer = caller.call("GET", path.format(request), headers={"Prefer": "wait=30"})
        assert answer.json()["state"] == "ready"
        assert answer.headers["preference-applied"] == "wait=30"
        assert time.monotonic() - begun < 25


def test_several_wait_at_once(system: System) -> None:
    callers = [somebody(system) for _ in range(6)]

    def journey(caller: Caller) -> list[str]:
        request, code = caller.until_code(f"wait{caller.bearer[-6:].lower().strip('-_')}@example.com")
        verified = caller.call("POST", f"/requests/{request}/verification", json={"code": code})
        assert verified.status_code == 202
        with ThreadPoolExecutor(3) as tabs:
            wait = {"Prefer": "wait=30"}
            answers = [
                tabs.submit(caller.call, "GET", f"/requests/{request}", headers=wait) for _ in range(3)
            ]
            return [answer.result().json()["state"] for answer in answers]

    with ThreadPoolExecutor(len(callers)) as people:
        assert [*people.map(journey, callers)] == [["ready"] * 3] * len(callers)


def test_there_is_nothing_to_wait_for(system: System) -> None:
    caller = somebody(system)
    assert caller.call("GET", "/requests/current", headers={"Prefer": "wait=30"}).status_code == 404
    request = caller.call("POST", "/requests").json()["id"]
    for prefer, applied in (("wait=30", "wait=30"), ("wait=60", "wait=30"), ("wait=x", None), ("x", None)):
        begun = time.monotonic()
        answer = caller.call("GET", f"/requests/{request}", headers={"Prefer": prefer})
        assert answer.json()["state"] == "created"
        assert answer.headers.get("preference-applied") == applied
        assert time.monotonic() - begun < 25
