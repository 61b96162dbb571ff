"""The demo's mail server: takes every mail on loopback and lays it down as a file.

A file appears by rename, complete or not at all; a crash leaves at most a ``.part`` behind,
and its sender unanswered, who then sends again.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from api.demo.config import DemoConfig, require_demo
from issuer.clock import Clock

MAX_MAIL_BYTES = 1024 * 1024


class Mailbox:
    """An aiosmtpd handler. The folder's names sort by arrival."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._numbers = itertools.count()
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        name = f"{self._clock():%Y%m%dT%H%M%S.%f}-{os.getpid()}-{next(self._numbers):06d}"
        part = self._folder / f".{name}.part"
        part.write_bytes(envelope.original_content or b"")
        part.rename(self._folder / f"{name}.eml")
        return "250 2.0.0 kept"


def mail_server(folder: Path, port: int, clock: Clock) -> Controller:
    """Serves on loopback, in a thread of its own, between ``start()`` and ``stop()``."""
    return Controller(
        Mailbox(folder, clock),
        hostname="127.0.0.1",
        port=port,
        server_hostname="mailbox.invalid",
        ident="myCert demo",
        data_size_limit=MAX_MAIL_BYTES,
        enable_SMTPUTF8=False,
        ready_timeout=30,
    )


def run(demo: DemoConfig, folder: Path, port: int, clock: Clock) -> None:
    """What `mycert mailbox` does, until SIGINT or SIGTERM."""
    require_demo(demo)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = mail_server(folder, port, clock)
    server.start()
    stop.wait()
    server.stop()
