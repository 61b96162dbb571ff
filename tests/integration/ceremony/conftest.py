from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hsm.token import Token
from issuer.ceremony.record import CeremonyRecord
from issuer.ceremony.run import run_ceremony
from issuer.ceremony.script import demo_script
from issuer.clock import system_random
from issuer.issuance.config import PkiConfig
from tests.fixtures.softhsm import SoftHsm

PUBLIC = PkiConfig(public_url="http://pki.example.org")


@dataclass(slots=True)
class Room:
    """Where ceremonies are held: three real tokens, a folder, a clock that is moved by hand."""

    tokens: Mapping[str, Token]
    output: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    said: list[str] = field(default_factory=list)

    def run(
        self, source: str | bytes | None = None, *, operators: tuple[str, ...] = ("Ada",), **changes: Any
    ) -> CeremonyRecord:
        text = demo_script() if source is None else source
        script = text.encode() if isinstance(text, str) else text
        arguments: dict[str, Any] = {
            "tokens": self.tokens,
            "pki": PUBLIC,
            "output": self.output,
            "clock": lambda: self.now,
            "random": system_random,
            "operator": list(operators),
            "progress": self.said.append,
            "dry_run": False,
        }
        return run_ceremony(script, **arguments | changes)

    def pass_(self, **units: float) -> None:
        self.now += timedelta(**units)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.output.iterdir())


@pytest.fixture
def room(softhsm: SoftHsm, tmp_path: Path) -> Room:
    output = tmp_path / "pki"
    output.mkdir()
    names = ("root", "issuing", "status")
    return Room(tokens={name: softhsm.open(softhsm.initialise(name)) for name in names}, output=output)


class CommandFailed(Exception):
    """What the command printed."""


Run = Callable[..., str]


@pytest.fixture
def run() -> Run:
    """Run a command of the machine or of the virtual environment; it must succeed."""

    def call(*command: str | Path) -> str:
        program = Path(sys.executable).parent / str(command[0])
        first = str(program) if program.exists() else str(command[0])
        done = subprocess.run(
            [first, *map(str, command[1:])], capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode:
            raise CommandFailed(done.stdout + done.stderr)
        return done.stdout + done.stderr

    return call
