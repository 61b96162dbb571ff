"""What every process does first, whatever it serves."""

from __future__ import annotations

from api import logs, walls
from api.accounts import REGISTRY_WRITERS, USERS
from api.layout import PIN_OWNERS
from api.reach import reach_of
from api.settings import Settings
from issuer import faults


def begin(process: str, settings: Settings) -> dict[str, str]:
    """Shut the walls, open the log, and tell which walls stand; before any secret is read."""
    faults.arm(allowed=settings.demo.enabled)
    holds_pin = process in PIN_OWNERS.values()
    standing = walls.enter(
        process,
        # On SQLite these write one file, which belongs to their group.
        umask=0o002 if USERS[process] in REGISTRY_WRITERS else 0o027,
        holds_pin=holds_pin,
        reach=None if holds_pin else reach_of(process, settings),
    )
    logs.configure(process, level=settings.server.log_level)
    logs.get_logger().info("walls", **standing)
    return standing
