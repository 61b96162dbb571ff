"""Web's side of the issuer's door. A refusal comes back as RemoteProblem with the same code."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, TypeVar

import httpx
import msgspec
import structlog

from api.internal.wire import CollectMessage, DeactivateMessage, StoreMessage
from api.problems import MEDIA_TYPE, RemoteProblem, raise_for_problem
from api.socket_pass import local_client
from issuer.errors import CaUnavailable
from issuer.issuance.order import Order, Sealed
from issuer.registry.deliveries import Part
from policies.reasons import DeactivationReason

_COMES_BACK: Final = 6.0
"""Seconds, in which a supervisor has started an issuer anew."""
_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class IssuerUnreachable(CaUnavailable):
    """The call never reached the issuer: nothing was begun there."""


class IssuerSilent(CaUnavailable):
    """The call may have reached the issuer; what it did is read from the registry."""


class IssuerCutOff(IssuerSilent):
    """The connection broke: the issuer has ended, and is started anew within seconds."""


class IssuerClient:
    """Thread-safe; keeps its connections. ``assertion`` is the person's own bearer token."""

    def __init__(self, socket_path: str, *, timeout: float = 10.0) -> None:
        self._http = local_client(Path(socket_path), timeout=timeout, connections=64)

    def close(self) -> None:
        self._http.close()

    def order(self, assertion: str, order: Order) -> StoreMessage:
        """Idempotent: an order that the issuer's end cut off is made again while another issuer comes up.

        Raises IssuerUnreachable or RemoteProblem where nothing was begun, IssuerSilent where nobody knows.
        """
        deadline = time.monotonic() + _COMES_BACK
        cut_off: IssuerCutOff | None = None
        while True:
            try:
                return self._call("/orders", assertion, order, StoreMessage)
            except IssuerCutOff as error:
                cut_off = error
            except (IssuerUnreachable, RemoteProblem):
                if cut_off is None:
                    raise
            if time.monotonic() > deadline:
                raise cut_off
            time.sleep(0.1)

    def collect(self, assertion: str, request_id: str, part: Part, recipient: bytes) -> Sealed:
        message = CollectMessage(part=part, recipient=recipient)
        return self._call(f"/orders/{request_id}/parts", assertion, message, Sealed)

    def complete(self, assertion: str, request_id: str) -> None:
        self._send(f"/orders/{request_id}/completion", assertion, None)

    def abandon(self, assertion: str, request_id: str) -> None:
        self._send(f"/orders/{request_id}/abandonment", assertion, None)

    def deactivate(self, assertion: str, store_id: str, reason: DeactivationReason) -> None:
        self._send(f"/stores/{store_id}/deactivation", assertion, DeactivateMessage(reason=reason))

    def _call(self, path: str, assertion: str, message: msgspec.Struct, answer: type[_Answer]) -> _Answer:
        try:
            return msgspec.json.decode(self._send(path, assertion, message), type=answer)
        except msgspec.DecodeError:
            # Of another version, perhaps: what the call did is in the registry.
            raise IssuerSilent("answered in words that are not ours") from None

    def _send(self, path: str, assertion: str, message: msgspec.Struct | None) -> bytes:
        headers = {"Authorization": f"Bearer {assertion}"}
        if (request_id := structlog.contextvars.get_contextvars().get("request_id")) is not None:
            headers["X-Request-Id"] = str(request_id)  # One id in the logs of both processes.
        content = b""
        if message is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(message)
        try:
            response = self._http.post(path, headers=headers, content=content)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise IssuerUnreachable(type(error).__name__) from None
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise IssuerCutOff(type(error).__name__) from None
        except httpx.HTTPError as error:
            raise IssuerSilent(type(error).__name__) from None
        if response.is_error and not response.headers.get("content-type", "").startswith(MEDIA_TYPE):
            raise IssuerSilent(f"answered {response.status_code} in words that are not ours")
        return raise_for_problem(response).content
