"""OCSP answers signed ahead: revoked certificates first, then whatever is missing or soon ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from issuer.faults import FaultPoint, fault_point
from issuer.issuance.errors import OcspRefused
from issuer.publisher.metrics import ANSWERS, ANSWERS_NEXT_UPDATE
from issuer.publisher.ocsp import Responder, SingleAnswer, Status, build_answer
from issuer.publisher.ocsp_request import CertId
from issuer.publisher.signer import Signer
from issuer.registry import answers, status
from issuer.registry.answers import Answer
from issuer.registry.status import Subject

log = structlog.get_logger(__name__)

_SWEEP_SHARE = 20
"""Looking through all certificates may take a twentieth of the time; revocations are looked for apart."""
_LOOKED_UP = 50
"""Batches that one look at all certificates finds work for."""
_KEPT_AFTER_END = timedelta(days=1)


class Answering:
    """One thread's; ``round()`` again and again."""

    def __init__(self, signer: Signer, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._signer, self._database, self._clock = signer, signer.database, signer.clock
        self._authority = signer.authority
        self._batch = signer.config.answer_batch
        self._life = timedelta(seconds=signer.config.answer_life)
        self._monotonic = monotonic
        self._cert_ids = CertId.both(signer.issuer)
        self._revoked_through = 0
        self._sweep_after = 0.0

    def round(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Sign until nothing is due. Raises what token and database raise; what is done stays done."""
        while not stopping() and (self._sign_revoked() or self._sweep(stopping)):
            pass

    def _sign_revoked(self) -> bool:
        """A look that costs the same whatever the number of certificates; whether there may be more."""
        with self._database.read() as connection:
            last = status.last_revocation(connection, self._authority)
        if last <= self._revoked_through:
            return False
        due = self._due(self._batch, revoked_after=self._revoked_through)
        self._publish(due)
        if len(due) == self._batch:
            return True
        self._revoked_through = last
        return False

    def _sweep(self, stopping: Callable[[], bool]) -> bool:
        """A look at all certificates. Revocations that come meanwhile are answered between two batches."""
        begin = self._monotonic()
        if begin < self._sweep_after:
            return False
        due = self._due(limit := _LOOKED_UP * self._batch)
        self._sweep_after = self._monotonic() + _SWEEP_SHARE * (self._monotonic() - begin)
        for start in range(0, len(due), self._batch):
            self._publish(due[start : start + self._batch])
            if stopping():
                return False
            self._sign_revoked()
        if len(due) == limit:
            self._sweep_after = 0.0
            return True
        self._drop_ended()
        return False

    def _drop_ended(self) -> None:
        before = self._clock() - _KEPT_AFTER_END
        with self._database.read() as connection:
            earliest = answers.earliest_end(connection, self._authority)
        if earliest is not None and earliest < before:
            with self._database.write() as connection:
                answers.drop_ended(connection, self._authority, before)
        ANSWERS_NEXT_UPDATE.labels(self._authority).set(earliest.timestamp() if earliest else 0)

    def _ends(self, now: datetime) -> datetime:
        """An answer cannot reach beyond its signer's end."""
        return min(now + self._life, self._signer.responder().not_after)

    def _due(self, limit: int, *, revoked_after: int | None = None) -> Sequence[Subject]:
        now = self._clock()
        with self._database.read() as connection:
            return status.subjects_due(
                connection,
                self._authority,
                now=now,
                # Near the signer's end a new answer would reach no further than the present one.
                renew_before=min(now + self._life / 2, self._ends(now) - timedelta(seconds=2)),
                limit=limit,
                revoked_after=revoked_after,
            )

    def _publish(self, due: Sequence[Subject]) -> None:
        now, responder = self._clock(), self._signer.responder()
        ends = self._ends(now)
        fresh: list[Answer] = []
        refused: OcspRefused | None = None
        for subject in due:
            try:
                fresh += self.sign(responder, subject, now, ends)
            except OcspRefused as error:
                # One certificate's trouble must not keep the others from their answers.
                log.error("answer-refused", serial=subject.serial, cause=str(error))
                refused = error
        if fresh:
            # A subject that was revoked since it was read gets no good answer here.
            fault_point(FaultPoint.ANSWERS_SIGNED)
            with self._database.write() as connection:
                answers.replace(connection, self._authority, fresh)
            fault_point(FaultPoint.ANSWERS_STORED)
            for one in fresh:
                ANSWERS.labels(one.status).inc()
        if refused is not None:
            raise refused

    def sign(
        self, responder: Responder, subject: Subject, this_update: datetime, next_update: datetime
    ) -> Sequence[Answer]:
        this_update, next_update = this_update.replace(microsecond=0), next_update.replace(microsecond=0)
        serial = int(subject.serial, 16)
        standing: Status = subject.revocation or "good"
        return [
            Answer(
                authority=self._authority,
                serial=subject.serial,
                hash_algorithm=cert_id.hash_name,
                status="good" if standing == "good" else "revoked",
                this_update=this_update,
                next_update=next_update,
                answer=build_answer(
                    responder,
                    [SingleAnswer(cert_id=replace(cert_id, serial=serial), status=standing)],
                    this_update=this_update,
                    next_update=next_update,
                ),
            )
            for cert_id in self._cert_ids
        ]
