from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import structlog

from api.lanes import Lane
from issuer.errors import Overloaded


def test_a_call_runs_with_its_callers_context_and_raises_what_it_raises() -> None:
    lane = Lane("test", threads=1)

    def call(number: int, *, named: str) -> tuple[int, str, object, str]:
        context = structlog.contextvars.get_contextvars()
        return number, named, context.get("request_id"), threading.current_thread().name

    async def run() -> None:
        with structlog.contextvars.bound_contextvars(request_id="abc"):
            assert await lane.run(call, 1, named="x") == (1, "x", "abc", "test_0")
        with pytest.raises(ValueError, match="invalid literal"):
            await lane.run(int, "x")

    asyncio.run(run())


def test_who_gets_no_thread_in_time_is_sent_away_and_who_began_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lane = Lane("test", threads=1)
    begun, go_on = threading.Event(), threading.Event()
    called: list[str] = []

    def slow() -> str:
        begun.set()
        assert go_on.wait(30)
        return "done"

    async def run() -> None:
        first = asyncio.create_task(lane.run(slow))
        await asyncio.to_thread(begun.wait, 30)
        # Of this call alone: how soon a free thread begins is the machine's affair.
        with monkeypatch.context() as patched, pytest.raises(Overloaded) as refused:
            patched.setattr(lane, "_patience", 0.05)
            await lane.run(called.append, "too late")
        assert refused.value.code == "too-many-requests"
        go_on.set()
        assert await first == "done"
        assert await lane.run(str, 1) == "1"

    asyncio.run(run())
    assert called == []


def test_one_lane_does_not_wait_for_another() -> None:
    slow, quick = Lane("slow", threads=1), Lane("quick", threads=1)
    go_on = threading.Event()

    async def run() -> None:
        hanging = asyncio.create_task(slow.run(go_on.wait, 30))
        assert await quick.run(str, 1) == "1"
        assert not hanging.done()
        go_on.set()
        assert await hanging

    asyncio.run(run())


def test_a_caller_who_gives_up_takes_the_waiting_call_along() -> None:
    lane = Lane("test", threads=1)
    go_on = threading.Event()
    called: list[str] = []

    async def run() -> None:
        first = asyncio.create_task(lane.run(go_on.wait, 30))
        waiting = asyncio.create_task(lane.run(called.append, "x"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        assert await first

    asyncio.run(run())
    assert called == []


def test_a_handler_keeps_its_signature() -> None:
    lane = Lane("test", threads=1)

    @lane.handler
    def handler(number: int) -> str:
        """What it says."""
        return str(number)

    wrapped: Callable[..., object] = handler
    assert wrapped.__doc__ == "What it says."
    assert asyncio.run(_call(handler)) == "7"


async def _call(handler: Callable[..., object]) -> object:
    return await handler(number=7)  # type: ignore[misc]
