"""What differs with who starts it: as root, users and a way to the code; else the reason why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.accounts import USERS, own_account, settle_users
from api.mounts import closed_folders

ROOT = Path(__file__).parents[3]


@pytest.fixture
def closed_home() -> Iterator[Path]:
    """A home below a folder that only its owner may pass, as ``mktemp -d`` makes it."""
    closed = Path(tempfile.mkdtemp())
    home = closed / "home"
    home.mkdir(mode=0o755)
    (home / "file").write_text("kept")
    (closed / "other").write_text("not needed")
    yield home
    shutil.rmtree(closed)


SETTLE = """
import json, os, pathlib, subprocess, sys
from api.accounts import settle_users
home = pathlib.Path(sys.argv[1])
users = settle_users(home)
facts = {"missing": users.missing, "accounts": sorted(users.accounts)}
facts["beside"] = sorted(os.listdir(home.parent))
account = users.accounts.get("issuer")
script = "import os; open('made','w').write('x'); print(os.getresuid())"
if account:
    os.chown(home, account.uid, account.gid)
    done = subprocess.run([sys.executable, "-c", script], user=account.uid, group=account.gid, cwd=home,
        extra_groups=account.groups, capture_output=True, text=True)
    facts["child"] = done.stdout + done.stderr
print(json.dumps(facts))
"""


def test_users_reach_a_home_below_a_closed_folder_and_nothing_outside_changes(closed_home: Path) -> None:
    mounts_before = Path("/proc/self/mountinfo").read_text()
    done = subprocess.run(
        (sys.executable, "-c", SETTLE, str(closed_home)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    if os.geteuid() != 0:
        assert facts["missing"] == "not started as root"
        assert facts["accounts"] == []
        assert facts["beside"] == ["home", "other"]
    elif any(own_account(process) is None for process in USERS):
        assert "system user" in facts["missing"]
        assert facts["beside"] == ["home", "other"]
    else:
        assert facts["missing"] is None
        assert facts["beside"] == ["home"]
        issuer = own_account("issuer")
        assert issuer is not None
        assert facts["child"].startswith(f"({issuer.uid}, {issuer.uid}, {issuer.uid})"), facts
        assert (closed_home / "made").stat().st_uid == issuer.uid
    assert Path("/proc/self/mountinfo").read_text() == mounts_before
    assert closed_home.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(entry.name for entry in closed_home.parent.iterdir()) == ["home", "other"]


def test_a_closed_home_itself_is_said_not_hidden(closed_home: Path) -> None:
    closed_home.chmod(0o700)
    users = settle_users(closed_home)
    assert users.accounts == {}
    assert users.missing


def test_where_mounts_are_not_permitted_the_reason_is_told(closed_home: Path) -> None:
    script = f"""
import pathlib
from api.mounts import UsersMissing, closed_folders, open_the_way
closed = closed_folders([pathlib.Path({str(closed_home)!r})])
def refuse():
    raise UsersMissing("the check refused")
try:
    open_the_way(closed, refuse)
except UsersMissing as error:
    print(error)
print(pathlib.Path({str(closed_home.parent / "other")!r}).exists())
"""
    done = subprocess.run(
        (sys.executable, "-c", script),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    why = (
        "the check refused" if os.geteuid() == 0 else "mounts are not permitted here: Operation not permitted"
    )
    assert done.stdout == f"{why}\nTrue\n", done.stderr


def test_links_on_the_way_are_followed(closed_home: Path, tmp_path: Path) -> None:
    (closed_home.parent / "link").symlink_to("home")
    (tmp_path / "outer").symlink_to(closed_home.parent / "link")
    found = closed_folders([tmp_path / "outer" / "file"])
    assert found[closed_home.parent.resolve()] == {"link", "home"}
