"""Section [identity]: whose assertions are believed, and what their claims are called.

LuxTrust's and eSanté's real names are not public, so every name is a setting.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

ASYMMETRIC_ALGORITHMS = frozenset(
    {"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
)
SIMULATED_ISSUER = "https://demo-idp.invalid/simulated-luxtrust"
"""The demo's provider; RFC 6761 reserves .invalid, so no real provider can bear this name."""

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class ClaimNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account_status: str = "account_status"
    primary_identifier: str = "primary_identifier"
    ehealth_id: str = "ehealth_id"
    given_name: str = "given_name"
    family_name: str = "family_name"
    profession_code: str = "profession_code"
    profession_label: str = "profession_label"
    acr: str = "acr"
    amr: str = "amr"
    scope: str = "scope"
    roles: str = "roles"


class IdentityConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All durations in seconds. ``accepted_acr`` and ``accepted_amr`` each demand their claim
    when not empty; LuxTrust counts as used only when every list that is set is met."""

    issuer: str
    audience: str
    jwks_url: str | None = None
    jwks_file: str | None = None
    jwks_ca_file: str | None = None
    jwks_refresh: float = 300.0
    jwks_retry: float = 10.0
    jwks_keep: float = 86_400.0
    """How long the last good keys serve while the provider is down."""
    algorithms: tuple[str, ...] = ("ES256", "RS256", "PS256")
    accepted_types: tuple[str, ...] = ("JWT", "at+jwt")
    claims: ClaimNames = ClaimNames()
    active_account_status: tuple[str, ...] = ("active",)
    ehealthid_identifier: tuple[str, ...] = ("ehealthid",)
    accepted_acr: tuple[str, ...] = ("luxtrust",)
    accepted_amr: tuple[str, ...] = ()
    required_scope: str | None = None
    support_role: str = "mycert-support"
    max_auth_age: int = 900
    leeway: int = 30
    """For a provider's clock that runs ahead of ours. Never prolongs an assertion."""

    def __post_init__(self) -> None:
        if not self.issuer or not self.audience:
            raise ValueError("identity.issuer and identity.audience are needed")
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError("identity: exactly one of jwks_url and jwks_file")
        if not self.algorithms or not set(self.algorithms) <= ASYMMETRIC_ALGORITHMS:
            raise ValueError(f"identity.algorithms: some of {', '.join(sorted(ASYMMETRIC_ALGORITHMS))}")
        if not self.accepted_acr and not self.accepted_amr:
            raise ValueError("identity: accepted_acr or accepted_amr must say what LuxTrust is")
        if self.jwks_url is not None:
            require_safe_address("identity.jwks_url", self.jwks_url)
        if min(self.jwks_refresh, self.jwks_retry, self.jwks_keep, self.max_auth_age) <= 0 or self.leeway < 0:
            raise ValueError("identity: durations are positive")

    @property
    def simulated(self) -> bool:
        return (urlsplit(self.issuer).hostname or "").endswith(".invalid")


def require_safe_address(name: str, url: str) -> None:
    """Of the provider. Raises ValueError."""
    address = urlsplit(url)
    if address.scheme != "https" and not (address.scheme == "http" and address.hostname in _LOOPBACK):
        raise ValueError(f"{name}: https, or http on the loopback interface")
