"""What else travels between web and issuer, as JSON over the Unix socket. Unknown fields are refused."""

from __future__ import annotations

import msgspec

from issuer.issuance.order import PublicKey
from issuer.registry.deliveries import Part
from policies.reasons import DeactivationReason


class Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """bytes travel as base64, datetimes as RFC 3339."""


class CollectMessage(Wire, frozen=True, kw_only=True):
    part: Part
    recipient: PublicKey


class DeactivateMessage(Wire, frozen=True, kw_only=True):
    reason: DeactivationReason


class StoreMessage(Wire, frozen=True, kw_only=True):
    store_id: str
