"""A token in service: keys are made, found and used through here, and it recovers by itself.

A key that is handed out holds no handle. Handles live with the pooled session that found
them, sessions with the pool of their generation, and a pool under suspicion, or whose
generation has passed, is never used again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa

from hsm import keys
from hsm.config import TokenConfig
from hsm.cryptoki import PIN_ERRORS
from hsm.errors import (
    HsmError,
    KeyMissing,
    KeyRefused,
    PinRefused,
    PinWrong,
    SignatureWrong,
    TokenUnavailable,
)
from hsm.keys import KeyIdentity, KeyLabel, KeyReport, KeyType, PublicKey
from hsm.module import Module, locked
from hsm.pool import Pool, PooledSession
from hsm.secret import Secret
from hsm.signing import PrivateKey, SignatureOrder, TokenEcKey, TokenRsaKey, probe_order

log = logging.getLogger(__name__)

T = TypeVar("T")
# Every PKCS#11 error puts the pool under suspicion, and so does a signature of another key.
_FAILED = (pkcs11.PKCS11Error, SignatureWrong)
# So does a key that is not found, until a new pool does not find it either.
_SUSPECT = (*_FAILED, KeyMissing)


class _Outdated(pkcs11.PKCS11Error):
    """There is no pool, or another token of the process renewed the module under it."""


class Token:
    """Thread-safe. The process that holds one is not forked."""

    def __init__(self, config: TokenConfig, pin: Secret) -> None:
        self._config = config
        self._pin = pin
        self._module = Module.attach(config.module, config.vendor_arguments, config.environment)
        self._pool: Pool | None = None
        self._tried_generation = 0
        self._attempts = 0
        self._failure: HsmError | None = None
        self._bound: dict[KeyLabel, KeyIdentity] = {}
        self._closed = False

    @classmethod
    def open(cls, config: TokenConfig, pin: Secret) -> Token:
        """Initialise the module where needed, and log in. Raises TokenUnavailable or PinRefused."""
        token = cls(config, pin)
        try:
            token._restore()
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
        """Of the module; higher than before after each recovery."""
        return self._module.generation

    def generate(self, label: str, key_type: KeyType | str) -> PublicKey:
        """Make a key pair, read it back, judge it and sign a probe with it.

        A failure is not retried, since half of it may have happened. Raises KeyExists,
        KeyRefused or TokenUnavailable; a pair that was made stays under its label.
        """
        name, kind = keys.parse_label(label), KeyType(key_type)
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
            identity = self._run(lambda session: keys.bind(session.raw, name, public_key, session.accept))
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
        """Every private key and what speaks against it. Raises TokenUnavailable, PinRefused."""
        return self._run(lambda session: keys.inventory(session.raw, session.accept))

    def change_pin(self, new: Secret) -> None:
        """Change the user PIN, and log in with the new one from now on.

        Not retried. Raises PinRefused where the token does not take it, TokenUnavailable.
        """
        with self._read_write() as session:
            self._module.change_pin(session, self._pin, new)
            self._pin = new

    def _sign(self, identity: KeyIdentity, order: SignatureOrder) -> bytes:
        return self._run(lambda session: session.sign(identity, order))

    def _run(self, operation: Callable[[PooledSession], T]) -> T:
        """Run it in a pooled session; on suspicion recover and run it once more."""
        try:
            with self._session(_SUSPECT) as session:
                return operation(session)
        except _SUSPECT as suspicion:
            # Without its frames: they hold objects of the generation that is about to end.
            cause = suspicion.with_traceback(None)
        self._restore(cause)
        try:
            with self._session() as session:
                return operation(session)
        except pkcs11.PKCS11Error as error:
            raise self._unavailable(error) from error

    @contextmanager
    def _session(self, suspicious: tuple[type[Exception], ...] = _FAILED) -> Iterator[PooledSession]:
        with self._module.use():
            if self._closed:
                raise TokenUnavailable(f"token {self._config.label}: closed")
            pool = self._pool
            if pool is None or not self._in_service(pool):
                raise _Outdated("no pool of this generation")
            try:
                with pool.session() as session:
                    self._module.require_logged_in(session.raw)
                    yield session
            except suspicious:
                pool.suspect = True
                raise

    @contextmanager
    def _read_write(self) -> Iterator[pkcs11.Session]:
        """A session of its own for the rare writes, which are not repeated."""
        self._run(lambda session: None)  # recovers first what needs recovery
        try:
            # A process that initialises while another writes may not see the token at all.
            with self._session() as pooled, locked(self._config.lock_file):
                session = pooled.raw.token.open(rw=True)
                try:
                    yield session
                finally:
                    session.close()
        except PIN_ERRORS as error:
            raise PinRefused(f"token {self._config.label}: {type(error).__name__}") from None
        except pkcs11.PKCS11Error as error:
            raise self._unavailable(error) from error

    def _restore(self, cause: Exception | None = None) -> None:
        """Log in again, on a module initialised again where that is needed.

        Threads that failed together wait for one attempt and share its outcome. A refused
        PIN stays refused. Raises TokenUnavailable, PinRefused, and KeyRefused where a bound
        key has changed.
        """
        attempts = self._attempts
        with self._module.alone():
            if self._closed:
                raise TokenUnavailable(f"token {self._config.label}: closed")
            if self._pool is not None and self._in_service(self._pool):
                return
            failure = self._failure
            if failure is not None and (self._attempts != attempts or isinstance(failure, PinWrong)):
                raise type(failure)(str(failure))
            self._attempts += 1
            self._discard_pool()
            if cause is not None:
                log.warning("token %s: recovering from %r", self._config.label, cause)
            try:
                with locked(self._config.lock_file):
                    pool = self._log_in_afresh()
                with pool.session() as session:
                    for identity in tuple(self._bound.values()):
                        session.sign(identity, probe_order(identity.public_key))
            except pkcs11.PKCS11Error as error:
                self._failure = self._unavailable(error)
                raise self._unavailable(error) from error
            except HsmError as error:
                self._failure = type(error)(str(error))
                raise
            self._pool, self._failure = pool, None
            log.info("token %s: in service, generation %d", self._config.label, pool.generation)

    def _log_in_afresh(self) -> Pool:
        # Another token of the process may have renewed the module since this one logged in:
        # then the log-in may be all that is missing, and renewing would end the other's sessions.
        if self._module.initialised and self._tried_generation != self._module.generation:
            with suppress(pkcs11.PKCS11Error, TokenUnavailable):
                return self._log_in()
        self._module.renew()
        return self._log_in()

    def _log_in(self) -> Pool:
        self._tried_generation = self._module.generation
        return Pool.open(self._module, self._config, self._pin)

    def _in_service(self, pool: Pool) -> bool:
        return pool.generation == self._module.generation and not pool.suspect

    def _discard_pool(self) -> None:
        """The sessions of a passed generation ended with it; their numbers may be another's now."""
        pool, self._pool = self._pool, None
        if pool is not None and pool.generation == self._module.generation:
            pool.close()

    def _unavailable(self, error: Exception) -> TokenUnavailable:
        return TokenUnavailable(f"token {self._config.label}: {type(error).__name__} {error}".rstrip())
