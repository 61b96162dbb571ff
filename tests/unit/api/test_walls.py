from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]

ENTER = """
import json, os, resource, sys
from api import walls
entered = walls.enter(sys.argv[1], holds_pin=sys.argv[2] == "pin")
status = open("/proc/self/status").read()
print(json.dumps({**entered, "limit": resource.getrlimit(resource.RLIMIT_CORE),
    "umask": [line.split()[1] for line in status.splitlines() if line.startswith("Umask")][0],
    "told": "MYCERT_SUPERVISOR" in os.environ}))
"""


def enter(process: str, pin: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        (sys.executable, "-c", ENTER, process, pin),
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_no_process_is_dumpable() -> None:
    facts = enter("issuer", "pin")
    assert facts["dumpable"] == "in force"
    assert facts["core"] == "in force"
    assert facts["limit"] == [0, 0]
    assert facts["umask"] == "0027"


def test_what_is_missing_is_said_with_its_reason() -> None:
    facts = enter("web", "", MYCERT_USERS_MISSING="the system user mycert-web does not exist")
    assert facts["users"] == "missing: the system user mycert-web does not exist"
    assert facts["confinement"].startswith("missing: ")
    assert facts["dumpable"] == "in force"
    assert enter("web", "")["users"] == f"missing: runs as user id {os.getuid()}"


def test_a_supervised_process_knows_its_supervisor_and_its_children_do_not() -> None:
    assert enter("web", "", MYCERT_SUPERVISOR=str(os.getpid()))["told"] is False


def test_a_process_whose_supervisor_is_gone_ends() -> None:
    done = subprocess.run(
        (sys.executable, "-c", ENTER, "web", ""),
        env=os.environ | {"PYTHONPATH": str(ROOT), "MYCERT_SUPERVISOR": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -15
    assert done.stdout == b""


CONFINED = """
import json, os, pathlib, subprocess, sys
from api import walls
from api.reach import Reach
home = pathlib.Path(sys.argv[1])
reach = Reach(home=home, read=(home / "read",), write=(home / "write",))
told = walls.enter("web", reach=reach)["confinement"]
def tried(step):
    try:
        step()
    except PermissionError:
        return "refused"
    except FileNotFoundError:
        return "absent"
    return "done"
print(json.dumps([told, tried((home / "read" / "a").read_bytes), tried((home / "a").read_bytes),
    tried((home / "write" / "b").touch), tried((home / "read" / "b").touch),
    tried(lambda: subprocess.run(["/bin/true"]))]))
"""


def confine(home: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        (sys.executable, "-c", CONFINED, str(home)),
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    outcomes: list[str] = json.loads(done.stdout)
    return outcomes


def test_a_confined_process_keeps_its_folders_and_the_interpreter(tmp_path: Path) -> None:
    for folder in ("read", "write"):
        (tmp_path / folder).mkdir()
    for file in ("a", "read/a"):
        (tmp_path / file).touch()
    assert confine(tmp_path) == ["in force", "done", "refused", "done", "refused", "refused"]


def test_a_home_among_the_interpreters_files_is_no_confinement() -> None:
    told, *_ = confine(Path(sys.prefix, "lib", "home"))
    assert told.startswith("missing: ")
    assert "which the interpreter reads" in told
