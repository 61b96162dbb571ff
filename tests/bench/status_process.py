"""``python -m tests.bench.status_process FOLDER PORT``: the status process on a registry of the bench."""

from __future__ import annotations

import sys
from pathlib import Path

from api import logs
from api.sockets import Listener, TcpAddress, run
from api.status.app import StatusApp
from api.status.config import StatusConfig
from issuer.clock import system_clock
from issuer.registry.database import Database


def main(folder: Path, port: int) -> None:
    logs.configure("status")
    app = StatusApp(
        config=StatusConfig(),
        database=Database(
            f"sqlite:///{folder / 'registry.db'}", channel="registry", read_only=True, pool_size=2
        ),
        pki=folder / "pki",
        publisher_socket=folder / "publisher.sock",
        clock=system_clock,
    )
    address = TcpAddress(host="127.0.0.1", port=port)
    run([Listener(app=app, address=address, access_log=False, shortcut=app.shortcut)])


main(Path(sys.argv[1]), int(sys.argv[2]))
