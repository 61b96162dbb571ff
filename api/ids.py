"""The ids in paths: our own UUIDs, written one way. What is none of them names nothing and is not sought."""

from __future__ import annotations

import re
from typing import Any, Final

from litestar.connection import ASGIConnection

from issuer.errors import NotFound

ID_PATTERN: Final = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

_ID: Final = re.compile(ID_PATTERN)

Connection = ASGIConnection[Any, Any, Any, Any]


def check_ids(connection: Connection) -> None:
    """For a guard. Raises NotFound."""
    for value in connection.path_params.values():
        if not _ID.fullmatch(str(value)):
            raise NotFound("not an id")
