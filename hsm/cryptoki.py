"""What python-pkcs11 cannot do, through ctypes on the same shared object.

It initialises a module with C_Initialize(NULL), and SoftHSM then drops its locks; it
takes PINs as ``str`` and leaks the session of a refused log-in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, ClassVar

import pkcs11
from pkcs11 import _pkcs11

from hsm.secret import Secret

CKU_SO, CKU_USER = 0, 1
_CKF_OS_LOCKING_OK = 2
USER_STATES = (1, 3)  # CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS
_PIN_ERRORS: Mapping[int, type[pkcs11.PKCS11Error]] = {
    0xA0: pkcs11.PinIncorrect,
    0xA1: pkcs11.PinInvalid,
    0xA2: pkcs11.PinLenRange,
    0xA3: pkcs11.PinExpired,
    0xA4: pkcs11.PinLocked,
}
PIN_ERRORS = tuple(_PIN_ERRORS.values())
_LOGIN_ERRORS = {**_PIN_ERRORS, 0x100: pkcs11.UserAlreadyLoggedIn}


class _InitializeArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS. NSS has its parameters where the standard has pReserved, and one field more."""

    _fields_ = [
        ("mutex_callbacks", ctypes.c_void_p * 4),
        ("flags", ctypes.c_ulong),
        ("arguments", ctypes.c_char_p),
        ("reserved", ctypes.c_void_p),
    ]


class SessionInfo(ctypes.Structure):
    """CK_SESSION_INFO."""

    _fields_ = [(name, ctypes.c_ulong) for name in ("slot", "state", "flags", "device_error")]


class _FunctionList(ctypes.Structure):
    """CK_FUNCTION_LIST, as far as C_Login."""

    _fields_ = [("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * 19)]


class Calls:
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
        try:
            code = ctypes.CDLL(path).C_GetFunctionList(ctypes.byref(table))
        except (OSError, AttributeError) as error:
            raise pkcs11.PKCS11Error(f"no PKCS#11 module: {error}") from None
        if code != 0:
            raise pkcs11.PKCS11Error(f"C_GetFunctionList returned 0x{code:08x}")
        self._functions = table.contents.functions

    def __call__(self, name: str, *arguments: object) -> None:
        """Call with numbers, PINs and pointers. Raises PKCS11Error."""
        # Raised out here, so that no traceback has a frame in which a PIN is in the clear.
        code = self._call(name, arguments)
        if code != 0:
            raise _LOGIN_ERRORS.get(code, pkcs11.PKCS11Error)(f"{name} returned 0x{code:08x}")

    def _call(self, name: str, arguments: tuple[object, ...]) -> int:
        values: list[Any] = []
        for argument in arguments:
            if isinstance(argument, Secret):
                pin = argument.reveal()
                values += [ctypes.c_char_p(pin), ctypes.c_ulong(len(pin))]
            else:
                values.append(ctypes.c_ulong(argument) if isinstance(argument, int) else argument)
        prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, *(type(value) for value in values))
        return int(prototype(self._functions[self._POSITIONS[name]])(*values))


class Library(_pkcs11.lib):
    """python-pkcs11's library, initialised with operating system locks.

    Its own ``initialized`` flag stays false, so it never finalises behind our back;
    ``finalize`` is ours too, and the stock ``reinitialize`` is not used.
    """

    def __new__(cls, path: str, calls: Calls, arguments: str | None) -> Library:
        # The compiled class takes the path alone, and mypy sees none of its __new__.
        return super().__new__(cls, path)  # type: ignore[call-arg]

    def __init__(self, path: str, calls: Calls, arguments: str | None) -> None:
        self._calls = calls
        self.arguments = arguments
        super().__init__(path)  # which calls initialize()

    def initialize(self) -> None:
        arguments = self.arguments.encode() if self.arguments else None
        settings = _InitializeArgs(flags=_CKF_OS_LOCKING_OK, arguments=arguments)
        self._calls("C_Initialize", ctypes.pointer(settings))

    def finalize(self) -> None:
        self._calls("C_Finalize", ctypes.c_void_p())
