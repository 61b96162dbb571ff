from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from issuer.identity.assertion import AssertionVerifier
from issuer.identity.config import IdentityConfig
from issuer.identity.errors import AssertionRefused, ProviderKeysUnavailable
from issuer.identity.keys import MAX_JWKS_BYTES, KeyRing, parse_key_set, provider_keys


class Site:
    """A real HTTP server on loopback whose answer the test sets."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        self.calls = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.calls += 1
                self.send_response(site.status)
                for name, value in site.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(site.body)))
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()


@pytest.fixture
def config(site: Site) -> IdentityConfig:
    return IdentityConfig(issuer="https://idp.example.lu", audience="mycert", jwks_url=site.url)


@pytest.fixture
def by_address(config, clock) -> AssertionVerifier:
    return AssertionVerifier(config, provider_keys(config, clock), clock)


def publish(site: Site, document: object) -> None:
    site.status, site.body = 200, json.dumps(document).encode()


def rotate(provider: Any, kid: str) -> None:
    provider.key, provider.kid = ECKey.generate_key("P-256"), kid


# --- a file ---------------------------------------------------------------------------------


def test_a_rotated_file_needs_no_restart(verifier, provider):
    old = provider.assertion()
    assert verifier.verify(old)
    rotate(provider, "key-2")
    provider.publish()
    assert verifier.verify(provider.assertion())
    with pytest.raises(AssertionRefused, match="key-1"):
        verifier.verify(old)


def test_a_file_that_comes_late(verifier, provider, clock):
    provider.jwks_file.unlink()
    with pytest.raises(ProviderKeysUnavailable):
        verifier.verify(provider.assertion())
    provider.publish()
    assert verifier.verify(provider.assertion())


def test_a_broken_file_leaves_the_last_good_keys(verifier, provider):
    assert verifier.verify(provider.assertion())
    for broken in ({"keys": []}, {"keys": [{"kty": "oct", "k": "AAAA"}]}, [], "text", {"keys": "x"}):
        provider.publish(broken)
        assert verifier.verify(provider.assertion())


# --- an address --------------------------------------------------------------------------------


def test_keys_are_fetched_once_and_again_after_their_time(by_address, provider, site, clock):
    publish(site, provider.jwks())
    for _ in range(3):
        by_address.verify(provider.assertion())
    assert site.calls == 1
    clock.advance(300)
    by_address.verify(provider.assertion())
    assert site.calls == 2


def test_an_unknown_key_name_asks_the_provider_but_not_each_time(by_address, provider, site, clock):
    publish(site, provider.jwks())
    by_address.verify(provider.assertion())
    clock.advance(10)
    rotate(provider, "key-2")
    publish(site, provider.jwks())
    assert by_address.verify(provider.assertion())
    assert site.calls == 2
    for number in range(20):
        with pytest.raises(AssertionRefused):
            by_address.verify(provider.sign(provider.claims(), kid=f"forged-{number}"))
    assert site.calls == 2


def test_the_last_good_keys_serve_while_the_provider_is_down_but_not_for_ever(
    by_address, provider, site, clock
):
    publish(site, provider.jwks())
    by_address.verify(provider.assertion())
    site.status = 503
    clock.advance(86_399)
    assert by_address.verify(provider.assertion())
    clock.advance(1)
    with pytest.raises(ProviderKeysUnavailable) as caught:
        by_address.verify(provider.assertion())
    assert caught.value.code == "unauthenticated"
    publish(site, provider.jwks())
    clock.advance(10)
    assert by_address.verify(provider.assertion())


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, b"{}", {}),
        (404, b"not found", {}),
        (302, b"", {"Location": "/other"}),
        (200, b"<html>", {}),
        (200, b"[" * 5000, {}),
        (200, b" " * (MAX_JWKS_BYTES + 1), {}),
        (200, b"{}", {"Content-Encoding": "gzip"}),
    ],
)
def test_without_any_good_answer_nobody_is_believed(by_address, provider, site, status, body, headers):
    site.status, site.body, site.headers = status, body, headers
    for _ in range(3):
        with pytest.raises(ProviderKeysUnavailable):
            by_address.verify(provider.assertion())
    assert site.calls == 1, "a provider in trouble is not asked for every caller"


def test_nobody_listens(provider, clock):
    config = IdentityConfig(
        issuer="https://idp.example.lu", audience="mycert", jwks_url="http://127.0.0.1:1/jwks.json"
    )
    keys = provider_keys(config, clock)
    with pytest.raises(ProviderKeysUnavailable):
        keys.require_keys()
    with pytest.raises(ProviderKeysUnavailable):
        AssertionVerifier(config, keys, clock).verify(provider.assertion())


def test_many_threads_ask_once(by_address, provider, site):
    publish(site, provider.jwks())
    token, start, proven = provider.assertion(), threading.Barrier(8), []

    def verify() -> None:
        start.wait()
        proven.append(by_address.verify(token).subject)

    threads = [threading.Thread(target=verify) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert proven == ["subject-1"] * 8
    assert site.calls == 1


def test_a_slow_refresh_holds_nobody_up(provider, clock):
    fetching, release = threading.Event(), threading.Event()

    class Slow:
        calls = 0

        def changed(self) -> bool:
            return False

        def load(self) -> bytes:
            Slow.calls += 1
            if Slow.calls == 2:
                fetching.set()
                assert release.wait(60)
            return json.dumps(provider.jwks()).encode()

    ring = KeyRing(Slow(), clock, refresh=300, retry=10, keep=86_400)
    ring.find("key-1", "ES256")
    clock.advance(300)
    slow = threading.Thread(target=ring.find, args=("key-1", "ES256"))
    slow.start()
    assert fetching.wait(60)
    assert ring.find("key-1", "ES256")
    release.set()
    slow.join()


def test_who_names_a_new_key_waits_for_the_fetch_that_brings_it(provider, clock):
    fetching, release, found = threading.Event(), threading.Event(), []
    old = json.dumps(provider.jwks()).encode()
    rotate(provider, "key-2")
    new = json.dumps(provider.jwks()).encode()

    class Slow:
        answers = iter([old, new])

        def changed(self) -> bool:
            return False

        def load(self) -> bytes:
            answer = next(self.answers)
            if answer == new:
                fetching.set()
                assert release.wait(60)
            return answer

    ring = KeyRing(Slow(), clock, refresh=300, retry=10, keep=86_400)
    ring.require_keys()
    clock.advance(300)
    threads = [threading.Thread(target=lambda: found.append(ring.find("key-2", "ES256"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert fetching.wait(60)
    release.set()
    for thread in threads:
        thread.join()
    assert len(found) == 4


def test_health_fetches_by_itself(provider, site, clock, config):
    keys = provider_keys(config, clock)
    site.status = 503
    with pytest.raises(ProviderKeysUnavailable):
        keys.require_keys()
    publish(site, provider.jwks())
    with pytest.raises(ProviderKeysUnavailable):  # for it was asked a moment ago
        keys.require_keys()
    clock.advance(10)
    keys.require_keys()


# --- which keys count ---------------------------------------------------------------------------


def test_only_public_signature_keys_of_the_right_strength_count():
    good = ECKey.generate_key("P-256")
    public = good.as_dict(private=False)
    unusable = [
        good.as_dict(private=True),
        OctKey.generate_key(256).as_dict(),
        OKPKey.generate_key("Ed25519").as_dict(private=False),
        {**public, "use": "enc"},
        {**public, "key_ops": ["sign"]},
        {**public, "key_ops": 1},
        {**public, "kid": 1},
        {**public, "alg": ["ES256"]},
        {**public, "x": public["y"]},
        {**public, "crv": "P-999"},
        {"kty": "EC"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": 5, "e": "AQAB"},
        {"kty": ["EC"]},
        "text",
        None,
    ]
    found = parse_key_set(json.dumps({"keys": [*unusable, {**public, "kid": "good"}]}).encode())
    assert [key.kid for key in found] == ["good"]
    for entry in unusable:
        with pytest.raises(ValueError, match="JWK set"):
            parse_key_set(json.dumps({"keys": [entry]}).encode())


def test_a_key_fits_its_own_algorithms_only():
    elliptic = parse_key_set(
        json.dumps({"keys": [ECKey.generate_key("P-384").as_dict(private=False)]}).encode()
    )
    rsa = parse_key_set(json.dumps({"keys": [RSAKey.generate_key(2048).as_dict(private=False)]}).encode())
    algorithms = ["ES256", "ES384", "RS256", "PS256", "HS256", "none"]
    assert [name for name in algorithms if elliptic[0].fits(name)] == ["ES384"]
    assert [name for name in algorithms if rsa[0].fits(name)] == ["RS256", "PS256"]
