"""Sessions at the server: a stolen database opens none, and a log-out ends one at once.

The cookie is 32 random bytes. Everything else is derived from it: the row's id, the key that the
row's content is encrypted under, and the token of the forms. None of these leads back to the cookie.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from api.journey.tables import sessions
from api.journey.tokens import base64url, parse_delivery_token
from api.portal.config import PortalConfig
from issuer.clock import Clock, RandomBytes
from issuer.errors import DeliveryTokenInvalid
from issuer.registry.database import Database

COOKIE_BYTES = 32
_NONCE_BYTES = 12
_NOTED_EVERY = timedelta(minutes=1)
"""Not every look is written down; the idle time is that much inexact."""


def derive(cookie: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose (RFC 5869)."""
    info = f"mycert/portal/v1/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(cookie)


def parse_cookie(value: str | None) -> bytes | None:
    """It has the shape of a delivery token: 32 random bytes."""
    try:
        return parse_delivery_token(value)
    except DeliveryTokenInvalid:
        return None


def form_token(cookie: bytes) -> str:
    return base64url(derive(cookie, "form"))


class Sessions:
    """Thread-safe. Content never changes: a new log-in is a new session under a new cookie."""

    def __init__(self, database: Database, config: PortalConfig, clock: Clock, random: RandomBytes) -> None:
        self._database = database
        self._config = config
        self._clock = clock
        self._random = random

    def open(self, assertion: str, expires_at: datetime, provider_session: str | None) -> str:
        """The cookie. Never longer than the assertion, for nothing can be done with an outlived one."""
        cookie, nonce = self._random(COOKIE_BYTES), self._random(_NONCE_BYTES)
        row, now = derive(cookie, "row"), self._clock()
        sealed = AESGCM(derive(cookie, "content")).encrypt(nonce, assertion.encode(), row)
        latest = now + timedelta(seconds=self._config.session_absolute)
        with self._database.write() as connection:
            connection.execute(
                sessions.insert().values(
                    id=row,
                    content=nonce + sealed,
                    provider_session=None if provider_session is None else _digest(provider_session),
                    seen_at=now,
                    expires_at=min(latest, expires_at),
                )
            )
        return base64url(cookie)

    def find(self, cookie: bytes) -> str | None:
        """The assertion."""
        row, now = derive(cookie, "row"), self._clock()
        with self._database.read() as connection:
            found = connection.execute(
                sa.select(sessions.c.content, sessions.c.seen_at, sessions.c.expires_at).where(
                    sessions.c.id == row
                )
            ).first()
        if found is None or now >= found.expires_at or now >= found.seen_at + self._idle:
            return None
        if now - found.seen_at >= _NOTED_EVERY:
            with self._database.write() as connection:
                connection.execute(sessions.update().where(sessions.c.id == row).values(seen_at=now))
        try:
            opened = AESGCM(derive(cookie, "content")).decrypt(
                found.content[:_NONCE_BYTES], found.content[_NONCE_BYTES:], row
            )
        except InvalidTag:
            return None
        return opened.decode()

    def close(self, cookie: bytes) -> None:
        with self._database.write() as connection:
            connection.execute(sessions.delete().where(sessions.c.id == derive(cookie, "row")))

    def close_of_provider(self, provider_session: str) -> int:
        """What the provider's own log-out ends. Returns how many."""
        with self._database.write() as connection:
            return connection.execute(
                sessions.delete().where(sessions.c.provider_session == _digest(provider_session))
            ).rowcount

    def purge(self) -> None:
        now = self._clock()
        with self._database.write() as connection:
            connection.execute(
                sessions.delete().where(
                    sa.or_(sessions.c.expires_at <= now, sessions.c.seen_at <= now - self._idle)
                )
            )

    @property
    def _idle(self) -> timedelta:
        return timedelta(seconds=self._config.session_idle)


def _digest(provider_session: str) -> bytes:
    return hashlib.sha256(provider_session.encode()).digest()
