"""The mailer process: it alone speaks SMTP for the outbox, so that neither issuer nor publisher does."""

from __future__ import annotations

import signal
import threading

from api.mail.sender import OutboxSender
from api.mail.transport import Transport
from api.settings import Settings
from api.start.beginning import begin
from issuer.clock import system_clock
from issuer.registry.database import Database


def main(settings: Settings) -> None:
    """Send until SIGTERM."""
    begin("mailer", settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = Database(settings.database.registry, channel="registry", pool_size=2)
    OutboxSender(database, Transport(settings.mail), system_clock).run(stop, settings.mail.poll)
    database.close()
