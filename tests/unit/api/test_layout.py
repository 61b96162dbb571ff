from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from api.accounts import USERS, find_accounts, own_account
from api.layout import KEY_OWNERS, PIN_OWNERS, SOCKETS, Layout
from api.mounts import UsersMissing

TOKENS = {"issuing": "mycert-issuing", "status": "mycert-status", "root": "mycert-root"}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "home")
    layout.create()
    layout.config.write_text("")
    for token, label in TOKENS.items():
        layout.pin(token).write_text("1234")
        folder = layout.tokens / f"folder-{token}"
        folder.mkdir()
        (folder / "token.object").write_bytes(b"\0\0" + label.encode().ljust(32) + b"\0")
    for key in KEY_OWNERS:
        layout.key(key).write_text("k")
    (layout.journey_db).write_text("")
    return layout


def owner(path: Path) -> tuple[str, str, str]:
    found = path.lstat()
    return (
        pwd.getpwuid(found.st_uid).pw_name,
        grp.getgrgid(found.st_gid).gr_name,
        f"{found.st_mode & 0o7777:o}",
    )


def test_everything_lies_below_the_home_and_creating_it_again_keeps_it(layout: Layout) -> None:
    layout.registry_db.write_text("kept")
    layout.create()
    assert layout.registry_db.read_text() == "kept"
    paths = [layout.socket(name) for name in SOCKETS] + [layout.token_lock(token) for token in PIN_OWNERS]
    for path in paths:
        assert path.parent.is_dir()
        assert layout.home in path.parents


def test_each_path_belongs_to_the_one_that_needs_it(layout: Layout) -> None:
    try:
        find_accounts()
    except UsersMissing:
        # Without users of their own all processes share one, and nobody else may look.
        assert owner(layout.secrets)[2] == "700"
        assert layout.address("issuer-web").peers == {os.geteuid()}
        return
    (layout.registry_db.parent / "link").symlink_to("/etc/hostname")
    hostname = owner(Path("/etc/hostname"))
    layout.apply_owners(TOKENS)
    layout.apply_owners(TOKENS)
    assert owner(layout.home) == ("root", "root", "755")
    assert owner(layout.config) == ("root", "mycert", "640")
    assert owner(layout.secrets) == ("root", "mycert", "710")
    assert owner(layout.pin("issuing")) == ("mycert-issuer", "mycert-issuer", "600")
    assert owner(layout.pin("status")) == ("mycert-publisher", "mycert-publisher", "600")
    assert owner(layout.pin("root")) == ("root", "root", "600")
    assert owner(layout.key("code")) == ("mycert-web", "mycert-web", "600")
    assert owner(layout.key("idp")) == ("mycert-demo", "mycert-demo", "600")
    assert owner(layout.tokens / "folder-issuing") == ("mycert-issuer", "mycert-issuer", "700")
    assert owner(layout.tokens / "folder-issuing" / "token.object")[2] == "600"
    assert owner(layout.tokens / "folder-root") == ("root", "root", "700")
    assert owner(layout.registry_db.parent) == ("mycert-issuer", "mycert-registry", "2775")
    assert owner(layout.registry_db) == ("mycert-issuer", "mycert-registry", "664")
    assert owner(layout.registry_db.parent.parent) == ("root", "mycert", "750")
    assert owner(layout.journey_db) == ("mycert-web", "mycert-web", "600")
    assert owner(layout.socket("issuer-web").parent) == ("mycert-issuer", "mycert-web", "2750")
    assert owner(layout.socket("publisher").parent) == ("mycert-publisher", "mycert-status", "2750")
    assert owner(layout.mailbox)[0] == "mycert-demo"
    assert owner(Path("/etc/hostname")) == hostname


def test_a_server_run_by_its_own_user_lets_only_its_client_in(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = {process: own_account(process) for process in USERS}
    issuer, web = accounts["issuer"], accounts["web"]
    if issuer is None or web is None:
        assert layout.address("issuer-web").peers == {os.geteuid()}
        return
    monkeypatch.setattr(os, "geteuid", lambda: issuer.uid)
    assert layout.address("issuer-web").peers == {web.uid}
    assert layout.address("issuer-officer").peers == frozenset()
