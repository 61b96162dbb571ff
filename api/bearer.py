"""The bearer token of a request (RFC 6750 2.1): from one Authorization header, from nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from issuer.identity.errors import AssertionRefused


def bearer_token(scope: Mapping[str, Any]) -> str:
    """Raises AssertionRefused where there is none, or more than one."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(found) != 1:
        raise AssertionRefused(f"{len(found)} Authorization headers")
    scheme, _, token = found[0].partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise AssertionRefused("not a bearer token")
    try:
        return str(token.strip().decode("ascii"))
    except UnicodeDecodeError:
        raise AssertionRefused("not ASCII") from None
