"""Everything the demo needs, made once: configuration, tokens, ceremony, databases, keys."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from api.cli.ceremony import hold_ceremony
from api.cli.db import upgrade_all
from api.cli.setup import make_places, write_whole
from api.cli.tokens import give_back
from api.demo import idp
from api.layout import Layout
from api.settings import Settings, load
from issuer.ceremony.record import record_paths
from issuer.ceremony.script import demo_script, parse_script
from issuer.identity.config import SIMULATED_ISSUER

_CHECKOUT = Path(__file__).parents[2]

_CONFIG = """\
# Made by `mycert demo setup`. Not for production: the identity provider is simulated.

[identity]
issuer = "{issuer}"
audience = "mycert"
jwks_file = "{{home}}/idp/jwks.json"
max_auth_age = 7200

[hsm.root]
module = "{module}"
label = "myCert root"
pin_file = "{{home}}/secrets/root.pin"
lock_file = "{{home}}/run/locks/root.lock"
environment = {{ SOFTHSM2_CONF = "{{home}}/softhsm2.conf" }}

[hsm.issuing]
module = "{module}"
label = "myCert issuing"
pin_file = "{{home}}/secrets/issuing.pin"
lock_file = "{{home}}/run/locks/issuing.lock"
environment = {{ SOFTHSM2_CONF = "{{home}}/softhsm2.conf" }}

[hsm.status]
module = "{module}"
label = "myCert status"
pin_file = "{{home}}/secrets/status.pin"
lock_file = "{{home}}/run/locks/status.lock"
environment = {{ SOFTHSM2_CONF = "{{home}}/softhsm2.conf" }}

[issuance]
per_person_hour = 300

[keystore]
# A demonstration must start on older kernels and without root too; what is missing is shown at start.
allow_missing = ["memory-lock", "landlock-files", "landlock-network", "landlock-scope"]

[journey]
code_key_file = "{{home}}/secrets/code.key"
resend_pause = 5
sends_per_request = 20
sends_per_hour = 100

[limits]
calls_per_minute = 1200

[mail]
host = "127.0.0.1"
security = "none"
sender = "myCert <mycert@demo.invalid>"

[demo]
enabled = true
"""

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
        write_whole(layout.config, _CONFIG.format(issuer=SIMULATED_ISSUER, module=_softhsm()).encode(), 0o640)
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
