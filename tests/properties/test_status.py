"""Invariant 3, whatever happens and fails in whatever order, on one clock that jumps."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from api.status.app import StatusApp
from api.status.config import StatusConfig
from hsm.errors import TokenUnavailable
from issuer.clock import system_clock
from issuer.errors import IssuerError
from issuer.issuance.errors import CertificateError
from issuer.publisher.config import PublisherConfig
from issuer.publisher.responder import LiveResponder
from issuer.registry import crls
from issuer.registry.database import Database
from issuer.registry.migrate import SCRIPTS, upgrade
from policies.reasons import X509Reason
from tests.fixtures.pki import HandClock, Pki, record_certificate, revoke
from tests.fixtures.publication import build_site

KEEP = timedelta(seconds=PublisherConfig().keep_expired)
FAULTS = (IssuerError, CertificateError, TokenUnavailable)


@cache
def empty_registry() -> Path:
    path = Path(tempfile.mkdtemp(prefix="mycert-template-")) / "registry.db"
    database = Database(f"sqlite:///{path}", channel="registry")
    upgrade(database, SCRIPTS)
    database.close()
    return path


@cache
def pki() -> Pki:
    return Pki.make(system_clock())


class Publication(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mycert-property-"))
        shutil.copy(empty_registry(), self.folder / "registry.db")
        url = f"sqlite:///{self.folder / 'registry.db'}"
        self.database = Database(url, channel="registry")
        self.reader = Database(url, channel="registry", read_only=True)
        self.clock = HandClock(pki().ocsp_certificate.not_valid_before_utc + timedelta(hours=1))
        self.config = PublisherConfig(answer_batch=3)
        self.monotonic = 0.0
        pki().write(self.folder / "pki", self.clock())
        self.restart_publisher()
        self.restart_status()
        self.loop = asyncio.new_event_loop()
        self.issued: dict[int, datetime] = {}
        self.revoked: set[int] = set()
        self.listed: set[int] = set()
        self.number = 0
        self.publisher_away = False
        self.token = pytest.MonkeyPatch()

    def teardown(self) -> None:
        self.token.undo()
        self.loop.run_until_complete(self.app._live.close())
        self.loop.close()
        self.database.close()
        self.reader.close()
        shutil.rmtree(self.folder)

    @rule()
    def restart_publisher(self) -> None:
        self.site = build_site(self.database, pki(), self.clock, self.config)
        self.responder = LiveResponder(self.site.signer, self.clock.monotonic)

    @rule()
    def restart_status(self) -> None:
        self.app = StatusApp(
            config=StatusConfig(),
            database=self.reader,
            pki=self.folder / "pki",
            publisher_socket=self.folder / "nobody.sock",
            clock=self.clock,
            monotonic=lambda: self.monotonic,
        )
        self.app._ocsp._live = self  # type: ignore[assignment]

    async def ask(self, der: bytes) -> bytes | None:
        """In place of the publisher's socket."""
        if self.publisher_away:
            return None
        try:
            return self.responder.answer(der)
        except FAULTS:
            return None

    @rule(days=st.sampled_from([1, 2, 9, 30, 700]))
    def issue(self, days: int) -> None:
        serial = len(self.issued) + 1
        life = timedelta(days=days)
        record_certificate(self.database, serial, self.clock(), life=life)
        self.issued[serial] = self.clock() + life

    @precondition(lambda self: self.issued)
    @rule(data=st.data(), reason=st.sampled_from(X509Reason), late=st.booleans())
    def revoke(self, data: st.DataObject, reason: X509Reason, late: bool) -> None:
        """``late``: its transaction began before a CRL was read, and commits after it."""
        serial = data.draw(st.sampled_from(sorted(self.issued)))
        at = self.clock() - timedelta(minutes=10) if late else self.clock()
        revoke(self.database, serial, at, reason)
        self.revoked.add(serial)

    @rule(batches=st.integers(1, 4))
    def sign_answers(self, batches: int) -> None:
        """Stopped after some batches, as by a crash."""
        looks = iter(range(batches))
        self.attempt(lambda: self.site.answering.round(lambda: next(looks, None) is None))

    @rule()
    def sign_crl(self) -> None:
        self.attempt(lambda: self.site.door.issue_crl("issuing"))

    @rule()
    def renew_signer(self) -> None:
        self.attempt(lambda: self.site.signer.renew_if_due(self.site.door))

    @rule(away=st.booleans())
    def publisher_goes_or_comes(self, away: bool) -> None:
        self.publisher_away = away

    @rule(gone=st.booleans())
    def token_goes_or_comes(self, gone: bool) -> None:
        def fail(*_arguments: object, **_named: object) -> bytes:
            raise TokenUnavailable("gone")

        self.token.undo()
        if gone:
            for name in ("answering.build_answer", "responder.build_answer", "crl_issuer.build_crl"):
                self.token.setattr(f"issuer.publisher.{name}", fail)

    @rule(hours=st.sampled_from([-48, -1, 1, 5, 13, 24, 24 * 8, 24 * 20]))
    def time_passes(self, hours: int) -> None:
        self.clock.pass_(hours=hours)

    def attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except FAULTS:
            return

    @invariant()
    def nobody_revoked_is_good(self) -> None:
        self.app._follower.look()
        self.monotonic += 1
        for serial in self.issued:
            answer = self.answer(serial)
            if serial in self.revoked:
                assert answer is not ocsp.OCSPCertStatus.GOOD
            if not self.publisher_away and answer is not None and serial not in self.revoked:
                assert answer is ocsp.OCSPCertStatus.GOOD
        assert self.answer(len(self.issued) + 1) in (None, ocsp.OCSPCertStatus.UNKNOWN)

    @invariant()
    def crls_only_grow(self) -> None:
        with self.database.read() as connection:
            current = crls.current(connection, "issuing")
            der = None if current is None else crls.read(connection, "issuing", current.number)
        if current is None or der is None:
            assert self.number == 0
            return
        assert current.number >= self.number
        if current.number == self.number:
            return
        crl = x509.load_der_x509_crl(der)
        assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == current.number
        listed = {entry.serial_number for entry in crl}
        assert listed <= self.revoked
        for serial in self.listed - listed:
            assert self.issued[serial] + KEEP < crl.last_update_utc + timedelta(seconds=1)
        self.number, self.listed = current.number, listed

    @precondition(lambda self: self.clock() > pki().ocsp_certificate.not_valid_before_utc)
    @rule()
    def everything_works_again(self) -> None:
        """Then one round publishes all that is due, whatever had failed before."""
        self.token_goes_or_comes(gone=False)
        self.publisher_away = True  # So that only what was signed ahead is seen.
        self.site.signer.renew_if_due(self.site.door)
        self.site.answering.round()
        self.clock.pass_(minutes=1)
        self.site.answering.round()
        self.site.door.issue_crl("issuing")
        self.app._follower.look()
        with self.database.read() as connection:
            current = crls.current(connection, "issuing")
        assert current is not None
        assert current.covers == len(self.revoked)
        self.crls_only_grow()
        assert self.listed == {serial for serial in self.revoked if self.issued[serial] + KEEP > self.clock()}
        for serial, end in self.issued.items():
            if end > self.clock():
                expected = "REVOKED" if serial in self.revoked else "GOOD"
                answer = self.answer(serial)
                assert answer is not None
                assert answer.name == expected
        self.publisher_away = False

    def answer(self, serial: int) -> ocsp.OCSPCertStatus | None:
        response = self.loop.run_until_complete(self.post(request_for(serial)))
        parsed = ocsp.load_der_ocsp_response(response.content)
        if parsed.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return None
        assert parsed.next_update_utc is not None
        assert parsed.this_update_utc - timedelta(minutes=5) <= self.clock() < parsed.next_update_utc
        return parsed.certificate_status

    async def post(self, der: bytes) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://status") as http:
            return await http.post("/pki/ocsp", content=der)


@cache
def request_for(serial: int) -> bytes:
    issuer = pki().issuing
    name = hashes.Hash(hashes.SHA1())  # noqa: S303 - what most clients ask with
    name.update(issuer.certificate.subject.public_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name.finalize(),
        issuer.issuer.key_identifier,
        serial,
        hashes.SHA1(),  # noqa: S303
    )
    return builder.build().public_bytes(Encoding.DER)


TestPublication = Publication.TestCase
TestPublication.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
