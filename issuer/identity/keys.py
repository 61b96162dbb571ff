"""The identity provider's public keys: from a file or an address, followed through rotation.

The set is owned here and replaced as a whole; a reader sees the old one or the new one.
Nothing of it is written down: a crash leaves nothing behind, a start fetches afresh.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import base64_to_int

from issuer.clock import Clock
from issuer.identity.config import IdentityConfig
from issuer.identity.errors import AssertionRefused, IdentityConfigRefused, ProviderKeysUnavailable

log = structlog.get_logger(__name__)

MAX_JWKS_BYTES = 64 * 1024
MIN_RSA_BITS = 2048

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderKey:
    kid: str | None
    algorithm: str | None
    """The one algorithm the provider binds it to, if it says so."""
    key: ECKey | RSAKey

    def fits(self, algorithm: str) -> bool:
        if self.algorithm is not None and self.algorithm != algorithm:
            return False
        if isinstance(self.key, ECKey):
            return _CURVES.get(algorithm) == self.key.curve_name
        return algorithm[:2] in {"RS", "PS"}


def parse_key_set(document: bytes) -> tuple[ProviderKey, ...]:
    """The usable keys of a JWK set; others are passed over (RFC 7517 5). Raises ValueError if none."""
    try:
        entries = json.loads(document)["keys"]
        found = [key for entry in entries if (key := _usable(entry)) is not None]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError("not a JWK set") from error
    if not found:
        raise ValueError("no usable key in the JWK set")
    return tuple(found)


def _usable(entry: Any) -> ProviderKey | None:
    """Only public EC and RSA keys meant for signatures. A published private key is no longer a key."""
    if not isinstance(entry, dict) or entry.get("kty") not in ("EC", "RSA") or "d" in entry:
        return None
    kid, algorithm = entry.get("kid"), entry.get("alg")
    try:
        if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
            return None
        if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
            return None
        # Measured before the import: the library only warns of a short modulus.
        if entry["kty"] == "RSA" and base64_to_int(entry["n"]).bit_length() < MIN_RSA_BITS:
            return None
        numbers = {name: entry[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in entry}
        key = ECKey.import_key(numbers) if entry["kty"] == "EC" else RSAKey.import_key(numbers)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return ProviderKey(kid=kid, algorithm=algorithm, key=key)


class KeyFile:
    """Pinned keys; a replaced or rewritten file counts from the next assertion on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: tuple[int, ...] | None = None

    def _stamp(self) -> tuple[int, ...]:
        seen = os.stat(self._path)
        return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)

    def changed(self) -> bool:
        """Whether ``load`` would answer something new, as far as it costs nothing to know."""
        try:
            return self._stamp() != self._loaded
        except OSError:
            return False

    def load(self) -> bytes:
        """Raises OSError."""
        stamp = self._stamp()
        with self._path.open("rb") as file:
            content = file.read(MAX_JWKS_BYTES + 1)
        self._loaded = stamp
        return content


class KeyAddress:
    """Keys by HTTP: no redirects, no proxy of the environment, a short wait."""

    def __init__(self, url: str, ca_file: str | None = None) -> None:
        self._url = url
        # Without a file of its own the provider is checked against the system's authorities.
        self._tls: ssl.SSLContext | bool = (
            ssl.create_default_context(cafile=ca_file) if url.startswith("https") else False
        )

    def changed(self) -> bool:
        return False

    def load(self) -> bytes:
        """Raises OSError or httpx.HTTPError."""
        with (
            httpx.Client(verify=self._tls, timeout=3.0, trust_env=False) as client,
            client.stream("GET", self._url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise httpx.HTTPStatusError(
                    f"status {response.status_code}", request=response.request, response=response
                )
            content = b""
            for part in response.iter_bytes():
                content += part
                if len(content) > MAX_JWKS_BYTES:
                    break
            return content


KeySource = KeyFile | KeyAddress


class KeyRing:
    """Thread-safe. One thread fetches at a time; the others go on with the keys there are."""

    def __init__(self, source: KeySource, clock: Clock, *, refresh: float, retry: float, keep: float) -> None:
        self._source = source
        self._clock = clock
        self._refresh = timedelta(seconds=refresh)
        self._retry = timedelta(seconds=retry)
        self._keep = timedelta(seconds=keep)
        self._lock = threading.Lock()
        self._keys: tuple[ProviderKey, ...] = ()
        self._loaded_at: datetime | None = None
        self._tried_at: datetime | None = None

    def find(self, kid: str | None, algorithm: str) -> ECKey | RSAKey:
        """The key an assertion names. Raises AssertionRefused or ProviderKeysUnavailable."""
        self._follow()
        found = self._select(kid, algorithm)
        if not found:
            # Perhaps the provider has rotated. Rate-limited, so that forged key names cost it nothing;
            # and whoever names an unknown key waits for a fetch that is under way, which may bring it.
            self._load(self._tried_lately, wait=True)
            found = self._select(kid, algorithm)
        if len(found) != 1:
            raise AssertionRefused(
                f"{len(found)} of the provider's keys fit kid {kid!r:.80} with {algorithm}"
            )
        return found[0].key

    def require_keys(self) -> None:
        """For the health check; fetches when it is time. Raises ProviderKeysUnavailable."""
        self._follow()
        if not self._in_time():
            raise ProviderKeysUnavailable("no keys of the identity provider")

    def _in_time(self) -> bool:
        return self._loaded_at is not None and self._clock() - self._loaded_at < self._keep

    def _follow(self) -> None:
        first = self._loaded_at is None
        if self._source.changed():
            self._load(lambda: not self._source.changed(), wait=first)
        elif self._loaded_at is None or self._clock() - self._loaded_at >= self._refresh:
            self._load(self._tried_lately, wait=first)

    def _select(self, kid: str | None, algorithm: str) -> list[ProviderKey]:
        if not self._in_time():
            raise ProviderKeysUnavailable("no keys of the identity provider")
        fitting = [key for key in self._keys if key.fits(algorithm)]
        # An assertion that names no key is believed only where there is no choice (RFC 7515 4.1.4).
        return fitting if kid is None else [key for key in fitting if key.kid == kid]

    def _tried_lately(self) -> bool:
        return self._tried_at is not None and self._clock() - self._tried_at < self._retry

    def _load(self, needless: Callable[[], bool], *, wait: bool = False) -> None:
        if not self._lock.acquire(blocking=wait):
            return
        try:
            if needless():
                return
            self._tried_at = self._clock()
            content = self._source.load()
            if len(content) > MAX_JWKS_BYTES:
                raise ValueError("the JWK set is too large")
            self._keys = parse_key_set(content)
            self._loaded_at = self._tried_at
        except (OSError, ValueError, httpx.HTTPError) as error:
            log.warning("provider-keys-not-refreshed", cause=f"{type(error).__name__}: {error}")
        finally:
            self._lock.release()


def provider_keys(config: IdentityConfig, clock: Clock) -> KeyRing:
    """Raises IdentityConfigRefused for an unreadable authority file; keys themselves are fetched later."""
    source: KeySource
    try:
        if config.jwks_file is not None:
            source = KeyFile(Path(config.jwks_file))
        else:
            source = KeyAddress(config.jwks_url or "", config.jwks_ca_file)
    except OSError as error:
        raise IdentityConfigRefused(f"identity.jwks_ca_file: {error}") from error
    return KeyRing(source, clock, refresh=config.jwks_refresh, retry=config.jwks_retry, keep=config.jwks_keep)
