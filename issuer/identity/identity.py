"""A proven person. Only AssertionVerifier makes one, so holding one means it was verified (R5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from policies.eligibility import Standing

EHealthId = NewType("EHealthId", str)

_EHEALTH_ID = re.compile(r"[0-9]{10}")


def ehealth_id(text: str) -> EHealthId:
    """Raises ValueError; the number's check rule is not public, so the shape is all there is."""
    if not _EHEALTH_ID.fullmatch(text):
        raise ValueError("an eHealthID is ten digits")
    return EHealthId(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    subject: str
    ehealth_id: EHealthId | None
    given_name: str
    """Empty where the provider names none; never empty for a health professional."""
    family_name: str
    profession_code: str | None
    """As the provider wrote it: an unknown code is accepted (R5)."""
    profession_label: str | None
    roles: tuple[str, ...]
    standing: Standing
    authenticated_at: datetime
    expires_at: datetime
