from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from hsm.secret import Secret, SecretFileRefused


def test_it_shows_as_stars_wherever_it_is_printed() -> None:
    secret = Secret(b"1234")
    assert f"{secret} {secret!r} {[secret]}" == "*** *** [***]"
    assert secret.reveal() == b"1234"


def test_it_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(Secret(b"1234"))


def test_a_file_is_read_without_its_last_line_feed(tmp_path: Path) -> None:
    file = tmp_path / "user.pin"
    file.touch(mode=0o600)
    file.write_bytes(b"12 34 \n")
    assert Secret.from_file(file).reveal() == b"12 34 "


@pytest.mark.parametrize(("content", "mode"), [(b"1234", 0o640), (b"1234", 0o604), (b"\n", 0o600)])
def test_a_readable_or_empty_file_is_refused_without_naming_its_content(
    tmp_path: Path, content: bytes, mode: int
) -> None:
    file = tmp_path / "user.pin"
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(SecretFileRefused) as refusal:
        Secret.from_file(file)
    assert str(file) in str(refusal.value)
    assert "1234" not in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretFileRefused, match="No such file"):
        Secret.from_file(tmp_path / "none.pin")
