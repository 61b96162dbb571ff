"""A provider of our own, a clock that stands where it is put, and the means to forge."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from issuer.identity.assertion import AssertionVerifier
from issuer.identity.config import IdentityConfig
from issuer.identity.keys import provider_keys


class StoppedClock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Provider:
    folder: Path
    clock: StoppedClock
    key: ECKey | RSAKey = field(default_factory=lambda: ECKey.generate_key("P-256"))
    kid: str = "key-1"

    @property
    def jwks_file(self) -> Path:
        return self.folder / "jwks.json"

    def jwks(self, **more: Any) -> dict[str, Any]:
        return {"keys": [{**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", **more}]}

    def publish(self, document: object | None = None) -> None:
        fresh = self.folder / "jwks.new"
        fresh.write_text(json.dumps(self.jwks() if document is None else document))
        fresh.replace(self.jwks_file)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of the manual's professional; a change to ``...`` leaves the claim out."""
        now = int(self.clock().timestamp())
        claims = {
            "iss": "https://idp.example.lu",
            "aud": "mycert",
            "sub": "subject-1",
            "iat": now,
            "exp": now + 7200,
            "acr": "luxtrust",
            "account_status": "active",
            "primary_identifier": "ehealthid",
            "ehealth_id": "2221212124",
            "given_name": "EDOUARD",
            "family_name": "GUERRA",
            "profession_code": "PS-001",
            "profession_label": "Médecin",
        } | changes
        return {name: value for name, value in claims.items() if value is not ...}

    def sign(
        self,
        payload: dict[str, Any] | bytes,
        *,
        key: ECKey | RSAKey | OctKey | None = None,
        **header: Any,
    ) -> str:
        header = {"alg": "ES256", "typ": "JWT", "kid": self.kid} | header
        header = {name: value for name, value in header.items() if value is not ...}
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        registry = jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
        registry.max_header_length = 100_000
        return jws.serialize_compact(header, payload, key or self.key, registry=registry)

    def assertion(self, **changes: Any) -> str:
        return self.sign(self.claims(**changes))


def segment(value: object) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def provider(tmp_path: Path, clock: StoppedClock) -> Provider:
    provider = Provider(tmp_path, clock)
    provider.publish()
    return provider


@pytest.fixture
def verifier_for(provider: Provider, clock: StoppedClock) -> Callable[..., AssertionVerifier]:
    def build(**settings: Any) -> AssertionVerifier:
        config = IdentityConfig(
            issuer="https://idp.example.lu", audience="mycert", jwks_file=str(provider.jwks_file), **settings
        )
        return AssertionVerifier(config, provider_keys(config, clock), clock)

    return build


@pytest.fixture
def verifier(verifier_for: Callable[..., AssertionVerifier]) -> AssertionVerifier:
    return verifier_for()


@pytest.fixture
def encode() -> Callable[[object], str]:
    return segment
