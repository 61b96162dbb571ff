"""The same package on another vendor's module: NSS softokn, which takes its settings as an argument."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm.config import TokenConfig
from hsm.errors import PinWrong, TokenExists
from hsm.module import initialise_token
from hsm.secret import Secret
from hsm.token import Token
from tests.fixtures.softhsm import USER_PIN, make_key, sign_and_verify

NO_PIN = Secret(b"")  # the security officer of a fresh NSS database has none


@pytest.fixture
def config(tmp_path: Path) -> TokenConfig:
    (module,) = Path("/usr/lib").glob("*/libsoftokn3.so")
    database = tmp_path / "nss"
    database.mkdir()
    return TokenConfig(
        module=str(module),
        label="issuing",
        lock_file=str(tmp_path / "hsm.lock"),
        pin_file="unused",
        sessions=2,
        vendor_arguments=f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='secmod.db' "
        "flags=passwordRequired dbTokenDescription='issuing'",
    )


@pytest.fixture
def token(config: TokenConfig) -> Iterator[Token]:
    initialise_token(config, NO_PIN, USER_PIN)
    token = Token.open(config, USER_PIN)
    yield token
    token.close()


@pytest.mark.parametrize("key_type", ["p-256", "p-384", "rsa-2048"])
def test_keys_are_sound_and_sign(token: Token, key_type: str) -> None:
    sign_and_verify(make_key(token, "a-key", key_type))
    (report,) = token.inventory()
    assert (report.key_type, report.findings) == (key_type, ())


def test_it_recovers(token: Token) -> None:
    key = make_key(token, "a-key")
    generation = token.generation
    token._module._library.finalize()  # type: ignore[union-attr]
    sign_and_verify(key)
    assert token.generation == generation + 1


def test_it_is_found_again_and_not_wiped(token: Token, config: TokenConfig) -> None:
    public_key = token.generate("a-key", "p-256")
    token.close()
    with pytest.raises(PinWrong):
        Token.open(config, Secret(b"not-the-pin"))
    with pytest.raises(TokenExists):
        initialise_token(config, NO_PIN, USER_PIN)
    again = Token.open(config, USER_PIN)
    try:
        sign_and_verify(again.private_key("a-key", public_key))
    finally:
        again.close()
