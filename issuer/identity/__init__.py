"""Who is asking: a provider's signed assertion becomes a proven Identity."""

from issuer.identity.assertion import AssertionVerifier
from issuer.identity.config import SIMULATED_ISSUER, ClaimNames, IdentityConfig
from issuer.identity.errors import (
    AssertionRefused,
    AuthenticationTooOld,
    IdentityConfigRefused,
    ProviderKeysUnavailable,
)
from issuer.identity.identity import EHealthId, Identity
from issuer.identity.keys import KeyRing, provider_keys

__all__ = [
    "SIMULATED_ISSUER",
    "AssertionRefused",
    "AssertionVerifier",
    "AuthenticationTooOld",
    "ClaimNames",
    "EHealthId",
    "Identity",
    "IdentityConfig",
    "IdentityConfigRefused",
    "KeyRing",
    "ProviderKeysUnavailable",
    "provider_keys",
]
