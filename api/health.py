"""Liveness and readiness of a process: what does not work is named, what protects it is shown."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Final

from litestar import MediaType, Request, Response, Router, get
from litestar.datastructures import State
from litestar.params import FromPath
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.logs import get_logger
from issuer.errors import NotFound

_METRICS: Final = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")
"""Litestar adds the charset of text itself; named twice, it makes the type unreadable to Prometheus."""

Check = Callable[[], None]
"""Returns where all is well, raises where not; the exception's class is what is shown."""

_FRESH: Final = 0.5
"""Seconds that one look serves all who ask: a check may sign, and anybody may ask."""

_PATIENCE: Final = 5.0

_PROXIED: Final = (
    "forwarded",
    "via",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
)


class Readiness:
    """Looks once for all who ask at the same time; a check that hangs holds its own thread and no other."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._threads = ThreadPoolExecutor(max(1, len(checks)), thread_name_prefix="health")
        self._running: dict[str, asyncio.Future[str]] = {}
        self._looked: asyncio.Task[dict[str, str]] | None = None
        self._until = 0.0

    async def results(self) -> dict[str, str]:
        if self._looked is None or (self._looked.done() and monotonic() > self._until):
            self._looked = asyncio.create_task(self._look())
        return await asyncio.shield(self._looked)

    async def _look(self) -> dict[str, str]:
        loop = asyncio.get_running_loop()
        for name, check in self._checks.items():
            # One that hangs since an earlier look is not begun again: it would take another's thread.
            if name not in self._running or self._running[name].done():
                self._running[name] = loop.run_in_executor(self._threads, _result, name, check)
        if self._running:
            await asyncio.wait(self._running.values(), timeout=_PATIENCE)
        self._until = monotonic() + _FRESH
        return {
            name: result.result() if result.done() else "TimeoutError"
            for name, result in self._running.items()
        }


def health_router(
    checks: Mapping[str, Check],
    shown: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    metrics_behind: Mapping[str, Callable[[], bytes]] | None = None,
) -> Router:
    """``/health/live``, ``/health/ready`` and ``/metrics``. ``shown`` is put beside the checks.

    ``metrics_behind`` are the metrics of processes that only this one can ask, as ``/metrics/<name>``.
    """
    readiness = Readiness(checks)

    @get("/health/live", sync_to_thread=False, include_in_schema=False)
    def live() -> dict[str, str]:
        return {"status": "live"}

    @get("/health/ready", include_in_schema=False)
    async def ready() -> Response[dict[str, Any]]:
        results = await readiness.results()
        sound = all(result == "ok" for result in results.values())
        body: dict[str, Any] = {"status": "ready" if sound else "not-ready", "checks": results}
        body.update(shown() if callable(shown) else shown or {})
        return Response(body, status_code=200 if sound else 503)

    @get("/metrics", sync_to_thread=False, include_in_schema=False, media_type=MediaType.TEXT)
    def metrics(request: Request[object, object, State]) -> Response[bytes]:
        if not asked_on_this_machine(request.scope):
            raise NotFound("metrics are for this machine")
        return Response(generate_latest(), media_type=_METRICS)

    @get("/metrics/{process:str}", sync_to_thread=True, include_in_schema=False)
    def metrics_of(request: Request[object, object, State], process: FromPath[str]) -> Response[bytes]:
        ask = (metrics_behind or {}).get(process)
        if ask is None or not asked_on_this_machine(request.scope):
            raise NotFound("metrics are for this machine")
        return Response(ask(), media_type=_METRICS)

    return Router("/", route_handlers=[live, ready, metrics, metrics_of], include_in_schema=False)


def asked_on_this_machine(scope: Mapping[str, Any]) -> bool:
    """A peer on loopback or a Unix socket, that speaks for itself and by a loopback name.

    A proxy on this machine is a loopback peer too; it gives itself away by the headers that say for whom it
    asks, and by the public name. One that shows neither must not pass this path on.
    """
    names = {name.decode("latin-1") for name, _ in scope["headers"]}
    if not names.isdisjoint(_PROXIED):
        return False
    if scope["client"] is None:
        return True
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return _is_loopback(scope["client"][0]) and (name == "localhost" or _is_loopback(name.strip("[]")))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _result(name: str, check: Check) -> str:
    try:
        check()
    except Exception as error:  # noqa: BLE001 - whatever it is, the process is not ready
        get_logger().warning("not-ready", check=name, cause=error)
        return type(error).__name__
    return "ok"
