"""A system of its own, to be treated badly: budgets spent, processes killed, mail hanging, keys changed."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey

from api.demo import idp
from api.layout import Layout
from api.socket_pass import ShowPass
from tests.fixtures.assertions import Provider, segment
from tests.fixtures.edges import check_refusal, send_raw
from tests.fixtures.smtp_gate import SmtpGate, smtp_gate
from tests.fixtures.system import PATIENCE, Caller, System, free_ports, start_system

BUDGET = 60
MAIL_TIMEOUT = 10
PEOPLE = itertools.count(2221330001)


@pytest.fixture(scope="module")
def gate_and_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SmtpGate, System]]:
    first = free_ports(5)
    with smtp_gate(first + 4, behind=first + 3) as gate:
        running = start_system(
            tmp_path_factory.mktemp("stressed"),
            first,
            MYCERT_LIMITS__CALLS_PER_MINUTE=str(BUDGET),
            MYCERT_SERVER__LOG_LEVEL="DEBUG",
            MYCERT_MAIL__PORT=str(first + 4),
            MYCERT_MAIL__TIMEOUT=str(MAIL_TIMEOUT),
            MYCERT_IDENTITY__JWKS_KEEP="3",
            MYCERT_IDENTITY__JWKS_REFRESH="1",
            MYCERT_IDENTITY__JWKS_RETRY="0.1",
            MYCERT_KEYSTORE__KEY_TYPE="p-256",
        )
        yield gate, running
        running.http.close()
        assert running.stop() == 0


@pytest.fixture
def stressed(gate_and_system: tuple[SmtpGate, System]) -> System:
    return gate_and_system[1]


@pytest.fixture
def smtp(gate_and_system: tuple[SmtpGate, System]) -> Iterator[SmtpGate]:
    gate = gate_and_system[0]
    yield gate
    gate.open = True


def somebody(system: System, **claims: Any) -> Caller:
    return Caller(system, Provider(home=system.home, ehealth_id=str(next(PEOPLE))).assertion(**claims))


def process_of(system: System, name: str) -> int:
    """The process id of one of the system's processes, from the supervisor's children."""
    children = subprocess.run(
        ["ps", "--ppid", str(system.process.pid), "-o", "pid=,args="],
        check=True,
        capture_output=True,
        text=True,
    )
    (pid,) = [line.split()[0] for line in children.stdout.splitlines() if line.endswith(f"api.cli {name}")]
    return int(pid)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ready(system: System) -> bool:
    try:
        return system.http.get("/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_person_s_calls_are_counted_and_nobody_else_s(stressed: System) -> None:
    busy, calm = somebody(stressed), somebody(stressed)
    for _ in range(BUDGET):
        assert busy.call("GET", "/terms").status_code == 200
    refusal = busy.call("GET", "/terms")
    document = check_refusal(refusal, "too-many-requests")
    assert 1 <= int(refusal.headers["retry-after"]) == document["retry_after"] <= 61
    check_refusal(busy.call("POST", "/requests", json={}), "too-many-requests")
    assert calm.call("GET", "/terms").status_code == 200
    # Without an identity nobody's budget is spent.
    for _ in range(BUDGET + 5):
        check_refusal(
            stressed.http.get("/api/v1/terms", headers={"Authorization": "Bearer x"}), "unauthenticated"
        )


@pytest.mark.slow
def test_a_mail_server_that_hangs_holds_up_nobody_else(stressed: System, smtp: SmtpGate) -> None:
    """Thirty people wait for their codes; a thirty-first looks around as on any other day."""
    waiting = [somebody(stressed) for _ in range(30)]
    version = waiting[0].call("GET", "/terms").json()["version"]
    requests = []
    for caller in waiting:
        requests.append(caller.call("POST", "/requests", json={}).json()["id"])
        assert caller.call("PUT", f"/requests/{requests[-1]}/terms", json={"version": version}).is_success
    smtp.open = False
    taken = smtp.taken
    with ThreadPoolExecutor(len(waiting)) as threads:
        sent = [
            threads.submit(
                caller.call, "PUT", f"/requests/{request}/email", json={"email": "slow@example.com"}
            )
            for caller, request in zip(waiting, requests, strict=True)
        ]
        until(lambda: smtp.taken >= taken + 12)
        other = somebody(stressed)
        slowest = 0.0
        for method, path in (("GET", "/stores"), ("POST", "/requests"), ("GET", "/requests/current")):
            begun = time.monotonic()
            assert other.call(method, path).is_success
            slowest = max(slowest, time.monotonic() - begun)
        # Who gets no thread is sent away before.
        assert sum(not answer.done() for answer in sent) >= 12, "the mail server no longer hangs"
        assert slowest < MAIL_TIMEOUT / 2
        codes = {answer.result().json()["code"] for answer in sent}
    assert codes == {"mail-unavailable"} or codes == {"mail-unavailable", "too-many-requests"}
    smtp.open = True
    for caller in waiting[:3]:
        assert caller.call("GET", "/requests/current").json()["state"] == "terms-accepted"
    answer = waiting[0].call("PUT", f"/requests/{requests[0]}/email", json={"email": "slow@example.com"})
    assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_an_issuer_that_is_killed_or_hangs(stressed: System) -> None:
    caller = somebody(stressed)
    request, token = caller.until_ready("killed@example.com")
    store = caller.active_store()["id"]
    confirmed = {"reason": "other", "confirm": True}
    headers = {"Delivery-Token": token}
    os.kill(process_of(stressed, "issuer"), signal.SIGKILL)
    check_refusal(caller.call("POST", f"/stores/{store}/deactivation", json=confirmed), "ca-unavailable")
    check_refusal(caller.call("POST", f"/requests/{request}/password", headers=headers), "ca-unavailable")
    check_refusal(caller.call("GET", f"/requests/{request}/keystore", headers=headers), "ca-unavailable")
    check_refusal(caller.call("POST", f"/requests/{request}/completion"), "ca-unavailable")
    check_refusal(caller.call("DELETE", f"/requests/{request}"), "ca-unavailable")
    check_refusal(caller.call("POST", "/requests", json={}), "ca-unavailable")
    # What needs no issuer goes on.
    assert caller.call("GET", "/requests/current").json()["state"] == "ready"
    assert caller.call("GET", f"/stores/{store}").json()["status"] == "active"
    assert stressed.http.get("/health/ready").json()["checks"]["issuer"] != "ok"
    until(lambda: ready(stressed))
    assert caller.call("POST", f"/requests/{request}/password", headers=headers).status_code == 200
    os.kill(process_of(stressed, "issuer"), signal.SIGSTOP)
    try:
        hanging = caller.call("POST", f"/requests/{request}/password", headers=headers)
    finally:
        os.kill(process_of(stressed, "issuer"), signal.SIGCONT)
    check_refusal(hanging, "ca-unavailable")
    until(lambda: ready(stressed))
    ended = caller.call("POST", f"/stores/{store}/deactivation", json=confirmed)
    assert ended.status_code == 200, ended.text


def test_a_damaged_database_tells_nothing(stressed: System) -> None:
    """A row that cannot be read stands for every fault that nobody foresaw."""
    caller = somebody(stressed)
    request = caller.call("POST", "/requests", json={}).json()["id"]
    with closing(sqlite3.connect(Layout(stressed.home).journey_db, timeout=30)) as database:
        (right,) = database.execute("SELECT created_at FROM requests WHERE id = ?", (request,)).fetchone()
        update = "UPDATE requests SET created_at = ? WHERE id = ?"
        database.execute(update, ("CANARY-DAMAGE", request))
        database.commit()
        for method, path in (
            ("GET", "/requests/current"),
            ("GET", f"/requests/{request}"),
            ("DELETE", f"/requests/{request}"),
            ("POST", "/requests"),
        ):
            check_refusal(caller.call(method, path), "internal", echo="CANARY")
        database.execute(update, (right, request))
        database.commit()
    assert caller.call("GET", f"/requests/{request}").status_code == 200


def door(system: System) -> httpx.Client:
    socket = Layout(system.home).socket("issuer-web")
    transport = httpx.HTTPTransport(uds=str(socket))
    return httpx.Client(transport=transport, base_url="http://issuer", auth=ShowPass(socket), timeout=30)


def at_both(system: System, assertion: str) -> tuple[int, int]:
    """What web and the issuer say to somebody who asks for what is not there."""
    headers = {"Authorization": f"Bearer {assertion}"}
    nowhere = "00000000-0000-4000-8000-000000000000"
    with door(system) as client:
        issuer = client.post(f"/orders/{nowhere}/completion", headers=headers)
    return system.http.get(f"/api/v1/requests/{nowhere}", headers=headers).status_code, issuer.status_code


def test_the_provider_s_keys_change_without_a_restart(stressed: System) -> None:
    provider = Provider(home=stressed.home, ehealth_id=str(next(PEOPLE)))
    old_key, old = provider.key, provider.public
    before = provider.assertion()
    assert at_both(stressed, before) == (404, 404)

    Layout(stressed.home).key("idp").unlink()
    idp.create_provider(stressed.home)
    new = provider.public
    assert new["kid"] != old["kid"]
    after = provider.assertion()
    assert at_both(stressed, after) == (404, 404)
    assert at_both(stressed, before) == (401, 401)
    # Under the new key's name the old key does not count.
    assert at_both(stressed, provider.sign(provider.claims(), key=old_key)) == (401, 401)

    # Both at once, as a provider does who rolls over slowly.
    jwks = Layout(stressed.home).idp_jwks
    fresh = jwks.with_suffix(".both")
    fresh.write_text(json.dumps({"keys": [old, new]}))
    fresh.chmod(0o644)
    fresh.replace(jwks)
    until(lambda: at_both(stressed, before) == (404, 404))
    assert at_both(stressed, after) == (404, 404)
    idp.create_provider(stressed.home)


def test_without_the_provider_s_keys_nobody_is_let_in_for_long(stressed: System) -> None:
    provider = Provider(home=stressed.home, ehealth_id=str(next(PEOPLE)))
    good = provider.assertion()
    forged = provider.sign(provider.claims(), key=ECKey.generate_key("P-256"))
    jwks = Layout(stressed.home).idp_jwks
    aside = jwks.with_suffix(".aside")
    jwks.rename(aside)
    try:
        until(lambda: at_both(stressed, good) == (401, 401))
        assert at_both(stressed, forged) == (401, 401)
        until(lambda: stressed.http.get("/health/ready").json()["checks"]["identity-provider"] != "ok")
    finally:
        aside.rename(jwks)
    until(lambda: at_both(stressed, good) == (404, 404))
    assert at_both(stressed, forged) == (401, 401)
    until(lambda: ready(stressed))


def everything_logged(system: System) -> str:
    files = [*(system.home / "log").iterdir(), system.home / "serve.out"]
    return "\n".join(path.read_text(errors="replace") for path in files)


HEADERS = [
    "Accept", "Accept-Language", "Accept-Encoding", "Content-Type", "Content-Encoding", "Delivery-Token",
    "Idempotency-Key", "Prefer", "X-Request-Id", "User-Agent", "Cookie", "Referer", "Origin", "Forwarded",
    "X-Forwarded-For", "X-Canary", "If-None-Match", "Proxy-Authorization", "Host", "Traceparent",
]  # fmt: skip


def test_nothing_that_is_sent_reaches_a_log(stressed: System) -> None:
    """At DEBUG, in every place of a call; refused and accepted, routed and not.

    Only what an assertion's header says as alg, typ and kid is written down, cut short: without it no
    operator finds out that the provider signs otherwise than agreed.
    """
    canary = "CANARY!7f3a"
    person = somebody(stressed, sub=f"{canary} subject", roles=[canary], nonce=canary)
    for name in HEADERS:
        somebody(stressed).call("GET", "/terms", headers={name: canary})
        stressed.http.get(f"/pki/ocsp/{segment(b'x')}", headers={name: canary})
    for field, path in (("email", "email"), ("version", "terms"), ("code", "verification"), ("more", "code")):
        who = somebody(stressed)
        request = who.call("POST", "/requests", json={}).json()["id"]
        for value in (canary, [canary], {canary: canary}):
            who.call(
                "PUT" if path in ("email", "terms") else "POST",
                f"/requests/{request}/{path}",
                json={field: value},
            )
            who.call("POST", "/requests", json={canary: value})
        who.call("POST", f"/stores/{request}/deactivation", json={"reason": canary, "confirm": canary})
    for path in (
        f"/requests/{canary}",
        f"/stores/{canary}/deactivation",
        f"/{canary}",
        f"/terms?{canary}={canary}",
    ):
        person.call("GET", path)
        person.call("POST", path, content=canary.encode() * 50)
    for bearer in (
        canary,
        f"{canary}.{canary}.{canary}",
        f"{segment({'alg': 'ES256', 'x': canary})}.e30.{canary}",
    ):
        Caller(stressed, bearer).call("GET", "/terms")
    for claim in ("given_name", "profession_code", "acr", "account_status", "iss", "aud", "scope"):
        somebody(stressed, **{claim: canary}).call("POST", "/requests", json={})
        somebody(stressed, **{claim: [canary]}).call("POST", "/requests", json={})
    with door(stressed) as client:
        headers = {"Authorization": f"Bearer {person.bearer}"}
        client.post("/orders", json={"request_id": canary, "email": canary}, headers=headers)
        client.post(f"/stores/{canary}/deactivation", json={"reason": canary}, headers=headers)
    send_raw(stressed.port, f"{canary} / HTTP/1.1\r\n\r\n".encode())
    send_raw(stressed.port, f"GET /health/live HTTP/1.1\r\n{canary}\r\n\r\n".encode())
    logged = everything_logged(stressed)
    assert '"level":"debug"' in logged or '"level":"info"' in logged
    found = re.findall(r".*CANARY.7f3a.*", logged, re.IGNORECASE)
    assert found == []
    assert base64.b64encode(canary.encode()).decode()[:12] not in logged


def test_what_a_journey_hands_out_reaches_no_log(stressed: System) -> None:
    caller = somebody(stressed)
    request, code = caller.until_code("never.logged@example.com")
    own = segment(os.urandom(32))
    headers = {"Delivery-Token": own}
    verified = caller.call("POST", f"/requests/{request}/verification", json={"code": code}, headers=headers)
    assert verified.status_code == 202
    caller.wait_for(request, "ready")
    password, _ = caller.fetch(request, own)
    assert caller.call("POST", f"/requests/{request}/completion").is_success
    logged = everything_logged(stressed)
    for secret in (code, own, password, caller.bearer, caller.bearer.rsplit(".", 1)[1], "never.logged"):
        assert secret not in logged
    assert request in logged or "/requests/{request_id}" in logged


@pytest.mark.slow
def test_waiting_ends_with_the_system(stressed: System) -> None:
    """Last here: SIGTERM finds somebody waiting for a store that a stopped issuer does not make."""
    caller = somebody(stressed)
    request, code = caller.until_code("last@example.com")
    issuer = process_of(stressed, "issuer")
    os.kill(issuer, signal.SIGSTOP)
    answers: list[httpx.Response] = []

    def wait() -> None:
        answers.append(caller.call("GET", f"/requests/{request}", headers={"Prefer": "wait=30"}))

    try:
        verification = caller.call("POST", f"/requests/{request}/verification", json={"code": code})
        check_refusal(verification, "ca-unavailable")
        assert caller.call("GET", f"/requests/{request}").json()["state"] == "generating"
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.5)  # It is to be seen that nothing answers, so there is nothing to wait for.
        assert answers == []
        begun = time.monotonic()
        os.kill(process_of(stressed, "web"), signal.SIGTERM)
        waiter.join()
        assert time.monotonic() - begun < 20
    finally:
        os.kill(issuer, signal.SIGCONT)
    assert answers[0].json()["state"] == "generating"
    until(lambda: ready(stressed))
