"""What a form sent: one text a field, of a bounded length, and nothing a screen did not ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litestar import Request

_LONGEST = 1024


class FormInvalid(Exception):
    """Not what our own pages send."""

    code = "invalid-request"


@dataclass(frozen=True, slots=True)
class Form:
    values: Mapping[str, str] = field(repr=False)

    def text(self, name: str) -> str:
        """Empty where the field is missing."""
        return self.values.get(name, "")

    def key(self, name: str) -> str | None:
        """What makes a repeated click the same request; anything of another shape is left out."""
        value = self.text(name)
        return value if value.isascii() and value.isalnum() and len(value) <= 64 else None


async def read_form(request: Request[Any, Any, Any]) -> Form:
    """Raises FormInvalid for files, fields that stand twice, and texts that no field of ours can hold."""
    if request.method != "POST":
        return Form({})
    sent = await request.form()
    values = {}
    for name, value in sent.multi_items():
        if not isinstance(value, str) or name in values or len(value) > _LONGEST:
            raise FormInvalid("a field of another shape")
        values[name] = value
    return Form(values)
