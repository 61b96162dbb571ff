"""Every step at which a process may die, in one place, so that none is forgotten (docs/adr/0013).

Nothing happens here unless tests armed it, which production refuses. Armed with a folder, a file
``<point>.kill`` ends the process at that step as ``kill -9`` does, ``<point>.stop`` halts it there until it
is continued; the file is renamed first, so that it works once and shows that the step was reached.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

FAULTS: Final = "MYCERT_FAULTS"
"""Environment: the folder."""


class FaultPoint(StrEnum):
    """In the order of an issuance, then of a deactivation. Names say what has just been done."""

    # web
    CODE_ACCEPTED = "code-accepted"
    STORE_ORDERED = "store-ordered"
    # issuer
    ORDER_CLAIMING = "order-claiming"
    ORDER_CLAIMED = "order-claimed"
    GENERATION_BEGUN = "generation-begun"
    KEY_MADE = "key-made"
    CERTIFICATE_LINTED = "certificate-linted"
    INTENT_WRITING = "intent-writing"
    INTENT_WRITTEN = "intent-written"
    CERTIFICATE_SIGNED = "certificate-signed"
    STORE_SEALED = "store-sealed"
    STORE_ACTIVATING = "store-activating"
    STORE_ACTIVATED = "store-activated"
    # publisher
    ANSWERS_SIGNED = "answers-signed"
    ANSWERS_STORED = "answers-stored"
    # a deactivation: web, issuer, web
    DEACTIVATION_CONFIRMED = "deactivation-confirmed"
    STORE_ENDING = "store-ending"
    STORE_ENDED = "store-ended"
    DEACTIVATION_ANSWERED = "deactivation-answered"
    # its publication: publisher, issuer, publisher
    CRL_DUE = "crl-due"
    CRL_NUMBERED = "crl-numbered"
    CRL_SIGNED = "crl-signed"
    CRL_STORED = "crl-stored"
    CRL_PUBLISHED = "crl-published"


class FaultsRefused(Exception):
    """Faults are for demonstrations and tests; production does not start with them."""


_handler: Callable[[FaultPoint], None] | None = None


def fault_point(point: FaultPoint) -> None:
    """A step has been taken. Tests may end the process here; otherwise this is nothing."""
    if _handler is not None:
        _handler(point)


def arm(*, allowed: bool, environment: Mapping[str, str] = os.environ) -> None:
    """Called once at a process's start. Raises FaultsRefused where the switch is set and not ``allowed``."""
    if (folder := environment.get(FAULTS)) is None:
        return
    if not allowed:
        raise FaultsRefused(f"{FAULTS} is set, and this is no demonstration")
    install(lambda point: _strike(Path(folder), point))


def install(handler: Callable[[FaultPoint], None] | None) -> None:
    """For tests within one process; None takes it away again."""
    global _handler
    _handler = handler


def _strike(folder: Path, point: FaultPoint) -> None:
    for action, number in (("kill", signal.SIGKILL), ("stop", signal.SIGSTOP)):
        try:
            (folder / f"{point}.{action}").rename(folder / f"{point}.{action}ed")
        except FileNotFoundError:
            continue
        os.kill(os.getpid(), number)
