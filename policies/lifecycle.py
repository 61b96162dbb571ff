"""The life of a request and of a store: every state, every transition, in one table each.

Nothing else in the system decides what may follow what. A transition is applied by
compare-and-set on the state it starts from, in one transaction with its audit event.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from policies.errors import WrongState


class RequestState(StrEnum):
    CREATED = "created"
    TERMS_ACCEPTED = "terms-accepted"
    CODE_SENT = "code-sent"
    GENERATING = "generating"
    READY = "ready"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    FAILED = "failed"
    REJECTED = "rejected"


class RequestEvent(StrEnum):
    ACCEPT_TERMS = "accept-terms"
    SEND_CODE = "send-code"
    ACCEPT_CODE = "accept-code"
    DATA_CHANGED = "data-changed"
    DEFER = "defer"
    GENERATED = "generated"
    COMPLETE = "complete"
    CANCEL = "cancel"
    SUPERSEDE = "supersede"
    DEADLINE = "deadline"
    FAIL = "fail"
    REJECT = "reject"


class StoreStatus(StrEnum):
    ISSUING = "issuing"
    ACTIVE = "active"
    RETIRING = "retiring"
    DEACTIVATED = "deactivated"
    REVOKED = "revoked"
    EXPIRED = "expired"


class StoreEvent(StrEnum):
    ACTIVATE = "activate"
    RETIRE = "retire"
    DEACTIVATE = "deactivate"
    REVOKE = "revoke"
    LAPSE = "lapse"


UNFINISHED = (
    RequestState.CREATED,
    RequestState.TERMS_ACCEPTED,
    RequestState.CODE_SENT,
    RequestState.GENERATING,
    RequestState.READY,
)
"""A person has at most one request in these states (a partial unique index says so)."""

BEFORE_GENERATION = UNFINISHED[:3]

_ENDS_ANY_TIME = {
    RequestEvent.CANCEL: RequestState.CANCELLED,
    RequestEvent.SUPERSEDE: RequestState.SUPERSEDED,
    RequestEvent.REJECT: RequestState.REJECTED,
}

REQUEST_TRANSITIONS: Final[Mapping[RequestState, Mapping[RequestEvent, RequestState]]] = {
    RequestState.CREATED: {
        RequestEvent.ACCEPT_TERMS: RequestState.TERMS_ACCEPTED,
        RequestEvent.DEADLINE: RequestState.EXPIRED,
        **_ENDS_ANY_TIME,
    },
    RequestState.TERMS_ACCEPTED: {
        RequestEvent.ACCEPT_TERMS: RequestState.TERMS_ACCEPTED,
        RequestEvent.DATA_CHANGED: RequestState.TERMS_ACCEPTED,
        RequestEvent.SEND_CODE: RequestState.CODE_SENT,
        RequestEvent.DEADLINE: RequestState.EXPIRED,
        **_ENDS_ANY_TIME,
    },
    RequestState.CODE_SENT: {
        RequestEvent.ACCEPT_TERMS: RequestState.TERMS_ACCEPTED,
        RequestEvent.SEND_CODE: RequestState.CODE_SENT,
        RequestEvent.ACCEPT_CODE: RequestState.GENERATING,
        RequestEvent.DATA_CHANGED: RequestState.TERMS_ACCEPTED,
        RequestEvent.DEADLINE: RequestState.EXPIRED,
        **_ENDS_ANY_TIME,
    },
    RequestState.GENERATING: {
        RequestEvent.GENERATED: RequestState.READY,
        RequestEvent.DEFER: RequestState.CODE_SENT,
        RequestEvent.FAIL: RequestState.FAILED,
        RequestEvent.DEADLINE: RequestState.FAILED,
        **_ENDS_ANY_TIME,
    },
    RequestState.READY: {
        RequestEvent.COMPLETE: RequestState.DELIVERED,
        RequestEvent.DEADLINE: RequestState.EXPIRED,
        RequestEvent.FAIL: RequestState.FAILED,
        **_ENDS_ANY_TIME,
    },
}

STORE_TRANSITIONS: Final[Mapping[StoreStatus, Mapping[StoreEvent, StoreStatus]]] = {
    StoreStatus.ISSUING: {
        StoreEvent.ACTIVATE: StoreStatus.ACTIVE,
        StoreEvent.REVOKE: StoreStatus.REVOKED,
    },
    StoreStatus.ACTIVE: {
        StoreEvent.RETIRE: StoreStatus.RETIRING,
        StoreEvent.DEACTIVATE: StoreStatus.DEACTIVATED,
        StoreEvent.REVOKE: StoreStatus.REVOKED,
        StoreEvent.LAPSE: StoreStatus.EXPIRED,
    },
    StoreStatus.RETIRING: {
        StoreEvent.DEACTIVATE: StoreStatus.DEACTIVATED,
        StoreEvent.REVOKE: StoreStatus.REVOKED,
        StoreEvent.LAPSE: StoreStatus.EXPIRED,
    },
}

# What a caller may do in each state, in the words of the API's ``allowed_actions``.
_ACTIONS: Final[Mapping[RequestState, tuple[str, ...]]] = {
    RequestState.CREATED: ("accept-terms", "cancel"),
    RequestState.TERMS_ACCEPTED: ("set-email", "cancel"),
    RequestState.CODE_SENT: ("verify", "resend-code", "set-email", "cancel"),
    RequestState.GENERATING: ("cancel",),
    RequestState.READY: ("get-password", "get-keystore", "complete", "cancel"),
}


def next_request_state(state: RequestState, event: RequestEvent) -> RequestState:
    """The state that follows. Raises WrongState where the table has no such transition."""
    try:
        return REQUEST_TRANSITIONS[state][event]
    except KeyError:
        raise WrongState(f"{event} does not follow {state}") from None


def next_store_status(status: StoreStatus, event: StoreEvent) -> StoreStatus:
    """The status that follows. Raises WrongState where the table has no such transition."""
    try:
        return STORE_TRANSITIONS[status][event]
    except KeyError:
        raise WrongState(f"{event} does not follow {status}") from None


def statuses_before(event: StoreEvent) -> tuple[StoreStatus, ...]:
    return tuple(status for status, moves in STORE_TRANSITIONS.items() if event in moves)


def allowed_actions(state: RequestState) -> tuple[str, ...]:
    return _ACTIONS.get(state, ())
