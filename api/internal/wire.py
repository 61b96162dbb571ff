"""What travels between web and issuer, as JSON over the Unix socket. Unknown fields are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from policies.reasons import DeactivationReason

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f-]{36}\Z")]
PublicKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """bytes travel as base64, datetimes as RFC 3339."""


class OrderMessage(Wire, frozen=True, kw_only=True):
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
    renews: Id | None = None


class CollectMessage(Wire, frozen=True, kw_only=True):
    part: Literal["password", "keystore"]
    recipient: PublicKey


class DeactivateMessage(Wire, frozen=True, kw_only=True):
    reason: DeactivationReason


class StoreMessage(Wire, frozen=True, kw_only=True):
    store_id: str
    status: str


class SealedMessage(Wire, frozen=True, kw_only=True):
    store_id: str
    ciphertext: bytes
