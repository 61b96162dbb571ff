"""What the kernel itself says of workers and template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest

from issuer.issuance.keystore import landlock
from issuer.issuance.keystore.config import KeystoreConfig
from issuer.issuance.keystore.confinement import Measure
from issuer.issuance.keystore.workshop import Workshop
from tests.fixtures.processes import MAY_BE_MISSING, alive, children, status, wait_until
from tests.integration.keystore.conftest import MakeOrder

ROOT = Path(__file__).parents[3]
NOBODY = 65_534


def test_every_measure_is_in_force_here(config: KeystoreConfig) -> None:
    with closing(Workshop(config)) as workshop:
        report = workshop.start()
    assert set(report.missing) <= set(MAY_BE_MISSING)
    assert set(report.in_force) | set(report.missing) == set(get_args(Measure))
    assert "seccomp" in str(report)


def test_proc_shows_a_confined_worker(workshop: Workshop, make_order: MakeOrder) -> None:
    """shared/api-contract.md, "While a store is made"."""
    assert workshop.template_pid is not None
    with workshop.open(make_order()):
        (worker,) = children(workshop.template_pid)
        seen = status(worker)
        command = Path(f"/proc/{worker}/comm").read_text().strip()
    assert (seen["Seccomp"], seen["NoNewPrivs"], seen["Threads"]) == ("2", "1", "1")
    assert command == "mycert-worker"
    if "memory-lock" not in MAY_BE_MISSING:
        assert int(seen["VmLck"].split()[0]) > 10_000


def test_a_worker_fits_its_memory_limit_several_times(workshop: Workshop, make_order: MakeOrder) -> None:
    assert workshop.template_pid is not None
    with workshop.open(make_order("rsa-3072")):
        (worker,) = children(workshop.template_pid)
        seen = status(worker)
    assert int(seen["VmPeak"].split()[0]) < 128 * 1_024
    assert int(seen["VmHWM"].split()[0]) < 64 * 1_024


def test_the_template_is_one_guarded_thread_without_the_issuers_environment(
    monkeypatch: pytest.MonkeyPatch, workshop: Workshop
) -> None:
    pid = workshop.template_pid
    assert pid is not None
    seen = status(pid)
    assert (seen["NoNewPrivs"], seen["Threads"]) == ("1", "1")
    if os.geteuid() == 0:
        assert "softhsm" not in Path(f"/proc/{pid}/maps").read_text()
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert {entry.partition(b"=")[0] for entry in environment} <= {b"", b"PYTHONPATH"}
        # The control socket, the null device, and the log.
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) == 3
    else:
        with pytest.raises(PermissionError):
            Path(f"/proc/{pid}/environ").read_bytes()


def run_as_anybody(module: str) -> dict[str, Any]:
    who: Mapping[str, Any] = {}
    if os.geteuid() == 0:
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    result = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        **who,
    )
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.fixture(scope="module")
def seen_by_same_user() -> dict[str, Any]:
    return run_as_anybody("tests.integration.keystore.same_user")


def test_a_process_of_the_same_user_reads_nothing_of_a_worker(seen_by_same_user: dict[str, Any]) -> None:
    assert set(seen_by_same_user["worker"].values()) == {"refused"}
    assert set(seen_by_same_user["template"].values()) == {"refused"}
    # The control: an ordinary process is an open book to its user.
    assert set(seen_by_same_user["plain"].values()) == {"allowed"}


def test_a_worker_leaves_no_core(seen_by_same_user: dict[str, Any]) -> None:
    (line,) = [x for x in seen_by_same_user["limits"].splitlines() if x.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]


def test_an_unmet_measure_refuses_the_start_and_is_named(seen_by_same_user: dict[str, Any]) -> None:
    """An ordinary user may not lock that much memory (RLIMIT_MEMLOCK)."""
    assert "memory-lock is missing" in seen_by_same_user["refusal"]


def test_an_allowed_one_is_reported_missing(seen_by_same_user: dict[str, Any]) -> None:
    assert seen_by_same_user["missing"] == ["memory-lock"]


def test_template_and_worker_die_with_a_killed_issuer() -> None:
    issuer = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.keystore.orphaned"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with issuer:
        assert issuer.stdout is not None
        pids = [int(pid) for pid in issuer.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        issuer.kill()
        issuer.wait()
        wait_until(lambda: not any(alive(pid) for pid in pids))


def test_a_template_that_loaded_a_forbidden_library_refuses() -> None:
    program = "import sqlalchemy; from issuer.issuance.keystore.template import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "--parent", str(os.getpid())],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "must not load sqlalchemy" in result.stderr


RESTRICT = """
import os, socket, sys
from pathlib import Path
from issuer.issuance.keystore.landlock import restrict_paths
folder = Path(sys.argv[1])
in_force = restrict_paths(read=[folder / "read", folder / "file"], write=[folder / "write"])
def attempt(step):
    try:
        step()
    except PermissionError:
        return "refused"
    return "done"
with socket.socket() as server:
    server.bind(("127.0.0.1", 0))
print(sorted(in_force))
print(
    attempt((folder / "read" / "a").read_bytes),
    attempt((folder / "file").read_bytes),
    attempt(lambda: (folder / "read" / "a").write_bytes(b"")),
    attempt(lambda: (folder / "write" / "b").write_bytes(b"b")),
    attempt((folder / "write" / "b").read_bytes),
    attempt((folder / "other").read_bytes),
    attempt(lambda: os.kill(os.getppid(), 0)),
    attempt(lambda: os.kill(os.getpid(), 0)),
)
"""


def test_a_process_restricted_to_paths_keeps_these_and_tcp(tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    (tmp_path / "write").mkdir()
    for name in ("read/a", "file", "other"):
        (tmp_path / name).write_bytes(b"content")
    result = subprocess.run(
        [sys.executable, "-c", RESTRICT, str(tmp_path)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.splitlines() == [
        "['landlock-files', 'landlock-scope']",
        "done done refused done done refused refused done",
    ], result.stderr


def test_a_process_with_threads_cannot_be_restricted_as_a_whole() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="before the first thread"):
            landlock.restrict_paths(read=[], write=[])
    finally:
        done.set()
        thread.join()
