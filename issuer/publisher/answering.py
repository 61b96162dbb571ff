"""OCSP answers signed ahead: revoked certificates first, then whatever is missing or soon ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from issuer.clock import Clock
from issuer.issuance.errors import OcspRefused
from issuer.publisher.config import PublisherConfig
from issuer.publisher.metrics import ANSWERS, ANSWERS_NEXT_UPDATE
from issuer.publisher.ocsp import Responder, Revoked, SingleAnswer, build_answer
from issuer.publisher.ocsp_request import CertId, HashName
from issuer.publisher.signer import Signer
from issuer.registry import answers, status
from issuer.registry.answers import Answer
from issuer.registry.database import Database
from issuer.registry.status import Subject

log = structlog.get_logger(__name__)

HASH_NAMES: tuple[HashName, ...] = ("sha1", "sha256")

_SWEEP_SHARE = 20
"""Looking through all certificates may take a twentieth of the time; revocations are looked for apart."""
_KEPT_AFTER_END = timedelta(days=1)


class Answering:
    """One thread's; ``round()`` again and again."""

    def __init__(
        self,
        database: Database,
        signer: Signer,
        config: PublisherConfig,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._signer = signer
        self._authority = signer.authority
        self._batch = config.answer_batch
        self._life = timedelta(seconds=config.answer_life)
        self._clock = clock
        self._monotonic = monotonic
        self._cert_ids = [CertId.of(signer.issuer, 0, name) for name in HASH_NAMES]
        self._revoked_through = 0
        self._sweep_after = 0.0

    def round(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Sign until nothing is due. Raises what token and database raise; what is done stays done."""
        while not stopping() and (self._sign_revoked() or self._sweep()):
            pass

    def _sign_revoked(self) -> bool:
        with self._database.read() as connection:
            last = status.last_revocation(connection, self._authority)
        if last <= self._revoked_through:
            return False
        full = self._sign_due(self._revoked_through)
        if not full:
            self._revoked_through = last
        return full

    def _sweep(self) -> bool:
        begin = self._monotonic()
        if begin < self._sweep_after:
            return False
        full = self._sign_due(None)
        if not full:
            now = self._clock()
            with self._database.read() as connection:
                ended = answers.earliest_end(connection, self._authority)
            if ended is not None and ended < now - _KEPT_AFTER_END:
                with self._database.write() as connection:
                    answers.drop_ended(connection, self._authority, now - _KEPT_AFTER_END)
            ANSWERS_NEXT_UPDATE.labels(self._authority).set(ended.timestamp() if ended else 0)
            end = self._monotonic()
            self._sweep_after = end + _SWEEP_SHARE * (end - begin)
        return full

    def _sign_due(self, revoked_after: int | None) -> bool:
        """Sign one batch; whether there may be more."""
        now = self._clock()
        responder = self._signer.responder()
        end = min(now + self._life, responder.not_after)
        with self._database.read() as connection:
            due = status.subjects_due(
                connection,
                self._authority,
                now=now,
                # An answer cannot be renewed beyond its signer's end.
                renew_before=min(now + self._life / 2, end - timedelta(seconds=2)),
                limit=self._batch,
                revoked_after=revoked_after,
            )
        fresh: list[Answer] = []
        refused: OcspRefused | None = None
        for subject in due:
            try:
                fresh += self.sign(responder, subject, now, end)
            except OcspRefused as error:
                # One certificate's trouble must not keep the others from their answers.
                log.error("answer-refused", serial=subject.serial, cause=str(error))
                refused = error
        if fresh:
            with self._database.write() as connection:
                answers.replace(connection, self._authority, fresh)
            for one in fresh:
                ANSWERS.labels(one.status).inc()
        if refused is not None:
            raise refused
        return len(due) == self._batch

    def sign(
        self, responder: Responder, subject: Subject, this_update: datetime, next_update: datetime
    ) -> Sequence[Answer]:
        this_update, next_update = this_update.replace(microsecond=0), next_update.replace(microsecond=0)
        revoked = subject.revocation
        standing = None if revoked is None else Revoked(at=revoked.revoked_at, reason=revoked.reason)
        serial = int(subject.serial, 16)
        return [
            Answer(
                authority=self._authority,
                serial=subject.serial,
                hash_algorithm=cert_id.hash_name,
                status="good" if standing is None else "revoked",
                this_update=this_update,
                next_update=next_update,
                answer=build_answer(
                    responder,
                    [SingleAnswer(cert_id=replace(cert_id, serial=serial), status=standing or "good")],
                    this_update=this_update,
                    next_update=next_update,
                ),
            )
            for cert_id in self._cert_ids
        ]
