"""The ``[hsm.*]`` sections: which token, through which module, with how many sessions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from msgspec import Meta, Struct

from hsm.secret import Secret, SecretFileRefused

REQUIRED: Mapping[str, bool] = MappingProxyType(
    {
        "TOKEN": True,
        "PRIVATE": True,
        "SENSITIVE": True,
        "EXTRACTABLE": False,
        # A key that was extractable for one moment may have a copy elsewhere.
        "NEVER_EXTRACTABLE": True,
        # Sign-only: a key that also unwraps or decrypts is an oracle beside its purpose.
        "SIGN": True,
        "SIGN_RECOVER": False,
        "DECRYPT": False,
        "UNWRAP": False,
        "DERIVE": False,
    }
)
"""What a private key's attributes are to be, by PKCS#11's names."""


class TokenConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One token. ``serial`` is worth giving where a vendor lets labels repeat."""

    module: str
    """The vendor's PKCS#11 shared object."""
    label: Annotated[str, Meta(min_length=1, max_length=32)]
    lock_file: str
    """Shared by every process of this token: who initialises and logs in holds it."""
    pin_file: str | None = None
    """Mode 0600. Without one an officer's command asks at the terminal; no running process can."""
    serial: str | None = None
    environment: dict[str, str] = {}
    """Set before the module is initialised, such as SOFTHSM2_CONF."""
    vendor_arguments: str | None = None
    """Handed to C_Initialize, such as the configdir of NSS."""
    sessions: Annotated[int, Meta(ge=1, le=64)] = 4
    accept_unreported: list[str] = []
    """Attributes this vendor does not report and the operator vouches for, such as NEVER_EXTRACTABLE."""

    def __post_init__(self) -> None:
        unknown = set(self.accept_unreported) - REQUIRED.keys()
        if unknown:
            raise ValueError(f"accept_unreported: {', '.join(sorted(unknown))} is not checked")

    def read_pin(self) -> Secret:
        """Raises hsm.secret.SecretFileRefused."""
        if self.pin_file is None:
            raise SecretFileRefused(f"token {self.label}: no pin_file is configured")
        return Secret.from_file(Path(self.pin_file))
