"""Readiness checks that several processes share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import text

from api.socket_pass import local_client
from issuer.errors import CaUnavailable
from issuer.registry.database import Database

_ROOM: Final = 1 << 20
"""Octets: less on a disk, and hardly anything can be committed."""


class DiskFull(Exception):
    """A database that can be read still, and not be written."""


def in_order(database: Database) -> Callable[[], None]:
    """Whether it can be read, and, where this process writes a file of its own, whether there is room."""

    def check() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT 1"))
        if database.is_sqlite and not database.read_only:
            disk = os.statvfs(str(database.url.database))
            if disk.f_bavail * disk.f_frsize < _ROOM:
                raise DiskFull(f"{disk.f_bavail * disk.f_frsize} octets left for {database.channel}")

    return check


class Behind:
    """Whether the process that serves this Unix socket calls itself ready; and what it shows beside."""

    def __init__(self, socket: Path) -> None:
        self._name = socket.parent.name
        self._client = local_client(socket, timeout=3.0)
        self.shown: dict[str, Any] = {}

    def __call__(self) -> None:
        answer = self._client.get("/health/ready")
        self.shown = {
            name: value for name, value in answer.json().items() if name not in ("status", "checks")
        }
        if answer.status_code != httpx.codes.OK:
            raise CaUnavailable(f"{self._name} is not ready")

    def metrics(self) -> bytes:
        """Its own; raises CaUnavailable where it is silent."""
        try:
            return self._client.get("/metrics").raise_for_status().content
        except httpx.HTTPError as error:
            raise CaUnavailable(f"{self._name}: {type(error).__name__}") from None
