"""The sessions of one generation: a keeper that is logged in, and those that sign."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, LifoQueue

import pkcs11
from pkcs11 import TokenFlag

from hsm import keys
from hsm.config import TokenConfig
from hsm.cryptoki import CKU_USER, PIN_ERRORS
from hsm.errors import PinRefused, PinWrong, TokenUnavailable
from hsm.keys import KeyIdentity, SigningKey
from hsm.module import Module
from hsm.secret import Secret
from hsm.signing import SignatureOrder

# How long an operation waits for one of the sessions.
_SESSION_SECONDS = 30.0


@dataclass(slots=True, kw_only=True, eq=False)
class PooledSession:
    """Handles are kept with the session that found them, and end with it."""

    raw: pkcs11.Session
    accept: Collection[str]
    handles: dict[KeyIdentity, SigningKey] = field(default_factory=dict)

    def sign(self, identity: KeyIdentity, order: SignatureOrder) -> bytes:
        """Raises PKCS11Error, KeyMissing, KeyRefused, SignatureWrong."""
        handle = self.handles.get(identity)
        if handle is None:
            handle = keys.find_bound(self.raw, identity, self.accept)
            self.handles[identity] = handle
        return order.accept(handle.sign(order.data, mechanism=order.mechanism))


@dataclass(slots=True, kw_only=True)
class Pool:
    generation: int
    token: pkcs11.Token
    keeper: pkcs11.Session
    """Never closed in service: the log-in lasts as long as the token has a session."""
    idle: LifoQueue[PooledSession] = field(default_factory=LifoQueue)
    suspect: bool = False
    """Set with the first error, and never taken back: recovery makes another pool."""

    @classmethod
    def open(cls, module: Module, config: TokenConfig, pin: Secret) -> Pool:
        """Find the token and log in. Raises PKCS11Error, TokenUnavailable, PinRefused, PinWrong."""
        token = _find_token(module, config)
        _check_pin_state(config, token.flags)
        keeper = token.open()
        try:
            with suppress(pkcs11.UserAlreadyLoggedIn):  # by another Token of this process
                module.log_in(keeper, CKU_USER, pin)
            pool = cls(generation=module.generation, token=token, keeper=keeper)
            for _ in range(config.sessions):
                pool.idle.put(PooledSession(raw=token.open(), accept=config.accept_unreported))
        except PIN_ERRORS as error:
            keeper.close()
            raise PinWrong(f"token {config.label}: {type(error).__name__}, and not tried again") from None
        except pkcs11.PKCS11Error:
            keeper.close()
            raise
        return pool

    @contextmanager
    def session(self) -> Iterator[PooledSession]:
        try:
            session = self.idle.get(timeout=_SESSION_SECONDS)
        except Empty:
            raise TokenUnavailable(f"token {self.token.label}: every session is busy") from None
        try:
            yield session
        finally:
            self.idle.put(session)

    def close(self) -> None:
        """Close what can still be closed."""
        with suppress(pkcs11.PKCS11Error):
            while not self.idle.empty():
                self.idle.get_nowait().raw.close()
            self.keeper.close()


def _find_token(module: Module, config: TokenConfig) -> pkcs11.Token:
    found = [
        token
        for token in module.tokens(config.label)
        if config.serial in (None, token.serial.decode(errors="replace"))
    ]
    if len(found) != 1:
        raise TokenUnavailable(f"token {config.label}: {len(found)} of this label and serial, want one")
    return found[0]


def _check_pin_state(config: TokenConfig, flags: TokenFlag) -> None:
    if not flags & TokenFlag.USER_PIN_INITIALIZED:
        raise PinRefused(f"token {config.label}: no user PIN is set")
    if flags & TokenFlag.USER_PIN_LOCKED:
        raise PinRefused(f"token {config.label}: the user PIN is locked")
    # A supervisor starts a process again and again: with a wrong PIN in its file, that locks the token.
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise PinRefused(f"token {config.label}: one wrong PIN more locks it; an officer logs in first")
