"""A signed assertion (a JWT, RFC 7519 in the RFC 8725 manner) becomes a proven Identity.

joserfc checks the signature; what it lets pass – arrays for acr, keys in the header,
an empty allow-list – is refused here, where each rule can be read.
"""

from __future__ import annotations

import json
import unicodedata
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from issuer.clock import Clock
from issuer.identity.config import IdentityConfig
from issuer.identity.errors import AssertionRefused, AuthenticationTooOld, IdentityConfigRefused
from issuer.identity.identity import Identity, ehealth_id
from issuer.identity.keys import KeyRing
from policies.eligibility import Standing

MAX_TOKEN_BYTES = 16 * 1024
MAX_HEADER_BYTES = 2 * 1024
MAX_NAME = 256
MAX_CODE = 64
"""Of a profession's code: the certificate's title holds no longer one (RFC 5280, ub-title)."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_SECONDS = 120
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()

# RFC 8725 3.9, 3.10: an assertion never brings the key it is checked with, and we know no extension.
_FORBIDDEN_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc"})


class AssertionVerifier:
    """Thread-safe. ``allow_simulated`` is for the demo alone: without it the demo's provider,
    or any other issuer under .invalid, is refused at start."""

    def __init__(
        self, config: IdentityConfig, keys: KeyRing, clock: Clock, *, allow_simulated: bool = False
    ) -> None:
        if config.simulated and not allow_simulated:
            raise IdentityConfigRefused("identity.issuer is the simulated provider's; that is for the demo")
        self._config = config
        self._keys = keys
        self._clock = clock
        self._types = {name.casefold().removeprefix("application/") for name in config.accepted_types}
        self._registry = jws.JWSRegistry(algorithms=config.algorithms, strict_check_header=False)
        self._registry.max_header_length = MAX_HEADER_BYTES

    def verify(self, token: str) -> Identity:
        """Raises AssertionRefused, or its subclass ProviderKeysUnavailable."""
        return self._identity(self._proven(token, self._types))

    def ended_session(self, token: str) -> str:
        """The provider's session that a logout token ends (Back-Channel Logout 1.0, 2.6). Raises as above.

        One that names no session is refused: the client is registered with
        ``backchannel_logout_session_required``.
        """
        claims = self._proven(token, self._types | {"logout+jwt"})
        now = self._clock().timestamp()
        self._check_parties(claims)
        if not now - _LOGOUT_SECONDS <= claims.moment("iat") <= now + self._config.leeway:
            raise AssertionRefused("a logout token of another time")
        if "nonce" in claims or not claims.has_event(LOGOUT_EVENT):
            raise AssertionRefused("not a logout token")
        return claims.text("sid", needed=True)

    def _proven(self, token: str, types: set[str]) -> _Claims:
        """The claims of a token whose signature holds."""
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise AssertionRefused("larger than an assertion may be, or not ASCII")
        try:
            parsed = jws.extract_compact(token.encode("ascii"), registry=self._registry)
            if _read(urlsafe_b64decode(token.partition(".")[0] + "==")) != parsed.protected:
                raise AssertionRefused("a header that reads two ways")
            key = self._keys.find(*self._check_header(parsed.protected, types))
            if not jws.validate_compact(parsed, key, registry=self._registry):
                raise AssertionRefused("the signature does not verify")
            payload = _read(parsed.payload)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise AssertionRefused(f"not an assertion: {type(error).__name__}") from error
        if not isinstance(payload, dict):
            raise AssertionRefused("the payload is not an object")
        return _Claims(payload)

    def require_fresh(self, identity: Identity) -> None:
        """For issuing and deactivating. Raises AuthenticationTooOld."""
        age = (self._clock() - identity.authenticated_at).total_seconds()
        if age > self._config.max_auth_age:
            raise AuthenticationTooOld(f"logged in {age:.0f} s ago, allowed are {self._config.max_auth_age}")

    def is_support(self, identity: Identity) -> bool:
        return self._config.support_role in identity.roles

    def _check_header(self, header: Any, types: set[str]) -> tuple[str | None, str]:
        """The kid and algorithm to look for. Everything here is still unproven."""
        if not isinstance(header, dict) or _FORBIDDEN_HEADERS & header.keys():
            raise AssertionRefused("the header carries what it may not")
        kid, algorithm, kind = header.get("kid"), header.get("alg"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self._config.algorithms:
            raise AssertionRefused(f"algorithm {algorithm!r:.40} is not accepted")
        if "kid" in header and not isinstance(kid, str):
            raise AssertionRefused("kid is not a string")
        if not isinstance(kind, str) or kind.casefold().removeprefix("application/") not in types:
            raise AssertionRefused(f"type {kind!r:.40} is not accepted")
        return kid, algorithm

    def _identity(self, claims: _Claims) -> Identity:
        config, names = self._config, self._config.claims
        now = self._clock().timestamp()
        self._check_parties(claims)
        expires, issued = claims.moment("exp"), claims.moment("iat")
        authenticated = claims.moment("auth_time", otherwise=issued)
        # No leeway here: it would prolong what the provider has ended.
        if expires <= now:
            raise AssertionRefused("expired")
        if max(issued, authenticated, claims.moment("nbf", otherwise=issued)) > now + config.leeway:
            raise AssertionRefused("not valid yet")
        scopes = claims.text(names.scope).split(" ")
        if config.required_scope is not None and config.required_scope not in scopes:
            raise AssertionRefused("without the required scope")

        number = claims.text(names.ehealth_id)
        try:
            proven_number = ehealth_id(number) if number else None
        except ValueError:
            raise AssertionRefused("the eHealthID is malformed") from None
        profession = claims.name(names.profession_code, most=MAX_CODE)
        given_name = claims.name(names.given_name, needed=bool(profession))
        family_name = claims.name(names.family_name, needed=bool(profession))
        primary = claims.text(names.primary_identifier)
        return Identity(
            subject=claims.text("sub", needed=True),
            ehealth_id=proven_number,
            given_name=given_name,
            family_name=family_name,
            profession_code=profession or None,
            profession_label=claims.name(names.profession_label) or None,
            roles=claims.texts(names.roles),
            standing=Standing(
                account_status_valid=claims.text(names.account_status) in config.active_account_status,
                luxtrust=self._luxtrust(claims),
                ehealthid_primary=proven_number is not None and primary in config.ehealthid_identifier,
                health_professional=bool(profession),
            ),
            authenticated_at=datetime.fromtimestamp(authenticated, UTC),
            expires_at=datetime.fromtimestamp(expires, UTC),
        )

    def _check_parties(self, claims: _Claims) -> None:
        if claims.text("iss", needed=True) != self._config.issuer:
            raise AssertionRefused("from another issuer")
        if self._config.audience not in claims.audience():
            raise AssertionRefused("for another audience")

    def _luxtrust(self, claims: _Claims) -> bool:
        config, names = self._config, self._config.claims
        if (config.accepted_acr and names.acr not in claims) or (
            config.accepted_amr and names.amr not in claims
        ):
            raise AssertionRefused("nothing says how the person logged in")
        acr, amr = claims.text(names.acr), claims.texts(names.amr)
        return (not config.accepted_acr or acr in config.accepted_acr) and (
            not config.accepted_amr or not set(amr).isdisjoint(config.accepted_amr)
        )


class _Claims:
    """Typed reading. A claim of the wrong JSON type is refused, null included; absent is not wrong."""

    def __init__(self, payload: dict[str, Any]) -> None:
        self._payload = payload

    def __contains__(self, name: str) -> bool:
        return name in self._payload

    def text(self, name: str, *, needed: bool = False) -> str:
        """Exactly as it came; empty where absent."""
        value = self._payload.get(name, "")
        if not isinstance(value, str) or not _UNPRINTABLE.isdisjoint(map(unicodedata.category, value)):
            raise AssertionRefused(f"claim {name} is not a string, or has unprintable characters")
        if needed and not value.strip():
            raise AssertionRefused(f"claim {name} is missing")
        return value

    def name(self, name: str, *, needed: bool = False, most: int = MAX_NAME) -> str:
        """For people to read: letters composed (NFC), as a certificate wants them (RFC 5280 4.1.2.4)."""
        value = unicodedata.normalize("NFC", self.text(name, needed=needed).strip())
        if len(value) > most:
            raise AssertionRefused(f"claim {name} is too long")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._payload.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise AssertionRefused(f"claim {name} is not an array of strings")
        return tuple(value)

    def has_event(self, name: str) -> bool:
        """RFC 8417 2.2: an object of objects."""
        events = self._payload.get("events")
        return isinstance(events, dict) and isinstance(events.get(name), dict)

    def audience(self) -> tuple[str, ...]:
        """One string or an array of them (RFC 7519 4.1.3)."""
        if isinstance(self._payload.get("aud"), str):
            return (self.text("aud"),)
        return self.texts("aud")

    def moment(self, name: str, *, otherwise: float | None = None) -> float:
        """A NumericDate (RFC 7519 2); true and false are numbers to Python only."""
        value = self._payload.get(name, otherwise) if otherwise is not None else self._payload.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LATEST:
            raise AssertionRefused(f"claim {name} is missing or not a date")
        return value


# Controls, formats (bidirectional overrides among them), surrogates, private use, line and
# paragraph separators: none is part of a name, and each would travel into a certificate.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def _read(octets: bytes) -> Any:
    """JSON in UTF-8 that reads one way (RFC 7515 4, RFC 7519 4). Raises ValueError."""
    text = octets.decode("utf-8")
    return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 8725 leaves it open which of two equal names counts; so neither does."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
