"""Terms must be read and accepted first, in the version in force (R8)."""

from __future__ import annotations

from policies.errors import TermsNotAccepted, TermsOutdated


def check_accepted(accepted_version: str | None, current_version: str) -> None:
    """Raises TermsNotAccepted, or TermsOutdated where a newer version is in force."""
    if accepted_version is None:
        raise TermsNotAccepted
    if accepted_version != current_version:
        raise TermsOutdated
