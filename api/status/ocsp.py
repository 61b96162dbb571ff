"""OCSP over HTTP (RFC 6960 A.1, RFC 9919): what was signed ahead, else what the publisher signs now."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote_to_bytes

from cryptography import x509
from prometheus_client import Counter

from api.problems import problem, send_problem
from api.status.documents import OCSP, Document, Headers
from api.status.http import (
    ALLOW_POST,
    ALLOW_READING,
    READING,
    Receive,
    Scope,
    Send,
    read_body,
    send_document,
    send_uncached,
)
from api.status.index import Index
from api.status.live import Live
from issuer.clock import Clock
from issuer.publisher.ocsp_request import ERROR_ANSWERS, CertId, ErrorStatus, OcspError, parse_request

POST_PATHS: Final = ("/pki/ocsp", "/pki/ocsp/")
_GET: Final = b"/pki/ocsp/"
_LONGEST_REMEMBERED: Final = 512
_LARGEST_REQUEST: Final = 8_192
"""Octets; a larger one is malformed."""
_LARGEST_BODY: Final = 65_536
"""Octets that are read at all; more is answered with 413."""

_OUTCOMES = Counter("mycert_status_ocsp_answers", "OCSP answers, by where they come from.", ["outcome"])
AHEAD, _LIVE, _FALLBACK = (_OUTCOMES.labels(name) for name in ("ahead", "live", "ahead-instead-of-live"))


class Ocsp:
    """An ASGI application for every path that begins with ``/pki/ocsp``."""

    def __init__(self, *, index: Index, live: Live, issuer: x509.Certificate, clock: Clock) -> None:
        self._index = index
        self._live = live
        self._clock = clock
        self._issuers = {one.issuer for one in CertId.both(issuer)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method == "POST" and path in POST_PATHS:
            key = await read_body(receive, _LARGEST_BODY)
            if key is None:
                await send_problem(send, problem("too-large"), connection="close")
                return
            asked: Headers = []
        elif path in POST_PATHS:
            await send_problem(send, problem("method-not-allowed"), allow=ALLOW_POST)
            return
        elif not path.startswith(POST_PATHS[1]):
            await send_problem(send, problem("not-found"))
            return
        elif method in READING:
            key = scope["raw_path"]
            asked = list(scope["headers"])
        else:
            await send_problem(send, problem("method-not-allowed"), allow=ALLOW_READING)
            return
        now = self._clock().timestamp()
        slot = self._index.known_request(key)
        document = slot.document if slot is not None else None
        if document is None or not document.fresh(now) or not self._index.vouches:
            answer = await self._look_up(key, now)
            if isinstance(answer, bytes):
                await send_uncached(send, 200, OCSP, answer)
                return
            document = answer
        else:
            AHEAD.inc()
        await send_document(send, document, now, asked)

    async def _look_up(self, key: bytes, now: float) -> Document | bytes:
        """``key`` is a request in DER, or the path that holds it in base64; bytes come without caching."""
        try:
            der = self._decode(key) if key.startswith(_GET) else key
            if not 0 < len(der) <= _LARGEST_REQUEST:
                raise OcspError("malformedRequest", "empty, or too large")
            request = parse_request(der)
            if any(cert_id.issuer not in self._issuers for cert_id in request.cert_ids):
                raise OcspError("unauthorized", "another issuer's certificate")
        except OcspError as error:
            return _error(error.status)
        if not self._index.vouches:
            return _error("tryLater")
        alone = request.cert_ids[0] if len(request.cert_ids) == 1 else None
        if alone is not None and request.nonce is None and (document := self._ahead(alone, now)) is not None:
            slot = self._index.slot(alone)
            if slot is not None and len(key) <= _LONGEST_REMEMBERED:
                self._index.remember_request(key, slot)
            AHEAD.inc()
            return document
        if (answer := await self._live.ask(der)) is not None:
            _LIVE.inc()
            return answer
        # RFC 9654 2.1: a responder that cannot sign now may answer without the nonce. Looked up
        # anew, because a revocation may have come while the publisher was waited for.
        if alone is not None and (document := self._ahead(alone, now)) is not None:
            _FALLBACK.inc()
            return document
        return _error("tryLater")

    def _ahead(self, cert_id: CertId, now: float) -> Document | None:
        slot = self._index.slot(cert_id)
        document = slot.document if slot is not None else None
        return document if document is not None and document.fresh(now) else None

    @staticmethod
    def _decode(raw_path: bytes) -> bytes:
        """base64 as it comes through proxies: percent-encoded or not, padding or not, '+' as a blank."""
        text = unquote_to_bytes(raw_path.partition(b"?")[0][len(_GET) :])
        text = text.replace(b" ", b"+").replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
        if len(text) > _LARGEST_REQUEST * 4 // 3 + 4:
            raise OcspError("malformedRequest", "too large")
        try:
            return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise OcspError("malformedRequest", str(error)) from None


def _error(status: ErrorStatus) -> bytes:
    _OUTCOMES.labels(status).inc()
    return ERROR_ANSWERS[status]
