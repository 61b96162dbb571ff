"""The JSON of ``/api/v1``: explicit shapes, so that no column leaks into an answer by being added.

What an answer takes from a record is what its own type names; the rest of the record stays behind.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from api.journey.holdings import HeldStore
from api.journey.records import JourneyRequest
from api.texts import Section
from policies.eligibility import GateCode
from policies.lifecycle import RequestState, StoreStatus, allowed_actions
from policies.reasons import DeactivationReason

DELIVERY_PATTERN = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]=?$"
IDEMPOTENCY_KEY_PATTERN = "^[!-~]{1,128}$"


def _example(value: object, **schema: Any) -> msgspec.Meta:
    """For the OpenAPI document, beyond what is checked on entry: other refusals have codes of their own."""
    return msgspec.Meta(extra_json_schema={"examples": [value], "extra": schema})


_Uuid = Annotated[str, msgspec.Meta(extra_json_schema={"extra": {"format": "uuid"}})]


class In(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Out(msgspec.Struct, frozen=True, kw_only=True):
    pass


class StartIn(In, frozen=True, kw_only=True):
    """Nothing to say: who asks is in the assertion."""


class TermsIn(In, frozen=True, kw_only=True):
    version: Annotated[str, msgspec.Meta(min_length=1, max_length=64), _example("2024-03")]


class EmailIn(In, frozen=True, kw_only=True):
    email: Annotated[
        str,
        msgspec.Meta(max_length=1024),
        _example("edouard.guerra@example.com", format="email", maxLength=254),
    ]
    keystore_profile: Literal["modern", "legacy"] = "modern"


class VerificationIn(In, frozen=True, kw_only=True):
    code: Annotated[str, msgspec.Meta(max_length=64), _example("123456", pattern="^[0-9]{6}$")]


class DeactivationIn(In, frozen=True, kw_only=True):
    reason: DeactivationReason
    confirm: Annotated[bool, _example(True, const=True)] = False
    """Left out, it is not an ill-formed request but a confirmation that is missing."""


class GateOut(Out, frozen=True, kw_only=True):
    code: GateCode
    satisfied: bool
    message: str


class EligibilityOut(Out, frozen=True, kw_only=True):
    eligible: bool
    gates: list[GateOut]


class TermsOut(Out, frozen=True, kw_only=True):
    version: str
    language: str
    sections: tuple[Section, ...]


class ReasonOut(Out, frozen=True, kw_only=True):
    code: DeactivationReason
    label: str


class ReasonsOut(Out, frozen=True, kw_only=True):
    items: list[ReasonOut]


class IdentityOut(Out, frozen=True, kw_only=True):
    given_name: str
    family_name: str
    ehealth_id: str
    profession_code: str
    profession_label: str | None


class RequestOut(Out, frozen=True, kw_only=True):
    id: _Uuid
    state: RequestState
    identity: IdentityOut
    email: str | None
    keystore_profile: str | None
    terms_version: str | None
    code_expires_at: datetime | None
    attempts_left: int | None
    store_id: _Uuid | None
    renews: _Uuid | None
    deadline: datetime | None
    created_at: datetime
    allowed_actions: list[str]


class VerificationOut(Out, frozen=True, kw_only=True):
    request: RequestOut
    delivery_token: (
        Annotated[str, msgspec.Meta(extra_json_schema={"extra": {"pattern": DELIVERY_PATTERN}})] | None
    )
    """None where the store is sealed to the caller's own Delivery-Key."""


class PasswordOut(Out, frozen=True, kw_only=True):
    """The password, or, under a Delivery-Key, what only its holder can open: HPKE, base64url."""

    password: str | msgspec.UnsetType = msgspec.UNSET
    sealed: str | msgspec.UnsetType = msgspec.UNSET


class StoreOut(Out, frozen=True, kw_only=True):
    id: _Uuid
    status: StoreStatus
    serial_number: str | None
    sha256_fingerprint: str | None
    not_before: datetime | None
    not_after: datetime | None
    email: str
    reason: str | None
    delivered: bool
    key_type: str
    keystore_profile: str
    created_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    retires_at: datetime | None
    """When the overlap with its successor ends, and it with it, where it has made way for one."""
    days_left: int | None


class StoresOut(Out, frozen=True, kw_only=True):
    items: list[StoreOut]


def request_out(request: JourneyRequest) -> RequestOut:
    held = asdict(request)
    values = held | {"identity": held, "allowed_actions": allowed_actions(request.state)}
    if request.state is not RequestState.CODE_SENT:
        values |= {"code_expires_at": None, "attempts_left": None}
    if not request.unfinished:
        values["deadline"] = None
    return msgspec.convert(values, RequestOut)


def store_out(held: HeldStore, now: datetime) -> StoreOut:
    store = held.store
    ends = {StoreStatus.ACTIVE: store.not_after, StoreStatus.RETIRING: store.retires_at}.get(store.status)
    values = asdict(store) | {
        "serial_number": store.serial,
        "delivered": held.delivered,
        "days_left": max(0, (ends - now).days) if ends else None,
    }
    return msgspec.convert(values, StoreOut)
