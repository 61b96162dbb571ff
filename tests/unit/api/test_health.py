from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api import health
from api.problems import exception_handlers


def client_of(checks: dict[str, Callable[[], None]], shown: Any = None) -> TestClient[Litestar]:
    app = Litestar(
        [health.health_router(checks, shown)],
        exception_handlers=exception_handlers(),
        openapi_config=None,
        logging_config=None,
    )
    return TestClient(app)


def failing() -> None:
    raise LookupError("CANARY")


def test_what_is_not_ready_is_named_by_its_class_alone() -> None:
    with client_of({"good": lambda: None, "bad": failing}, {"walls": "stand"}) as client:
        answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not-ready",
        "checks": {"good": "ok", "bad": "LookupError"},
        "walls": "stand",
    }


def test_nothing_to_check_is_ready_and_shown_may_be_asked_for() -> None:
    with client_of({}, lambda: {"leads": True}) as client:
        assert client.get("/health/ready").json() == {"status": "ready", "checks": {}, "leads": True}
        assert client.get("/health/live").json() == {"status": "live"}


def test_one_look_serves_all_who_ask_meanwhile() -> None:
    looks: list[int] = []
    go_on = threading.Event()

    def check() -> None:
        looks.append(1)
        assert go_on.wait(30)

    async def ask_at_once(readiness: health.Readiness) -> list[dict[str, str]]:
        answers = asyncio.gather(*(readiness.results() for _ in range(8)))
        await asyncio.sleep(0)
        go_on.set()
        return await answers

    assert asyncio.run(ask_at_once(health.Readiness({"slow": check}))) == [{"slow": "ok"}] * 8
    assert looks == [1]


def test_a_check_that_hangs_is_named_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_PATIENCE", 0.7)  # What a busy machine may need for the good one.
    monkeypatch.setattr(health, "_FRESH", 0.0)  # Each asks anew.
    go_on = threading.Event()

    def hanging() -> None:
        go_on.wait(30)

    with client_of({"hangs": hanging, "good": lambda: None}) as client:
        for _ in range(4):
            answer = client.get("/health/ready")
            assert answer.json()["checks"] == {"hangs": "TimeoutError", "good": "ok"}
        go_on.set()


@pytest.mark.parametrize(
    ("client", "headers", "shown"),
    [
        (None, [], True),
        (("127.0.0.1", 1), [(b"host", b"127.0.0.1:8000")], True),
        (("127.0.0.1", 1), [(b"host", b"localhost:8000")], True),
        (("127.0.0.1", 1), [(b"host", b"localhost")], True),
        (("::1", 1), [(b"host", b"[::1]:8000")], True),
        (("127.0.0.1", 1), [], False),
        (("127.0.0.1", 1), [(b"host", b"mycert.example.lu")], False),
        (("127.0.0.1", 1), [(b"host", b"127.0.0.1.example.lu")], False),
        (("127.0.0.1", 1), [(b"host", b"localhost"), (b"x-forwarded-for", b"127.0.0.1")], False),
        (("127.0.0.1", 1), [(b"host", b"localhost"), (b"forwarded", b"for=127.0.0.1")], False),
        (None, [(b"via", b"1.1 x")], False),
        (("192.0.2.1", 1), [(b"host", b"localhost")], False),
        (("mycert", 1), [(b"host", b"localhost")], False),
    ],
)
def test_metrics_are_for_this_machine(
    client: tuple[str, int] | None, headers: list[tuple[bytes, bytes]], *, shown: bool
) -> None:
    assert health.asked_on_this_machine({"client": client, "headers": headers}) is shown
