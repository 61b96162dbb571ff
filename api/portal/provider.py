"""The identity provider as OpenID Connect knows it: discovery, authorization code with PKCE, log-out.

Authlib builds and parses what goes over the wire; the ID token is proven by AssertionVerifier alone.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from joserfc import jws
from joserfc.errors import JoseError

from api.portal.config import PortalConfig
from issuer.clock import Clock
from issuer.identity.config import IdentityConfig, require_safe_address
from issuer.identity.errors import AssertionRefused
from issuer.secrets import Secret

CALLBACK = "/login/callback"
_FRESH = timedelta(hours=1)
_MAX_ANSWER = 256 * 1024


class ProviderUnavailable(Exception):
    """The provider cannot be asked now, or answers what is no answer."""

    code = "login-unavailable"


class LoginRefused(Exception):
    """The provider, or a check of ours, said no to this log-in. The message is for the log."""

    code = "login-refused"


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What we use of OpenID Connect Discovery 3; the rest is passed over."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    end_session_endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One log-in under way; its values live in the browser's cookie alone."""

    state: str
    nonce: str
    verifier: str


class Provider:
    """Thread-safe."""

    def __init__(
        self,
        config: PortalConfig,
        identity: IdentityConfig,
        *,
        public_url: str,
        clock: Clock,
    ) -> None:
        self._config = config
        self._identity = identity
        self._redirect_uri = f"{public_url}{CALLBACK}"
        self._home = f"{public_url}/"
        secret = config.client_secret_file
        self._secret = None if secret is None else Secret.from_file(Path(secret))
        self._clock = clock
        tls: ssl.SSLContext | bool = (
            ssl.create_default_context(cafile=config.ca_file)
            if config.discovery_url.startswith("https")
            else False
        )
        self._http = httpx.Client(verify=tls, timeout=10.0, trust_env=False, follow_redirects=False)
        self._lock = threading.Lock()
        self._known: tuple[datetime, Metadata] | None = None

    @property
    def origin(self) -> str:
        """Where forms may lead on to: a log-out ends at the provider (CSP 3 form-action)."""
        address = urlsplit(self._known[1].end_session_endpoint or "" if self._known else "")
        if not address.netloc:
            address = urlsplit(self._config.discovery_url)
        return f"{address.scheme}://{address.netloc}"

    def login_address(self, attempt: Attempt, *, language: str, again: bool) -> str:
        """Where the browser logs in; ``again`` demands that the person does so anew, for a step-up."""
        more: dict[str, str] = {"nonce": attempt.nonce, "ui_locales": language}
        if self._identity.accepted_acr:
            more["acr_values"] = " ".join(self._identity.accepted_acr)
        more["max_age"] = "0" if again else str(self._identity.max_auth_age)
        if again:
            more["prompt"] = "login"
        address, _ = self._client().create_authorization_url(
            self.metadata().authorization_endpoint,
            state=attempt.state,
            code_verifier=attempt.verifier,
            **more,
        )
        return str(address)

    def redeem(self, answer: str, attempt: Attempt) -> str:
        """The ID token for the code in the callback's address. Raises LoginRefused, ProviderUnavailable."""
        metadata = self.metadata()
        auth: Any = httpx.Auth()
        more = {"client_id": self._identity.audience}
        if self._secret is not None:
            secret = self._secret.reveal().decode()
            # RFC 6749 2.3.1: both are form-encoded before they are joined.
            auth, more = httpx.BasicAuth(quote(self._identity.audience, ""), quote(secret, "")), {}
        try:
            token = self._client().fetch_token(
                metadata.token_endpoint,
                authorization_response=answer,
                state=attempt.state,
                code_verifier=attempt.verifier,
                redirect_uri=self._redirect_uri,
                auth=auth,
                **more,
            )
        except AuthlibBaseError as error:
            raise LoginRefused(f"{type(error).__name__}: {error.error!s:.80}") from None
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderUnavailable(type(error).__name__) from None
        id_token = token.get("id_token")
        if not isinstance(id_token, str):
            raise LoginRefused("no ID token")
        return id_token

    def logout_address(self) -> str:
        """RP-initiated log-out 1.0. Without ``id_token_hint``, which is the assertion and in no address."""
        try:
            end = self.metadata().end_session_endpoint
        except ProviderUnavailable:
            end = None
        if end is None:
            return self._home
        query = urlencode({"client_id": self._identity.audience, "post_logout_redirect_uri": self._home})
        return f"{end}{'&' if '?' in end else '?'}{query}"

    def metadata(self) -> Metadata:
        """Raises ProviderUnavailable; the last good answer serves while the provider is down."""
        known, now = self._known, self._clock()
        if known is not None and now - known[0] < _FRESH:
            return known[1]
        with self._lock:
            if self._known is not known and self._known is not None:
                return self._known[1]
            try:
                found = self._discover()
            except (httpx.HTTPError, ValueError) as error:
                if known is None:
                    raise ProviderUnavailable(f"discovery: {type(error).__name__}") from None
                found = known[1]
            self._known = (now, found)
            return found

    def _discover(self) -> Metadata:
        answer = self._http.get(self._config.discovery_url).raise_for_status()
        if len(answer.content) > _MAX_ANSWER:
            raise ValueError("too large")
        found = msgspec.json.decode(answer.content, type=Metadata)
        # OpenID Connect Discovery 4.3: an issuer that is not ours speaks for somebody else.
        if found.issuer != self._identity.issuer:
            raise ValueError("the metadata are another issuer's")
        for name in ("authorization_endpoint", "token_endpoint"):
            require_safe_address(name, getattr(found, name))
        return found

    def _client(self) -> OAuth2Client:
        return OAuth2Client(
            self._http,
            client_id=self._identity.audience,
            scope=self._config.scope,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
        )

    def close(self) -> None:
        self._http.close()


def claims_of(verified: str) -> Mapping[str, Any]:
    """The payload of an ID token that AssertionVerifier has verified, for what only a log-in looks at."""
    try:
        payload = json.loads(jws.extract_compact(verified.encode("ascii")).payload)
    except (JoseError, ValueError) as error:
        raise AssertionRefused(f"not an assertion: {type(error).__name__}") from None
    return dict(payload)


def check_answers(claims: Mapping[str, Any], attempt: Attempt, client_id: str) -> None:
    """OpenID Connect Core 3.1.3.7, what AssertionVerifier leaves: nonce and authorized party."""
    if claims.get("nonce") != attempt.nonce:
        raise LoginRefused("the nonce is another log-in's")
    audience = claims.get("aud")
    if claims.get("azp", client_id) != client_id or (
        isinstance(audience, list) and len(audience) > 1 and "azp" not in claims
    ):
        raise LoginRefused("issued to another party")
