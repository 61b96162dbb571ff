"""Why a store ends, in the holder's words, and what of it X.509 says (R20; RFC 5280 5.3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class X509Reason(StrEnum):
    """CRLReason by its ASN.1 name; unspecified is never encoded (RFC 5280 5.3.1)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"


class DeactivationReason(StrEnum):
    """What a holder can choose."""

    KEY_COMPROMISED = "key-compromised"
    FILE_STOLEN = "file-stolen"
    FILE_LOST = "file-lost"
    PASSWORD_LOST = "password-lost"  # noqa: S105
    REPLACED = "replaced"
    DATA_CHANGED = "data-changed"
    END_OF_PRACTICE = "end-of-practice"
    OTHER = "other"


class RevocationReason(StrEnum):
    """What ends a store without its holder's word: the service itself, or an officer."""

    ABANDONED = "abandoned"
    GENERATION_FAILED = "generation-failed"
    RENEWED = "renewed"
    RIGHT_WITHDRAWN = "right-withdrawn"
    INCIDENT = "incident"


# cessationOfOperation is X.509's word for what is no longer needed, without a suspicion against its key: also
# for what was given up before anybody had it. Of an incident the worst is assumed.
_X509: Final[Mapping[DeactivationReason | RevocationReason, X509Reason]] = {
    DeactivationReason.KEY_COMPROMISED: X509Reason.KEY_COMPROMISE,
    DeactivationReason.FILE_STOLEN: X509Reason.KEY_COMPROMISE,
    DeactivationReason.FILE_LOST: X509Reason.SUPERSEDED,
    DeactivationReason.PASSWORD_LOST: X509Reason.SUPERSEDED,
    DeactivationReason.REPLACED: X509Reason.SUPERSEDED,
    DeactivationReason.DATA_CHANGED: X509Reason.AFFILIATION_CHANGED,
    DeactivationReason.END_OF_PRACTICE: X509Reason.CESSATION_OF_OPERATION,
    DeactivationReason.OTHER: X509Reason.UNSPECIFIED,
    RevocationReason.ABANDONED: X509Reason.CESSATION_OF_OPERATION,
    RevocationReason.GENERATION_FAILED: X509Reason.CESSATION_OF_OPERATION,
    RevocationReason.RENEWED: X509Reason.SUPERSEDED,
    RevocationReason.RIGHT_WITHDRAWN: X509Reason.PRIVILEGE_WITHDRAWN,
    RevocationReason.INCIDENT: X509Reason.KEY_COMPROMISE,
}


def x509_reason(reason: DeactivationReason | RevocationReason) -> X509Reason:
    return _X509[reason]
