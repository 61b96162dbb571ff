"""The way of the officers' commands to the issuer: its socket, with the caller's own name."""

from __future__ import annotations

import os
import pwd
from typing import Any, TypeVar

import click
import httpx
import msgspec

from api.cli.output import settings
from api.layout import Layout
from api.problems import raise_for_problem
from api.socket_pass import local_client
from issuer.errors import CaUnavailable

_Answer = TypeVar("_Answer")


def ask_issuer(
    context: click.Context,
    method: str,
    path: str,
    answer: type[_Answer],
    message: msgspec.Struct | None = None,
    **query: Any,
) -> _Answer:
    """Raises CaUnavailable where the issuer cannot be reached, RemoteProblem for its refusals."""
    socket = Layout(settings(context).home_path).socket("issuer-officer")
    with local_client(socket, timeout=60.0) as client:
        try:
            response = client.request(
                method,
                path,
                params={name: value for name, value in query.items() if value is not None},
                content=b"" if message is None else msgspec.json.encode(message),
                headers={} if message is None else {"Content-Type": "application/json"},
            )
        except httpx.HTTPError as error:
            raise CaUnavailable(f"the issuer does not answer at {socket}: {error}") from None
    return msgspec.json.decode(raise_for_problem(response).content, type=answer)


def officer_name() -> str:
    """Who is at the keyboard, by the kernel's word: to root alone the environment says who called sudo."""
    name = pwd.getpwuid(os.getuid()).pw_name
    return os.environ.get("SUDO_USER", name) if os.geteuid() == 0 else name
