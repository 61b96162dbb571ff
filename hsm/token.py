"""A token in service: one keeper session logged in, a pool of sessions that sign, and recovery.

A key that is handed out holds no handle. Handles live with the pooled session that found
them, sessions with the pool of their generation, and a pool whose generation has passed is
never used again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, LifoQueue
from typing import TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import TokenFlag

from hsm import keys
from hsm.config import TokenConfig
from hsm.errors import HsmError, KeyMissing, KeyRefused, PinRefused, SignatureWrong, TokenUnavailable
from hsm.keys import KeyIdentity, KeyLabel, KeyReport, KeyType, PublicKey, SigningKey
from hsm.module import CKU_USER, Module, locked
from hsm.secret import Secret
from hsm.signing import PrivateKey, SignatureOrder, TokenEcKey, TokenRsaKey, probe_order

log = logging.getLogger(__name__)

T = TypeVar("T")
# Every PKCS#11 error puts the whole generation under suspicion (PIN errors never get here),
# and so do its two silent forms: a key that is not found, and a signature of another key.
_SUSPECT = (pkcs11.PKCS11Error, KeyMissing, SignatureWrong)
_PIN_ERRORS = (
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinExpired,
    pkcs11.PinLocked,
    pkcs11.UserPinNotInitialized,
)
# How long an operation waits for one of the pool's sessions.
_SESSION_SECONDS = 30.0


class _Outdated(pkcs11.PKCS11Error):
    """There is no pool, or another token of the process renewed the module under it."""


@dataclass(slots=True, kw_only=True, eq=False)
class _PooledSession:
    raw: pkcs11.Session
    handles: dict[KeyIdentity, SigningKey] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Pool:
    generation: int
    token: pkcs11.Token
    keeper: pkcs11.Session
    """Logged in, and never closed in service: the log-in lasts as long as a session does."""
    idle: LifoQueue[_PooledSession] = field(default_factory=LifoQueue)


class Token:
    """Thread-safe. A process that holds one is not forked."""

    def __init__(self, config: TokenConfig, pin: Secret, *, final_try: bool) -> None:
        self._config = config
        self._pin = pin
        self._final_try = final_try
        self._module = Module.attach(config.module, config.vendor_arguments, config.environment)
        self._pool: _Pool | None = None
        self._tried_generation = 0
        self._attempts = 0
        self._failure: HsmError | None = None
        self._pin_refused: str | None = None
        self._bound: dict[KeyLabel, KeyIdentity] = {}
        self._closed = False

    @classmethod
    def open(cls, config: TokenConfig, pin: Secret, *, final_try: bool = False) -> Token:
        """Initialise the module where needed, and log in.

        ``final_try`` is an officer's word to log in although one more wrong PIN would lock
        the token. Raises TokenUnavailable or PinRefused.
        """
        token = cls(config, pin, final_try=final_try)
        try:
            token._restore(0)
            token._final_try = False
        except BaseException:
            token.close()
            raise
        return token

    def close(self) -> None:
        """Idempotent. Keys handed out raise TokenUnavailable from here on."""
        if self._closed:
            return
        with self._module.alone():
            self._closed = True
            self._discard_pool()
        self._module.detach()

    @property
    def generation(self) -> int:
        """Of the module; one more than before after each recovery."""
        return self._module.generation

    def generate(self, label: str, key_type: KeyType | str) -> PublicKey:
        """Make a key pair, read it back, judge it and sign a probe with it.

        A failure is not retried, since half of it may have happened. Raises KeyExists,
        KeyRefused or TokenUnavailable; a pair that was made stays under its label.
        """
        name, kind = keys.parse_label(label), KeyType(key_type)
        self._run(lambda session: None)  # recovers first what needs recovery
        with self._read_write() as session:
            keys.generate_pair(session, name, kind)
        public_key = self.public_key(label)
        self.private_key(label, public_key)
        return public_key

    def public_key(self, label: str) -> PublicKey:
        """The token's public key object. Raises KeyMissing, KeyRefused or TokenUnavailable."""
        name = keys.parse_label(label)
        return self._run(lambda session: keys.find_public(session.raw, name))

    def private_key(self, label: str, public_key: PublicKey) -> PrivateKey:
        """The key, bound to the public key of its certificate by a verified signature.

        Raises KeyRefused where the key is extractable, not sensitive, not sign-only,
        ambiguous, missing, or not the one of ``public_key``; TokenUnavailable.
        """
        name = keys.parse_label(label)
        identity = self._bound.get(name)
        if identity is None or identity.public_key != public_key:
            accept = self._config.accept_unreported
            identity = self._run(lambda session: keys.bind(session.raw, name, public_key, accept))
            try:
                self._sign(identity, probe_order(public_key))
            except SignatureWrong as wrong:
                raise KeyRefused(f"key {label}: it signs, but not with its certificate's key") from wrong
            self._bound[name] = identity
        signer = partial(self._sign, identity)
        if isinstance(public_key, rsa.RSAPublicKey):
            return TokenRsaKey(public_key, signer)
        return TokenEcKey(public_key, signer)

    def probe(self, label: str) -> None:
        """Sign and verify: health. Opening a session succeeds even where the token is gone.

        Raises TokenUnavailable, PinRefused or KeyRefused.
        """
        identity = self._bound.get(keys.parse_label(label))
        if identity is None:
            self.private_key(label, self.public_key(label))
        else:
            self._sign(identity, probe_order(identity.public_key))

    def inventory(self) -> list[KeyReport]:
        return self._run(lambda session: keys.inventory(session.raw, self._config.accept_unreported))

    def change_pin(self, new: Secret) -> None:
        """Change the user PIN, and log in with the new one from now on. Not retried."""
        self._run(lambda session: None)
        with self._read_write() as session:
            self._module.change_pin(session, self._pin, new)
            self._pin = new

    def _sign(self, identity: KeyIdentity, order: SignatureOrder) -> bytes:
        return self._run(lambda session: self._sign_in(session, identity, order))

    def _sign_in(self, session: _PooledSession, identity: KeyIdentity, order: SignatureOrder) -> bytes:
        handle = session.handles.get(identity)
        if handle is None:
            handle = keys.find_bound(session.raw, identity, self._config.accept_unreported)
            session.handles[identity] = handle
        return order.accept(
            handle.sign(order.data, mechanism=order.mechanism, mechanism_param=order.parameter)
        )

    def _run(self, operation: Callable[[_PooledSession], T]) -> T:
        """Run it in a pooled session; on suspicion recover and run it once more."""
        pool = self._pool
        try:
            with self._session() as session:
                return operation(session)
        except _SUSPECT as suspicion:
            # Without its frames: they hold objects of the generation that is about to end.
            cause = suspicion.with_traceback(None)
        self._restore(pool.generation if pool else 0, cause)
        try:
            with self._session() as session:
                return operation(session)
        except pkcs11.PKCS11Error as error:
            raise self._unavailable(error) from error

    @contextmanager
    def _session(self) -> Iterator[_PooledSession]:
        with self._module.use():
            pool = self._usable_pool()
            try:
                session = pool.idle.get(timeout=_SESSION_SECONDS)
            except Empty:
                raise TokenUnavailable(f"token {self._config.label}: every session is busy") from None
            try:
                self._module.require_logged_in(session.raw)
                yield session
            finally:
                pool.idle.put(session)

    @contextmanager
    def _read_write(self) -> Iterator[pkcs11.Session]:
        """A session of its own for the rare writes."""
        with self._module.use():
            try:
                session = self._usable_pool().token.open(rw=True)
                try:
                    yield session
                finally:
                    session.close()
            except pkcs11.PKCS11Error as error:
                raise self._unavailable(error) from error

    def _usable_pool(self) -> _Pool:
        if self._closed:
            raise TokenUnavailable(f"token {self._config.label}: closed")
        pool = self._pool
        if pool is None or pool.generation != self._module.generation:
            raise _Outdated("no session of this generation")
        return pool

    def _restore(self, failed: int, cause: Exception | None = None) -> None:
        """Log in again, on a module initialised again where that is needed.

        ``failed`` is the generation that was under suspicion. Threads that failed together
        wait for one attempt and share its outcome. Raises TokenUnavailable, PinRefused, and
        KeyRefused where a bound key has changed.
        """
        attempts = self._attempts
        with self._module.alone():
            if self._closed:
                raise TokenUnavailable(f"token {self._config.label}: closed")
            if self._pin_refused is not None:
                raise PinRefused(self._pin_refused)
            if self._pool is not None and failed < self._pool.generation == self._module.generation:
                return
            if self._attempts != attempts and self._failure is not None:
                raise type(self._failure)(str(self._failure))
            self._attempts += 1
            self._discard_pool()
            if cause is not None:
                log.warning("token %s: recovering from %r", self._config.label, cause)
            try:
                with locked(self._config.lock_file):
                    pool = self._log_in_afresh()
                for identity in self._bound.values():
                    self._probe_in(pool, identity)
            except pkcs11.PKCS11Error as error:
                self._failure = self._unavailable(error)
                raise self._unavailable(error) from error
            except HsmError as error:
                self._failure = type(error)(str(error))
                raise
            self._pool, self._failure = pool, None
            log.info("token %s: in service, generation %d", self._config.label, pool.generation)

    def _log_in_afresh(self) -> _Pool:
        # Another token of the process may have renewed the module since this one logged in:
        # then the log-in may be all that is missing, and renewing would end the other's sessions.
        if self._module.initialised and self._tried_generation != self._module.generation:
            with suppress(pkcs11.PKCS11Error):
                return self._log_in()
        self._module.renew()
        return self._log_in()

    def _log_in(self) -> _Pool:
        self._tried_generation = self._module.generation
        token = self._find_token()
        self._check_pin_state(token.flags)
        pool = _Pool(generation=self._module.generation, token=token, keeper=token.open())
        try:
            self._module.log_in(pool.keeper, CKU_USER, self._pin)
        except pkcs11.UserAlreadyLoggedIn:
            pass  # A token has one log-in in a process; another Token of this one made it.
        except _PIN_ERRORS as error:
            pool.keeper.close()
            self._refuse_pin(f"{type(error).__name__}, and not tried again")
        except pkcs11.PKCS11Error:
            pool.keeper.close()
            raise
        for _ in range(self._config.sessions):
            pool.idle.put(_PooledSession(raw=token.open()))
        return pool

    def _find_token(self) -> pkcs11.Token:
        found = []
        for slot in self._module.slots():
            with suppress(pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
                token = slot.get_token()
                serial = token.serial.decode(errors="replace")
                if token.label == self._config.label and self._config.serial in (None, serial):
                    found.append(token)
        if len(found) != 1:
            raise TokenUnavailable(f"token {self._config.label}: {len(found)} of this label and serial")
        return found[0]

    def _check_pin_state(self, flags: TokenFlag) -> None:
        if not flags & TokenFlag.USER_PIN_INITIALIZED:
            self._refuse_pin("no user PIN is set")
        if flags & TokenFlag.USER_PIN_LOCKED:
            self._refuse_pin("the user PIN is locked")
        if flags & TokenFlag.USER_PIN_FINAL_TRY and not self._final_try:
            self._refuse_pin("one more wrong PIN would lock it; an officer has to log in first")

    def _refuse_pin(self, reason: str) -> None:
        self._pin_refused = f"token {self._config.label}: {reason}"
        log.error("%s", self._pin_refused)
        raise PinRefused(self._pin_refused)

    def _probe_in(self, pool: _Pool, identity: KeyIdentity) -> None:
        session = pool.idle.get_nowait()
        try:
            self._sign_in(session, identity, probe_order(identity.public_key))
        finally:
            pool.idle.put(session)

    def _discard_pool(self) -> None:
        """Close what can still be closed; the sessions of a passed generation ended with it."""
        pool, self._pool = self._pool, None
        if pool is None or pool.generation != self._module.generation:
            return
        with suppress(pkcs11.PKCS11Error):
            while not pool.idle.empty():
                pool.idle.get_nowait().raw.close()
            pool.keeper.close()

    def _unavailable(self, error: Exception) -> TokenUnavailable:
        return TokenUnavailable(f"token {self._config.label}: {type(error).__name__} {error}".rstrip())
