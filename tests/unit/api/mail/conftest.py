"""A real SMTP server in a thread, which answers as the test says."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Server:
    def __init__(self) -> None:
        self.received: list[Envelope] = []
        self.answers: dict[str, str] = {}
        """SMTP verb: the answer instead of the usual one; ``drop`` hangs up."""
        self.on_mail: Callable[[], None] = lambda: None
        self.port = 0
        self.connections = 0
        self.only_one = False
        """Hang up on the second message of a connection."""

    def _answer(self, server: SMTP, verb: str) -> str | None:
        answer = self.answers.get(verb)
        if answer == "drop":
            server.transport.close()
            return "421 gone"
        return answer

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.connections += 1
        self._taken = 0
        return responses

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        self._taken += 1
        if self.only_one and self._taken > 1:
            server.transport.close()
        return self._answer(server, "MAIL") or "250 ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._answer(server, "RCPT")
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self._answer(server, "DATA")
        if answer is None:
            self.received.append(envelope)
            self.on_mail()
        return answer or "250 taken"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return self._answer(server, "QUIT") or "221 bye"


class _AnyPort(Controller):
    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


StartServer = Callable[..., Server]


@pytest.fixture
def start_smtp() -> Iterator[StartServer]:
    started: list[Controller] = []

    def start(*, tls: ssl.SSLContext | None = None, **settings: Any) -> Server:
        server = Server()
        controller = _AnyPort(server, "127.0.0.1", 0, ssl_context=tls, **settings)
        # A broken handshake is a test's purpose; its trace-back on the server's side says nothing.
        controller.loop.set_exception_handler(lambda loop, context: None)
        controller.start()
        started.append(controller)
        server.port = controller.port
        return server

    yield start
    for controller in started:
        controller.stop()


@pytest.fixture
def smtp(start_smtp: StartServer) -> Server:
    return start_smtp()
