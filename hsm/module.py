"""The PKCS#11 module: one in a process for each shared object, renewed as a whole.

python-pkcs11 loads it and does the work of sessions and objects. What it cannot do goes
through ctypes on the same shared object: C_Initialize with CKF_OS_LOCKING_OK (it passes
NULL, and SoftHSM then drops its locks), and whatever carries a PIN (it takes PINs as
``str`` and leaks the session of a refused log-in).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Lock
from typing import Any, ClassVar

import pkcs11
from pkcs11 import _pkcs11

from hsm.errors import TokenUnavailable
from hsm.secret import Secret

CKU_SO, CKU_USER = 0, 1
_CKF_OS_LOCKING_OK = 2
_USER_STATES = (1, 3)  # CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS
_PIN_ERRORS: Mapping[int, type[pkcs11.PKCS11Error]] = {
    0xA0: pkcs11.PinIncorrect,
    0xA1: pkcs11.PinInvalid,
    0xA2: pkcs11.PinLenRange,
    0xA3: pkcs11.PinExpired,
    0xA4: pkcs11.PinLocked,
    0x100: pkcs11.UserAlreadyLoggedIn,
    0x102: pkcs11.UserPinNotInitialized,
}
# Longer than any one signature of a working token. A call that a network module never
# returns from would otherwise hold up recovery, and with it every health answer, for good.
DRAIN_SECONDS = 30.0


class _InitializeArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS. NSS has its parameters where the standard has pReserved, and one field more."""

    _fields_ = [
        ("mutex_callbacks", ctypes.c_void_p * 4),
        ("flags", ctypes.c_ulong),
        ("arguments", ctypes.c_char_p),
        ("reserved", ctypes.c_void_p),
    ]


class _SessionInfo(ctypes.Structure):
    """CK_SESSION_INFO."""

    _fields_ = [(name, ctypes.c_ulong) for name in ("slot", "state", "flags", "device_error")]


class _FunctionList(ctypes.Structure):
    """CK_FUNCTION_LIST, as far as C_Login."""

    _fields_ = [("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * 19)]


class _Calls:
    """The calls made past python-pkcs11. Only C_GetFunctionList is certain to be an exported symbol."""

    _POSITIONS: ClassVar[Mapping[str, int]] = {
        "C_Initialize": 0,
        "C_Finalize": 1,
        "C_InitToken": 9,
        "C_InitPIN": 10,
        "C_SetPIN": 11,
        "C_GetSessionInfo": 15,
        "C_Login": 18,
    }

    def __init__(self, path: str) -> None:
        table = ctypes.POINTER(_FunctionList)()
        if ctypes.CDLL(path).C_GetFunctionList(ctypes.byref(table)) != 0:
            raise pkcs11.PKCS11Error("C_GetFunctionList failed")
        self._functions = table.contents.functions

    def __call__(self, name: str, *arguments: object) -> None:
        """Call with numbers, PINs (pointer and length) and pointers. Raises PKCS11Error."""
        values: list[Any] = []
        for argument in arguments:
            if isinstance(argument, Secret):
                pin = argument.reveal()
                values += [ctypes.c_char_p(pin), ctypes.c_ulong(len(pin))]
            else:
                values.append(ctypes.c_ulong(argument) if isinstance(argument, int) else argument)
        prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, *(type(value) for value in values))
        code = prototype(self._functions[self._POSITIONS[name]])(*values)
        if code != 0:
            raise _PIN_ERRORS.get(code, pkcs11.PKCS11Error)(f"{name} returned 0x{code:08x}")


class _Library(_pkcs11.lib):
    """python-pkcs11's library, initialised with operating system locks.

    Its own ``initialized`` flag stays false, so it never finalises behind our back;
    ``finalize`` is ours too, and the stock ``reinitialize`` is not used.
    """

    def __new__(cls, path: str, calls: _Calls, arguments: str | None) -> _Library:
        # The compiled class takes the path alone, and mypy sees none of its __new__.
        return super().__new__(cls, path)  # type: ignore[call-arg]

    def __init__(self, path: str, calls: _Calls, arguments: str | None) -> None:
        self._calls = calls
        self.arguments = arguments
        super().__init__(path)  # which calls initialize()

    def initialize(self) -> None:
        arguments = self.arguments.encode() if self.arguments else None
        settings = _InitializeArgs(flags=_CKF_OS_LOCKING_OK, arguments=arguments)
        self._calls("C_Initialize", ctypes.pointer(settings))

    def finalize(self) -> None:
        self._calls("C_Finalize", ctypes.c_void_p())


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
        self._library: _Library | None = None
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
            self._calls = _Calls(self._path)
            self._library = _Library(self._path, self._calls, arguments)
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

    def require_logged_in(self, session: pkcs11.Session) -> None:
        """Raises PKCS11Error where the session was closed or logged out behind our back.

        Without the log-in a search finds no private key, which must not pass for an empty token.
        """
        info = _SessionInfo()
        self._calls("C_GetSessionInfo", _handle(session), ctypes.pointer(info))
        if info.state not in _USER_STATES:
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
    a quarter of the log-ins failed.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Read-only is enough for flock, so that users who share a group can share the file.
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise TokenUnavailable(f"lock file {path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
