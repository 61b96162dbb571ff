"""Section [demo]: absent or not enabled, nothing in this package answers."""

from __future__ import annotations

import msgspec


class DemoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ports are on the loopback interface; 0 stands for the main port plus 2 and 3."""

    enabled: bool = False
    idp_port: int = 0
    mailbox_port: int = 0


class DemoDisabled(Exception):
    """Asked of the demo outside demo mode."""


def require_demo(config: DemoConfig) -> None:
    """Raises DemoDisabled."""
    if not config.enabled:
        raise DemoDisabled("this exists in demo mode only (demo.enabled)")
