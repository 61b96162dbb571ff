"""Opening: PINs that are wrong, processes that race, tokens that are there already."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import msgspec
import pytest

from hsm.config import TokenConfig
from hsm.errors import PinRefused, PinWrong, TokenExists, TokenUnavailable
from hsm.module import Module, initialise_token
from hsm.secret import Secret
from hsm.token import Token
from tests.fixtures.softhsm import SO_PIN, USER_PIN, SoftHsm, make_key, sign_and_verify

RACE = """
import sys
import msgspec
from hsm.config import TokenConfig
from hsm.token import Token
config = msgspec.json.decode(sys.argv[1], type=TokenConfig)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(10):
    token = Token.open(config, config.read_pin())
    token.probe("first")
    token.close()
"""


@pytest.fixture
def log_ins(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one with every PIN sent to a token."""
    sent: list[int] = []
    real = Module.log_in

    def counted(module: Module, session: object, user: int, pin: Secret) -> None:
        sent.append(user)
        real(module, session, user, pin)  # type: ignore[arg-type]

    monkeypatch.setattr(Module, "log_in", counted)
    return sent


def test_a_wrong_pin_is_sent_once(token_config: TokenConfig, log_ins: list[int]) -> None:
    with pytest.raises(PinWrong):
        Token.open(token_config, Secret(b"not-the-pin"))
    assert len(log_ins) == 1


def test_a_pin_that_was_changed_elsewhere_is_sent_once_in_recovery(
    softhsm: SoftHsm, token_config: TokenConfig, log_ins: list[int]
) -> None:
    token = softhsm.open(token_config)
    key = make_key(token, "first")
    token._pin = Secret(b"no longer the PIN")
    token._module._library.finalize()  # type: ignore[union-attr]
    before = len(log_ins)
    for _ in range(3):
        with pytest.raises(PinWrong):
            sign_and_verify(key)
        with pytest.raises(PinWrong):
            token.probe("first")
    assert len(log_ins) == before + 1


def test_a_pin_never_shows_in_what_is_raised_or_logged(
    token_config: TokenConfig, caplog: pytest.LogCaptureFixture
) -> None:
    pin = b"".join([b"not", b"the", b"pin"])
    secret = Secret(pin)
    with pytest.raises(PinWrong) as refusal:
        Token.open(token_config, secret)
    inner = refusal.value.__context__
    assert inner is not None
    frames = [
        frame for error in (refusal.value, inner) for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    seen = [repr(frame.f_locals) for frame in frames if frame.f_code.co_filename != __file__]
    assert "Calls" in str(seen)
    assert pin.decode() not in f"{seen} {refusal.value} {inner} {caplog.text}"


def test_the_pin_can_be_changed(softhsm: SoftHsm, token_config: TokenConfig) -> None:
    token = softhsm.open(token_config)
    key = make_key(token, "first")
    token.change_pin(Secret(b"another-pin"))
    token._module._library.finalize()  # type: ignore[union-attr]
    sign_and_verify(key)  # logs in with the new one
    with pytest.raises(PinRefused):
        token.change_pin(Secret(b"1"))  # too short for the token
    token.close()
    with pytest.raises(PinWrong):
        Token.open(token_config, USER_PIN)
    softhsm.open(token_config, Secret(b"another-pin")).probe("first")


def test_processes_that_start_together_all_log_in(softhsm: SoftHsm, token_config: TokenConfig) -> None:
    """Without the lock file about two of three log-ins fail here: one process reads what another writes."""
    token = softhsm.open(token_config)
    make_key(token, "first")
    token.close()
    command = [sys.executable, "-c", RACE, msgspec.json.encode(token_config).decode()]
    root = Path(__file__).parents[3]
    racers = [
        subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")  # type: ignore[union-attr]
        racer.stdin.flush()  # type: ignore[union-attr]
    for racer in racers:
        racer.communicate(timeout=120)
    assert [racer.returncode for racer in racers] == [0, 0, 0, 0]


def test_a_token_is_initialised_once(softhsm: SoftHsm, token_config: TokenConfig) -> None:
    with pytest.raises(TokenExists):
        initialise_token(token_config, SO_PIN, USER_PIN)
    softhsm.open(token_config)


def test_another_token_is_initialised_beside_one_in_service(softhsm: SoftHsm) -> None:
    one = softhsm.open(softhsm.initialise("one"))
    key = make_key(one, "a")
    two = softhsm.config("two")
    serial = initialise_token(two, SO_PIN, USER_PIN)
    sign_and_verify(key)
    with_serial = softhsm.config("two", serial=serial)
    sign_and_verify(make_key(softhsm.open(with_serial), "b"))
    sign_and_verify(key)
    with pytest.raises(TokenUnavailable, match="0 of this label and serial"):
        Token.open(softhsm.config("two", serial="0000"), USER_PIN)


def test_a_token_or_module_that_is_not_there_is_unavailable(softhsm: SoftHsm) -> None:
    with pytest.raises(TokenUnavailable):
        Token.open(softhsm.config("nobody"), USER_PIN)
    with pytest.raises(TokenUnavailable):
        Token.open(softhsm.config(module="/nowhere/libnone.so"), USER_PIN)
    sign_and_verify(make_key(softhsm.open(softhsm.initialise()), "first"))


def test_two_tokens_of_one_label_are_told_apart_by_serial_only(softhsm: SoftHsm, tmp_path: Path) -> None:
    other = SoftHsm(tmp_path / "other")
    serial = initialise_token(softhsm.config(), SO_PIN, USER_PIN)
    other.initialise()
    (folder,) = other.tokens.iterdir()
    folder.rename(softhsm.tokens / folder.name)
    with pytest.raises(TokenUnavailable, match="2 of this label"):
        Token.open(softhsm.config(), USER_PIN)
    softhsm.open(softhsm.config(serial=serial))
