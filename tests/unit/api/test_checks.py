from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from api.start.checks import DiskFull, in_order
from issuer.registry.database import Database


@pytest.mark.parametrize(("blocks", "full"), [(16, True), (1_000_000, False)])
def test_a_full_disk_is_not_ready_for_who_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, full: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'journey.db'}"
    writer, reader = Database(url, channel="journey"), Database(url, channel="journey", read_only=True)
    in_order(writer)()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=blocks, f_frsize=4096))
    in_order(reader)()
    if full:
        with pytest.raises(DiskFull):
            in_order(writer)()
    else:
        in_order(writer)()


def test_a_database_that_is_not_there_is_not_in_order(tmp_path: Path) -> None:
    with pytest.raises(OperationalError):
        in_order(Database(f"sqlite:///{tmp_path / 'none.db'}", channel="journey", read_only=True))()
