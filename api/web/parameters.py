"""What the operations of ``/api/v1`` take from path and headers."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter

from api.ids import ID_PATTERN
from api.journey.steps import Person
from api.journey.use_cases import UseCases
from api.web.schemas import IDEMPOTENCY_KEY_PATTERN

Cases = NamedDependency[UseCases]
Caller = NamedDependency[Person]
Id = Annotated[str, PathParameter(schema_extra={"format": "uuid", "pattern": ID_PATTERN})]
TokenHeader = Annotated[
    str | None,
    HeaderParameter(
        name="Delivery-Token",
        description="base64url of 32 random bytes: one's own, or what the verification answered",
    ),
]
KeyHeader = Annotated[
    str | None,
    HeaderParameter(
        name="Delivery-Key",
        description="instead of a token, base64url of an X25519 public key of the caller's own, who then gets"
        " ciphertext that only its private key opens",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Repeating a start under the same key answers with the same request.",
        pattern=IDEMPOTENCY_KEY_PATTERN,
    ),
]
Prefer = Annotated[
    str | None,
    HeaderParameter(
        name="Prefer",
        description="`wait=N` (RFC 7240): answer when the store is made, or after N seconds (at most 30).",
    ),
]
