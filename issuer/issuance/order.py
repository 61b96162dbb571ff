"""What web asks of the issuer and is handed, as it travels; apart from what issues, which web never loads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f-]{36}\Z")]
PublicKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store to be made. Who it is for is not in here: that comes from the assertion alone.

    But for ``accepted_at``, the fields are the columns of ``stores`` in which they are kept.
    """

    request_id: Id
    email: Annotated[str, msgspec.Meta(max_length=320)]
    language: Annotated[str, msgspec.Meta(max_length=8)]
    keystore_profile: Literal["modern", "legacy"]
    recipient: PublicKey
    terms_version: Annotated[str, msgspec.Meta(max_length=32)]
    terms_sha256: Annotated[str, msgspec.Meta(max_length=64)]
    terms_language: Annotated[str, msgspec.Meta(max_length=8)]
    terms_accepted_at: Moment
    accepted_at: Moment
    """When the code was accepted; the bound of the generation counts from here."""
    renews: Id | None = None
    """The active store that is to make way for this one."""


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One part of a delivery: ciphertext, and the store that its seal is bound to."""

    store_id: str
    ciphertext: bytes
