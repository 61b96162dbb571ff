"""Everything the demo needs, made once: configuration, tokens, ceremony, databases, keys."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from api.cli.ceremony import hold_ceremony
from api.cli.db import upgrade_all
from api.cli.setup import make_places
from api.cli.tokens import give_back
from api.demo import idp
from api.layout import Layout
from api.settings import Settings, load
from issuer.ceremony.record import record_paths
from issuer.ceremony.script import demo_script, parse_script
from issuer.durable import write_file
from issuer.identity.config import SIMULATED_ISSUER

_CHECKOUT = Path(__file__).parents[2]

_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)


def prepare(home: Path, say: Callable[[str], None]) -> Settings:
    """Raises whatever a step raises; what was made before it stays and is found by the next run."""
    layout = Layout(home)
    make_places(layout)
    if not layout.config.exists():
        say("writing the demo's configuration")
        template = resources.files(__package__).joinpath("mycert.toml").read_text(encoding="utf-8")
        config = template.replace("{issuer}", SIMULATED_ISSUER).replace("{module}", _softhsm())
        write_file(layout.config, config.encode(), replace=False, mode=0o640)
    idp.create_provider(home)
    settings = load()
    script = demo_script()
    _, signature = record_paths(layout.pki, parse_script(script).name)
    if not signature.exists():
        say("making three SoftHSM tokens: root, issuing, status")
        subprocess.run(
            [str(_CHECKOUT / "scripts" / "softhsm_init.sh")],
            check=True,
            env={
                **os.environ,
                "MYCERT_HOME": str(home),
                "MYCERT_COMMAND": str(Path(sys.executable).parent / "mycert"),
            },
            stdout=subprocess.DEVNULL,
        )
        say("key ceremony: root CA, issuing CA, OCSP signer")
        hold_ceremony(settings, script, ["demo"], say)
    upgrade_all(settings)
    give_back(settings)
    return settings


def _softhsm() -> str:
    for module in _MODULES:
        if Path(module).exists():
            return module
    raise FileNotFoundError("SoftHSM's module is not installed (package softhsm2)")
