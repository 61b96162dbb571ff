"""The four gates before myCert (R2, R3, R4), judged on what the provider asserted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from policies.errors import PolicyRefusal


class GateCode(StrEnum):
    """In the order in which they are judged and shown."""

    ACCOUNT_VALID = "account-valid"
    LUXTRUST_AUTHENTICATED = "luxtrust-authenticated"
    EHEALTHID_PRIMARY = "ehealthid-primary"
    HEALTH_PROFESSIONAL = "health-professional"


class GateRefused(PolicyRefusal):
    """A gate is closed."""


class AccountNotValid(GateRefused):
    code = "account-not-valid"


class NotLuxtrust(GateRefused):
    code = "not-luxtrust"


class EHealthIdNotPrimary(GateRefused):
    code = "ehealthid-not-primary"


class NotHealthProfessional(GateRefused):
    code = "not-health-professional"


_REFUSALS: dict[GateCode, type[GateRefused]] = {
    GateCode.ACCOUNT_VALID: AccountNotValid,
    GateCode.LUXTRUST_AUTHENTICATED: NotLuxtrust,
    GateCode.EHEALTHID_PRIMARY: EHealthIdNotPrimary,
    GateCode.HEALTH_PROFESSIONAL: NotHealthProfessional,
}
GATE_REFUSALS = frozenset(refusal.code for refusal in _REFUSALS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is true of a person in this session, by the provider's word alone."""

    account_status_valid: bool
    luxtrust: bool
    ehealthid_primary: bool
    health_professional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    code: GateCode
    satisfied: bool

    @property
    def refusal(self) -> type[GateRefused]:
        return _REFUSALS[self.code]


def judge(standing: Standing) -> tuple[Gate, ...]:
    """All four, always, in order: the kiosk shows each one."""
    return (
        Gate(code=GateCode.ACCOUNT_VALID, satisfied=standing.account_status_valid),
        Gate(code=GateCode.LUXTRUST_AUTHENTICATED, satisfied=standing.luxtrust),
        Gate(code=GateCode.EHEALTHID_PRIMARY, satisfied=standing.ehealthid_primary),
        Gate(code=GateCode.HEALTH_PROFESSIONAL, satisfied=standing.health_professional),
    )


def first_failed(gates: tuple[Gate, ...]) -> Gate | None:
    return next((gate for gate in gates if not gate.satisfied), None)


def check_eligible(standing: Standing) -> None:
    """Whoever asks for a store. Raises the GateRefused of the first closed gate."""
    failed = first_failed(judge(standing))
    if failed is not None:
        raise failed.refusal


def check_owner(standing: Standing, *, has_ehealth_id: bool) -> None:
    """Whoever looks at or deactivates own stores: LuxTrust and an eHealthID are enough.

    Who has retired, or whose account was suspended, must still be able to deactivate.
    Raises NotLuxtrust or EHealthIdNotPrimary.
    """
    if not standing.luxtrust:
        raise NotLuxtrust
    if not has_ehealth_id:
        raise EHealthIdNotPrimary
