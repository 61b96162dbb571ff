"""The PKCS#11 module: one in a process for each shared object, renewed as a whole; and new tokens on it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Lock
from typing import ClassVar

import pkcs11
from pkcs11 import TokenFlag

from hsm.config import TokenConfig
from hsm.cryptoki import CKU_SO, USER_STATES, Calls, Library, SessionInfo
from hsm.errors import TokenExists, TokenUnavailable
from hsm.secret import Secret

# Longer than any one signature of a working token. A call that a network module never
# returns from would otherwise hold up recovery, and with it every health answer, for good.
DRAIN_SECONDS = 30.0


class Module:
    """A loaded module, shared by every Token of this process that names the same shared object.

    C_Finalize ends the sessions of all of them, and handle numbers then start again: so the
    generation counts initialisations, ``use()`` holds it still, and ``alone()`` waits until
    nobody uses the module before it may change.
    """

    _loaded: ClassVar[dict[str, Module]] = {}
    _loading: ClassVar[Lock] = Lock()

    def __init__(self, path: str) -> None:
        self._path = path
        self._users = 0
        self._settings: tuple[str | None, dict[str, str]] = (None, {})
        self._library: Library | None = None
        self._initialised = False
        self._generation = 0
        self._pid = os.getpid()
        self._condition = Condition()
        self._inside = 0
        self._alone = False

    @classmethod
    def attach(cls, path: str, arguments: str | None, environment: Mapping[str, str]) -> Module:
        """Join the module, without initialising it. Every attach is paid back by one detach.

        Raises TokenUnavailable when it serves other tokens with other settings: a module has
        one set for the whole process.
        """
        with cls._loading:
            module = cls._loaded.setdefault(os.path.realpath(path), cls(path))
            settings = (arguments, dict(environment))
            if module._users and module._settings != settings:
                raise TokenUnavailable(f"{path}: in use in this process with other settings")
            module._settings = settings
            module._users += 1
            return module

    def detach(self) -> None:
        with self._loading:
            self._users -= 1
            if self._users == 0:
                with self.alone():
                    self._finalise()

    @property
    def generation(self) -> int:
        """Rises with every initialisation. A session or handle of an earlier one is void."""
        return self._generation

    @property
    def initialised(self) -> bool:
        return self._initialised

    @contextmanager
    def use(self) -> Iterator[None]:
        """Keep the module as it is for the length of one operation. Do not nest it."""
        if os.getpid() != self._pid:
            raise TokenUnavailable("a forked process does not use its parent's token")
        with self._condition:
            self._condition.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                if self._alone and not self._inside:
                    self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let running operations end, and new ones wait. Raises TokenUnavailable if they do not end."""
        with self._condition:
            self._condition.wait_for(lambda: not self._alone)
            self._alone = True
            try:
                if not self._condition.wait_for(lambda: not self._inside, DRAIN_SECONDS):
                    raise TokenUnavailable(f"{self._path}: a call has not returned")
            except BaseException:
                self._alone = False
                self._condition.notify_all()
                raise
        try:
            yield
        finally:
            with self._condition:
                self._alone = False
                self._condition.notify_all()

    def renew(self) -> None:
        """Finalise and initialise. Only inside ``alone()``. Raises PKCS11Error."""
        self._finalise()
        arguments, environment = self._settings
        os.environ.update(environment)
        self._generation += 1
        if self._library is None:
            self._calls = Calls(self._path)
            self._library = Library(self._path, self._calls, arguments)
            # It lives as long as the process: taken down by the interpreter's end, it would
            # unload a module whose threads and exit handlers are still there.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._library))
        else:
            self._library.arguments = arguments
            self._library.initialize()
        self._initialised = True

    def _finalise(self) -> None:
        if self._library is not None and self._initialised:
            self._initialised = False
            # A module that was finalised behind our back says so here, and needs no more.
            with suppress(pkcs11.PKCS11Error):
                self._library.finalize()

    def slots(self) -> list[pkcs11.Slot]:
        if self._library is None or not self._initialised:
            raise pkcs11.PKCS11Error("the module is not initialised")
        return self._library.get_slots(token_present=True)

    def tokens(self, label: str) -> list[pkcs11.Token]:
        """Initialised tokens of this label, however many. Raises PKCS11Error."""
        found = []
        for slot in self.slots():
            with suppress(pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
                token = slot.get_token()
                if token.label == label and token.flags & TokenFlag.TOKEN_INITIALIZED:
                    found.append(token)
        return found

    def require_logged_in(self, session: pkcs11.Session) -> None:
        """Raises PKCS11Error where the session was closed or logged out behind our back.

        Without the log-in a search finds no private key, which must not pass for an empty token.
        """
        info = SessionInfo()
        self._calls("C_GetSessionInfo", _handle(session), ctypes.pointer(info))
        if info.state not in USER_STATES:
            raise pkcs11.UserNotLoggedIn("logged out behind our back")

    def log_in(self, session: pkcs11.Session, user: int, pin: Secret) -> None:
        """Raises the PIN errors of pkcs11.exceptions, and UserAlreadyLoggedIn."""
        self._calls("C_Login", _handle(session), user, pin)

    def initialise_token(self, slot: pkcs11.Slot, label: str, so_pin: Secret) -> None:
        padded = label.encode().ljust(32)
        self._calls("C_InitToken", slot.slot_id, so_pin, ctypes.c_char_p(padded))

    def initialise_pin(self, session: pkcs11.Session, pin: Secret) -> None:
        self._calls("C_InitPIN", _handle(session), pin)

    def change_pin(self, session: pkcs11.Session, old: Secret, new: Secret) -> None:
        self._calls("C_SetPIN", _handle(session), old, new)


def _handle(session: pkcs11.Session) -> int:
    return session.handle  # type: ignore[attr-defined,no-any-return]  # of the compiled class only


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock file against other processes. It ends with the process, however that ends.

    Initialising and logging in race between processes: of four started together,
    a quarter of the log-ins failed. Raises TokenUnavailable where another never lets go.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Read-only is enough for flock, so that users who share a group can share the file.
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise TokenUnavailable(f"lock file {path}: {error.strerror}") from None
    try:
        deadline = time.monotonic() + DRAIN_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise TokenUnavailable(f"lock file {path}: another process holds it")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def initialise_token(config: TokenConfig, so_pin: Secret, user_pin: Secret) -> str:
    """Initialise the first free slot as ``config.label``; the new token's serial number.

    A crash in between leaves a token without user PIN, which is refused from then on.
    Raises TokenExists where the label is taken, TokenUnavailable without a free slot.
    """
    module = Module.attach(config.module, config.vendor_arguments, config.environment)
    try:
        with module.alone(), locked(config.lock_file):
            if not module.initialised:
                module.renew()
            if module.tokens(config.label):
                raise TokenExists(f"token {config.label}: exists")
            free = [slot for slot in module.slots() if not _initialised(slot)]
            if not free:
                raise TokenUnavailable(f"token {config.label}: no free slot")
            module.initialise_token(free[0], config.label, so_pin)
            token = free[0].get_token()
            session = token.open(rw=True)
            try:
                module.log_in(session, CKU_SO, so_pin)
                module.initialise_pin(session, user_pin)
            finally:
                # The last session of the token: closing it logs the security officer out.
                session.close()
            return token.serial.decode()
    except pkcs11.PKCS11Error as error:
        raise TokenUnavailable(f"token {config.label}: {type(error).__name__} {error}") from error
    finally:
        module.detach()


def _initialised(slot: pkcs11.Slot) -> bool:
    try:
        return bool(slot.get_token().flags & TokenFlag.TOKEN_INITIALIZED)
    except (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
        return True
