"""What is served, with everything that HTTP caches need to know of it (RFC 9111; RFC 9919 6)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

from cryptography import x509

Headers = list[tuple[bytes, bytes]]

OCSP = b"application/ocsp-response"
CRL = b"application/pkix-crl"
CERTIFICATE = b"application/pkix-cert"

MAX_AGE_FINAL = 3_600
"""Seconds for caches to keep what does not change before its nextUpdate: revoked answers, CA certificates."""

_EARLY = 300.0
"""Seconds: another machine's clock may be ahead of ours by that much."""
_MARGIN = 2.0
"""Seconds before nextUpdate at which a document is over: it takes time to arrive and be looked at."""
_FORGOTTEN = 86_400.0


def read_certificates(pki: Path) -> dict[str, x509.Certificate]:
    """Of both authorities. Raises OSError, ValueError."""
    names = ("root", "issuing")
    return {name: x509.load_der_x509_certificate((pki / f"{name}.cer").read_bytes()) for name in names}


class Document:
    """An answer, a CRL or a certificate. Headers are made when first asked for: most are never fetched."""

    __slots__ = (
        "_content_type",
        "_headers",
        "_http",
        "_last_modified",
        "_max_age",
        "_until",
        "body",
        "final",
        "since",
    )

    def __init__(
        self,
        body: bytes,
        *,
        content_type: bytes,
        this_update: datetime,
        next_update: datetime | None,
        max_age: int,
        final: bool = False,
    ) -> None:
        """``final``: nothing newer is to come that says something else."""
        self.body = body
        self.final = final
        self.since = this_update.timestamp()
        self._content_type = content_type
        self._until = None if next_update is None else next_update.timestamp()
        self._max_age = max_age
        self._headers: Headers | None = None
        self._http: bytes | None = None

    def fresh(self, now: float) -> bool:
        return self.since <= now + _EARLY and (self._until is None or now < self._until - _MARGIN)

    def over(self, now: float) -> bool:
        """Ended so long ago that nobody will renew it."""
        return self._until is not None and now > self._until + _FORGOTTEN

    def headers(self, now: float) -> Headers:
        remaining = float("inf") if self._until is None else self._until - _MARGIN - now
        if remaining <= self._max_age:
            return self._make_headers(int(max(0.0, remaining)))
        if self._headers is None:
            self._headers = self._make_headers(self._max_age)
        return self._headers

    def fields_and_body(self, now: float) -> bytes:
        """As octets, from after the status line and Date on."""
        headers = self.headers(now)
        if headers is not self._headers:
            return _octets(headers, self.body)
        if self._http is None:
            self._http = _octets(headers, self.body)
        return self._http

    def _make_headers(self, max_age: int) -> Headers:
        headers = [
            (b"content-type", self._content_type),
            (b"content-length", str(len(self.body)).encode()),
            (b"etag", self.etag),
            (b"last-modified", _http_date(self.since)),
            (b"cache-control", b"max-age=%d, public, no-transform, must-revalidate" % max_age),
        ]
        if self._until is not None:
            headers.append((b"expires", _http_date(self._until)))
        return headers

    @property
    def etag(self) -> bytes:
        return b'"%s"' % hashlib.sha256(self.body).hexdigest()[:32].encode()

    def unchanged(self, request_headers: Headers) -> bool:
        """Whether the asker has it already (RFC 9110 13.2.2: If-None-Match before If-Modified-Since)."""
        since = None
        for name, value in request_headers:
            if name == b"if-none-match":
                known = {tag.strip().removeprefix(b"W/") for tag in value.split(b",")}
                return b"*" in known or self.etag in known
            if name == b"if-modified-since":
                since = value
        if since is None:
            return False
        try:
            moment = parsedate_to_datetime(since.decode("latin-1"))
        except ValueError:
            return False
        return int(self.since) <= moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _octets(headers: Headers, body: bytes) -> bytes:
    return b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n" + body


def _http_date(moment: float) -> bytes:
    return format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True).encode()
