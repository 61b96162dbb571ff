"""Section [portal]: the log-in at the identity provider, and how long a session lasts."""

from __future__ import annotations

import msgspec

from api.journey.config import Positive
from issuer.identity.config import require_safe_address


class PortalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without this section there are no pages. Durations in seconds.

    The client's id is ``identity.audience``: the ID token of a log-in is the assertion that web
    verifies and forwards to the issuer, which verifies it again (RFC 7519 4.1.3, OpenID Connect Core 2).
    """

    discovery_url: str
    client_secret_file: str | None = None
    """For client_secret_basic, which every provider knows (RFC 6749 2.3.1). None: held by PKCE alone."""
    ca_file: str | None = None
    scope: str = "openid profile"
    session_idle: Positive = 1800
    session_absolute: Positive = 28_800
    login_lifetime: Positive = 900
    contact: str = ""
    """Whom to call: shown on the help pages as it stands."""
    services: tuple[str, ...] = ()
    """Names of the services that accept a store, for the FAQ."""

    def __post_init__(self) -> None:
        require_safe_address("portal.discovery_url", self.discovery_url)
        if "openid" not in self.scope.split(" "):
            raise ValueError("portal.scope: openid is needed")
