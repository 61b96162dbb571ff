"""Requests that only the publisher can answer, over its socket: bounded in number and in time."""

from __future__ import annotations

from pathlib import Path

import httpx

from api.logs import get_logger
from api.socket_pass import ShowPass
from api.status.config import StatusConfig

log = get_logger()


class Live:
    """Belongs to one event loop."""

    def __init__(self, socket_path: str, config: StatusConfig) -> None:
        self._config = config
        self._asking = 0
        self.reachable: bool | None = None
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=socket_path, limits=httpx.Limits(max_connections=config.live_requests)
            ),
            base_url="http://publisher",
            auth=ShowPass(Path(socket_path)),
            timeout=config.live_timeout,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, der: bytes) -> bytes | None:
        """The publisher's answer; None where it is busy, refuses or is not there."""
        if self._asking >= self._config.live_requests:
            return None
        self._asking += 1
        try:
            response = await self._http.post("/ocsp", content=der)
        except httpx.HTTPError as error:
            self._note(False, type(error).__name__)
            return None
        finally:
            self._asking -= 1
        self._note(True, "")
        return response.content if response.status_code == httpx.codes.OK else None

    async def metrics(self) -> bytes | None:
        """The publisher's own; None where it is not there."""
        try:
            response = await self._http.get("/metrics")
        except httpx.HTTPError:
            return None
        return response.content if response.status_code == httpx.codes.OK else None

    def _note(self, reachable: bool, cause: str) -> None:
        if reachable != self.reachable:
            if reachable:
                log.info("publisher-reachable")
            else:
                log.warning("publisher-unreachable", cause=cause)
        self.reachable = reachable
