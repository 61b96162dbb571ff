"""The status responder (RFC 6960, 9654, 9919; R21, R28): bare ASGI, no key, nothing to write.

What it cannot vouch for it does not say: an answer past its nextUpdate, or a registry that
was not followed for too long, becomes ``tryLater``, and a CRL 503.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from api.health import asked_on_this_machine
from api.problems import problem, send_problem
from api.status.config import StatusConfig
from api.status.documents import CERTIFICATE, MAX_AGE_FINAL, Document, read_certificates
from api.status.follower import AUTHORITY, Follower
from api.status.http import (
    ALLOW_READING,
    READING,
    Receive,
    Scope,
    Send,
    send_document,
    send_uncached,
)
from api.status.index import Index
from api.status.live import Live
from api.status.ocsp import Ocsp
from api.status.shortcut import Shortcut
from issuer.clock import Clock
from issuer.registry.database import Database

_HEALTH = ("/health/live", "/health/ready")
_METRICS = ("/metrics", "/metrics/publisher")
_JSON = b"application/json"
_SOON = 5.0
"""Seconds in which a revocation is told at the latest; a second is what is promised (R21)."""

_UNPUBLISHED = Gauge(
    "mycert_status_unpublished_seconds",
    "Age of the oldest revocation that OCSP, or the CRL, does not tell of as it is served here.",
    ["where"],
)


class StatusApp:
    """The follower's thread lives between the ASGI lifespan's start-up and shut-down."""

    def __init__(
        self,
        *,
        config: StatusConfig,
        database: Database,
        pki: Path,
        publisher_socket: Path,
        clock: Clock,
        shown: Mapping[str, Any] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``database`` read-only; ``pki``: certificates and the root's CRL. Raises OSError, ValueError."""
        certificates = read_certificates(pki)
        self._clock = clock
        self._shown = shown or {}
        self._stop = threading.Event()
        self._index = Index(config, monotonic)
        self._follower = Follower(kept=self._index, config=config, database=database, pki=pki, clock=clock)
        self._live = Live(str(publisher_socket), config)
        self.shortcut = Shortcut(self._index, clock)
        self._ocsp = Ocsp(index=self._index, live=self._live, issuer=certificates[AUTHORITY], clock=clock)
        self._certificates = {
            f"/pki/ca/{name}.cer": Document(
                certificate.public_bytes(Encoding.DER),
                content_type=CERTIFICATE,
                this_update=certificate.not_valid_before_utc,
                next_update=None,
                max_age=MAX_AGE_FINAL,
            )
            for name, certificate in certificates.items()
        }
        self._crl_names = {f"/pki/crl/{name}.crl": name for name in certificates}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path.startswith("/pki/ocsp"):
            await self._ocsp(scope, receive, send)
        elif path in self._crl_names:
            crl = self._index.crls.get(self._crl_names[path])
            await self._document(scope, send, crl if self._index.vouches else None)
        elif path in self._certificates:
            await self._document(scope, send, self._certificates[path])
        else:
            await self._own(scope, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        follower = threading.Thread(target=self._follower.run, args=(self._stop,), name="follower")
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                follower.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                self._stop.set()
                await asyncio.to_thread(follower.join)
                await self._live.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _document(self, scope: Scope, send: Send, document: Document | None) -> None:
        now = self._clock().timestamp()
        if scope["method"] not in READING:
            await send_problem(send, problem("method-not-allowed"), allow=ALLOW_READING)
        elif document is None or not document.fresh(now):
            await send_problem(send, problem("ca-unavailable"))
        else:
            await send_document(send, document, now, list(scope["headers"]))

    async def _own(self, scope: Scope, send: Send) -> None:
        path = scope["path"]
        shown = path in _HEALTH or (path in _METRICS and asked_on_this_machine(scope))
        if not shown:
            await send_problem(send, problem("not-found"))
        elif scope["method"] not in READING:
            await send_problem(send, problem("method-not-allowed"), allow=ALLOW_READING)
        elif path == "/metrics":
            for where, age in self._unpublished().items():
                _UNPUBLISHED.labels(where).set(age)
            await send_uncached(send, 200, CONTENT_TYPE_LATEST.encode(), generate_latest())
        elif path == "/metrics/publisher":
            # Nobody but this process may ask at the publisher's socket.
            if (metrics := await self._live.metrics()) is None:
                await send_problem(send, problem("ca-unavailable"))
            else:
                await send_uncached(send, 200, CONTENT_TYPE_LATEST.encode(), metrics)
        elif path == "/health/live":
            await send_uncached(send, 200, _JSON, b'{"status":"live"}')
        else:
            checks = self.checks()
            ready = all(result == "ok" for result in checks.values())
            body = {"status": "ready" if ready else "not-ready", "checks": checks, **self._shown}
            body["publisher"] = {True: "reachable", False: "unreachable", None: "not asked yet"}[
                self._live.reachable
            ]
            await send_uncached(send, 200 if ready else 503, _JSON, msgspec.json.encode(body))

    def checks(self) -> dict[str, str]:
        now = self._clock().timestamp()
        found = {"registry": "ok" if self._index.vouches else "not followed"}
        for name in self._crl_names.values():
            crl = self._index.crls.get(name)
            found[f"crl-{name}"] = "missing" if crl is None else "ok" if crl.fresh(now) else "stale"
        for where, age in self._unpublished().items():
            found[f"revocations-{where}"] = "ok" if age <= _SOON else "unpublished"
        return found

    def _unpublished(self) -> dict[str, float]:
        now = self._clock()
        return {
            where: max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0
            for where, oldest in self._follower.unpublished.items()
        }
