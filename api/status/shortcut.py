"""The short way of OCSP's plainest requests: known octets in, ready octets out, without ASGI between.

A request that is whole, alone, and asks for nothing but a document that is in memory is answered
in the same turn of the event loop. Whatever is the least bit different takes the long way
(``api.status.ocsp``), which says the same; that way also learns the requests that are known here.
"""

from __future__ import annotations

from typing import Final

from api.status.index import Index
from api.status.ocsp import AHEAD, POST_PATHS
from issuer.clock import Clock

_POSTS: Final = frozenset(b"POST %s HTTP/1.1" % path.encode() for path in POST_PATHS)
_HARMLESS: Final = frozenset(
    b"host user-agent accept accept-encoding accept-language content-type content-length connection".split()
    + b"cache-control pragma".split()
)
"""Fields that change nothing of the answer; Connection and Content-Length are looked at."""
_LONGEST_HEAD: Final = 2_048
_MOST_HEADS: Final = 1_024


class Shortcut:
    """Belongs to one event loop; what ``api.sockets.Listener.shortcut`` wants."""

    def __init__(self, index: Index, clock: Clock) -> None:
        self._index = index
        self._clock = clock
        self._body_lengths: dict[bytes, int] = {}
        """By the fields of a request, of which there are few: clients repeat themselves."""

    def __call__(self, data: bytes) -> bytes | None:
        """Fields and body of a 200; None for the long way."""
        line, _, rest = data.partition(b"\r\n")
        fields, whole, body = rest.partition(b"\r\n\r\n")
        length = self._body_lengths.get(fields)
        if length is None:
            length = self._learn(fields)
        if not whole or len(body) != length:
            return None
        if line in _POSTS:
            key = body
        elif not body and line.startswith(b"GET ") and line.endswith(b" HTTP/1.1"):
            key = line[4:-9]
        else:
            return None
        slot = self._index.known_request(key)
        document = slot.document if slot is not None else None
        if document is None or not self._index.vouches:
            return None
        now = self._clock().timestamp()
        if not document.fresh(now):
            return None
        AHEAD.inc()
        return document.fields_and_body(now)

    def _learn(self, fields: bytes) -> int:
        """Octets of the body; -1 where a field asks for more than the short way does."""
        if len(fields) > _LONGEST_HEAD:
            return -1
        length = _body_length(fields)
        if len(self._body_lengths) >= _MOST_HEADS:
            self._body_lengths.clear()
        self._body_lengths[fields] = length
        return length


def _body_length(fields: bytes) -> int:
    length = None
    for field in fields.split(b"\r\n"):
        name, _, value = field.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name not in _HARMLESS or not field.isascii() or not field.decode().isprintable():
            return -1
        if name == b"connection" and value.lower() != b"keep-alive":
            return -1
        if name == b"content-length":
            if length is not None or not value.isdigit() or len(value) > 5:
                return -1
            length = int(value)
    return length or 0
