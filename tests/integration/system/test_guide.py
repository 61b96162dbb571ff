"""docs/portal-developers.md: its commands in their order, its table, its diagram."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from api.problems import PROBLEMS
from tests.fixtures.pages import DOCS, blocks
from tests.fixtures.system import MYCERT, System

PAGE = "portal-developers.md"
_DONE = "--- done: "


def test_every_command_of_the_guide_works(system: System, tmp_path: Path) -> None:
    commands = [block.text for block in blocks(PAGE, "sh")]
    assert len(commands) > 12
    script = "set -euo pipefail\n"
    for number, command in enumerate(commands):
        script += f"{command}\necho; echo '{_DONE}{number}'\n"
    script += "printf '%s' \"$password\" > password\n"
    for stated, here in (
        ("http://127.0.0.1:8000", f"http://127.0.0.1:{system.port}"),
        ("bin/mycert", str(MYCERT)),
        ("var/demo", str(system.home)),
    ):
        assert stated in script
        script = script.replace(stated, here)
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=system.environment,
        timeout=600,
    )
    finished = len(re.findall(f"^{_DONE}", done.stdout, re.MULTILINE))
    assert done.returncode == 0, f"{commands[finished]}\n{done.stdout[-2000:]}\n{done.stderr}"
    assert finished == len(commands)
    (keystore,) = tmp_path.glob("*.p12")
    assert load_pkcs12(keystore.read_bytes(), (tmp_path / "password").read_bytes()).key is not None


def test_every_problem_is_in_the_table_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\d{3}) \| (\S.*) \|$", (DOCS / PAGE).read_text(), re.MULTILINE)
    assert [(code, int(status)) for code, status, _ in rows] == [
        (code, status) for code, (status, _, _) in PROBLEMS.items()
    ]


def test_the_diagram_names_calls_that_exist(system: System) -> None:
    (diagram,) = blocks(PAGE, "mermaid")
    called = re.findall(r"(GET|POST|PUT|DELETE) (/[a-z/{}]+)", diagram.text)
    assert len(called) >= 9
    paths = system.http.get("/schema/openapi.json").json()["paths"]
    described = {
        (method.upper(), re.sub(r"\{[a-z_]+\}", "{id}", path.removeprefix("/api/v1")))
        for path, methods in paths.items()
        for method in methods
    }
    assert set(called) <= described
