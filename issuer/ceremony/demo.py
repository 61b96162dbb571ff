"""The demonstration's ceremony: the same code, one operator, and PINs from files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Protocol

from hsm import Token, TokenConfig
from issuer.ceremony.run import run_ceremony
from issuer.ceremony.script import CeremonyRefused, parse_script
from issuer.clock import Clock, RandomBytes
from issuer.issuance.config import PkiConfig


class TokenSection(Protocol):
    @property
    def root(self) -> TokenConfig | None: ...
    @property
    def issuing(self) -> TokenConfig: ...
    @property
    def status(self) -> TokenConfig: ...


class CeremonySettings(Protocol):
    @property
    def hsm(self) -> TokenSection: ...
    @property
    def pki(self) -> PkiConfig: ...


def demo_script() -> bytes:
    return resources.files(__package__).joinpath("demo.toml").read_bytes()


def run_demo_ceremony(
    settings: CeremonySettings,
    output: Path,
    clock: Clock,
    random: RandomBytes,
    progress: Callable[[str], None],
) -> None:
    """Raises what ``run_ceremony`` raises. A run that was cut short is taken up."""
    if settings.hsm.root is None:
        raise CeremonyRefused("the section [hsm.root] is missing")
    configs = {"root": settings.hsm.root, "issuing": settings.hsm.issuing, "status": settings.hsm.status}
    with ExitStack() as stack:
        tokens: dict[str, Token] = {}
        for name, config in configs.items():
            tokens[name] = Token.open(config, config.read_pin())
            stack.callback(tokens[name].close)
        run_ceremony(
            parse_script(demo_script()), tokens, settings.pki, output, clock, random, ["demo"], progress
        )
