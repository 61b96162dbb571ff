"""The mailer process: it alone speaks SMTP for the outbox, so that neither issuer nor publisher does."""

from __future__ import annotations

import signal
import threading

from api import logs, walls
from api.mail.sender import OutboxSender
from api.mail.transport import Transport
from api.reach import reach_of
from api.settings import Settings
from issuer.clock import system_clock
from issuer.registry.database import Database


def main(settings: Settings) -> None:
    """Send until SIGTERM."""
    standing = walls.enter("mailer", umask=0o002, reach=reach_of("mailer", settings))
    logs.configure("mailer", level=settings.server.log_level)
    logs.get_logger().info("walls", **standing.as_dict())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = Database(settings.database.registry, channel="registry", pool_size=2)
    OutboxSender(database, Transport(settings.mail), system_clock).run(stop, settings.mail.poll)
    database.close()
