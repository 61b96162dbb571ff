"""Requests in the journey's database: read as values, changed by compare-and-set only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from api.journey.tables import code_sends, journey_events, requests
from issuer.audit.events import Detail, record
from issuer.errors import NotFound
from issuer.identity.identity import Identity
from policies.errors import WrongState
from policies.lifecycle import BEFORE_GENERATION, UNFINISHED, RequestEvent, RequestState, next_request_state


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyRequest:
    id: str
    state: RequestState
    ehealth_id: str
    given_name: str
    family_name: str
    profession_code: str
    profession_label: str | None
    terms_version: str | None
    terms_sha256: str | None
    terms_language: str | None
    terms_accepted_at: datetime | None
    email: str | None
    language: str | None
    keystore_profile: str | None
    code_hmac: bytes | None
    code_expires_at: datetime | None
    codes_sent: int
    attempts_left: int
    recipient: bytes | None
    store_id: str | None
    renews: str | None
    deadline: datetime | None
    created_at: datetime
    generating_at: datetime | None
    ended_at: datetime | None

    @property
    def unfinished(self) -> bool:
        return self.state in UNFINISHED

    @property
    def begun(self) -> bool:
        """Whether the issuer may hold a store of this request, or have an order of it under way."""
        return self.generating_at is not None


_SELECT = sa.select(*(requests.c[name] for name in JourneyRequest.__dataclass_fields__))
_FIND = _SELECT.where(
    requests.c.id == sa.bindparam("request_id"), requests.c.ehealth_id == sa.bindparam("ehealth_id")
)
"""Built once: putting a statement together costs more than running it."""


def _request(row: sa.Row[tuple[object, ...]]) -> JourneyRequest:
    values = dict(row._mapping)
    values["state"] = RequestState(values["state"])
    return JourneyRequest(**values)


def _one(connection: Connection, *conditions: sa.ColumnElement[bool]) -> JourneyRequest | None:
    row = connection.execute(_SELECT.where(*conditions)).first()
    return None if row is None else _request(row)


def find(connection: Connection, request_id: str, ehealth_id: str) -> JourneyRequest:
    """Raises NotFound, for another person's request too, at the same cost."""
    row = connection.execute(_FIND, {"request_id": request_id, "ehealth_id": ehealth_id}).first()
    if row is None:
        raise NotFound("no such request of this person")
    return _request(row)


def unfinished(connection: Connection, ehealth_id: str) -> JourneyRequest | None:
    return _one(connection, requests.c.ehealth_id == ehealth_id, requests.c.state.in_(UNFINISHED))


def of_person(connection: Connection, ehealth_id: str) -> list[JourneyRequest]:
    """Newest first; what is older than a day has been purged."""
    of_person = _SELECT.where(requests.c.ehealth_id == ehealth_id)
    query = of_person.order_by(requests.c.created_at.desc(), requests.c.id)
    return [_request(row) for row in connection.execute(query)]


def by_idempotency_key(connection: Connection, ehealth_id: str, key: str) -> JourneyRequest | None:
    return _one(connection, requests.c.ehealth_id == ehealth_id, requests.c.idempotency_key == key)


def insert(connection: Connection, values: dict[str, object], now: datetime) -> JourneyRequest:
    """Raises sqlalchemy's IntegrityError where the person has an unfinished request already."""
    connection.execute(
        requests.insert().values(
            state=RequestState.CREATED, created_at=now, codes_sent=0, attempts_left=0, **values
        )
    )
    created = find(connection, str(values["id"]), str(values["ehealth_id"]))
    note(connection, created, "request-created", now)
    return created


def move(
    connection: Connection,
    request: JourneyRequest,
    event: RequestEvent,
    now: datetime,
    *conditions: sa.ColumnElement[bool],
    actor: str = "holder",
    details: dict[str, Detail] | None = None,
    **values: object,
) -> JourneyRequest:
    """Apply one transition of the table with its event. Raises WrongState where another was first.

    An end takes along what could prove a code, or lead to a delivery.
    """
    state = next_request_state(request.state, event)
    if state not in UNFINISHED:
        values |= {"ended_at": now, "code_hmac": None, "recipient": None}
    changed = connection.execute(
        requests.update()
        .where(requests.c.id == request.id, requests.c.state == request.state, *conditions)
        .values(state=state, **values)
    ).rowcount
    if changed != 1:
        raise WrongState("the request has changed since it was read")
    moved = find(connection, request.id, request.ehealth_id)
    note(connection, moved, f"request-{event}", now, {"state": state, **(details or {})}, actor=actor)
    return moved


def reserve_attempt(connection: Connection, request: JourneyRequest, now: datetime) -> JourneyRequest | None:
    """Take one try off, before the code is looked at; None where there is none to take (R12).

    The answer holds the hash that this try is checked against.
    """
    reserved = connection.execute(
        requests.update()
        .where(
            requests.c.id == request.id,
            requests.c.state == RequestState.CODE_SENT,
            requests.c.attempts_left > 0,
            requests.c.code_expires_at > now,
        )
        .values(attempts_left=requests.c.attempts_left - 1)
    ).rowcount
    return find(connection, request.id, request.ehealth_id) if reserved else None


def lock_sends(connection: Connection) -> None:
    """Count and reserve one after the other. SQLite's write lock does it for all."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext("code-sends"))))


def reserve_send(
    connection: Connection, request: JourneyRequest, send_id: str, address_hmac: bytes, now: datetime
) -> int:
    """Count a code before it is sent. Returns its number: of several at once, the highest counts."""
    connection.execute(
        code_sends.insert().values(
            id=send_id, ehealth_id=request.ehealth_id, address_hmac=address_hmac, sent_at=now
        )
    )
    connection.execute(
        requests.update().where(requests.c.id == request.id).values(codes_sent=requests.c.codes_sent + 1)
    )
    return find(connection, request.id, request.ehealth_id).codes_sent


def release_send(connection: Connection, request: JourneyRequest, send_id: str, number: int) -> None:
    """A code that could not be sent does not count."""
    connection.execute(code_sends.delete().where(code_sends.c.id == send_id))
    connection.execute(
        requests.update()
        .where(requests.c.id == request.id, requests.c.codes_sent == number)
        .values(codes_sent=number - 1)
    )


def sends_since(connection: Connection, condition: sa.ColumnElement[bool], since: datetime) -> list[datetime]:
    """When codes were sent since then, in order; those that are being sent count."""
    query = sa.select(code_sends.c.sent_at).where(condition, code_sends.c.sent_at > since)
    return list(connection.execute(query.order_by(code_sends.c.sent_at)).scalars())


def note(
    connection: Connection,
    request: JourneyRequest,
    action: str,
    now: datetime,
    details: dict[str, Detail] | None = None,
    *,
    actor: str = "holder",
) -> None:
    record(
        connection,
        journey_events,
        at=now,
        actor=actor,
        action=action,
        object_id=request.id,
        ehealth_id=request.ehealth_id,
        details=details,
    )


def overdue(connection: Connection, now: datetime) -> list[JourneyRequest]:
    """Requests past their deadline whose store is being made or waits to be fetched."""
    in_progress = requests.c.state.in_((RequestState.GENERATING, RequestState.READY))
    query = _SELECT.where(in_progress, requests.c.deadline <= now)
    return [_request(row) for row in connection.execute(query)]


def forgotten(connection: Connection, before: datetime) -> list[JourneyRequest]:
    """Requests begun before then that never came to a generation."""
    query = _SELECT.where(requests.c.created_at < before, requests.c.state.in_(BEFORE_GENERATION))
    return [_request(row) for row in connection.execute(query)]


def purge(connection: Connection, before: datetime, now: datetime) -> int:
    """Delete what began before then and has ended, with its address (R32). Returns how many requests."""
    removed = connection.execute(
        requests.delete().where(requests.c.created_at < before, requests.c.state.not_in(UNFINISHED))
    ).rowcount
    connection.execute(code_sends.delete().where(code_sends.c.sent_at < now - timedelta(hours=1)))
    return removed


NO_CODE: Final[Mapping[str, Any]] = {"code_hmac": None, "code_expires_at": None, "attempts_left": 0}
"""What a request holds of a code while none counts."""


def shown(identity: Identity) -> dict[str, Any]:
    """What the person is shown of themselves and confirms (R9)."""
    return {
        "given_name": identity.given_name,
        "family_name": identity.family_name,
        "profession_code": identity.profession_code or "",
        "profession_label": identity.profession_label,
    }
