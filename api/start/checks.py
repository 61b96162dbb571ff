"""Readiness checks that several processes share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from api.socket_pass import ShowPass
from issuer.errors import CaUnavailable
from issuer.identity.errors import ProviderKeysUnavailable
from issuer.identity.keys import KeyRing
from issuer.registry.database import Database


def reads(database: Database) -> Callable[[], None]:
    def check() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT 1"))

    return check


def provides_keys(keys: KeyRing) -> Callable[[], None]:
    """Whether there are keys to check assertions with: without them nobody is let in."""

    def check() -> None:
        if not keys.available():
            raise ProviderKeysUnavailable("no keys of the identity provider")

    return check


class Behind:
    """Whether the process that serves this Unix socket calls itself ready; and what it shows beside."""

    def __init__(self, socket: Path) -> None:
        self._name = socket.parent.name
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)),
            auth=ShowPass(socket),
            timeout=3.0,
            trust_env=False,
        )
        self.shown: dict[str, Any] = {}

    def __call__(self) -> None:
        answer = self._client.get("http://local/health/ready")
        self.shown = {
            name: value for name, value in answer.json().items() if name not in ("status", "checks")
        }
        if answer.status_code != httpx.codes.OK:
            raise CaUnavailable(f"{self._name} is not ready")

    def metrics(self) -> bytes:
        """Its own; raises CaUnavailable where it is silent."""
        try:
            return self._client.get("http://local/metrics").raise_for_status().content
        except httpx.HTTPError as error:
            raise CaUnavailable(f"{self._name}: {type(error).__name__}") from None
