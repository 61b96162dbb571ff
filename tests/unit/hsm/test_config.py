from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hsm.config import TokenConfig

_LEAST = {"module": "/lib/token.so", "label": "issuing", "lock_file": "run/hsm.lock", "pin_file": "user.pin"}


def parse(**changes: Any) -> TokenConfig:
    return msgspec.convert(_LEAST | changes, TokenConfig)


def test_what_is_not_said_has_a_default() -> None:
    config = parse()
    assert (config.sessions, config.serial, config.environment, config.vendor_arguments) == (
        4,
        None,
        {},
        None,
    )
    assert config.accept_unreported == []


@pytest.mark.parametrize(
    "changes",
    [
        {"pin": "1234"},  # unknown keys are refused, and a PIN is never in the configuration
        {"sessions": 0},
        {"sessions": 65},
        {"label": ""},
        {"label": "a label of more than 32 characters"},
        {"accept_unreported": ["MODIFIABLE"]},
        {"accept_unreported": ["never_extractable"]},
    ],
)
def test_what_would_not_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        parse(**changes)


def test_attributes_a_vendor_does_not_report_are_accepted_by_name() -> None:
    assert parse(accept_unreported=["NEVER_EXTRACTABLE"]).accept_unreported == ["NEVER_EXTRACTABLE"]


def test_the_pin_comes_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "user.pin"
    file.touch(mode=0o600)
    file.write_bytes(b"9876\n")
    assert parse(pin_file=str(file)).read_pin().reveal() == b"9876"
