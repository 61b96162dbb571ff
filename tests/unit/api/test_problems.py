from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
import sqlalchemy as sa
import structlog
from litestar import Litestar, get, post
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.testing import TestClient

from api.problems import (
    PROBLEMS,
    RemoteProblem,
    exception_handlers,
    problem,
    problem_of,
    raise_for_problem,
    record_problem,
)

CONTRACT = """
`unauthenticated`, `authentication-too-old` 401; `account-not-valid`, `not-luxtrust`, `ehealthid-not-primary`,
`not-health-professional` 403; `not-found` 404; `method-not-allowed` 405, `not-acceptable` 406,
`too-large` 413, `unsupported-media-type` 415; `active-store-exists`, `terms-not-accepted`, `terms-outdated`,
`wrong-state`,
`already-deactivated`, `renewal-too-early` 409; `code-expired`, `delivery-expired` 410; `invalid-request`,
`email-invalid`, `code-invalid`, `confirmation-missing`, `delivery-token-invalid` 422; `code-locked`,
`too-many-requests` 429; `mail-unavailable`, `ca-unavailable` 503; `internal` 500
"""


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    kind: str
    number: int


class CodeInvalid(Exception):
    code = "code-invalid"

    @property
    def extensions(self) -> dict[str, int]:
        return {"attempts_left": 3}


class Overloaded(Exception):
    code = "too-many-requests"
    retry_after = 7


RAISED: dict[str, Exception] = {
    "code": CodeInvalid("CANARY"),
    "overload": Overloaded("CANARY"),
    "unknown-code": type("Odd", (Exception,), {"code": "CANARY"})(),
    "bug": RuntimeError("CANARY"),
    "msgspec": msgspec.ValidationError("CANARY"),
    "bearer": NotAuthorizedException("CANARY"),
    "406": HTTPException("CANARY", status_code=406),
    "415": HTTPException("CANARY", status_code=415),
    "418": HTTPException("CANARY", status_code=418),
    "503": HTTPException("CANARY", status_code=503, extra={"CANARY": 1}),
}


@get("/raise/{name:str}", sync_to_thread=False)
def raising(name: FromPath[str]) -> None:
    raise RAISED[name]


@post("/body", sync_to_thread=False)
def body(data: JSONBody[Body]) -> None:
    return None


@get("/number/{number:int}", sync_to_thread=False)
def number(number: FromPath[int], q: FromQuery[int]) -> None:
    return None


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    app = Litestar(
        [raising, body, number],
        exception_handlers=exception_handlers(),
        logging_config=None,
        openapi_config=None,
        request_max_body_size=1000,
    )
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


def check(response: httpx.Response, code: str, status: int | None = None) -> dict[str, Any]:
    document: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert document["code"] == code
    assert document["type"] == f"urn:mycert:problem:{code}"
    assert response.status_code == document["status"] == (status or PROBLEMS[code][0])
    assert "CANARY" not in response.text
    return document


def test_the_table_is_the_contracts() -> None:
    groups = re.findall(r"((?:`[a-z-]+`,?\s+)+)(\d{3})", CONTRACT)
    contract = {code: int(status) for codes, status in groups for code in re.findall(r"`([a-z-]+)`", codes)}
    assert len(contract) == 29
    assert {code: entry[0] for code, entry in PROBLEMS.items()} == contract


def test_our_exceptions_answer_with_their_code(client: TestClient[Litestar]) -> None:
    assert check(client.get("/raise/code"), "code-invalid")["attempts_left"] == 3
    overload = client.get("/raise/overload")
    assert check(overload, "too-many-requests")["retry_after"] == 7
    assert overload.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("unknown-code", "internal"),
        ("bug", "internal"),
        ("msgspec", "internal"),
        ("bearer", "unauthenticated"),
        ("406", "not-acceptable"),
        ("415", "unsupported-media-type"),
        ("418", "invalid-request"),
        ("503", "ca-unavailable"),
    ],
)
def test_every_other_exception_too(client: TestClient[Litestar], name: str, code: str) -> None:
    response = client.get(f"/raise/{name}")
    check(response, code)
    if code == "unauthenticated":
        assert response.headers["www-authenticate"] == "Bearer"


def test_the_frameworks_own_refusals(client: TestClient[Litestar]) -> None:
    check(client.get("/CANARY"), "not-found")
    wrong_method = client.delete("/body")
    check(wrong_method, "method-not-allowed")
    assert "POST" in wrong_method.headers["allow"]
    json_type = {"content-type": "application/json"}
    for content in (
        b"CANARY",
        b"{",
        b"[]",
        b'{"kind": "CANARY", "number": "CANARY"}',
        b'{"CANARY": 1}',
        b"\xff",
    ):
        check(client.post("/body", content=content, headers=json_type), "invalid-request")
    check(client.post("/body", content=b"x" * 2000, headers=json_type), "too-large")
    check(client.get("/number/1?q=CANARY"), "invalid-request")
    check(client.get("/number/1"), "invalid-request")
    check(client.get("/number/CANARY"), "not-found")


def logged(error: BaseException) -> dict[str, Any]:
    with structlog.testing.capture_logs() as lines:
        record_problem(problem_of(error), error)
    return dict(lines[0])


def test_who_went_away_is_no_fault_of_ours(client: TestClient[Litestar]) -> None:
    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def unheard(message: Any) -> None:
        assert message.get("status", 400) == 400

    scope: Any = {"type": "http", "method": "POST", "path": "/body", "query_string": b"", "headers": []}
    with structlog.testing.capture_logs() as lines:
        asyncio.run(client.app(scope | {"app": client.app}, gone, unheard))  # type: ignore[arg-type]
    assert [line["log_level"] for line in lines] == ["info"]


def test_what_is_away_is_one_line_and_what_is_broken_is_all_told() -> None:
    error = RemoteProblem("ca-unavailable", {})
    error.__cause__ = TimeoutError("the issuer")
    line = logged(error)
    assert "exc_info" not in line
    assert (line["cause"], line["behind"]) == (error, error.__cause__)
    assert logged(RuntimeError("bug"))["exc_info"]


def test_a_problem_crosses_to_the_next_process_under_its_code() -> None:
    document = problem("code-invalid", attempts_left=2, internal_note="stays")
    with pytest.raises(RemoteProblem) as raised:
        raise_for_problem(httpx.Response(422, content=document.to_json()))
    assert (raised.value.code, raised.value.extensions) == ("code-invalid", {"attempts_left": 2})


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", json.dumps({"code": "made-up"}).encode()])
def test_an_answer_that_is_no_problem_means_the_issuer_is_unavailable(content: bytes) -> None:
    with pytest.raises(RemoteProblem) as raised:
        raise_for_problem(httpx.Response(502, content=content))
    assert raised.value.code == "ca-unavailable"


def test_a_success_passes() -> None:
    response = httpx.Response(204)
    assert raise_for_problem(response) is response


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (sa.exc.OperationalError("INSERT", None, psycopg.errors.AdminShutdown()), "ca-unavailable"),
        (sa.exc.InterfaceError("INSERT", None, psycopg.InterfaceError()), "ca-unavailable"),
        (sa.exc.TimeoutError("every connection is in use"), "ca-unavailable"),
        # A server that is a standby now.
        (sa.exc.InternalError("INSERT", None, psycopg.errors.ReadOnlySqlTransaction()), "ca-unavailable"),
        (sa.exc.ProgrammingError("INSERT", None, psycopg.errors.UndefinedTable()), "internal"),
    ],
)
def test_a_database_that_cannot_serve_now_is_to_be_asked_later(error: Exception, code: str) -> None:
    assert problem_of(error).code == code
