"""A worker that has been taken over gets nowhere: by each layer alone, and by all together."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from issuer.issuance.keystore.config import KeystoreConfig
from issuer.issuance.keystore.keeper import TemplateKeeper
from tests.fixtures.processes import MAY_BE_MISSING, wait_until
from tests.integration.keystore.attacks import ATTACKS

ROOT = Path(__file__).parents[3]
PATIENCE = 60
"""Seconds before something counts as hanging."""

# Allows any process of its user to trace it (Yama's PR_SET_PTRACER), and says where its secret lies.
VICTIM = """
import ctypes
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))
secret = ctypes.create_string_buffer(b"a secret")
print(ctypes.addressof(secret), flush=True)
input()
"""

# Run in a process of its own: one layer or none, then the attack.
ATTACKER = """
import socket, sys
from issuer.issuance.keystore.confinement import Confinement
from tests.integration.keystore import attacks, layers
channel = socket.socket(fileno=0)
layers.{layer}()
attacks.serve(channel, Confinement(in_force=(), missing={{}}))
"""


Targets = dict[str, str]
"""What there is to be had, for each attack that needs something."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    folder = tmp_path_factory.mktemp("targets")
    (folder / "secret").write_bytes(b"a secret")
    inet = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    abstract = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    name = f"mycert-test-{time.monotonic_ns()}"
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with inet, unix, abstract, victim:
        unix.bind(str(folder / "socket"))
        unix.listen(100)
        abstract.bind("\0" + name)
        abstract.listen(100)
        assert victim.stdout is not None
        address = victim.stdout.readline().strip()
        yield {
            "read-file": str(folder / "secret"),
            "write-file": str(folder / "written"),
            "list-folder": str(folder),
            "connect-inet": str(inet.getsockname()[1]),
            "connect-unix": str(folder / "socket"),
            "connect-abstract": name,
            "signal": str(victim.pid),
            "trace": str(victim.pid),
            "read-memory": f"{victim.pid} {address}",
        }
        victim.communicate("\n")


def attack_under(layer: str, attack: str, targets: Targets) -> tuple[str, int]:
    """The attacker's answer under one layer alone, and its exit status."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            attacker = subprocess.Popen(
                [sys.executable, "-c", ATTACKER.format(layer=layer)],
                stdin=theirs.fileno(),
                env={"PYTHONPATH": str(ROOT)},
            )
        ours.settimeout(PATIENCE)
        ours.send(_order(attack, targets))
        try:
            answer = ours.recv(4_096).decode()
        except ConnectionResetError:
            answer = ""
        return answer, attacker.wait(PATIENCE)


def _order(attack: str, targets: Targets) -> bytes:
    return f"{attack} {targets.get(attack, '')}".encode()


EVERYTHING = [*ATTACKS, "execute"]
# Memory and time are not system calls; they have limits of their own.
NOT_A_CALL = {"take-memory", "spin"}


@pytest.mark.parametrize("attack", [attack for attack in EVERYTHING if attack != "spin"])
def test_every_attack_succeeds_where_nothing_holds_it(attack: str, targets: Targets) -> None:
    """Otherwise the tests below would show nothing."""
    assert attack_under("nothing", attack, targets) == ("done", 0)


@pytest.mark.parametrize("attack", [attack for attack in EVERYTHING if attack not in NOT_A_CALL])
def test_seccomp_alone_kills_the_attacker(attack: str, targets: Targets) -> None:
    assert attack_under("only_seccomp", attack, targets) == ("", -signal.SIGSYS)


@pytest.mark.parametrize(
    "attack",
    [
        "read-file",
        "write-file",
        "list-folder",
        "load-module",
        "execute",
        "connect-inet",
        "connect-abstract",
        "signal",
        "trace",
        "read-memory",
    ],
)
def test_landlock_alone_refuses(attack: str, targets: Targets) -> None:
    answer, _ = attack_under("only_landlock", attack, targets)
    assert answer.startswith(("refused: PermissionError", "refused: ModuleNotFoundError"))


@pytest.mark.parametrize(
    "attack", ["read-file", "list-folder", "connect-inet", "connect-unix", "connect-abstract", "take-memory"]
)
def test_the_limits_alone_refuse(attack: str, targets: Targets) -> None:
    answer, _ = attack_under("only_limits", attack, targets)
    assert answer.startswith(("refused: OSError: [Errno 24]", "refused: MemoryError"))


def test_the_deadline_alone_ends_a_worker_that_spins(targets: Targets) -> None:
    assert attack_under("only_deadline", "spin", targets) == ("", -signal.SIGALRM)


@contextlib.contextmanager
def attacking(wall_seconds: float) -> Iterator[TemplateKeeper]:
    """A template whose workers run attacks: only its command line can make one."""
    config = KeystoreConfig(wall_seconds=wall_seconds, allow_missing=MAY_BE_MISSING)
    keeper = TemplateKeeper(config.limits(), ("--attacks",))
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.close()


@pytest.fixture(scope="module")
def template() -> Iterator[TemplateKeeper]:
    with attacking(PATIENCE) as keeper:
        yield keeper


def attack_in_worker(template: TemplateKeeper, attack: str, targets: Targets) -> str:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            template.hand_over(theirs, time.monotonic() + PATIENCE)
        ours.settimeout(PATIENCE)
        ours.send(_order(attack, targets))
        try:
            return ours.recv(4_096).decode()
        except ConnectionResetError:
            return ""


@pytest.mark.parametrize("attack", [attack for attack in EVERYTHING if attack not in NOT_A_CALL])
def test_a_real_worker_is_killed_at_the_attempt(
    attack: str, template: TemplateKeeper, targets: Targets, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert attack_in_worker(template, attack, targets) == ""
        wait_until(lambda: "ended by a signal: Bad system call" in caplog.text)


def test_a_real_worker_has_so_much_memory_and_no_more(template: TemplateKeeper, targets: Targets) -> None:
    assert attack_in_worker(template, "take-memory", targets).startswith("refused: MemoryError")


def test_a_real_worker_ends_at_its_deadline(targets: Targets, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), attacking(0.5) as template:
        assert attack_in_worker(template, "spin", targets) == ""
        wait_until(lambda: "ended by a signal: Alarm clock" in caplog.text)
