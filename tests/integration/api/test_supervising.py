from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.accounts import own_account
from api.processes import open_log

ROOT = Path(__file__).parents[3]
PATIENCE = 60
"""Seconds before something counts as hanging."""


class Supervised:
    def __init__(self, home: Path, *children: str) -> None:
        self.home = home
        self.journal = home / "journal"
        self.process = subprocess.Popen(
            (sys.executable, "-m", "tests.integration.api.toys", "supervise", home, self.journal, *children),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": "."},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def wait_for(self, text: str) -> list[str]:
        said = []
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            said.append(line.strip())
            if text in line:
                return said
        raise AssertionError(f"ended after {said}")

    def rest(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.read().splitlines()

    def notes(self) -> list[dict[str, Any]]:
        text = self.journal.read_text() if self.journal.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def order(self) -> list[str]:
        return [f"{note['name']} {note['what']}" for note in self.notes()]

    def pids(self) -> list[int]:
        return [note["pid"] for note in self.notes() if note["what"] == "begins"]

    def kill_all(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        until(lambda: not any(map(alive, self.pids())))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(*children: str) -> Supervised:
        started.append(Supervised(tmp_path, *children))
        return started[-1]

    yield start
    for each in started:
        each.kill_all()


def test_processes_start_together_and_who_asks_ends_before_who_is_asked(
    supervised: Callable[..., Supervised],
) -> None:
    running = supervised("issuer+socket", "web+socket", "mailer")
    assert [line.split(":")[0] for line in running.wait_for("ready")] == ["issuer", "web", "mailer", "ready"]
    until(lambda: len(running.order()) == 3)
    for note in running.notes():
        assert (note["session"], note["group"]) == (os.getsid(0), os.getpgid(0))
        assert note["umask"] == "0027"
    running.process.terminate()
    assert running.process.wait(PATIENCE) == 0
    assert sorted(running.order()[:3]) == ["issuer begins", "mailer begins", "web begins"]
    assert sorted(running.order()[3:5]) == ["mailer ends", "web ends"]
    assert running.order()[5:] == ["issuer ends"]
    assert running.rest() == ["stopped"]


def test_a_process_that_dies_is_started_again_later_and_later(supervised: Callable[..., Supervised]) -> None:
    running = supervised("web+socket")
    running.wait_for("ready")
    for restart in (1, 2, 3):
        os.kill(running.pids()[-1], signal.SIGKILL)
        assert "ended (SIGKILL)" in running.wait_for("starting it again")[-1]
        running.wait_for("up")
        until(lambda restart=restart: len(running.pids()) == restart + 1)  # type: ignore[misc]
    log = [json.loads(line) for line in (running.home / "web.log").read_text().splitlines()]
    assert [line["event"] for line in log if line["event"] == "serving"] == ["serving"] * 4


def test_a_process_is_kept_alive_though_nobody_reads_what_is_said(
    supervised: Callable[..., Supervised],
) -> None:
    """`make demo | head`, or a full disk."""
    running = supervised("web+socket")
    running.wait_for("ready")
    assert running.process.stdout is not None
    running.process.stdout.close()
    until(lambda: len(running.pids()) == 1)
    os.kill(running.pids()[0], signal.SIGKILL)
    until(lambda: len(running.pids()) == 2)


def test_a_stubborn_process_is_killed_within_bounds(supervised: Callable[..., Supervised]) -> None:
    running = supervised("one", "two+stubborn")
    running.wait_for("ready")
    until(lambda: len(running.pids()) == 2)
    running.process.terminate()
    assert running.process.wait(PATIENCE) == 0
    assert "two: did not end and was killed" in running.rest()
    assert "one ends" in running.order()


def test_a_later_second_signal_forces_the_end(
    supervised: Callable[..., Supervised], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOYS_STOP", "600")
    running = supervised("one+stubborn")
    running.wait_for("ready")
    until(lambda: len(running.pids()) == 1)
    os.kill(running.pids()[0], signal.SIGINT)  # Ctrl-C reaches children too, and is not theirs to follow.
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.5)  # Longer than what counts as the same signal, `same` in the toys.
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(PATIENCE) == 0
    assert running.rest() == ["one: did not end and was killed", "stopped"]
    assert not alive(running.pids()[0])


def test_the_same_signal_twice_is_one(supervised: Callable[..., Supervised]) -> None:
    """`make` hands on what its whole process group got already."""
    running = supervised("one+slow")
    running.wait_for("ready")
    until(lambda: len(running.pids()) == 1)
    for _ in range(3):
        running.process.terminate()
    assert running.process.wait(PATIENCE) == 0
    assert running.rest() == ["stopped"]
    assert running.order() == ["one begins", "one ends"]


@pytest.mark.parametrize(
    ("children", "why"),
    [
        (("first+socket", "bad+dies"), "bad ended at its start (exit status 1)"),
        (("first", "bad+mute"), "bad did not answer"),
    ],
)
def test_a_start_that_fails_says_where_to_look_and_leaves_nothing(
    supervised: Callable[..., Supervised], children: tuple[str, ...], why: str
) -> None:
    running = subprocess.run(
        (sys.executable, "-c", FAILING, str(running_home(supervised)), *children),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * PATIENCE,
    )
    assert why in running.stdout
    assert "bad.log" in running.stdout
    assert not any(map(alive, map(int, running.stdout.split("pids")[1].split())))


FAILING = """
import sys, pathlib, json
from tests.integration.api import toys
from api import processes
home = sys.argv[1]
try:
    toys.supervise(home, home + "/journal", *sys.argv[2:])
except processes.ServeRefused as error:
    print(error)
print("pids", *[json.loads(line)["pid"] for line in pathlib.Path(home, "journal").read_text().splitlines()])
"""


def running_home(supervised: Callable[..., Supervised]) -> Path:
    running = supervised()
    running.wait_for("ready")
    running.process.terminate()
    running.process.wait(PATIENCE)
    return running.home


def test_no_child_outlives_a_killed_supervisor(supervised: Callable[..., Supervised]) -> None:
    running = supervised("issuer+socket", "web", "mailer+socket")
    running.wait_for("ready")
    until(lambda: len(running.pids()) == 3)
    running.process.kill()
    running.process.wait()
    until(lambda: not any(map(alive, running.pids())))
    assert sorted(running.order())[1::2] == ["issuer ends", "mailer ends", "web ends"]


def test_as_root_each_process_has_its_user_and_still_ends_with_a_killed_supervisor(
    supervised: Callable[..., Supervised], tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)  # pytest's folders above it are closed to others, which is the case in question.
    (tmp_path / "journal").touch()
    (tmp_path / "journal").chmod(0o666)
    running = supervised("issuer+user", "web+user")
    running.wait_for("ready")
    until(lambda: len(running.pids()) == 2)
    accounts = {name: own_account(name) for name in ("issuer", "web")}
    with_users = os.geteuid() == 0 and all(accounts.values())
    for note in running.notes():
        account = accounts[note["name"]]
        assert note["uid"] == (account.uid if with_users and account else os.getuid())
        log = running.home / f"{note['name']}.log"
        until(lambda log=log: "walls" in log.read_text())  # type: ignore[misc]
        users = json.loads(log.read_text().splitlines()[0])["users"]
        assert users == "in force" if with_users else users.startswith("missing: ")
        assert log.stat().st_uid == os.getuid()
    running.process.kill()
    running.process.wait()
    until(lambda: not any(map(alive, running.pids())))


def test_one_supervisor_a_home_and_the_next_waits_for_the_last_child(
    supervised: Callable[..., Supervised],
) -> None:
    first = supervised("one+stubborn")
    first.wait_for("ready")
    until(lambda: len(first.pids()) == 1)
    child = first.pids()[0]
    second = supervised("two")
    assert second.process.wait(PATIENCE) != 0
    assert second.rest() == []
    first.process.kill()  # Its child ignores the signal that tells it so.
    first.process.wait()
    third = supervised("three")
    time.sleep(0.3)
    assert third.process.poll() is None
    assert alive(child)
    os.kill(child, signal.SIGKILL)
    third.wait_for("ready")
    third.process.terminate()
    assert third.process.wait(PATIENCE) == 0


def test_a_log_is_kept_and_read_by_its_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    for text in ("first\n", "second\n"):
        with open_log(path) as log:
            log.write(text)
    assert path.read_text() == "first\nsecond\n"
    assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()
    (tmp_path / "link.log").symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        open_log(tmp_path / "link.log")


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
