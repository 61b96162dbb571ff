"""Keeps index or files at what the registry says: woken by every commit, and looking once a second anyway."""

from __future__ import annotations

import threading
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509

from api.logs import get_logger
from api.status.config import StatusConfig
from api.status.documents import CRL, Document
from api.status.files import Files
from api.status.index import Index
from issuer.clock import Clock
from issuer.registry import answers, crls, status
from issuer.registry.changes import REST_SECONDS, Changes
from issuer.registry.database import Database

log = get_logger()

AUTHORITY = "issuing"
"""Whose certificates are answered for."""

_TICK = 1.0
_RETRY = 0.5
_FORGET_EVERY = 3_600


class RegistryWentBack(Exception):
    """It holds less than it did: another registry, or one from a backup. Nothing in memory counts now."""


class Follower:
    """``run`` belongs to one thread; ``look`` is one round of it."""

    def __init__(
        self, *, kept: Index | Files, database: Database, pki: Path, config: StatusConfig, clock: Clock
    ) -> None:
        """``pki`` holds the root's CRL, which a ceremony replaces."""
        self._kept = kept
        self._database = database
        self._root_crl = pki / "root.crl"
        self._max_age = config.max_age
        self._clock = clock
        self._root_crl_at: int | None = None
        self._marks = status.Marks(revocation=0, batch=0, crl=0)
        self._revoked_through = 0
        self._crl_covers = 0
        self._forget_after = 0.0
        self._unanswered: dict[str, status.Ended] = {}
        self._unlisted: datetime | None = None
        self.unpublished: dict[str, datetime | None] = {}
        """When the oldest revocation was made that answers, or the CRL, do not tell of."""

    def run(self, stop: threading.Event) -> None:
        failing = False
        with Changes(self._database) as changes:
            while not stop.is_set():
                try:
                    changes.wait(_TICK)
                    self.look()
                    stop.wait(REST_SECONDS)
                except Exception as error:  # noqa: BLE001 - a follower that ends would vouch for nothing ever after
                    if not failing:
                        log.warning("registry-not-followed", cause=f"{type(error).__name__}: {error}")
                    failing = True
                    stop.wait(_RETRY)
                else:
                    if failing:
                        log.info("registry-followed-again")
                    failing = False

    def look(self) -> None:
        """Take up what is new. Raises what the database raises, and RegistryWentBack."""
        try:
            self._look()
        except RegistryWentBack:
            self._kept.lost()
            raise

    def _look(self) -> None:
        self._read_root_crl()
        with self._database.read() as connection:
            marks = status.marks(connection, AUTHORITY)
            if marks != self._marks:
                self._take_up(connection, marks)
                # What was committed since they were read raises them, and wakes us again.
                self._marks = marks
        self._kept.followed()
        moment = self._clock()
        # Nobody answers for a certificate that has ended.
        self._unanswered = {
            serial: one for serial, one in self._unanswered.items() if one.not_after >= moment
        }
        unanswered = min((one.revoked_at for one in self._unanswered.values()), default=None)
        self.unpublished = {"ocsp": unanswered, "crl": self._unlisted}
        now = moment.timestamp()
        if now >= self._forget_after:
            self._forget_after = now + _FORGET_EVERY
            self._kept.forget_ended(now)

    def _take_up(self, connection: sa.Connection, marks: status.Marks) -> None:
        before = asdict(self._marks)
        if fell := [name for name, mark in asdict(marks).items() if mark < before[name]]:
            raise RegistryWentBack(f"{' and '.join(fell)}: {marks} after {self._marks}")
        self._take_revocations(connection)
        told = set()
        for answer in answers.after_batch(connection, AUTHORITY, self._marks.batch):
            self._kept.put(answer)
            if answer.status == "revoked":
                told.add(answer.serial)
        # Once more, for what was committed while the answers were read.
        self._take_revocations(connection)
        for serial in told:
            self._unanswered.pop(serial, None)
        if marks.crl > self._marks.crl:
            self._take_crl(connection)
        self._unlisted = status.oldest_revocation_after(connection, AUTHORITY, self._crl_covers)

    def _take_revocations(self, connection: sa.Connection) -> None:
        fresh = status.revoked_after(connection, AUTHORITY, self._revoked_through)
        self._kept.revoke(int(one.serial, 16) for one in fresh)
        self._unanswered |= {one.serial: one for one in fresh}
        if fresh:
            self._revoked_through = fresh[-1].sequence

    def _take_crl(self, connection: sa.Connection) -> None:
        current = crls.current(connection, AUTHORITY)
        body = None if current is None else crls.read(connection, AUTHORITY, current.number)
        if current is None or body is None:
            return  # A newer one took its place meanwhile, and its commit wakes us.
        self._put_crl(AUTHORITY, body, current.this_update, current.next_update)
        self._crl_covers = current.covers

    def _read_root_crl(self) -> None:
        """The ceremony's file, again whenever it was replaced."""
        try:
            changed_at = self._root_crl.stat().st_mtime_ns
            if changed_at == self._root_crl_at:
                return
            body = self._root_crl.read_bytes()
            parsed = x509.load_der_x509_crl(body)
        except (OSError, ValueError) as error:
            if self._root_crl_at is None:
                self._root_crl_at = 0
                log.warning("root-crl-not-read", cause=f"{type(error).__name__}: {error}")
            return
        self._put_crl("root", body, parsed.last_update_utc, parsed.next_update_utc)
        self._root_crl_at = changed_at

    def _put_crl(self, name: str, body: bytes, begins: datetime, ends: datetime | None) -> None:
        crl = Document(body, content_type=CRL, this_update=begins, next_update=ends, max_age=self._max_age)
        self._kept.put_crl(name, crl)
