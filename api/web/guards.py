"""What every call of ``/api/v1`` passes before its handler, in this order, whatever the handler.

Who calls (401, 429), whether its path can name anything (404), whether it takes what we answer with (406),
and whether what it sends is one JSON object that every reader reads alike (413, 415, 422). Nothing of a
stranger's body is read. Litestar by itself looks at neither Accept nor Content-Type.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
from litestar import Request
from litestar.enums import MediaType
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Guard

from api.bearer import bearer_token
from api.ids import Connection, check_ids
from api.journey.steps import Person
from api.lanes import PROVING
from api.web.budget import CallBudget
from api.web.negotiation import JSON, PKCS12, SEALED, accepts, is_json
from issuer.identity.assertion import AssertionVerifier

_ONCE: Final = ("content-type", "content-encoding", "delivery-token", "delivery-key", "idempotency-key")


class EdgeRefusal(Exception):
    """A call is not of the documented form; ``code`` is the contract's. The message never quotes input."""

    code = "invalid-request"


class NotAcceptable(EdgeRefusal):
    code = "not-acceptable"


class UnsupportedMediaType(EdgeRefusal):
    code = "unsupported-media-type"


def guards(verifier: AssertionVerifier, budget: CallBudget) -> list[Guard]:
    def prove(token: str) -> Person:
        # In a thread: the provider's keys may have to be fetched first.
        return Person(identity=verifier.verify(token), assertion=token)

    # One guard: for each the framework copies the handler, and it runs a blocking one in a thread.
    async def admit(connection: Connection, handler: BaseRouteHandler) -> None:
        if connection.scope.get("method") != "OPTIONS":
            person = await PROVING.run(prove, bearer_token(connection.scope))
            budget.spend(person.identity)
            connection.scope["user"] = person
        check_ids(connection)
        check_accept(connection, handler)
        check_headers(connection)
        await check_body(connection, handler)

    return [admit]


def check_accept(connection: Connection, handler: BaseRouteHandler) -> None:
    if not isinstance(handler, HTTPRouteHandler) or handler.status_code == 204:
        return
    kind = handler.media_type or JSON
    if kind == PKCS12 and "delivery-key" in connection.headers:
        kind = SEALED
    offered = kind.value if isinstance(kind, MediaType) else kind
    if not accepts(",".join(connection.headers.getall("accept", [])), offered):
        raise NotAcceptable("takes no " + offered)


def check_headers(connection: Connection) -> None:
    """Of two contradicting headers each reader picks another one."""
    for name in _ONCE:
        if len(connection.headers.getall(name, [])) > 1:
            raise EdgeRefusal(f"{name} stands more than once")


async def check_body(connection: Connection, handler: BaseRouteHandler) -> None:
    if "data" not in handler.parsed_fn_signature.parameters or not isinstance(connection, Request):
        return
    headers = connection.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("coded content")
    if not is_json(headers.get("content-type", "")):
        raise UnsupportedMediaType("not JSON")
    body = await connection.body()
    if body:
        check_object(body, handler.parsed_fn_signature.parameters["data"].annotation)


def check_object(body: bytes, shape: Any) -> None:
    """One JSON object in UTF-8, no name twice in it (RFC 8259 4: what that means is nowhere said).

    The framework would take 1 and "true" for true, so the types are looked at here, where none is converted.
    """
    try:
        parsed = json.loads(body.decode("utf-8"), object_pairs_hook=_without_duplicates)
        msgspec.convert(parsed, shape, strict=True)
    except (ValueError, RecursionError) as error:  # msgspec's refusals are ValueErrors
        raise EdgeRefusal(f"not the documented shape: {type(error).__name__}") from None
    if not isinstance(parsed, dict):
        raise EdgeRefusal("not an object")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found
