"""What the token says of its PIN is heeded before a PIN is sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pkcs11 import TokenFlag

from hsm.config import TokenConfig
from hsm.errors import PinRefused, PinWrong, TokenUnavailable
from hsm.pool import Pool
from hsm.secret import Secret

CONFIG = TokenConfig(
    module="none.so", label="test", serial="01", lock_file="lock", pin_file="pin", sessions=1
)
READY = TokenFlag.TOKEN_INITIALIZED | TokenFlag.USER_PIN_INITIALIZED


class StandInModule:
    generation = 1

    def __init__(self, *tokens: Any) -> None:
        self._tokens = list(tokens)
        self.logged_in = 0

    def tokens(self, label: str) -> list[Any]:
        return [token for token in self._tokens if token.label == label]

    def log_in(self, session: object, user: int, pin: Secret) -> None:
        self.logged_in += 1


def a_token(flags: TokenFlag = READY, serial: bytes = b"01") -> Any:
    return SimpleNamespace(label="test", serial=serial, flags=flags, open=lambda: SimpleNamespace())


def open_pool(module: StandInModule) -> Pool:
    return Pool.open(module, CONFIG, Secret(b"1234"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (TokenFlag.TOKEN_INITIALIZED, "no user PIN"),
        (READY | TokenFlag.USER_PIN_LOCKED, "locked"),
        (READY | TokenFlag.USER_PIN_FINAL_TRY, "an officer logs in first"),
    ],
)
def test_no_pin_is_sent_where_it_would_be_lost_or_lock_the_token(flags: TokenFlag, reason: str) -> None:
    module = StandInModule(a_token(flags))
    with pytest.raises(PinRefused, match=reason) as refusal:
        open_pool(module)
    assert not isinstance(refusal.value, PinWrong)  # an officer may mend it while we run
    assert module.logged_in == 0


def test_the_token_is_the_one_of_label_and_serial() -> None:
    assert open_pool(StandInModule(a_token(serial=b"02"), a_token())).token.serial == b"01"


@pytest.mark.parametrize("tokens", [[], [a_token(serial=b"02")], [a_token(), a_token()]])
def test_none_or_several_are_refused(tokens: list[Any]) -> None:
    module = StandInModule(*tokens)
    with pytest.raises(TokenUnavailable, match="want one"):
        open_pool(module)
    assert module.logged_in == 0


def test_a_pool_that_is_exhausted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsm.pool._SESSION_SECONDS", 0.01)
    pool = open_pool(StandInModule(a_token()))
    with pool.session(), pytest.raises(TokenUnavailable, match="busy"), pool.session():
        pass
