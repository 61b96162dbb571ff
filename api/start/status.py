"""The status process: CRLs and OCSP answers for the world. No key, no PIN, nothing to write."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from api.layout import Layout
from api.settings import Settings
from api.sockets import Listener, TcpAddress, run
from api.start.beginning import begin
from api.status.app import StatusApp
from api.status.files import Files
from api.status.follower import Follower
from issuer.clock import system_clock
from issuer.registry.database import Database


def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    standing = begin("status", settings)
    layout = Layout(settings.home_path)
    app = StatusApp(
        config=settings.status,
        database=Database(settings.database.registry, channel="registry", read_only=True, pool_size=2),
        pki=layout.pki,
        publisher_socket=layout.socket("publisher"),
        clock=system_clock,
        shown={"walls": standing},
    )
    address = TcpAddress(host=settings.server.status_host, port=settings.server.status)
    run([Listener(app=app, address=address, access_log=False, shortcut=app.shortcut)])


def publish(settings: Settings, folder: Path, *, until_told: bool) -> None:
    """Lay everything out as files, once, or until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = Database(settings.database.registry, channel="registry", read_only=True, pool_size=2)
    pki = Layout(settings.home_path).pki
    try:
        files = Files(folder, pki)
        follower = Follower(
            kept=files, config=settings.status, database=database, pki=pki, clock=system_clock
        )
        follower.look()
        if until_told:
            follower.run(stop)
    finally:
        database.close()
