from __future__ import annotations

import errno
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
import structlog
from litestar import Litestar, Request, post
from litestar.params import FromPath
from litestar.testing import TestClient

from api import logs
from api.problems import exception_handlers
from hsm.secret import Secret

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("web", level="DEBUG", stream=stream, clock=lambda: NOON)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:], root.level = before


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_who_and_what(written: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        logs.get_logger().info("issued", serial="0a", count=2)
        logging.getLogger("uvicorn.error").warning("odd %s", "thing")
    first, second = lines(written)
    assert first == {
        "timestamp": "2025-01-02T12:00:00.000+00:00",
        "level": "info",
        "process": "web",
        "event": "issued",
        "serial": "0a",
        "count": 2,
        "request_id": "r1",
    }
    assert (second["event"], second["logger"], second["request_id"]) == ("odd thing", "uvicorn.error", "r1")


class FullDisk(io.StringIO):
    refused = 0

    def write(self, text: str) -> int:
        self.refused += 1
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_lines_and_not_the_work(written: io.StringIO) -> None:
    full = FullDisk()
    logs.configure("web", stream=full)
    logs.get_logger().error("failed", exc_info=LookupError("x"))
    logging.getLogger("uvicorn.error").error("failed")
    assert full.refused == 2


@dataclass
class Holder:
    word: str


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "CANARY"},
        {"delivery_token": "CANARY"},
        {"user_pin": "CANARY"},
        {"code": "CANARY"},
        {"Authorization": "CANARY"},
        {"nested": {"deep": [{"secret": "CANARY"}]}},
        {"body": {"CANARY": 1}},
        {"anything": b"CANARY"},
        {"anything": Holder("CANARY")},
        {"anything": "Bearer CANARY"},
        {"anything": "see eyJhbGciOi.CANARY.CANARY for it"},
        {"anything": "-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----"},
        {"url": "postgresql://mycert:CANARY@db/registry"},
        {"anything": Secret(b"CANARY")},
    ],
)
def test_secrets_are_masked_by_name_by_type_and_by_shape(
    written: io.StringIO, fields: dict[str, Any]
) -> None:
    logs.get_logger().info("event", **fields)
    assert "CANARY" not in written.getvalue()
    assert "event" in written.getvalue()


def test_what_is_no_secret_stays_readable(written: io.StringIO) -> None:
    logs.get_logger().info(
        "event", problem="wrong-state", key_label="issuing-1", token_label="t", pins_left=2
    )
    assert "wrong-state" in written.getvalue()
    assert "issuing-1" in written.getvalue()


def test_an_exception_shows_type_message_frames_and_cause_but_no_values(written: io.StringIO) -> None:
    local = "CANARY"
    engine = sa.create_engine("sqlite://")
    try:
        try:
            with engine.connect() as connection:
                connection.execute(sa.text("SELECT :x FROM nowhere"), {"x": local})
        except sa.exc.OperationalError as error:
            raise RuntimeError("lookup failed") from error
    except RuntimeError:
        logs.get_logger().exception("failed")
    engine.dispose()
    assert "CANARY" not in written.getvalue()
    chain = lines(written)[0]["exception"]
    assert [entry["message"] for entry in chain][:2] == ["lookup failed", "no such table: nowhere"]
    assert "test_an_exception_shows" in chain[0]["frames"][-1]


def test_refused_input_is_not_quoted(written: io.StringIO) -> None:
    class Input(msgspec.Struct):
        word: int

    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({"word": "CANARY"}, Input)
    logs.get_logger().info("refused", cause=raised.value)
    assert "input refused at $.word" in lines(written)[0]["cause"]


def test_libraries_never_follow_our_level_down(written: io.StringIO) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT :x"), {"x": "CANARY"})
    engine.dispose()
    for name in ("sqlalchemy.engine", "httpx", "httpcore.http11", "aiosmtplib"):
        logging.getLogger(name).info("CANARY")
    logging.getLogger("issuer.registry").debug("ours")
    assert [line["event"] for line in lines(written)] == ["ours"]


@post("/stores/{store_id:str}")
async def act(request: Request[Any, Any, Any], store_id: FromPath[str]) -> None:
    logs.get_logger().info("inside")
    await request.body()
    if store_id == "bad":
        raise RuntimeError("broken")


def test_the_access_log_names_the_route_and_nothing_that_was_sent(written: io.StringIO) -> None:
    app = Litestar([act], exception_handlers=exception_handlers(), logging_config=None, openapi_config=None)
    with TestClient(logs.AccessLog(app, random=bytes)) as client:  # type: ignore[arg-type]
        for store in ("CANARY", "bad"):
            answer = client.post(
                f"/stores/{store}?query=CANARY",
                content=b"CANARY",
                headers={
                    "Authorization": "Bearer CANARY",
                    "Delivery-Token": "CANARY",
                    "x-request-id": "abc-12345",
                },
            )
            assert answer.headers["x-request-id"] == "abc-12345"
        assert (
            client.post("/stores/x", headers={"x-request-id": "CANARY \t"}).headers["x-request-id"]
            == "00" * 8
        )
    assert "CANARY" not in written.getvalue()
    requests = [line for line in lines(written) if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in requests] == [
        ("POST", "/stores/{store_id}", 201),
        ("POST", "/stores/{store_id}", 500),
        ("POST", "/stores/{store_id}", 201),
    ]
    assert lines(written)[0]["event"] == "inside"
    assert lines(written)[0]["request_id"] == "abc-12345"
