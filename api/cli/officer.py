"""The way of the officers' commands to the issuer: its socket, with the caller's own name."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx
import msgspec

from api.cli.output import settings
from api.layout import Layout
from api.problems import raise_for_problem
from api.socket_pass import ShowPass
from issuer.errors import CaUnavailable

_Answer = TypeVar("_Answer")


class OfficerClient:
    def __init__(self, context: click.Context) -> None:
        self._socket: Path = Layout(settings(context).home_path).socket("issuer-officer")

    def get(self, path: str, answer: type[_Answer], **query: Any) -> _Answer:
        return self._call("GET", path, None, answer, query)

    def post(self, path: str, message: msgspec.Struct, answer: type[_Answer]) -> _Answer:
        return self._call("POST", path, message, answer, {})

    def _call(
        self,
        method: str,
        path: str,
        message: msgspec.Struct | None,
        answer: type[_Answer],
        query: dict[str, Any],
    ) -> _Answer:
        """Raises CaUnavailable where the issuer cannot be reached, RemoteProblem for its refusals."""
        transport = httpx.HTTPTransport(uds=str(self._socket))
        with httpx.Client(
            transport=transport,
            base_url="http://issuer",
            auth=ShowPass(self._socket),
            timeout=60.0,
            trust_env=False,
        ) as client:
            try:
                response = client.request(
                    method,
                    path,
                    params={name: value for name, value in query.items() if value is not None},
                    content=b"" if message is None else msgspec.json.encode(message),
                    headers={} if message is None else {"Content-Type": "application/json"},
                )
            except httpx.HTTPError as error:
                raise CaUnavailable(f"the issuer does not answer at {self._socket}: {error}") from None
        return msgspec.json.decode(raise_for_problem(response).content, type=answer)


def officer_name() -> str:
    """Who is at the keyboard: behind sudo, the person who called it."""
    return os.environ.get("SUDO_USER") or getpass.getuser()
