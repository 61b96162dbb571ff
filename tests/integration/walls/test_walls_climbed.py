"""Every wall around web and status, climbed from the inside: by their own code, as their own user (R17).

Started as root, users and file modes stand in the way, and Landlock behind them; started by an ordinary user,
Landlock alone. That the attacks work at all is seen where Landlock is left out.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.layout import SOCKETS
from issuer.registry.grants import JOURNEY, REGISTRY
from tests.fixtures.postgres import PostgresServer, serve_postgres
from tests.fixtures.processes import children, status
from tests.fixtures.system import MYCERT, START_SECONDS, free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
NOBODY = 65534
STARTERS = ["user", "root"] if os.geteuid() == 0 else ["user"]
PROCESSES = ("web", "status")
OURS = "own: "


@dataclass(frozen=True, kw_only=True)
class Standing:
    home: Path
    starter: str
    database: str
    environment: dict[str, str]
    pids: dict[str, int]
    pins: dict[str, str]
    ready: dict[str, Any]

    def climb(self, process: str, *, without_landlock: bool = False) -> dict[str, str]:
        """As the running process itself: its user, its groups, its environment."""
        facts = status(self.pids[process])
        order = {"pids": self.pids, "pins": self.pins, "without_landlock": without_landlock}
        options: dict[str, Any] = {}
        if os.geteuid() == 0:
            options = {
                "user": int(facts["Uid"].split()[0]),
                "group": int(facts["Gid"].split()[0]),
                "extra_groups": [int(group) for group in facts["Groups"].split()],
            }
        done = subprocess.run(
            (sys.executable, "-m", "tests.integration.walls.climber", process, json.dumps(order)),
            env=self.environment | {"PYTHONPATH": str(ROOT)},
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        assert done.returncode == 0, done.stderr
        outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return outcomes


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=STARTERS)
def standing(request: pytest.FixtureRequest, database: str) -> Iterator[Standing]:
    home = Path(tempfile.mkdtemp(prefix="mycert-walls-", dir="/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home)
        home.chmod(0o755 if request.param == "root" else 0o700)
        options: dict[str, Any] = {}
        if request.param == "user" and os.geteuid() == 0:
            os.chown(home, NOBODY, NOBODY)
            options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        setting_up: dict[str, str] = {}
        serving: dict[str, str] = {}
        if database == "postgresql":
            setting_up, serving = _databases(stack, home, request.param, options)
        port = free_ports(4)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MYCERT_")},
            "MYCERT_HOME": str(home),
            "MYCERT_PORT": str(port),
            "PYTHONPATH": str(ROOT),
        }
        subprocess.run(
            [MYCERT, "demo", "setup"], check=True, env=environment | setting_up, cwd=home, **options
        )
        output = stack.enter_context((home / "serve.out").open("wb"))
        environment |= serving
        serve = subprocess.Popen(
            [MYCERT, "serve"], env=environment, stdout=output, stderr=output, cwd=home, **options
        )
        stack.callback(serve.wait, 60)
        stack.callback(serve.send_signal, signal.SIGTERM)
        ready = _wait_until_ready(home, port, serve)
        yield Standing(
            home=home,
            starter=request.param,
            database=database,
            environment=environment,
            pids={_name(pid): pid for pid in children(serve.pid)} | {"supervisor": serve.pid},
            pins={
                name: (home / "secrets" / f"{name}.pin").read_text().strip() for name in ("issuing", "status")
            },
            ready=ready,
        )


def _databases(
    stack: ExitStack, home: Path, starter: str, options: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """A role a process: told apart by its user (peer) as root, by a password file of its own without."""
    password = secrets.token_hex(16)
    roles = sorted(REGISTRY.keys() | JOURNEY.keys())
    access = "local all postgres scram-sha-256\n"
    access += "local all all peer map=mycert\n" if starter == "root" else "local all all scram-sha-256\n"
    names = "".join(f"mycert {role.replace('_', '-')} {role}\n" for role in roles)
    server: PostgresServer = stack.enter_context(
        serve_postgres(password=password, access=access, names=names)
    )
    (home / "secrets").mkdir()
    for role in roles:
        secret = secrets.token_hex(16)
        server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{secret}'")
        file = home / "secrets" / f"pg-{role.removeprefix('mycert_')}"
        file.touch(mode=0o600)
        file.write_text(f"*:*:*:{role}:{secret}\n")
    if options:
        for path in (home / "secrets", *(home / "secrets").iterdir()):
            os.chown(path, NOBODY, NOBODY)
    server.execute("CREATE DATABASE walls")
    owner = f"postgresql+psycopg://postgres:{password}@/walls?host={server.folder}"
    roled = f"postgresql+psycopg://mycert_{{process}}@/walls?host={server.folder}"
    if starter != "root":
        roled += "&passfile={home}/secrets/pg-{process}"
    return (
        {f"MYCERT_DATABASE__{name}": owner for name in ("REGISTRY", "JOURNEY")},
        {f"MYCERT_DATABASE__{name}": roled for name in ("REGISTRY", "JOURNEY")},
    )


def _wait_until_ready(home: Path, port: int, serve: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/health/ready")
            if answer.status_code == 200:
                return dict(answer.json())
        except httpx.HTTPError:
            pass
        if serve.poll() is not None or time.monotonic() > deadline:
            logs = "\n".join(path.read_text()[-3000:] for path in sorted((home / "log").glob("*.log")))
            raise AssertionError((home / "serve.out").read_text() + logs)
        time.sleep(0.05)


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[3].decode()


@pytest.mark.parametrize("process", PROCESSES)
def test_nothing_gets_over(standing: Standing, process: str) -> None:
    outcomes = standing.climb(process)
    got_through = {name for name, outcome in outcomes.items() if outcome == "done"}
    allowed = {name for name in outcomes if name.startswith(OURS)}
    if standing.database == "sqlite":
        # One file: who may read the stores may read the deliveries. They are sealed (docs/threat-model.md).
        allowed.add("read the sealed deliveries")
    if standing.starter == "root":
        # Reading the group's names of files tells nothing, and Landlock closes even that.
        assert "done" not in {outcomes["list the secrets"], outcomes["list the tokens"]}
    assert got_through == allowed, outcomes


@pytest.mark.parametrize("process", PROCESSES)
def test_the_attacks_would_work(standing: Standing, process: str) -> None:
    """Without Landlock: users alone still hold; where there are none, the attacks get through."""
    outcomes = standing.climb(process, without_landlock=True)
    got_through = {name for name, outcome in outcomes.items() if outcome == "done"}
    if standing.starter == "root":
        harmless = {"run a program", "list the tokens", "rewrite the code"}
        still = got_through - harmless - {"read the sealed deliveries"}
        assert still == {name for name in outcomes if name.startswith(OURS)}, outcomes
        return
    for attack in (
        *("read issuing.pin", "read status.pin", "read root.pin", "log in to issuing", "officers' socket"),
        *("memory file of supervisor", "memory call on supervisor", "trace supervisor", "signal issuer"),
        "run a program",
        *("issuer-publisher socket", "forge the issuer's log"),
        "connect as the issuer" if standing.database == "postgresql" else "write the registry's tables",
    ):
        assert attack in got_through, (attack, outcomes[attack])
    # Not being dumpable holds by itself; the supervisor, which holds nothing, is the control.
    assert not got_through & {f"memory file of {name}" for name in ("issuer", "publisher", "mailer")}


def test_what_holds_is_said(standing: Standing) -> None:
    walls = standing.ready["walls"]
    assert walls["confinement"] == "in force"
    if standing.starter == "root":
        assert walls["users"] == "in force"
    else:
        assert walls["users"] == "missing: not started as root"


def test_every_socket_has_its_pass(standing: Standing) -> None:
    for name in SOCKETS:
        file = standing.home / "run" / name / "pass"
        assert len(file.read_text()) == 64
        assert file.stat().st_mode & 0o7777 == 0o640
