from __future__ import annotations

import asyncio
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from api.demo.config import DemoConfig, DemoDisabled
from api.demo.idp import SimulatedProvider, create_provider
from api.demo.login import provider_app
from api.demo.people import PEOPLE, Person
from api.layout import Layout
from issuer.clock import system_random
from issuer.identity.assertion import AssertionVerifier
from issuer.identity.config import SIMULATED_ISSUER, ClaimNames, IdentityConfig
from issuer.identity.errors import AssertionRefused, AuthenticationTooOld, IdentityConfigRefused
from issuer.identity.keys import provider_keys
from policies.eligibility import first_failed, judge

NOW = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)
DEMO = DemoConfig(enabled=True)


def clock() -> datetime:
    return NOW


@pytest.fixture
def home(tmp_path: Path) -> Path:
    create_provider(tmp_path)
    return tmp_path


def config(home: Path, **settings: Any) -> IdentityConfig:
    values = {"issuer": SIMULATED_ISSUER, "audience": "mycert", "jwks_file": str(Layout(home).idp_jwks)}
    return msgspec.convert(values | settings, IdentityConfig)


def serve(demo: DemoConfig, home: Path) -> Any:
    return provider_app(
        demo,
        config(home),
        home,
        address="http://127.0.0.1:8002",
        portal="http://127.0.0.1:8000",
        clock=clock,
        random=system_random,
    )


@pytest.fixture
def provider(home: Path) -> SimulatedProvider:
    return SimulatedProvider(DEMO, config(home), home, clock)


@pytest.fixture
def verifier(home: Path) -> AssertionVerifier:
    settings = config(home)
    return AssertionVerifier(settings, provider_keys(settings, clock), clock, allow_simulated=True)


def test_the_default_is_the_manuals_professional(provider, verifier):
    identity = verifier.verify(provider.mint())
    assert (identity.given_name, identity.family_name) == ("EDOUARD", "GUERRA")
    assert (identity.ehealth_id, identity.profession_code) == ("2221212124", "PS-001")
    assert identity.profession_label == "Médecin"
    assert identity.expires_at == NOW + timedelta(seconds=7200)
    assert first_failed(judge(identity.standing)) is None


@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("guerra", None),
        ("compound-name", None),
        ("accents", None),
        ("unknown-profession", None),
        ("suspended", "account-valid"),
        ("password-login", "luxtrust-authenticated"),
        ("not-primary", "ehealthid-primary"),
        ("no-profession", "health-professional"),
    ],
)
def test_the_sample_people(provider, verifier, name, gate):
    closed = [
        gate.code
        for gate in judge(verifier.verify(provider.mint(PEOPLE[name])).standing)
        if not gate.satisfied
    ]
    assert closed == ([gate] if gate else [])


def test_the_support_has_its_role_and_no_store_to_ask_for(provider, verifier):
    identity = verifier.verify(provider.mint(PEOPLE["support"]))
    assert verifier.is_support(identity)
    assert identity.ehealth_id is None
    assert not verifier.is_support(verifier.verify(provider.mint()))


def test_every_sample_has_its_own_number():
    assert len({person.ehealth_id for person in PEOPLE.values()}) == len(PEOPLE)


def test_ages(provider, verifier):
    verifier.require_fresh(verifier.verify(provider.mint(auth_age=900)))
    with pytest.raises(AuthenticationTooOld):
        verifier.require_fresh(verifier.verify(provider.mint(auth_age=901)))
    for lifetime in (0, -10):
        with pytest.raises(AssertionRefused, match="expired"):
            verifier.verify(provider.mint(lifetime=lifetime))


def test_what_the_options_leave_empty(provider, verifier):
    identity = verifier.verify(provider.mint(Person(ehealth_id="", profession_code="", acr="")))
    assert (identity.ehealth_id, identity.profession_code) == (None, None)
    assert first_failed(judge(identity.standing)).code == "luxtrust-authenticated"


def test_names_of_claims_and_scope_follow_the_settings(home):
    settings = config(home, required_scope="mycert", claims=ClaimNames(ehealth_id="nr"))
    verifier = AssertionVerifier(settings, provider_keys(settings, clock), clock, allow_simulated=True)
    minted = SimulatedProvider(DEMO, settings, home, clock).mint()
    assert verifier.verify(minted).ehealth_id == "2221212124"


def test_outside_the_demo_there_is_no_provider(home, provider):
    with pytest.raises(DemoDisabled):
        SimulatedProvider(DemoConfig(), config(home), home, clock)
    with pytest.raises(DemoDisabled):
        serve(DemoConfig(), home)
    with pytest.raises(ValueError, match="issuer"):
        SimulatedProvider(DEMO, config(home, issuer="https://idp.example.lu"), home, clock)
    with pytest.raises(IdentityConfigRefused):
        AssertionVerifier(config(home), provider_keys(config(home), clock), clock)


def test_a_production_issuer_never_believes_the_demos_tokens_even_with_its_keys(home, provider):
    settings = config(home, issuer="https://idp.example.lu")
    verifier = AssertionVerifier(settings, provider_keys(settings, clock), clock)
    with pytest.raises(AssertionRefused, match="issuer"):
        verifier.verify(provider.mint())


def test_the_key_is_private_the_set_is_public_and_both_stay(home):
    assert stat.S_IMODE(Layout(home).key("idp").stat().st_mode) == 0o600
    assert stat.S_IMODE(Layout(home).idp_jwks.stat().st_mode) == 0o644
    before = Layout(home).key("idp").read_bytes(), Layout(home).idp_jwks.read_bytes()
    create_provider(home)
    assert (Layout(home).key("idp").read_bytes(), Layout(home).idp_jwks.read_bytes()) == before
    (key,) = json.loads(before[1])["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert key["kid"].startswith("simulated-")


def test_a_set_lost_in_a_crash_is_made_again(home):
    before = Layout(home).idp_jwks.read_bytes()
    Layout(home).idp_jwks.unlink()
    create_provider(home)
    assert Layout(home).idp_jwks.read_bytes() == before


def test_what_is_served(home):
    async def fetch() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=serve(DEMO, home))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [await client.get(path) for path in ("/jwks.json", "/", "/../secrets/idp.key")]

    keys, notice, other = asyncio.run(fetch())
    assert keys.content == Layout(home).idp_jwks.read_bytes()
    assert "SIMULATED" in notice.text
    assert other.status_code == 404
