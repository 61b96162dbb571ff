"""The responder over ASGI: what it says, to whom, and what it does not say."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from asn1crypto import ocsp as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from api.status.config import StatusConfig
from api.status.follower import RegistryWentBack
from api.status.index import REMEMBERED_REQUESTS
from api.status.live import Live
from issuer.issuance.crl import build_crl
from issuer.publisher.ocsp_request import ERROR_ANSWERS
from issuer.registry.status import Subject
from tests.fixtures.pki import Pki, record_certificate, revoke
from tests.fixtures.status_service import YEAR, HashAlgorithm, Service, known, request_for

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()], ids=["sha1", "sha256"])  # noqa: S303
async def test_good_and_revoked_signed_ahead(service: Service, algorithm: HashAlgorithm) -> None:
    known(service, 1, 2)
    revoke(service.site.database, 2, service.site.clock())
    service.publish()
    issuer = service.site.pki.issuing.certificate
    for _ in range(2):  # The second time from what is remembered.
        good = await service.ask(request_for(issuer, 1, algorithm))
        assert good.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert good.hash_algorithm.name == algorithm.name
        revoked = await service.ask(request_for(issuer, 2, algorithm))
        assert revoked.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert service.live.asked == 0


async def test_get_in_every_encoding(service: Service) -> None:
    (der,) = known(service, 0x3FBEFBEFBEF)
    plain = base64.b64encode(der).decode()
    forms = [
        quote(plain, safe=""),
        quote(plain, safe="/"),
        plain,
        plain.rstrip("="),
        base64.urlsafe_b64encode(der).decode(),
    ]
    bodies = {(await service.http.get(f"/pki/ocsp/{form}")).content for form in forms * 2}
    assert len(bodies) == 1
    answer = ocsp.load_der_ocsp_response(bodies.pop())
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.serial_number == 0x3FBEFBEFBEF


async def test_get_with_slashes_and_pluses_in_its_base64(service: Service) -> None:
    issuer = service.site.pki.issuing.certificate
    serials = [
        serial
        for serial in range(1 << 40, (1 << 40) + 3000)
        if {"/", "+"} <= set(base64.b64encode(request_for(issuer, serial)).decode())
    ][:1] or [1]
    (der,) = known(service, serials[0])
    plain = base64.b64encode(der).decode()
    for form in (plain, quote(plain, safe="")):
        answer = ocsp.load_der_ocsp_response((await service.http.get(f"/pki/ocsp/{form}")).content)
        assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD


async def test_caching_headers_and_conditional_get(service: Service) -> None:
    (der,) = known(service, 1)
    path = f"/pki/ocsp/{quote(base64.b64encode(der).decode(), safe='')}"
    first = await service.http.get(path)
    assert "max-age=1," in first.headers["cache-control"]
    again = await service.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-length" not in again.headers
    since = {"If-Modified-Since": first.headers["last-modified"]}
    assert (await service.http.get(path, headers=since)).status_code == 304
    revoke(service.site.database, 1, service.site.clock())
    service.publish()
    changed = await service.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert "max-age=3600," in changed.headers["cache-control"]
    assert (await service.http.head(path)).headers["etag"] == changed.headers["etag"]


async def test_wrong_requests_get_the_right_error(service: Service) -> None:
    known(service, 1)
    foreign = Pki.make(service.site.clock()).issuing.certificate
    malformed, unauthorized = ERROR_ANSWERS["malformedRequest"], ERROR_ANSWERS["unauthorized"]
    large = b"\x30\x82\x40\x00" + bytes(16_384)
    issuer = service.site.pki.issuing.certificate
    for body, expected in [
        (b"", malformed),
        (b"hello", malformed),
        (request_for(issuer, 1)[:-1], malformed),
        (request_for(issuer, 1) + b"\0", malformed),
        (large, malformed),
        (request_for(foreign, 1), unauthorized),
        (request_for(service.site.pki.root.certificate, 1), unauthorized),
    ]:
        response = await service.http.post("/pki/ocsp", content=body)
        assert (response.status_code, response.content) == (200, expected), body[:10]
        assert response.headers["cache-control"] == "no-store"
    for path in ("AAAA", "%%%", "é", "A" * 40_000):
        response = await service.http.get(f"/pki/ocsp/{path}")
        assert (response.status_code, response.content) == (200, malformed), path[:10]
    assert service.live.asked == 0


async def test_http_refusals(service: Service) -> None:
    too_large = await service.http.post("/pki/ocsp", content=bytes(70_000))
    assert too_large.status_code == 413
    for method, path, allow in [
        ("GET", "/pki/ocsp", "POST"),
        ("GET", "/pki/ocsp/", "POST"),
        ("DELETE", "/pki/ocsp/AAAA", "GET, HEAD"),
        ("POST", "/pki/crl/issuing.crl", "GET, HEAD"),
        ("PUT", "/pki/ca/root.cer", "GET, HEAD"),
        ("POST", "/health/live", "GET, HEAD"),
    ]:
        response = await service.http.request(method, path)
        assert (response.status_code, response.headers["allow"]) == (405, allow), path
        assert response.headers["content-type"] == "application/problem+json"
    for path in ("/", "/pki/ocspx", "/pki/crl/other.crl", "/pki/ca/ocsp.cer"):
        assert (await service.http.get(path)).status_code == 404, path


async def test_nonce_unknown_and_several_are_answered_live(service: Service) -> None:
    known(service, 1, 2)
    issuer = service.site.pki.issuing.certificate
    nonced = await service.ask(request_for(issuer, 1, nonce=b"n" * 23))
    assert nonced.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 23
    unknown = await service.ask(request_for(issuer, 99))
    assert unknown.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    several = await service.ask(two_in_one(issuer, 1, 2))
    assert [one.serial_number for one in several.responses] == [1, 2]
    assert service.live.asked == 3


def two_in_one(issuer: x509.Certificate, *serials: int) -> bytes:
    parts = [asn1.OCSPRequest.load(request_for(issuer, serial)) for serial in serials]
    whole = parts[0]
    whole["tbs_request"]["request_list"].append(parts[1]["tbs_request"]["request_list"][0])
    der: bytes = whole.dump(force=True)
    return der


async def test_without_the_publisher_a_nonce_is_left_out(service: Service) -> None:
    known(service, 1)
    service.live.away = True
    issuer = service.site.pki.issuing.certificate
    answer = await service.ask(request_for(issuer, 1, nonce=b"n"))
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert len(list(answer.extensions)) == 0
    for body in (request_for(issuer, 99), two_in_one(issuer, 1, 99)):
        response = await service.http.post("/pki/ocsp", content=body)
        assert response.content == ERROR_ANSWERS["tryLater"]


async def test_a_revocation_counts_before_it_is_published(service: Service) -> None:
    """The publisher is away, its token gone, or slow: no good answer is left, not even without a nonce."""
    (der,) = known(service, 1)
    assert (await service.ask(der)).certificate_status is ocsp.OCSPCertStatus.GOOD
    revoke(service.site.database, 1, service.site.clock())
    service.follow()
    assert (await service.ask(der)).certificate_status is ocsp.OCSPCertStatus.REVOKED  # live
    service.live.away = True
    issuer = service.site.pki.issuing.certificate
    for body in (der, request_for(issuer, 1, nonce=b"n")):
        response = await service.http.post("/pki/ocsp", content=body)
        assert response.content == ERROR_ANSWERS["tryLater"]
    service.publish()
    assert (await service.ask(der)).certificate_status is ocsp.OCSPCertStatus.REVOKED


async def test_health_and_metrics_tell_of_a_revocation_that_nobody_publishes(service: Service) -> None:
    """Of an OCSP signer's certificate as well; what has ended is nobody's concern."""
    site = service.site
    known(service, 1, 2)

    async def told() -> tuple[int, dict[str, str], dict[str, float]]:
        service.follow()
        ready = await service.http.get("/health/ready")
        lines = (await service.http.get("/metrics", headers={"host": "localhost"})).text.splitlines()
        metric = 'mycert_status_unpublished_seconds{where="%s"} '
        ages = {
            where: float(line.split()[1])
            for where in ("ocsp", "crl")
            for line in lines
            if line.startswith(metric % where)
        }
        checks = {name.removeprefix("revocations-"): said for name, said in ready.json()["checks"].items()}
        return ready.status_code, {where: checks[where] for where in ages}, ages

    assert await told() == (200, {"ocsp": "ok", "crl": "ok"}, {"ocsp": 0, "crl": 0})
    revoke(site.database, 1, site.clock())
    assert (await told())[0] == 200
    site.clock.pass_(seconds=6)
    assert await told() == (503, {"ocsp": "unpublished", "crl": "unpublished"}, {"ocsp": 6, "crl": 6})
    site.answering.round()
    assert await told() == (503, {"ocsp": "ok", "crl": "unpublished"}, {"ocsp": 0, "crl": 6})
    site.door.issue_crl("issuing")
    assert await told() == (200, {"ocsp": "ok", "crl": "ok"}, {"ocsp": 0, "crl": 0})
    record_certificate(site.database, 3, site.clock(), life=timedelta(days=1), profile="ocsp")
    revoke(site.database, 3, site.clock())
    site.clock.pass_(seconds=6)
    assert (await told())[0] == 503
    service.publish()
    assert (await told())[0] == 200
    record_certificate(site.database, 4, site.clock(), life=timedelta(minutes=1))
    revoke(site.database, 4, site.clock())
    site.door.issue_crl("issuing")
    site.clock.pass_(seconds=30)
    assert (await told())[0] == 503
    site.clock.pass_(minutes=1)
    assert (await told())[0] == 200


async def test_a_revocation_while_the_publisher_is_waited_for(service: Service) -> None:
    known(service, 1)
    service.live.away = True

    def revoke_meanwhile() -> None:
        revoke(service.site.database, 1, service.site.clock())
        service.follow()

    service.live.meanwhile = revoke_meanwhile
    nonced = request_for(service.site.pki.issuing.certificate, 1, nonce=b"n")
    response = await service.http.post("/pki/ocsp", content=nonced)
    assert response.content == ERROR_ANSWERS["tryLater"]


async def test_a_good_answer_that_comes_late_is_not_taken_up(service: Service) -> None:
    """A publisher that had not seen the revocation writes its answer after it."""
    (der,) = known(service, 1)
    service.site.clock.pass_(hours=7)
    revoke(service.site.database, 1, service.site.clock())
    service.follow()
    stale = Subject(serial="01", not_after=service.site.clock() + YEAR, revocation=None)
    now = service.site.clock()
    late = service.site.answering.sign(service.site.signer.responder(), stale, now, now + timedelta(hours=12))
    for one in late:
        service.app._index.put(one)
    service.live.away = True
    response = await service.http.post("/pki/ocsp", content=der)
    assert response.content == ERROR_ANSWERS["tryLater"]


async def test_stale_answers_and_unfollowed_registries_become_try_later(service: Service) -> None:
    (der,) = known(service, 1)
    service.live.away = True
    assert (await service.ask(der)).certificate_status is ocsp.OCSPCertStatus.GOOD
    service.site.clock.pass_(seconds=11)  # Nobody has looked at the registry meanwhile.
    response = await service.http.post("/pki/ocsp", content=der)
    assert response.content == ERROR_ANSWERS["tryLater"]
    assert (await service.http.get("/pki/crl/issuing.crl")).status_code == 503
    service.follow()
    assert (await service.ask(der)).certificate_status is ocsp.OCSPCertStatus.GOOD
    assert (await service.http.get("/pki/crl/issuing.crl")).status_code == 200
    service.site.clock.pass_(hours=12)  # Nobody has signed anew meanwhile.
    service.follow()
    response = await service.http.post("/pki/ocsp", content=der)
    assert response.content == ERROR_ANSWERS["tryLater"]
    service.site.clock.pass_(days=-1)  # Everything is of the future now.
    service.follow()
    response = await service.http.post("/pki/ocsp", content=der)
    assert response.content == ERROR_ANSWERS["tryLater"]


async def test_before_the_first_look_nothing_is_said(service: Service) -> None:
    der = request_for(service.site.pki.issuing.certificate, 1)
    response = await service.http.post("/pki/ocsp", content=der)
    assert response.content == ERROR_ANSWERS["tryLater"]
    assert (await service.http.get("/health/live")).status_code == 200
    ready = await service.http.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"] == {
        "registry": "not followed",
        "crl-root": "missing",
        "crl-issuing": "missing",
    }
    known(service, 1)
    ready = await service.http.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["walls"] == "none"


@pytest.mark.parametrize("mark", ["revocation", "batch", "crl"])
async def test_another_registry_under_its_feet(service: Service, mark: str) -> None:
    (der,) = known(service, 1)
    follower = service.app._follower
    follower._marks = replace(follower._marks, **{mark: 100})
    with pytest.raises(RegistryWentBack):
        service.follow()
    response = await service.http.post("/pki/ocsp", content=der)
    assert response.content == ERROR_ANSWERS["tryLater"]


async def test_crls_and_certificates(service: Service) -> None:
    known(service, 1)
    revoke(service.site.database, 1, service.site.clock())
    service.publish()
    crl = await service.http.get("/pki/crl/issuing.crl")
    assert crl.headers["content-type"] == "application/pkix-crl"
    assert [entry.serial_number for entry in x509.load_der_x509_crl(crl.content)] == [1]
    known_tag = {"If-None-Match": crl.headers["etag"]}
    assert (await service.http.get("/pki/crl/issuing.crl", headers=known_tag)).status_code == 304
    root = await service.http.get("/pki/ca/root.cer")
    assert root.content == service.site.pki.root.certificate_der
    assert root.headers["content-type"] == "application/pkix-cert"
    assert (await service.http.get("/pki/ca/issuing.cer")).content == service.site.pki.issuing.certificate_der


async def test_the_roots_list_is_the_ceremonys_newest(service: Service) -> None:
    service.follow()
    first = await service.http.get("/pki/crl/root.crl")
    assert x509.load_der_x509_crl(first.content).is_signature_valid(service.site.pki.root.public_key)
    now = service.site.clock()
    newer = build_crl(
        service.site.pki.root, number=2, this_update=now, next_update=now + timedelta(days=90), entries=[]
    )
    (service.pki_folder / "root.crl").write_bytes(newer)
    service.follow()
    assert (await service.http.get("/pki/crl/root.crl")).content == newer
    (service.pki_folder / "root.crl").write_bytes(b"half a fi")
    service.follow()
    assert (await service.http.get("/pki/crl/root.crl")).content == newer


@pytest.mark.parametrize(
    ("client", "host", "status"),
    [("127.0.0.1", "localhost", 200), ("127.0.0.1", "pki.example.lu", 404), ("192.0.2.1", "localhost", 404)],
)
async def test_metrics_are_for_the_inside(service: Service, client: str, host: str, status: int) -> None:
    """And not for what a proxy on this machine passes on."""
    known(service, 1)
    transport = httpx.ASGITransport(app=service.app, client=(client, 1))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
        said = await http.get("/metrics")
    assert said.status_code == status
    assert ("mycert_status_ocsp_answers" in said.text) == (status == 200)


async def test_a_flood_of_requests_forgets_but_does_not_grow(service: Service) -> None:
    (der,) = known(service, 1)
    index = service.app._index
    await service.ask(der)
    slot = index.known_request(der)
    assert slot is not None
    for number in range(REMEMBERED_REQUESTS + 10):
        index.remember_request(str(number).encode(), slot)
    assert len(index._requests) <= REMEMBERED_REQUESTS
    assert (await service.ask(der)).certificate_status is ocsp.OCSPCertStatus.GOOD


@pytest.fixture
async def silent_publisher(tmp_path: Path) -> AsyncIterator[Path]:
    """Accepts, and says nothing."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_unix_server(accept, tmp_path / "silent.sock")
    yield tmp_path / "silent.sock"
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_a_silent_publisher_is_not_waited_for_long(silent_publisher: Path) -> None:
    live = Live(str(silent_publisher), StatusConfig(live_timeout=0.1, live_requests=2))
    answers = await asyncio.gather(*(live.ask(b"request") for _ in range(4)))
    assert answers == [None] * 4
    assert live.reachable is False
    await live.close()


async def test_a_missing_publisher_is_noticed(tmp_path: Path) -> None:
    live = Live(str(tmp_path / "nobody.sock"), StatusConfig())
    assert await live.ask(b"request") is None
    assert live.reachable is False
    await live.close()
