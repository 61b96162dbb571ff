"""A simulated LuxTrust and eSanté provider, for the demo and the tests. It proves nobody.

Its issuer name lies under .invalid, which AssertionVerifier refuses outside demo mode, so
that no production configuration can come to trust it by accident.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from api.demo.config import DemoConfig, require_demo
from api.demo.people import PEOPLE, Person
from api.layout import Layout
from issuer.clock import Clock
from issuer.durable import write_file
from issuer.identity.config import SIMULATED_ISSUER, IdentityConfig

ALGORITHM = "ES256"
DEFAULT_LIFETIME = 7200


def create_provider(home: Path) -> None:
    """The key pair and its public set; what exists is kept. A crash between leaves only the key."""
    layout = Layout(home)
    private, public = layout.key("idp"), layout.idp_jwks
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    public.parent.mkdir(parents=True, exist_ok=True)
    if not private.exists():
        pem = ECKey.generate_key("P-256").as_pem(private=True)
        write_file(private, pem, replace=False, mode=0o600)
    key = _public_jwk(_load(home))
    # Readable whatever the umask: web and issuer run as users of their own.
    public.parent.chmod(0o755)
    write_file(public, json.dumps({"keys": [key]}, indent=1).encode(), replace=True)


def _load(home: Path) -> ECKey:
    return ECKey.import_key(Layout(home).key("idp").read_bytes())


def _public_jwk(key: ECKey) -> dict[str, Any]:
    return {
        **key.as_dict(private=False),
        "kid": f"simulated-{key.thumbprint()}",
        "use": "sig",
        "alg": ALGORITHM,
    }


class SimulatedProvider:
    """Signs whatever it is asked to. Raises DemoDisabled outside demo mode."""

    def __init__(self, demo: DemoConfig, identity: IdentityConfig, home: Path, clock: Clock) -> None:
        require_demo(demo)
        if identity.issuer != SIMULATED_ISSUER:
            raise ValueError(f"the demo's identity.issuer is {SIMULATED_ISSUER}")
        self._identity = identity
        self._clock = clock
        self._key = _load(home)
        self._kid = _public_jwk(self._key)["kid"]

    def mint(
        self,
        person: Person = PEOPLE["guerra"],
        *,
        auth_age: int = 0,
        lifetime: int = DEFAULT_LIFETIME,
        **more: Any,
    ) -> str:
        """A bearer token; ages in seconds. ``more`` replaces or adds claims, for tests."""
        now = int(self._clock().timestamp())
        claims = {
            "iss": self._identity.issuer,
            "aud": self._identity.audience,
            "sub": f"simulated|{person.ehealth_id or person.family_name}",
            "iat": now,
            "auth_time": now - auth_age,
            "exp": now + lifetime,
            **person.claims(self._identity.claims),
            **more,
        }
        if self._identity.required_scope is not None:
            claims.setdefault(self._identity.claims.scope, self._identity.required_scope)
        header = {"alg": ALGORITHM, "kid": self._kid, "typ": "JWT"}
        return jwt.encode(header, claims, self._key, algorithms=[ALGORITHM])
