"""Readiness checks that several processes share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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


def ready_behind(socket: Path) -> Callable[[], None]:
    """Whether the process that serves this Unix socket calls itself ready."""
    client = httpx.Client(
        transport=httpx.HTTPTransport(uds=str(socket)), auth=ShowPass(socket), timeout=3.0, trust_env=False
    )

    def check() -> None:
        if client.get("http://local/health/ready").status_code != httpx.codes.OK:
            raise CaUnavailable(f"{socket.parent.name} is not ready")

    return check
