"""What somebody else in the process, or on the machine, might do to a token in service."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pkcs11
import pytest

from hsm.signing import PrivateKey
from hsm.token import Token
from tests.fixtures.softhsm import MODULE, SoftHsm, make_key


@pytest.fixture
def key(token: Token) -> PrivateKey:
    return make_key(token, "first")


@pytest.fixture
def other_key(key: PrivateKey, token: Token) -> PrivateKey:
    return make_key(token, "second")


@dataclass(frozen=True, slots=True, kw_only=True)
class BehindItsBack:
    """Calls on the same shared object that ``hsm`` does not know of."""

    token: Token
    home: SoftHsm

    def close_sessions(self) -> None:
        self._call("C_CloseAllSessions", self._slot())

    def log_out(self) -> None:
        assert self.token._pool is not None
        self._call("C_Logout", self.token._pool.keeper.handle)  # type: ignore[attr-defined]

    def finalise(self) -> None:
        self._call("C_Finalize", None)

    @contextmanager
    def pull_all_tokens(self) -> Iterator[None]:
        away = self.home.home / "away"
        self.home.tokens.rename(away)
        yield
        away.rename(self.home.tokens)

    @contextmanager
    def pull_the_token(self) -> Iterator[None]:
        (folder,) = self.home.tokens.iterdir()
        away = self.home.home / "away"
        folder.rename(away)
        yield
        away.rename(folder)

    def _slot(self) -> int:
        assert self.token._pool is not None
        return self.token._pool.token.slot.slot_id

    def _call(self, name: str, argument: int | None) -> None:
        function = getattr(ctypes.CDLL(MODULE), name)
        # Between two calls, not in the middle of one: SoftHSM crashes when a session is
        # closed while it signs.
        with self.token._module.alone():
            assert function(ctypes.c_void_p() if argument is None else ctypes.c_ulong(argument)) == 0


@pytest.fixture
def behind(token: Token, softhsm: SoftHsm) -> BehindItsBack:
    return BehindItsBack(token=token, home=softhsm)


@pytest.fixture
def write(token: Token) -> Callable[[Callable[[pkcs11.Session], object]], None]:
    """Run something in a read-write session of the token, past every rule of ours."""

    def run(operation: Callable[[pkcs11.Session], object]) -> None:
        with token._read_write() as session:
            operation(session)

    return run
