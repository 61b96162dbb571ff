"""Bad input at ``/api/v1``: refused by the contract's code, nothing changed, nothing told."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import Any

import httpx
import pytest
from prometheus_client import CONTENT_TYPE_LATEST

from tests.fixtures.assertions import Provider
from tests.fixtures.edges import check_refusal, send_raw
from tests.fixtures.system import Caller, System

JSON = {"Content-Type": "application/json"}


PEOPLE = itertools.count(2221310001)


class Journey:
    """A person's request, with accepted terms, that must stand unchanged after every refusal."""

    def __init__(self, system: System) -> None:
        provider = Provider(home=system.home, ehealth_id=str(next(PEOPLE)))
        self.caller = Caller(system, provider.assertion())
        started = self.caller.call("POST", "/requests", json={})
        assert started.status_code == 201, started.text
        self.id = started.json()["id"]
        version = self.caller.call("GET", "/terms").json()["version"]
        assert self.caller.call("PUT", f"/requests/{self.id}/terms", json={"version": version}).is_success

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.caller.call("GET", "/requests/current").json())

    @property
    def bodies(self) -> dict[str, tuple[str, str, dict[str, Any]]]:
        """Every operation with a body: method, path, and a body that is well-formed."""
        return {
            "start": ("POST", "/requests", {}),
            "terms": ("PUT", f"/requests/{self.id}/terms", {"version": "1"}),
            "email": ("PUT", f"/requests/{self.id}/email", {"email": "a@example.com"}),
            "verification": ("POST", f"/requests/{self.id}/verification", {"code": "123456"}),
            "deactivation": (
                "POST",
                f"/stores/{uuid.uuid4()}/deactivation",
                {"reason": "other", "confirm": True},
            ),
        }


@pytest.fixture
def journey(system: System) -> Journey:
    return Journey(system)


@pytest.fixture
def untouched(journey: Journey) -> Any:
    before = journey.state
    yield
    assert journey.state == before


FIELDS = [
    ("terms", "version"),
    ("email", "email"),
    ("email", "keystore_profile"),
    ("verification", "code"),
    ("deactivation", "reason"),
    ("deactivation", "confirm"),
]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"}",
        b"[]",
        b"[{}]",
        b"null",
        b"true",
        b"1",
        b'"{}"',
        b"{} {}",
        b"{},",
        b"{'a': 1}",
        b"NaN",
        b'{"a": NaN}',
        b"\xff\xfe{}",
        b'{"email": "\xff"}',
        '{"email": "é"}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"[" * 30_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"a": 1' + b"0" * 20_000 + b"}",
        b'{"email": "CANARY@x.lu", "email": "CANARY@x.lu"}',
        b'{"\\u0065mail": "CANARY@x.lu", "email": 1}',
        b'{"email": "\\ud800"}',
        b'{"surprise-CANARY": 1}',
        b'{"__proto__": {}}',
        b" ",
        b"\0",
    ],
    ids=lambda content: repr(content[:24]),
)
def test_what_is_not_one_object_of_the_documented_shape(journey: Journey, content: bytes) -> None:
    for method, path, _ in journey.bodies.values():
        answer = journey.caller.call(method, path, content=content, headers=JSON)
        check_refusal(answer, "invalid-request", echo="CANARY")


@pytest.mark.usefixtures("untouched")
def test_an_unknown_field_beside_good_ones(journey: Journey) -> None:
    for method, path, body in journey.bodies.values():
        for more in ({"more": 1}, {"ehealth_id": "2221212124"}):
            check_refusal(journey.caller.call(method, path, json=body | more), "invalid-request")


WRONG = [None, True, "true", "null", 0, 1, 1.5, [], ["other"], {}, {"a": 1}, "CANARY", "x" * 2000]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("operation", "field"), FIELDS)
def test_fields_of_another_type(journey: Journey, operation: str, field: str) -> None:
    method, path, body = journey.bodies[operation]
    for value in WRONG:
        if isinstance(value, str) and field in ("version", "email", "code") and len(value) < 10:
            continue  # A text in its place; what it says is not looked at here.
        if field == "confirm" and value is True:
            continue
        answer = journey.caller.call(method, path, json=body | {field: value})
        check_refusal(answer, "invalid-request", echo="CANARY")


@pytest.mark.usefixtures("untouched")
def test_a_body_that_is_needed_and_missing(journey: Journey) -> None:
    for operation, (method, path, _) in journey.bodies.items():
        if operation != "start":
            check_refusal(journey.caller.call(method, path), "invalid-request")
            check_refusal(journey.caller.call(method, path, json={}), "invalid-request")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("operation", ["start", "terms", "email", "verification", "deactivation"])
def test_media_types_that_are_not_json(journey: Journey, operation: str) -> None:
    method, path, body = journey.bodies[operation]
    content = json.dumps(body).encode()
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/problem+json",
        "application/jsonp",
        "application/json-seq",
        "application/json; charset=latin-1",
        "application/json, text/plain",
        "json",
        "*/*",
        "CANARY",
    ):
        answer = journey.caller.call(method, path, content=content, headers={"Content-Type": kind})
        check_refusal(answer, "unsupported-media-type", echo="CANARY")
    check_refusal(journey.caller.call(method, path, content=content), "unsupported-media-type")
    coded = JSON | {"Content-Encoding": "gzip"}
    check_refusal(journey.caller.call(method, path, content=content, headers=coded), "unsupported-media-type")


def test_json_under_its_other_spellings(journey: Journey) -> None:
    for kind in ("Application/JSON", "application/json;charset=utf-8", 'application/json; charset="UTF-8"'):
        answer = journey.caller.call(
            "PUT",
            f"/requests/{uuid.uuid4()}/terms",
            content=b'{"version": "1"}',
            headers={"Content-Type": kind},
        )
        check_refusal(answer, "not-found")


@pytest.mark.parametrize(
    ("accept", "code"),
    [
        ("text/html", "not-acceptable"),
        ("application/xml, text/*", "not-acceptable"),
        ("application/json;q=0", "not-acceptable"),
        ("*/*, application/json;q=0", "not-acceptable"),
        ("application/problem+json", "not-acceptable"),
        ("CANARY", "not-acceptable"),
        ("*/*", None),
        ("", None),
        ("application/*", None),
        ("text/html, application/json;q=0.1", None),
        ("Application/JSON; charset=utf-8", None),
    ],
)
def test_answers_that_the_caller_does_not_take(journey: Journey, accept: str, code: str | None) -> None:
    answer = journey.caller.call("GET", "/terms", headers={"Accept": accept})
    if code is None:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
    else:
        check_refusal(answer, code, echo="CANARY")
    keystore = journey.caller.call("GET", f"/requests/{uuid.uuid4()}/keystore", headers={"Accept": accept})
    taken = accept in ("*/*", "", "application/*", "*/*, application/json;q=0")
    check_refusal(keystore, "not-found" if taken else "not-acceptable", echo="CANARY")


@pytest.mark.usefixtures("untouched")
def test_bodies_that_are_too_large(system: System, journey: Journey) -> None:
    for size in (65 * 1024, 200 * 1024, 2 * 1024 * 1024):
        content = b'{"email": "' + b"a" * size + b'"}'
        for method, path, _ in journey.bodies.values():
            try:
                answer = journey.caller.call(method, path, content=content, headers=JSON)
            except httpx.WriteError:
                continue  # The connection was closed in the middle of what is far too much.
            check_refusal(answer, "too-large")
    chunked = (b"a" * 1024 for _ in range(100))
    check_refusal(journey.caller.call("POST", "/requests", content=chunked, headers=JSON), "too-large")
    check_refusal(journey.caller.call("GET", "/terms", headers={"X-More": "a" * 40_000}), "too-large")


ADDRESSES = [
    "",
    " ",
    "a",
    "@",
    "a@",
    "@example.com",
    "a@b@example.com",
    "a b@example.com",
    "a@exa mple.com",
    "a@example..com",
    ".a@example.com",
    "a.@example.com",
    "a..b@example.com",
    "a@-example.com",
    "a@example.com.",
    "a@localhost",
    "a@[127.0.0.1]",
    "a@[IPv6:::1]",
    '"a b"@example.com',
    '"a\\"b"@example.com',
    "A <a@example.com>",
    "a@example.com, b@example.com",
    "a@example.com\r\nBcc: all@example.com",
    "a@example.com\nBcc: all@example.com",
    "a\r\n@example.com",
    "a@example.com\0",
    "a\u202e@example.com",
    "a@ex\u00adample.com",
    "é@example.com",
    "a@example.com\u2028",
    "a@éxample.c\u200bom",
    "a@xn--.com",
    "a" * 65 + "@example.com",
    "a@" + "b" * 64 + ".com",
    "a" * 64 + "@" + "b." * 117 + "com",
    "a" * 300 + "@example.com",
    "a@" + ("b" * 60 + ".") * 5 + "com",
    "mailto:a@example.com",
    "a%0d%0aBcc:x@example.com\t",
    "a@example.com;b@example.com",
]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("address", ADDRESSES, ids=lambda text: ascii(text)[:40])
def test_addresses_that_are_none(system: System, journey: Journey, address: str) -> None:
    before = len(list((system.home / "mailbox").glob("*.eml")))
    answer = journey.caller.call("PUT", f"/requests/{journey.id}/email", json={"email": address})
    check_refusal(answer, "email-invalid", echo="Bcc")
    assert len(list((system.home / "mailbox").glob("*.eml"))) == before


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("a+tag@example.com", "a+tag@example.com"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("anna@bücher.example", "anna@xn--bcher-kva.example"),
        ("A.B@EXAMPLE.COM", "A.B@example.com"),
    ],
)
def test_addresses_that_are_unusual_and_good(
    system: System, journey: Journey, address: str, wire: str
) -> None:
    sent = journey.caller.call("PUT", f"/requests/{journey.id}/email", json={"email": address})
    assert sent.status_code == 200, sent.text
    assert sent.json()["state"] == "code-sent"
    system.wait_for_mail(wire, "code")


NO_IDS = [
    "x",
    "1",
    "null",
    "undefined",
    "current ",
    "%00",
    "%2e%2e",
    "..%2f..",
    "%2fetc%2fpasswd",
    "%ff%fe",
    "a%0d%0ab",
    "%25",
    "00000000-0000-0000-0000-00000000000g",
    "{7d444840-9dc0-11d1-b245-5ffdce74fad2}",
    "7d4448409dc011d1b2455ffdce74fad2",
    "7D444840-9DC0-11D1-B245-5FFDCE74FAD2",
    "urn:uuid:7d444840-9dc0-11d1-b245-5ffdce74fad2",
    "a" * 5000,
    "'; DROP TABLE requests--",
    "%F0%9F%92%A9",
    "*",
    "~",
    "-",
]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("odd", NO_IDS, ids=lambda text: text[:24])
def test_ids_that_are_none(system: System, journey: Journey, odd: str) -> None:
    own = journey.caller
    for method, path, body in (
        ("GET", "/requests/{}", None),
        ("DELETE", "/requests/{}", None),
        ("PUT", "/requests/{}/terms", {"version": "1"}),
        ("PUT", "/requests/{}/email", {"email": "a@example.com"}),
        ("POST", "/requests/{}/code", None),
        ("POST", "/requests/{}/verification", {"code": "123456"}),
        ("POST", "/requests/{}/password", None),
        ("GET", "/requests/{}/keystore", None),
        ("POST", "/requests/{}/completion", None),
        ("GET", "/stores/{}", None),
        ("POST", "/stores/{}/deactivation", {"reason": "other", "confirm": True}),
    ):
        check_refusal(own.call(method, path.format(odd), json=body), "not-found")


def test_paths_that_lead_nowhere(system: System, journey: Journey) -> None:
    for path in (
        "/api/v1",
        "/api/v1/",
        "/api/v2/terms",
        "/api/v1/Terms",
        "/api/v1/terms/x",
        "/api/v1/requests/x/y/z",
        "/api/v1/../v1/nothing",
        "/api/v1/%74erms/x",
        "/.git/config",
        "/schema/openapi.yaml",
        "/api/v1/requests/current/terms/x",
        "/pki",
        "/pki/",
        "/pki/../health/ready",
        "/pki/../metrics",
        "/pki/%2e%2e/metrics",
        "/pki//metrics",
        "/pki/ca/../../metrics",
        "/pki/ocsp/../../metrics",
        "/pki/ca/root.key",
    ):
        raw = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {journey.caller.bearer}\r\n\r\n"
        check_refusal(send_raw(system.port, raw.encode()), "not-found")


ALLOWED = {
    "/api/v1/eligibility": {"GET"},
    "/api/v1/terms": {"GET"},
    "/api/v1/deactivation-reasons": {"GET"},
    "/api/v1/stores": {"GET"},
    f"/api/v1/stores/{uuid.UUID(int=0)}": {"GET"},
    f"/api/v1/stores/{uuid.UUID(int=0)}/deactivation": {"POST"},
    "/api/v1/requests": {"POST"},
    "/api/v1/requests/current": {"GET"},
    f"/api/v1/requests/{uuid.UUID(int=0)}": {"GET", "DELETE"},
    f"/api/v1/requests/{uuid.UUID(int=0)}/terms": {"PUT"},
    f"/api/v1/requests/{uuid.UUID(int=0)}/email": {"PUT"},
    f"/api/v1/requests/{uuid.UUID(int=0)}/code": {"POST"},
    f"/api/v1/requests/{uuid.UUID(int=0)}/verification": {"POST"},
    f"/api/v1/requests/{uuid.UUID(int=0)}/password": {"POST"},
    f"/api/v1/requests/{uuid.UUID(int=0)}/keystore": {"GET"},
    f"/api/v1/requests/{uuid.UUID(int=0)}/completion": {"POST"},
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
def test_methods_that_a_path_does_not_know(
    system: System, journey: Journey, path: str, allowed: set[str]
) -> None:
    """Allow names exactly what there is (RFC 9110 10.2.1). HEAD is not: fetching counts as delivery."""
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - allowed:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {journey.caller.bearer}\r\n\r\n"
        answer = send_raw(system.port, head.encode())
        assert answer.status_code == 405, method
        assert set(answer.headers["allow"].split(", ")) == allowed | {"OPTIONS"}
        if method == "HEAD":
            assert answer.content == b""
        else:
            check_refusal(answer, "method-not-allowed")
    options = system.http.options(path)
    assert options.status_code == 204
    assert set(options.headers["allow"].split(", ")) == allowed | {"OPTIONS"}
    assert "access-control-allow-origin" not in options.headers


@pytest.mark.usefixtures("untouched")
def test_headers_that_contradict_each_other(journey: Journey) -> None:
    bearer = ("Authorization", f"Bearer {journey.caller.bearer}")
    token = ("Delivery-Token", "A" * 43)
    http, path = journey.caller.system.http, f"/api/v1/requests/{journey.id}/password"
    check_refusal(http.post(path, headers=[bearer, token, token]), "invalid-request")
    twice = [bearer, ("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    check_refusal(http.post("/api/v1/requests", content=b"{}", headers=twice), "invalid-request")
    keys = [bearer, ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    check_refusal(http.post("/api/v1/requests", headers=keys), "invalid-request")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 129])
def test_idempotency_keys_that_are_none(journey: Journey, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("utf-8")}
    bearer = {b"Authorization": f"Bearer {journey.caller.bearer}".encode()}
    answer = journey.caller.system.http.post("/api/v1/requests", json={}, headers={**bearer, **headers})
    check_refusal(answer, "invalid-request")


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /api/v1/terms\r\n\r\n",
        b"GET /api/v1/terms HTTP/9.9\r\n\r\n",
        b"GET /api/v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /pki/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/terms HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /api/v1/terms HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /api/v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /api/v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/v1/requests HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
    ids=lambda content: ascii(content[:40]),
)
def test_what_is_not_http(system: System, content: bytes) -> None:
    """Half-read requests end the connection: nothing behind them is taken for a request of its own."""
    answer = send_raw(system.port, content + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.status_code in (400, 401, 404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in ("invalid-request", "unauthenticated", "not-found")
    assert b"live" not in answer.content


@pytest.mark.parametrize(
    ("port", "path", "told"),
    [
        ("web", "/metrics", "python_info"),
        ("web", "/metrics/issuer", "mycert_issuer_stores_in_hand"),
        ("status", "/metrics", "mycert_status_ocsp_answers"),
        ("status", "/metrics/publisher", "mycert_publisher_leading 1.0"),
    ],
)
def test_metrics_are_for_this_machine(system: System, port: str, path: str, told: str) -> None:
    url = (str(system.http.base_url) if port == "web" else system.status_url).rstrip("/") + path
    shown = httpx.get(url)
    assert told in shown.text
    assert shown.headers["content-type"] == CONTENT_TYPE_LATEST
    check_refusal(httpx.get(f"{url}-of-nobody"), "not-found")
    for name, value in (
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("Host", "mycert.example.lu"),
    ):
        check_refusal(httpx.get(url, headers={name: value}), "not-found")


def test_the_way_to_the_status_port_passes_what_it_should(system: System) -> None:
    direct = httpx.get(f"{system.status_url}/pki/ca/issuing.cer")
    passed = system.http.get("/pki/ca/issuing.cer")
    assert passed.content == direct.content
    assert passed.headers["content-type"] == direct.headers["content-type"]
    assert passed.headers["etag"] == direct.headers["etag"]
    head = system.http.head("/pki/ca/issuing.cer")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(direct.content)
    unchanged = system.http.get("/pki/ca/issuing.cer", headers={"If-None-Match": direct.headers["etag"]})
    assert unchanged.status_code == 304
    assert len(passed.headers.get_list("date")) == 1
    refused = system.http.post("/pki/ca/issuing.cer", content=b"x")
    assert refused.status_code == 405
    assert refused.headers["allow"] == httpx.post(f"{system.status_url}/pki/ca/issuing.cer").headers["allow"]
    big = system.http.post("/pki/ocsp", content=b"x" * 70_000)
    check_refusal(big, "too-large")
