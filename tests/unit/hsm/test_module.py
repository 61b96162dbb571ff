"""The gate between operations and renewal, without a module behind it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from hsm import module
from hsm.errors import TokenUnavailable
from hsm.module import Module, locked


def test_renewal_waits_for_operations_and_operations_for_renewal() -> None:
    gate, order = Module("none.so"), list[str]()
    signing, renewing = Event(), Event()

    def sign() -> None:
        with gate.use():
            signing.set()
            assert not renewing.wait(0.05)  # renewal may not begin while we are inside
            order.append("signed")

    def renew() -> None:
        signing.wait()
        with gate.alone():
            renewing.set()
            order.append("renewed")

    def sign_later() -> None:
        renewing.wait()
        with gate.use():
            order.append("signed later")

    with ThreadPoolExecutor(3) as threads:
        for run in [threads.submit(sign), threads.submit(renew), threads.submit(sign_later)]:
            run.result(60)
    assert order == ["signed", "renewed", "signed later"]


def test_a_call_that_never_returns_ends_the_wait_and_leaves_the_gate_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0.01)
    gate = Module("none.so")
    with gate.use():
        with pytest.raises(TokenUnavailable, match="has not returned"), gate.alone():
            pass
        with gate.use():  # from another thread in life: the gate is open again
            pass


def test_a_forked_process_does_not_use_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Module("none.so")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(TokenUnavailable, match="forked"), gate.use():
        pass


def test_one_process_has_one_setting_of_a_module() -> None:
    first = Module.attach("none.so", None, {"CONF": "a"})
    try:
        with pytest.raises(TokenUnavailable, match="other settings"):
            Module.attach("none.so", None, {"CONF": "b"})
        with pytest.raises(TokenUnavailable, match="other settings"):
            Module.attach("none.so", "configdir=x", {"CONF": "a"})
        Module.attach("none.so", None, {"CONF": "a"}).detach()
    finally:
        first.detach()
    Module.attach("none.so", None, {"CONF": "b"}).detach()


def test_a_lock_file_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "hsm.lock"
    with pytest.raises(TokenUnavailable, match="lock file"), locked(str(path)):
        pass


def test_a_lock_file_that_nobody_lets_go_of_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsm.module.DRAIN_SECONDS", 0.05)
    path = str(tmp_path / "hsm.lock")
    with locked(path), pytest.raises(TokenUnavailable, match="another process holds it"), locked(path):
        pass
    with locked(path):
        pass
