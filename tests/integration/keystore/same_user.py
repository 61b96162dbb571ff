"""Run as an ordinary user: what can that user's other processes learn of a waiting worker?

Prints one JSON object. A plain process beside it is the control.
"""

from __future__ import annotations

import ctypes
import json
import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from issuer.issuance.keystore.config import KeystoreConfig
from issuer.issuance.keystore.errors import WorkshopError
from issuer.issuance.keystore.messages import KeystoreOrder
from issuer.issuance.keystore.sealing import derive_recipient
from issuer.issuance.keystore.workshop import Workshop
from tests.fixtures.processes import children
from tests.integration.keystore.attacks import ATTACKS

PLAIN = (
    "import ctypes; ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1)); print(1, flush=True); input()"
)
ORDER = KeystoreOrder(
    key_type="p-256",
    recipient=derive_recipient(bytes(range(32))),
    context=b"request/store",
    friendly_name="myCert 1",
    profile="modern",
    chain=[],
)


def spying_on(pid: int) -> dict[str, str]:
    # The worker was forked from a process of this program, so any address of ours will do.
    here = ctypes.create_string_buffer(8)
    attempts = {
        "memory file": ("read-file", f"/proc/{pid}/mem"),
        "memory map": ("read-file", f"/proc/{pid}/maps"),
        "environment": ("read-file", f"/proc/{pid}/environ"),
        "descriptors": ("list-folder", f"/proc/{pid}/fd"),
        "memory call": ("read-memory", f"{pid} {ctypes.addressof(here)}"),
        "trace": ("trace", str(pid)),
    }
    return {name: _attempt(attack, argument) for name, (attack, argument) in attempts.items()}


def _attempt(attack: str, argument: str) -> str:
    try:
        ATTACKS[attack](argument)
    except PermissionError:
        return "refused"
    except OSError:
        return "allowed"  # the door was open, only the address was not mapped
    return "allowed"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65_536, 65_536))
    found: dict[str, object] = {}
    try:
        Workshop(KeystoreConfig()).start()
    except WorkshopError as error:
        found["refusal"] = str(error)
    plain = subprocess.Popen([sys.executable, "-c", PLAIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert plain.stdout is not None
    plain.stdout.readline()
    with closing(Workshop(KeystoreConfig(allow_missing=("memory-lock",)))) as workshop:
        found["missing"] = list(workshop.start().missing)
        with workshop.open(ORDER):
            template = workshop.template_pid
            assert template is not None
            (worker,) = children(template)
            found["worker"] = spying_on(worker)
            found["template"] = spying_on(template)
            found["limits"] = Path(f"/proc/{worker}/limits").read_text()
    found["plain"] = spying_on(plain.pid)
    plain.kill()
    plain.communicate()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
