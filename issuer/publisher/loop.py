"""The publisher's life: awake at every change of the registry, and once a second.

Four tasks, a thread each, so that a long CRL or a silent issuer never delays an OCSP answer.
A task reads from the registry what is due and does it; what fails is due still, and is tried
again after a pause. So nothing is lost, whatever stops in between: revocations are committed,
and what follows from them is found again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from issuer.clock import Clock
from issuer.errors import IssuerError
from issuer.faults import FaultPoint, fault_point
from issuer.issuance.templates import Issuer
from issuer.publisher.answering import Answering
from issuer.publisher.config import PublisherConfig
from issuer.publisher.crl_issuer import why_due
from issuer.publisher.leader import Leadership
from issuer.publisher.metrics import (
    COMPARED_AT,
    CRL_LAG,
    CRL_NEXT_UPDATE,
    CRL_NUMBER,
    DIFFERENCES,
    FAILING_SINCE,
    FAILURES,
    LEADING,
)
from issuer.publisher.reconcile import compare
from issuer.publisher.signer import IssuerDoor, Signer
from issuer.registry import crls, status
from issuer.registry.changes import REST_SECONDS, Changes

log = structlog.get_logger(__name__)

_TICK = 1.0
_CALM = 0.5
"""At least so long between two rounds, unless something was revoked: new stores' answers come in batches.
Who asks before is answered live."""
_LOGGED = 20
_SIGNER_EVERY = 60.0
"""Its certificate lives for weeks: no change of the registry makes its renewal urgent."""


class Differs(IssuerError):
    """What is published is not what the registry says; the log names it."""


class Publisher:
    """``run`` until it is told to stop. Several may run: one leads, the others stand by."""

    def __init__(self, signer: Signer, door: IssuerDoor) -> None:
        self._signer, self._door = signer, door
        self._database, self._config, self._clock = signer.database, signer.config, signer.clock
        config, clock = signer.config, signer.clock
        self._pause = config.retry_first
        self._leading = threading.Event()
        self._stop = threading.Event()
        self.answering = Answering(signer)
        self._tasks = [
            _Task("answers", lambda: self.answering.round(self._idle), config, clock),
            _Task("crl", self.publish_crl, config, clock),
            _Task("signer", lambda: signer.renew_if_due(door), config, clock, every=_SIGNER_EVERY),
            # Not at once: a first start has published nothing yet.
            _Task("reconciliation", self.reconcile, config, clock, every=config.reconcile_every, later=True),
        ]

    def run(self, stop: threading.Event) -> None:
        """Returns within seconds of ``stop``; a signature that has begun is finished."""
        self._stop = stop
        threads = [
            threading.Thread(target=task.run, args=(stop, self._leading), name=f"publisher-{task.name}")
            for task in self._tasks
        ]
        for thread in threads:
            thread.start()
        leadership = Leadership(self._database)
        try:
            with Changes(self._database) as changes:
                while not stop.is_set():
                    self._follow(leadership, changes, stop)
        finally:
            stop.set()
            self._wake()
            for thread in threads:
                thread.join()
            leadership.release()
            LEADING.set(0)

    def _follow(self, leadership: Leadership, changes: Changes, stop: threading.Event) -> None:
        try:
            self._lead(leadership.hold())
            revoked, calm = self._last_revocation(), time.monotonic() + _CALM
            self._wake()
            stop.wait(REST_SECONDS)
            changes.wait(_TICK)
            while (left := calm - time.monotonic()) > 0 and self._last_revocation() == revoked:
                stop.wait(REST_SECONDS)
                changes.wait(left)
        except Exception as error:  # noqa: BLE001 - whatever the drivers raise, the loop must live on
            self._lead(False)
            log.warning("registry-not-followed", cause=f"{type(error).__name__}: {error}")
            stop.wait(self._pause)
            self._pause = min(2 * self._pause, self._config.retry_longest)
        else:
            self._pause = self._config.retry_first

    def _last_revocation(self) -> int:
        with self._database.read() as connection:
            return status.last_revocation(connection, self._signer.authority)

    def _lead(self, leads: bool) -> None:
        if leads != self._leading.is_set():
            log.info("publisher-leads" if leads else "publisher-stands-by")
            (self._leading.set if leads else self._leading.clear)()
            LEADING.set(leads)

    def _wake(self) -> None:
        for task in self._tasks:
            task.wake.set()

    def _idle(self) -> bool:
        return self._stop.is_set() or not self._leading.is_set()

    @property
    def failing(self) -> dict[str, str]:
        """Task: its last failure, for those that do not work; for health."""
        return {task.name: task.failure for task in self._tasks if task.failure is not None}

    @property
    def leads(self) -> bool:
        return self._leading.is_set()

    def reconcile(self) -> None:
        """Raises Differs: named in health until a comparison finds nothing."""
        issuer, now = Issuer.of(self._signer.authority, self._signer.issuer), self._clock()
        # Renewal begins long before: whatever keeps it from happening is told while there is time.
        crl_left = timedelta(seconds=self._config.crl_life - self._config.crl_renewal) / 2
        answers_left = timedelta(seconds=self._config.answer_life) / 4
        with self._database.read() as connection:
            found = compare(
                connection, issuer, now, crl_until=now + crl_left, answers_until=now + answers_left
            )
        for where in ("crl", "ocsp"):
            DIFFERENCES.labels(where).set(sum(one.where == where for one in found))
        COMPARED_AT.set(now.timestamp())
        for one in found[:_LOGGED]:
            log.error("published-differs", where=one.where, what=one.what)
        if found:
            raise Differs(f"{len(found)} differences between what is published and the registry")

    def publish_crl(self) -> None:
        """Ask the issuer for a CRL where one is due; raises IssuerError."""
        name = self._signer.authority
        if self._crl_due() is not None:
            fault_point(FaultPoint.CRL_DUE)
            self._door.issue_crl(name)
            fault_point(FaultPoint.CRL_PUBLISHED)
            if (why := self._crl_due()) is not None:
                log.info("crl-due-again", authority=name, why=why)

    def _crl_due(self) -> str | None:
        name, now = self._signer.authority, self._clock()
        with self._database.read() as connection:
            current = crls.current(connection, name)
            last = status.last_revocation(connection, name)
            covers = current.covers if current is not None else 0
            untold = status.oldest_revocation_after(connection, name, covers)
        CRL_LAG.labels(name).set(max(0.0, (now - untold).total_seconds()) if untold is not None else 0)
        if current is not None:
            CRL_NUMBER.labels(name).set(current.number)
            CRL_NEXT_UPDATE.labels(name).set(current.next_update.timestamp())
        return why_due(current, last, now, self._config)


class _Task:
    """Does its step whenever it is woken, and after a growing pause where it failed."""

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        config: PublisherConfig,
        clock: Clock,
        *,
        every: float = 0.0,
        later: bool = False,
    ) -> None:
        """``every`` so many seconds, from the start on or ``later``; what then fails is repeated as late."""
        self.name = name
        self.wake = threading.Event()
        self.failure: str | None = None
        self._step = step
        self._first, self._longest = (every, every) if later else (config.retry_first, config.retry_longest)
        self._clock = clock
        self._every = every
        self._later = later

    def run(self, stop: threading.Event, leading: threading.Event) -> None:
        pause, not_before = self._first, time.monotonic() + self._every * self._later
        while not stop.is_set():
            self.wake.wait()
            self.wake.clear()
            if not leading.is_set():
                self._works()  # Who stands by fails at nothing.
                continue
            if stop.is_set() or time.monotonic() < not_before:
                continue
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - named, counted and repeated, whatever it was
                self._failed(error)
                stop.wait(pause)
                pause = min(2 * pause, self._longest)
                self.wake.set()
            else:
                pause, not_before = self._first, time.monotonic() + self._every
                if self.failure is not None:
                    log.info("publication-works-again", task=self.name)
                self._works()

    def _failed(self, error: Exception) -> None:
        if self.failure is None:
            FAILING_SINCE.labels(self.name).set(self._clock().timestamp())
        self.failure = type(error).__name__
        FAILURES.labels(self.name).inc()
        log.warning("publication-failed", task=self.name, cause=f"{self.failure}: {error}")

    def _works(self) -> None:
        self.failure = None
        FAILING_SINCE.labels(self.name).set(0)
