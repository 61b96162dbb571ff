"""From an accepted code to an active store, once (R13–R15; invariants 1, 2, 5, 6).

The order is claimed in one transaction and answered at once; the store is then made by a
thread of this process and a worker of its own. What a crash leaves behind at each step:

    claimed            a row ``issuing``, no serial          → the reaper ends it
    prepared           serial and to-be-signed bytes         → the reaper revokes the serial
    signed             the same: the signature is not known  → the reaper revokes the serial
    activated          an active store with its delivery     → nothing to do
"""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import msgspec
import structlog
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy.exc import SQLAlchemyError

from hsm.errors import HsmError
from issuer.clock import Clock, RandomBytes
from issuer.errors import CaUnavailable, IssuerError, Overloaded
from issuer.faults import FaultPoint, fault_point
from issuer.identity.identity import Identity
from issuer.issuance.activation import activate, prepare
from issuer.issuance.authority import Authority
from issuer.issuance.config import IssuanceConfig
from issuer.issuance.ending import end_generation
from issuer.issuance.keystore.messages import KeystoreOrder
from issuer.issuance.keystore.workshop import Workshop
from issuer.issuance.order import Order
from issuer.issuance.profiles import Profile
from issuer.issuance.subjects import Subject
from issuer.registry import orders, stores
from issuer.registry.database import Database
from issuer.registry.deliveries import sealing_context
from issuer.registry.orders import NewStore
from issuer.registry.stores import Store
from policies.eligibility import check_eligible
from policies.errors import PolicyRefusal, WrongState
from policies.renewal import RenewalRules

log = structlog.get_logger(__name__)

_SIGNS_STILL = timedelta(seconds=1)

_STORES = Counter("mycert_issuer_stores", "Generations that have ended.", ["outcome"])
_SECONDS = Histogram(
    "mycert_issuer_generation_seconds",
    "From a thread's taking up an order to the active store.",
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120),
)
_IN_HAND = Gauge("mycert_issuer_stores_in_hand", "Orders that are waiting or being made.")


class Issuance:
    """Thread-safe. ``close()`` waits for the stores that are being made."""

    def __init__(
        self,
        *,
        database: Database,
        authority: Authority,
        profile: Profile,
        workshop: Workshop,
        config: IssuanceConfig,
        renewal: RenewalRules,
        clock: Clock,
        random: RandomBytes,
    ) -> None:
        self._database = database
        self._authority = authority
        self._profile = profile
        self._workshop = workshop
        self._config = config
        self._renewal = renewal
        self._clock = clock
        self._random = random
        self._threads = ThreadPoolExecutor(config.workers, thread_name_prefix="issuance")
        self._lock = threading.Lock()
        self._in_hand: set[str] = set()
        self._signed_at: datetime | None = None

    def order(self, identity: Identity, order: Order) -> Store:
        """Claim the person's place and begin. Idempotent by request id and delivery token.

        Raises a GateRefused, ActiveStoreExists, RenewalTooEarly, RequestAlreadyUsed,
        WrongState, Overloaded or CaUnavailable; in each case nothing was begun.
        """
        check_eligible(identity.standing)
        assert identity.ehealth_id is not None  # noqa: S101 - the third gate says so
        now = self._clock()
        new = msgspec.structs.asdict(order) | {
            "id": str(uuid.UUID(bytes=self._random(16), version=4)),
            "ehealth_id": identity.ehealth_id,
            "given_name": identity.given_name,
            "family_name": identity.family_name,
            "profession_code": identity.profession_code or "",
            "profession_label": identity.profession_label,
            "key_type": self._profile.key_type,
            "run": self._config.instance,
        }
        bound = min(new.pop("accepted_at"), now) + timedelta(seconds=self._config.bound)
        with self._database.read() as connection:
            if (before := orders.known(connection, new)) is not None:
                return before
        if now >= bound:
            raise WrongState("accepted too long ago")
        self._take_in_hand(new["id"])
        try:
            self._workshop.check()
            self._check_token(now)
            store, claimed = self._claim(identity, new, now)
        except BaseException:
            self._let_go(new["id"])
            raise
        if not claimed:
            self._let_go(new["id"])
            return store
        try:
            self._threads.submit(self._make, store, bound)
        except RuntimeError:
            # Stopping: the row is there, so it is ended like any generation that failed.
            self._give_up(store)
            self._let_go(store.id)
        return store

    def _claim(self, identity: Identity, new: NewStore, now: datetime) -> tuple[Store, bool]:
        with self._database.write() as connection:
            store, claimed = orders.claim(connection, new, self._renewal, now)
            if not claimed:
                return store, False
            begun = orders.claimed_since(connection, store.ehealth_id, now - timedelta(hours=1))
            if begun > self._config.per_person_hour:
                raise Overloaded("this person's own limit")
            details = {
                "request": store.request_id,
                "terms": new["terms_version"],
                "terms_sha256": new["terms_sha256"],
                "authenticated_at": identity.authenticated_at.isoformat(),
            }
            stores.note(connection, store, "store-issuing", actor="holder", now=now, details=details)
            fault_point(FaultPoint.ORDER_CLAIMING)
        fault_point(FaultPoint.ORDER_CLAIMED)
        return store, True

    def _take_in_hand(self, store_id: str) -> None:
        """Before the row is visible, so that the reaper never takes it for an orphan. Raises Overloaded."""
        with self._lock:
            if len(self._in_hand) >= self._config.queue:
                raise Overloaded("the queue is full")
            self._in_hand.add(store_id)
            _IN_HAND.set(len(self._in_hand))

    def _let_go(self, store_id: str) -> None:
        with self._lock:
            self._in_hand.discard(store_id)
            _IN_HAND.set(len(self._in_hand))

    def in_hand(self) -> frozenset[str]:
        """Ids of the stores that this process is making now; the reaper leaves them alone."""
        with self._lock:
            return frozenset(self._in_hand)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _check_token(self, now: datetime) -> None:
        """A person is told at once where nothing can be signed. What signed within the last second can."""
        if self._signed_at is not None and timedelta(0) <= now - self._signed_at < _SIGNS_STILL:
            return
        try:
            self._authority.probe()
        except HsmError as error:
            raise CaUnavailable(str(error)) from error
        self._signed_at = now

    def _make(self, store: Store, bound: datetime) -> None:
        logger = log.bind(store=store.id)
        try:
            with _SECONDS.time():
                self._issue(store, bound)
            _STORES.labels("active").inc()
            logger.info("store-active")
        except (HsmError, IssuerError, PolicyRefusal, SQLAlchemyError, ValueError) as error:
            logger.warning("generation-failed", cause=f"{type(error).__name__}: {error}")
            self._give_up(store)
        except BaseException:
            logger.exception("generation-failed")
            self._give_up(store)
            raise
        finally:
            self._let_go(store.id)

    def _issue(self, store: Store, bound: datetime) -> None:
        if self._clock() >= bound:
            raise WrongState("waited past its bound")
        fault_point(FaultPoint.GENERATION_BEGUN)
        order = KeystoreOrder(
            key_type=self._profile.key_type,
            recipient=store.recipient,
            context=sealing_context(store.request_id, store.id),
            friendly_name=f"myCert {store.ehealth_id}",
            profile="legacy" if store.keystore_profile == "legacy" else "modern",
            chain=[self._authority.certificate_der],
        )
        with self._workshop.open(order) as job:
            fault_point(FaultPoint.KEY_MADE)
            now = self._clock()
            template = self._profile.prepare(
                issuer=self._authority.issuer,
                key=job.public_key,
                now=now,
                random=self._random,
                subject=Subject(
                    given_name=store.given_name,
                    family_name=store.family_name,
                    ehealth_id=store.ehealth_id,
                    profession_code=store.profession_code,
                    profession_label=store.profession_label,
                ),
            )
            fault_point(FaultPoint.CERTIFICATE_LINTED)
            with self._database.write() as connection:
                prepare(connection, store, template, now)
                fault_point(FaultPoint.INTENT_WRITING)
            fault_point(FaultPoint.INTENT_WRITTEN)
            self._signed_at = None
            certificate = self._authority.sign(template)
            self._signed_at = now
            fault_point(FaultPoint.CERTIFICATE_SIGNED)
            sealed = job.finish(certificate)
        fault_point(FaultPoint.STORE_SEALED)
        with self._database.write() as connection:
            now = self._clock()
            deadline = now + timedelta(seconds=self._config.delivery)
            activate(
                connection, store, template, certificate, sealed, self._renewal, deadline=deadline, now=now
            )
            fault_point(FaultPoint.STORE_ACTIVATING)
            # Last, so that nothing but the commit comes after it: web gives up some seconds later.
            if self._clock() >= bound:
                raise WrongState("ended after its bound")
        fault_point(FaultPoint.STORE_ACTIVATED)

    def _give_up(self, store: Store) -> None:
        """Leave nothing half-made; where the database is gone too, the reaper does it later."""
        _STORES.labels("failed").inc()
        try:
            with self._database.write() as connection:
                end_generation(connection, store.id, self._clock())
        except (SQLAlchemyError, PolicyRefusal) as error:
            log.warning("left-to-the-reaper", store=store.id, cause=type(error).__name__)
