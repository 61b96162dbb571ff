"""The issuer's part in publication: it signs CRLs from its own registry, whoever asks.

So a broken publisher can ask too often or too late, but can never take anybody off a list.
What a crash leaves behind: a reserved number without a CRL, which nobody is shown and the
next one passes over.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from hsm.errors import HsmError
from issuer.audit.events import record
from issuer.clock import Clock
from issuer.errors import CaUnavailable, NotFound, Overloaded
from issuer.faults import FaultPoint, fault_point
from issuer.issuance.authority import Authority
from issuer.issuance.crl import build_crl
from issuer.issuance.templates import BACKDATE
from issuer.publisher.config import PublisherConfig
from issuer.registry import crls, status
from issuer.registry.crls import PublishedCrl
from issuer.registry.database import Database
from issuer.registry.tables import audit_events

log = structlog.get_logger(__name__)

TOLERANCE = timedelta(minutes=5)
"""How far two machines' clocks may be apart before a moment counts as one of the future."""


def why_due(
    current: PublishedCrl | None, last_revocation: int, now: datetime, config: PublisherConfig
) -> str | None:
    """Why a new CRL is needed; None where the present one will do."""
    if current is None:
        return "first"
    if current.covers < last_revocation:
        return "revocation"
    if current.this_update > now + TOLERANCE:
        return "clock"
    if now >= min(
        current.this_update + timedelta(seconds=config.crl_renewal),
        current.next_update - timedelta(seconds=config.crl_renewal),
    ):
        return "renewal"
    return None


def begin_of(current: PublishedCrl | None, now: datetime) -> datetime:
    """thisUpdate: a little back, because who is behind our clock refuses a CRL of the future; and later than
    the present CRL's, because of two that begin in one second OpenSSL keeps the one it has.

    Raises Overloaded where so many were made that only the future is left; a second later it goes on.
    """
    begin = (now - BACKDATE).replace(microsecond=0)
    if current is None or current.this_update > now:  # Else a clock that was wrong once would be so for good.
        return begin
    begin = max(begin, current.this_update + timedelta(seconds=1))
    if begin > now:
        raise Overloaded("more CRLs than seconds")
    return begin


@dataclass(eq=False, repr=False)
class CrlIssuer:
    """Thread-safe; lives in the issuer's process."""

    database: Database
    authority: Authority
    config: PublisherConfig
    clock: Clock
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock, init=False)

    def check(self, authority: str) -> None:
        """Raises NotFound."""
        if authority != self.authority.name:
            raise NotFound(f"no CRLs of {authority} are signed here")

    def issue(self, authority: str, *, officer: str | None = None) -> int:
        """The number of a CRL that takes in every revocation committed before the call.

        Signs nothing where the present CRL does, unless an officer wants a new one. Raises
        NotFound, CaUnavailable, CrlRefused, AuthorityRefused and CrlSuperseded.
        """
        self.check(authority)
        with self._one_at_a_time:
            now = self.clock()
            with self.database.read() as connection:
                current = crls.current(connection, authority)
                reason = why_due(current, status.last_revocation(connection, authority), now, self.config)
                if reason is None and officer is None and current is not None:
                    return current.number
                begin = begin_of(current, now)
                keep = timedelta(seconds=self.config.keep_expired)
                content = crls.content(connection, authority, begin - keep)
            return self._sign(content, begin, reason or "officer", officer)

    def _sign(self, content: crls.CrlContent, this_update: datetime, reason: str, officer: str | None) -> int:
        name = self.authority.name
        next_update = this_update + timedelta(seconds=self.config.crl_life)
        with self.database.write() as connection:
            number = crls.reserve(
                connection,
                name,
                this_update=this_update,
                next_update=next_update,
                entries=len(content.entries),
                covers=content.covers,
            )
        fault_point(FaultPoint.CRL_NUMBERED)
        try:
            crl = build_crl(
                self.authority,
                number=number,
                this_update=this_update,
                next_update=next_update,
                entries=content.entries,
            )
        except HsmError as error:
            raise CaUnavailable(str(error)) from error
        fault_point(FaultPoint.CRL_SIGNED)
        with self.database.write() as connection:
            crls.publish(connection, name, number, crl)
            record(
                connection,
                audit_events,
                at=self.clock(),
                actor="service" if officer is None else f"officer:{officer}",
                action="crl-published",
                object_id=f"{name}/{number}",
                details={"entries": len(content.entries), "covers": content.covers, "reason": reason},
            )
        fault_point(FaultPoint.CRL_STORED)
        log.info("crl-published", authority=name, number=number, entries=len(content.entries), why=reason)
        return number
