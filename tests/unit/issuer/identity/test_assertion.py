from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.jws import JWSRegistry

from issuer.identity.assertion import MAX_TOKEN_BYTES, AssertionVerifier
from issuer.identity.config import SIMULATED_ISSUER, ClaimNames, IdentityConfig
from issuer.identity.errors import AssertionRefused, AuthenticationTooOld, IdentityConfigRefused
from issuer.identity.keys import provider_keys
from policies.eligibility import Standing

ELIGIBLE = Standing(
    account_status_valid=True, luxtrust=True, ehealthid_primary=True, health_professional=True
)


def refused(verifier: AssertionVerifier, token: str, because: str = ".") -> None:
    with pytest.raises(AssertionRefused, match=because) as caught:
        verifier.verify(token)
    assert caught.value.code == "unauthenticated"
    longest = max(token.split("."), key=len)
    assert len(longest) < 20 or longest not in str(caught.value), "the token must not reach the log"


def test_the_manuals_professional_is_proven(verifier, provider, clock):
    identity = verifier.verify(provider.assertion(roles=["mycert-support"]))
    assert identity.ehealth_id == "2221212124"
    assert (identity.given_name, identity.family_name) == ("EDOUARD", "GUERRA")
    assert (identity.profession_code, identity.profession_label) == ("PS-001", "Médecin")
    assert identity.standing == ELIGIBLE
    assert identity.authenticated_at == clock()
    assert identity.expires_at == clock() + timedelta(hours=2)
    assert verifier.is_support(identity)
    assert not verifier.is_support(verifier.verify(provider.assertion()))


# --- forged -------------------------------------------------------------------------


def test_unsigned_is_refused(verifier, provider, encode):
    """RFC 8725 2.1: alg none."""
    for alg in ("none", "None", "NONE", ""):
        refused(verifier, f"{encode({'alg': alg, 'typ': 'JWT'})}.{encode(provider.claims())}.")


def test_the_public_key_as_hmac_secret_is_refused(verifier, provider):
    """RFC 8725 2.1: RSA or EC public key taken for an HMAC secret."""
    for secret in (provider.key.as_pem(private=False), provider.jwks_file.read_bytes()):
        for alg in ("HS256", "HS384", "HS512"):
            token = provider.sign(provider.claims(), key=_oct(secret), alg=alg)
            refused(verifier, token, "algorithm")


def _oct(secret: bytes) -> OctKey:
    return OctKey(secret, secret)


@pytest.mark.parametrize("algorithms", [(), ("HS256",), ("none",), ("ES256", "HS256"), ("RSA-OAEP",)])
def test_only_asymmetric_algorithms_can_be_configured(algorithms):
    with pytest.raises(ValueError, match="algorithms"):
        IdentityConfig(issuer="a", audience="b", jwks_file="c", algorithms=algorithms)


def test_an_algorithm_outside_the_list_is_refused(verifier_for, provider):
    refused(verifier_for(algorithms=("RS256",)), provider.assertion(), "algorithm")


def test_another_key_under_the_right_name_is_refused(verifier, provider):
    refused(verifier, provider.sign(provider.claims(), key=ECKey.generate_key("P-256")), "signature")


def test_a_key_in_the_header_is_not_used(verifier, provider):
    """RFC 8725 3.10 and CVE-2018-0114: the forger brings the key."""
    forger = ECKey.generate_key("P-256")
    for header in (
        {"jwk": forger.as_dict(private=False)},
        {"jku": "https://forger.example/jwks.json"},
        {"x5u": "https://forger.example/chain.pem"},
        {"x5c": ["MIIB"]},
    ):
        refused(verifier, provider.sign(provider.claims(), key=forger, **header), "header")
        refused(verifier, provider.sign(provider.claims(), **header), "header")


def test_unknown_and_malformed_key_names_are_refused(verifier, provider, encode):
    refused(verifier, provider.sign(provider.claims(), kid="key-2"), "kid")
    refused(verifier, provider.sign(provider.claims(), kid="../../etc/passwd"), "kid")
    for kid in (None, 1, ["key-1"]):
        head = encode({"alg": "ES256", "typ": "JWT", "kid": kid})
        refused(verifier, f"{head}.{encode(provider.claims())}.{'A' * 86}", "kid")


def test_without_a_key_name_only_the_single_key_counts(verifier, provider):
    token = provider.sign(provider.claims(), kid=...)
    assert verifier.verify(token).subject == "subject-1"
    other = ECKey.generate_key("P-256").as_dict(private=False)
    provider.publish({"keys": [*provider.jwks()["keys"], other]})
    refused(verifier, token, "2 of the provider")


@pytest.mark.parametrize("critical", [["b64"], ["exp"], ["unknown"], [], "b64", None])
def test_critical_extensions_are_refused(verifier, provider, encode, critical):
    head = encode({"alg": "ES256", "typ": "JWT", "kid": "key-1", "b64": False, "crit": critical})
    refused(verifier, f"{head}.{encode(provider.claims())}.{'A' * 86}")


@pytest.mark.parametrize("kind", ["JWE", "dpop+jwt", "logout+jwt", "", 1, None])
def test_other_types_are_refused(verifier, provider, encode, kind):
    head = encode({"alg": "ES256", "typ": kind, "kid": "key-1"})
    refused(verifier, f"{head}.{encode(provider.claims())}.{'A' * 86}", "type|Header")


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", ...])
def test_accepted_types(verifier, provider, kind):
    assert verifier.verify(provider.sign(provider.claims(), typ=kind))


def test_rsa_and_pss_and_a_key_bound_to_one_of_them(verifier, provider):
    provider.key = RSAKey.generate_key(2048)
    provider.publish()
    for alg in ("RS256", "PS256"):
        assert verifier.verify(provider.sign(provider.claims(), alg=alg))
    provider.publish(provider.jwks(alg="PS256"))
    refused(verifier, provider.sign(provider.claims(), alg="RS256"), "kid")


def test_a_changed_payload_or_signature_is_refused(verifier, provider, encode):
    head, _, signature = provider.assertion().split(".")
    refused(verifier, f"{head}.{encode(provider.claims(ehealth_id='9999999999'))}.{signature}", "signature")
    token = provider.assertion()
    for forged in (token[:-4] + "AAAA", token + "A", token + "=", token.rsplit(".", 1)[0] + "."):
        refused(verifier, forged)


def test_not_one_assertion(verifier, provider):
    one, two = provider.assertion(), provider.assertion(sub="subject-2")
    for token in (
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        f"{one} {two}",
        f"{one},{two}",
        f"{one}.{two}",
        f"{one}\n",
        "é.é.é",
    ):
        refused(verifier, token)


def test_encrypted_is_refused(verifier, encode):
    head = encode({"alg": "RSA-OAEP", "enc": "A256GCM"})
    refused(verifier, f"{head}.AAAA.AAAA.AAAA.AAAA")


def test_huge_and_deep_tokens_are_refused(verifier, provider):
    refused(verifier, "A" * (MAX_TOKEN_BYTES + 1), "larger")
    refused(verifier, provider.assertion(padding="x" * MAX_TOKEN_BYTES), "larger")
    refused(verifier, provider.sign(b"[" * 8000), "RecursionError|not an assertion")
    refused(verifier, provider.sign(provider.claims(), padding="x" * 3000))


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b'"text"', b"1", b"\xff", b"{", b'{"exp": NaN}'])
def test_a_payload_that_is_no_object_is_refused(verifier, provider, payload):
    refused(verifier, provider.sign(payload))


def test_a_claim_that_stands_twice_is_refused(verifier, provider):
    text = msgspec.json.encode(provider.claims()).decode()
    refused(verifier, provider.sign(text.replace("{", '{"ehealth_id":"9999999999",', 1).encode()))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.text(max_size=8) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "b64", "crit"]), inner)
        ),
    )
)
def test_no_header_gets_past_the_refusal(verifier, encode, header):
    refused(verifier, f"{encode(header)}.{encode({'sub': 'x'})}.AAAA")


# --- claims ---------------------------------------------------------------------------

WRONG_TYPES = [None, True, False, 1, 1.5, ["luxtrust"], {"value": "luxtrust"}]


@pytest.mark.parametrize("wrong", WRONG_TYPES, ids=repr)
@pytest.mark.parametrize(
    "claim",
    [
        "iss", "sub", "acr", "account_status", "primary_identifier", "ehealth_id", "given_name",
        "family_name", "profession_code", "profession_label", "scope",
    ],
)  # fmt: skip
def test_text_claims_of_another_type_are_refused(verifier, provider, claim, wrong):
    refused(verifier, provider.assertion(**{claim: wrong}))


@pytest.mark.parametrize("wrong", [None, True, "1774612800", [1], {}, -1, 1e300, 10**400], ids=repr)
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf", "auth_time"])
def test_dates_of_another_type_are_refused(verifier, provider, claim, wrong):
    refused(verifier, provider.assertion(**{claim: wrong}))


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "iat", "exp", "acr", "given_name", "family_name"])
def test_needed_claims(verifier, provider, claim):
    refused(verifier, provider.assertion(**{claim: ...}))


@pytest.mark.parametrize(
    "audience", ["other", "", "MYCERT", [], ["other"], ["mycert", 1], [["mycert"]], None, True]
)
def test_another_audience_is_refused(verifier, provider, audience):
    refused(verifier, provider.assertion(aud=audience))


def test_one_of_several_audiences_is_ours(verifier, provider):
    assert verifier.verify(provider.assertion(aud=["portal", "mycert"]))


def test_another_issuer_is_refused(verifier, provider):
    for issuer in ("https://idp.example.lu/", "https://idp.example.lu ", SIMULATED_ISSUER):
        refused(verifier, provider.assertion(iss=issuer), "issuer")


@pytest.mark.parametrize("roles", ["mycert-support", None, {"mycert-support": True}, [1], [None]])
def test_roles_of_another_type_are_refused(verifier, provider, roles):
    refused(verifier, provider.assertion(roles=roles))


@pytest.mark.parametrize(
    "number",
    ["222121212", "22212121240", "222121212a", "２２２１２１２１２４", "2221212124\n", " 2221212124"],
)
def test_a_malformed_ehealth_id_is_refused(verifier, provider, number):
    refused(verifier, provider.assertion(ehealth_id=number))


@pytest.mark.parametrize("name", ["A\x00B", "A\nB", "A\u202eB", "\ud800", " ", "A" * 257])
def test_unfit_names_are_refused(verifier, provider, name):
    refused(verifier, provider.assertion(family_name=name))


def test_claims_in_another_encoding_are_refused(verifier, provider):
    claims = json.dumps(provider.claims())
    for payload in (claims.encode("utf-16"), b"\xef\xbb\xbf" + claims.encode(), claims.encode("utf-32")):
        refused(verifier, provider.sign(payload))


def test_a_header_that_reads_two_ways_is_refused(verifier, provider, encode):
    def signed(header: str) -> str:
        content = f"{encode(header.encode())}.{encode(provider.claims())}"
        return f"{content}.{encode(JWSRegistry.algorithms['ES256'].sign(content.encode(), provider.key))}"

    rest = f'"typ":"JWT","kid":"{provider.kid}","alg":"ES256"}}'
    refused(verifier, signed('{"alg":"none",' + rest))
    verifier.verify(signed("{" + rest))


def test_a_profession_that_no_certificate_could_carry_is_refused(verifier, provider):
    assert verifier.verify(provider.assertion(profession_code="X" * 64)).profession_code == "X" * 64
    refused(verifier, provider.assertion(profession_code="X" * 65))


def test_names_are_composed(verifier, provider):
    decomposed = unicodedata.normalize("NFD", "ZOÉ ŠŤASTNÁ")
    assert verifier.verify(provider.assertion(given_name=f" {decomposed} ")).given_name == "ZOÉ ŠŤASTNÁ"


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"account_status": "suspended"}, "account_status_valid"),
        ({"account_status": ...}, "account_status_valid"),
        ({"acr": "password"}, "luxtrust"),
        ({"acr": ""}, "luxtrust"),
        ({"acr": "LUXTRUST"}, "luxtrust"),
        ({"primary_identifier": "matricule"}, "ehealthid_primary"),
        ({"primary_identifier": ...}, "ehealthid_primary"),
        ({"ehealth_id": ...}, "ehealthid_primary"),
        ({"ehealth_id": ""}, "ehealthid_primary"),
        ({"profession_code": ...}, "health_professional"),
        ({"profession_code": "", "given_name": ..., "family_name": ...}, "health_professional"),
        ({"profession_code": "  "}, "health_professional"),
    ],
)
def test_a_closed_gate_is_no_forgery(verifier, provider, changes: dict[str, Any], fact: str):
    standing = verifier.verify(provider.assertion(**changes)).standing
    assert [name for name in Standing.__slots__ if not getattr(standing, name)] == [fact]


def test_an_unknown_profession_is_taken_as_it_came(verifier, provider):
    identity = verifier.verify(provider.assertion(profession_code="XX-42", profession_label=...))
    assert (identity.profession_code, identity.profession_label) == ("XX-42", None)
    assert identity.standing == ELIGIBLE


def test_scope(verifier_for, provider):
    verifier = verifier_for(required_scope="mycert")
    assert verifier.verify(provider.assertion(scope="openid mycert"))
    for scope in ("openid", "mycert.read", "", ..., ["mycert"]):
        refused(verifier, provider.assertion(scope=scope))


def test_luxtrust_by_amr_and_by_both(verifier_for, provider):
    by_amr = verifier_for(accepted_acr=(), accepted_amr=("luxtrust-mobile",))
    assert by_amr.verify(provider.assertion(acr=..., amr=["pin", "luxtrust-mobile"])).standing.luxtrust
    assert not by_amr.verify(provider.assertion(amr=["password"])).standing.luxtrust
    refused(by_amr, provider.assertion(), "logged in")
    refused(by_amr, provider.assertion(amr="luxtrust-mobile"))
    both = verifier_for(accepted_amr=("luxtrust-mobile",))
    assert both.verify(provider.assertion(amr=["luxtrust-mobile"])).standing.luxtrust
    assert not both.verify(provider.assertion(amr=["luxtrust-mobile"], acr="password")).standing.luxtrust


# --- time -----------------------------------------------------------------------------


def test_expiry_has_no_leeway(verifier, provider, clock):
    token = provider.assertion()
    clock.advance(7199)
    assert verifier.verify(token)
    clock.advance(1)
    refused(verifier, token, "expired")


def test_a_clock_that_runs_ahead(verifier, provider, clock):
    now = int(clock().timestamp())
    for claim in ("iat", "nbf", "auth_time"):
        assert verifier.verify(provider.assertion(**{claim: now + 30}))
        refused(verifier, provider.assertion(**{claim: now + 31}), "not valid yet")


def test_freshness_counts_from_the_login(verifier, provider, clock):
    now = int(clock().timestamp())
    verifier.require_fresh(verifier.verify(provider.assertion(auth_time=now - 900)))
    with pytest.raises(AuthenticationTooOld) as caught:
        verifier.require_fresh(verifier.verify(provider.assertion(auth_time=now - 901)))
    assert caught.value.code == "authentication-too-old"


def test_freshness_counts_from_the_issue_where_no_login_is_named(verifier, provider, clock):
    identity = verifier.verify(provider.assertion())
    clock.advance(900)
    verifier.require_fresh(identity)
    clock.advance(1)
    with pytest.raises(AuthenticationTooOld):
        verifier.require_fresh(identity)


# --- configuration ----------------------------------------------------------------------


def test_the_simulated_provider_is_refused_outside_the_demo(clock, provider):
    config = IdentityConfig(issuer=SIMULATED_ISSUER, audience="mycert", jwks_file=str(provider.jwks_file))
    with pytest.raises(IdentityConfigRefused):
        AssertionVerifier(config, provider_keys(config, clock), clock)
    demo = AssertionVerifier(config, provider_keys(config, clock), clock, allow_simulated=True)
    assert demo.verify(provider.assertion(iss=SIMULATED_ISSUER))


@pytest.mark.parametrize(
    "wrong",
    [
        {"jwks_file": None},
        {"jwks_url": "https://idp.example.lu/jwks"},
        {"jwks_file": None, "jwks_url": "http://idp.example.lu/jwks"},
        {"jwks_file": None, "jwks_url": "file:///etc/passwd"},
        {"accepted_acr": []},
        {"issuer": ""},
        {"max_auth_age": 0},
        {"unknown": 1},
        {"claims": {"eHealthID": "x"}},
    ],
)
def test_settings_that_cannot_serve(wrong: dict[str, object]):
    good: dict[str, object] = {"issuer": "https://idp.example.lu", "audience": "mycert", "jwks_file": "/x"}
    assert msgspec.convert(good, IdentityConfig)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {name: value for name, value in (good | wrong).items() if value is not None}, IdentityConfig
        )


def test_claim_names_are_settings(verifier_for: Callable[..., AssertionVerifier], provider):
    claims = ClaimNames(ehealth_id="urn:esante:ehealthid")
    identity = verifier_for(claims=claims).verify(
        provider.assertion(**{"urn:esante:ehealthid": "1111111111"})
    )
    assert identity.ehealth_id == "1111111111"
