"""schemathesis against a running system, by the document it serves itself: every check, every phase.

What it cannot know of the contract stands in ``tests/openapi``, with the reasons.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import documents
from tests.fixtures.processes import wait_until
from tests.fixtures.system import System, free_ports, start_system

ROOT = Path(__file__).parents[3]
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
WITHOUT_LIMIT = str(10**9)


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One person calls here as many times as a thousand would."""
    running = start_system(
        tmp_path_factory.mktemp("unlimited"),
        free_ports(4),
        MYCERT_LIMITS__CALLS_PER_MINUTE=WITHOUT_LIMIT,
        MYCERT_JOURNEY__SENDS_PER_HOUR=WITHOUT_LIMIT,
        MYCERT_JOURNEY__SENDS_PER_REQUEST=WITHOUT_LIMIT,
        MYCERT_JOURNEY__RESEND_PAUSE="0",
        MYCERT_ISSUANCE__PER_PERSON_HOUR=WITHOUT_LIMIT,
        MYCERT_KEYSTORE__KEY_TYPE="p-256",
    )
    yield running
    running.http.close()
    assert running.stop() == 0


def run_schemathesis(system: System, folder: Path, examples: int, seed: int) -> str:
    bearer = system.token()
    done = subprocess.run(
        [
            *(
                str(SCHEMATHESIS),
                "--no-color",
                "--config-file",
                str(ROOT / "tests/openapi/schemathesis.toml"),
            ),
            *("run", f"http://127.0.0.1:{system.port}/schema/openapi.json"),
            *("--checks", "all", "--continue-on-failure"),
            *("--phases", "examples,coverage,fuzzing,stateful"),
            *("--max-examples", str(examples), "--seed", str(seed)),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **system.environment,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.openapi.hooks",
            "MYCERT_BEARER": bearer,
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_served_document_is_the_one_committed(unlimited: System) -> None:
    served = unlimited.http.get("/schema/openapi.json")
    assert served.headers["content-type"] == "application/vnd.oai.openapi+json"
    assert served.json() == json.loads(documents.OPENAPI.read_text(encoding="utf-8"))


def test_a_few_examples_of_every_operation(unlimited: System, tmp_path: Path) -> None:
    said = run_schemathesis(unlimited, tmp_path, examples=8, seed=20270301)
    (selected, tested) = re.findall(r"(?:Selected: (\d+)/\1|Tested: (\d+))", said)
    assert selected[0] == tested[1] == str(operation_count())
    # A store was made and ended meanwhile; the last mails are on their way.
    wait_until(lambda: {"issued", "deactivated"} <= events(unlimited))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_many_examples_of_every_operation(unlimited: System, tmp_path: Path, seed: int) -> None:
    run_schemathesis(unlimited, tmp_path, examples=250, seed=seed)


def operation_count() -> int:
    document = json.loads(documents.OPENAPI.read_text(encoding="utf-8"))
    return sum(len(methods) for methods in document["paths"].values())


def events(system: System) -> set[str]:
    """What mails there were, by their event."""
    mails = (path.read_text(errors="replace") for path in (system.home / "mailbox").glob("*.eml"))
    return {found.group(1) for mail in mails if (found := re.search(r"^X-MyCert-Event: (\S+)", mail, re.M))}
