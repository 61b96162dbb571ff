"""Liveness and readiness of a process: what does not work is named, what protects it is shown."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping
from typing import Any

from litestar import MediaType, Response, Router, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.logs import get_logger

Check = Callable[[], None]
"""Returns where all is well, raises where not; the exception's class is what is shown."""


def health_router(
    checks: Mapping[str, Check], shown: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None
) -> Router:
    """``/health/live``, ``/health/ready`` and ``/metrics``. ``shown`` is put beside the checks."""

    @get("/health/live", sync_to_thread=False, include_in_schema=False)
    def live() -> dict[str, str]:
        return {"status": "live"}

    @get("/health/ready", sync_to_thread=True, include_in_schema=False)
    def ready() -> Response[dict[str, Any]]:
        results = _run(checks)
        sound = all(result == "ok" for result in results.values())
        body: dict[str, Any] = {"status": "ready" if sound else "not-ready", "checks": results}
        body.update(shown() if callable(shown) else shown or {})
        return Response(body, status_code=200 if sound else 503)

    @get("/metrics", sync_to_thread=False, include_in_schema=False, media_type=MediaType.TEXT)
    def metrics() -> Response[bytes]:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Router("/", route_handlers=[live, ready, metrics], include_in_schema=False)


def _run(checks: Mapping[str, Check]) -> dict[str, str]:
    if not checks:
        return {}
    with concurrent.futures.ThreadPoolExecutor(len(checks)) as threads:
        return dict(zip(checks, threads.map(_result, checks, checks.values()), strict=True))


def _result(name: str, check: Check) -> str:
    try:
        check()
    except Exception as error:  # noqa: BLE001 - whatever it is, the process is not ready
        get_logger().warning("not-ready", check=name, cause=error)
        return type(error).__name__
    return "ok"
