"""What a rule says when it refuses. ``code`` is the contract's problem code."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar


class PolicyRefusal(Exception):
    """A rule was not met. Raised, never returned; carries no personal data."""

    code: ClassVar[str] = "wrong-state"
    retry_after: int | None = None
    """Whole seconds after which another try can succeed, where that is known."""

    @property
    def extensions(self) -> Mapping[str, int | str]:
        return {}


class WrongState(PolicyRefusal):
    code = "wrong-state"


class ActiveStoreExists(PolicyRefusal):
    code = "active-store-exists"


class AlreadyDeactivated(PolicyRefusal):
    code = "already-deactivated"


class ConfirmationMissing(PolicyRefusal):
    code = "confirmation-missing"


class TermsNotAccepted(PolicyRefusal):
    code = "terms-not-accepted"


class TermsOutdated(PolicyRefusal):
    code = "terms-outdated"


class RenewalTooEarly(PolicyRefusal):
    code = "renewal-too-early"

    def __init__(self, opens: datetime) -> None:
        super().__init__(self.code)
        self.opens = opens

    @property
    def extensions(self) -> dict[str, str]:
        return {"renewable_from": self.opens.isoformat()}


class CodeExpired(PolicyRefusal):
    code = "code-expired"


class CodeLocked(PolicyRefusal):
    """The tries are used up; a new code is the way on."""

    code = "code-locked"
    retry_after = 1


class CodeMalformed(PolicyRefusal):
    """Nothing that could be a code: no try is taken for it."""

    code = "invalid-request"


class CodeInvalid(PolicyRefusal):
    code = "code-invalid"

    def __init__(self, attempts_left: int) -> None:
        super().__init__(self.code)
        self.attempts_left = attempts_left

    @property
    def extensions(self) -> dict[str, int]:
        return {"attempts_left": self.attempts_left}


class TooManyRequests(PolicyRefusal):
    code = "too-many-requests"

    def __init__(self, retry_after: int) -> None:
        super().__init__(self.code)
        self.retry_after = max(1, retry_after)
