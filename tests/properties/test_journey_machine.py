"""People, clocks, officers and faults in any order, one after the other and at once, against a model.

The model is the contract in a few lines: from what stands in the databases before a call it
says how the call ends and in which state the request is afterwards. What must always be true
is checked after every step; and what has ended never changes again.
"""

from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.journey.tables import code_sends, requests
from api.journey.tokens import base64url
from api.mail.errors import MailUnavailable
from api.problems import problem_of
from api.texts import Language
from issuer import faults
from issuer.faults import FaultPoint
from issuer.issuance.keystore.sealing import derive_recipient
from issuer.registry.tables import deliveries, stores
from policies.lifecycle import UNFINISHED, RequestState, StoreStatus
from policies.reasons import DeactivationReason, RevocationReason
from tests.fixtures.invariants import check_invariants, rows
from tests.fixtures.world import ELIGIBLE, START, Person, World, other_than

CREATED, TERMS_ACCEPTED, CODE_SENT = (
    RequestState.CREATED,
    RequestState.TERMS_ACCEPTED,
    RequestState.CODE_SENT,
)
GENERATING, READY, DELIVERED, EXPIRED, FAILED = (
    RequestState.GENERATING,
    RequestState.READY,
    RequestState.DELIVERED,
    RequestState.EXPIRED,
    RequestState.FAILED,
)
AWAY = "ca-unavailable"
OWN_TOKEN = base64url(b"t" * 32)
OWN_RECIPIENT = derive_recipient(b"t" * 32)
SECONDS = (31.3, 97.7, 127.1, 307.9, 613.3, 25 * 3600.1)
"""Past the pause, the bounds, a code's life, a delivery's, a day; never onto the very moment."""
NEXT = {CREATED: "terms", TERMS_ACCEPTED: "email", CODE_SENT: "right"}
STORM = ("start", "terms", "email", "resend", "right", "wrong", "fetch", "complete", "cancel", "deactivate")

_numbers = itertools.count(1)

people = st.integers(0, 1)


_POINTS = list(FaultPoint)
GENERATION = _POINTS[
    _POINTS.index(FaultPoint.GENERATION_BEGUN) : _POINTS.index(FaultPoint.STORE_ACTIVATED) + 1
]


class Killed(BaseException):
    """Nobody catches it as an error."""


REACHED = {
    "killed",
    *("done", "at once", "request ready", "request delivered", "request cancelled", "request superseded"),
    *("request rejected", "request failed", "store active", "store revoked", "store deactivated"),
}
"""What a long run has to have come to, or it was none."""


@dataclass
class Holder:
    ehealth_id: str
    names: int = 0
    request_id: str | None = None
    tokens: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What stands in the databases of one person's last request, brought up to date as it should be."""

    row: Any
    state: RequestState | None
    store: Any
    others: frozenset[str]
    """Of the person's other stores: the statuses that are in the way."""

    @property
    def begun(self) -> bool:
        return self.state in UNFINISHED and self.row["generating_at"] is not None


class JourneyMachine(RuleBasedStateMachine):
    def __init__(self, world: World, reached: Counter[str]) -> None:
        super().__init__()
        self.world = world
        self.reached = reached
        self.patience = 0
        self.ended: dict[str, dict[str, Any]] = {}

    @initialize()
    def begin(self) -> None:
        self.holders = [Holder(f"{next(_numbers):010d}") for _ in range(2)]
        self.world.clock.now = START
        self.world.held = None
        self.world.start_issuer()
        self.world.hold_generations()

    def teardown(self) -> None:
        self._all_well()
        self.world.clock.pass_time(hours=26)
        self.world.go_on()
        self.world.reaper.round()
        self.world.journey.sweep()
        for holder in getattr(self, "holders", ()):
            person = self._person(holder)
            for held in self.world.held_stores.all_of(person):
                if held.store.status is StoreStatus.ACTIVE:
                    self.world.held_stores.deactivate(
                        person, held.store.id, DeactivationReason.OTHER, confirmed=True
                    )
            # Whatever has happened, this person's next start leads to a store.
            request_id, _ = self.world.until_ready(person, f"{holder.ehealth_id}@example.com")
            assert self.world.journey.find(person, request_id).state is READY
            self.world.journey.cancel(person, request_id)

    # What goes on around the people.

    @rule(seconds=st.sampled_from(SECONDS))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.pass_time(seconds=seconds)

    @rule()
    def stores_are_made(self) -> None:
        self.world.go_on()

    @rule()
    def the_reaper_comes_round(self) -> None:
        self.world.reaper.round()

    @rule()
    def web_sweeps(self) -> None:
        self.world.journey.sweep()

    @rule()
    def the_issuer_restarts(self) -> None:
        self.world.start_issuer()
        self.world.reaper.round()
        for holder in self.holders:
            found = rows(self.world, stores, stores.c.ehealth_id == holder.ehealth_id)
            assert StoreStatus.ISSUING not in {store["status"] for store in found}

    @rule(who=people, point=st.sampled_from(GENERATION))
    def the_issuer_is_killed_while_it_makes_stores(self, who: int, point: FaultPoint) -> None:
        def kill(reached: FaultPoint) -> None:
            if reached is point:
                # As kill -9 does it: nothing is given up any more, what is not committed is gone.
                self.world.issuance._give_up = lambda _: None  # type: ignore[method-assign]
                raise Killed

        self.go_the_straight_way(who, GENERATING)
        faults.install(kill)
        try:
            self.world.go_on()
        except Killed:
            self.reached["killed"] += 1
        finally:
            faults.install(None)
        self.the_issuer_restarts()

    @rule(away=st.sampled_from(["unreachable", "losing_answers"]), calls=st.integers(1, 3))
    def the_issuer_is_away(self, away: str, calls: int) -> None:
        setattr(self.world.issuer, away, True)
        self.patience = calls

    @rule(calls=st.integers(1, 3))
    def the_mail_server_is_down(self, calls: int) -> None:
        self.world.mail.failing = MailUnavailable("down")
        self.patience = calls

    def _all_well(self) -> None:
        self.world.issuer.unreachable = self.world.issuer.losing_answers = False
        self.world.mail.failing = None

    @rule(who=people)
    def an_officer_revokes(self, who: int) -> None:
        found = rows(self.world, stores, stores.c.ehealth_id == self.holders[who].ehealth_id)
        for store in found:
            expected = store["ended_at"] is None
            said = self._said(
                lambda store=store: self.world.officers.revoke(
                    [store["id"]], RevocationReason.INCIDENT, "o", dry_run=False
                )
            )
            assert said == ("done" if expected else "already-deactivated")

    @rule(who=people)
    def a_name_changes(self, who: int) -> None:
        self.holders[who].names += 1

    # What people do, one after the other.

    @rule(who=people, key=st.sampled_from([None, "a", "b"]))
    def start(self, who: int, key: str | None) -> None:
        holder, seen = self._look(who)
        known = rows(
            self.world,
            requests,
            requests.c.ehealth_id == holder.ehealth_id,
            requests.c.idempotency_key == key,
            requests.c.idempotency_key.is_not(None),
        )
        said = self._do(holder, "start", key=key)
        if known:
            assert said == "done"
            return
        delivered = seen.state in (DELIVERED, EXPIRED) and self._active(seen)
        if delivered or StoreStatus.ACTIVE in seen.others:
            assert said == "active-store-exists"
        elif seen.begun and self._away:
            assert said == AWAY
        else:
            assert said == "done"
            assert self._state(holder) is CREATED
            if seen.state in UNFINISHED and seen.row is not None:
                assert self._state_of(seen.row["id"]) is RequestState.SUPERSEDED

    @rule(who=people, current=st.booleans())
    def accept_terms(self, who: int, current: bool) -> None:
        holder, seen = self._look(who)
        said = self._do(holder, "terms" if current else "old-terms")
        if seen.state not in (CREATED, TERMS_ACCEPTED, CODE_SENT):
            self._unchanged(seen, said, "wrong-state")
        elif not current:
            self._unchanged(seen, said, "terms-outdated")
        else:
            self._became(holder, said, "done", TERMS_ACCEPTED)

    @rule(who=people)
    def name_an_address(self, who: int) -> None:
        holder, seen = self._look(who)
        said = self._do(holder, "email")
        if seen.row is not None and seen.row["terms_version"] is None:
            self._unchanged(seen, said, "terms-not-accepted")
        elif seen.state not in (TERMS_ACCEPTED, CODE_SENT):
            self._unchanged(seen, said, "wrong-state")
        elif self._renamed(holder, seen):
            self._became(holder, said, "wrong-state", TERMS_ACCEPTED)
        elif self.world.mail.failing:
            self._unchanged(seen, said, "mail-unavailable")
        else:
            self._became(holder, said, "done", CODE_SENT, attempts_left=5)

    @rule(who=people)
    def ask_for_another_code(self, who: int) -> None:
        holder, seen = self._look(who)
        sent = rows(self.world, code_sends, code_sends.c.ehealth_id == holder.ehealth_id)
        since = self.world.clock.now - max((row["sent_at"] for row in sent), default=START)
        said = self._do(holder, "resend")
        if seen.state is not CODE_SENT:
            self._unchanged(seen, said, "wrong-state")
        elif self._renamed(holder, seen):
            self._became(holder, said, "wrong-state", TERMS_ACCEPTED)
        elif sent and since < timedelta(seconds=30):
            self._unchanged(seen, said, "too-many-requests")
        elif self.world.mail.failing:
            self._unchanged(seen, said, "mail-unavailable")
        else:
            self._became(holder, said, "done", CODE_SENT, attempts_left=5)

    @rule(who=people, right=st.booleans(), own=st.booleans())
    def enter_a_code(self, who: int, right: bool, own: bool) -> None:
        holder, seen = self._look(who)
        now = self.world.clock.now
        said = self._do(holder, "right" if right else "wrong", own=own)
        row = seen.row
        if seen.state in (GENERATING, READY):
            if own and right and row["recipient"] == OWN_RECIPIENT:
                # The same act again; it orders again where the first order's answer never came.
                orders = seen.state is GENERATING and row["store_id"] is None
                assert said in ({"done", AWAY, "wrong-state", "active-store-exists"} if orders else {"done"})
            else:
                self._unchanged(seen, said, "wrong-state")
        elif seen.state is not CODE_SENT:
            self._unchanged(seen, said, "wrong-state")
        elif self._renamed(holder, seen):
            self._became(holder, said, "wrong-state", TERMS_ACCEPTED)
        elif row["attempts_left"] == 0:
            self._unchanged(seen, said, "code-locked")
        elif now >= row["code_expires_at"]:
            self._unchanged(seen, said, "code-expired")
        elif not right:
            self._became(holder, said, "code-invalid", CODE_SENT, attempts_left=row["attempts_left"] - 1)
        elif self.world.issuer.unreachable:
            self._became(holder, said, AWAY, CODE_SENT, attempts_left=row["attempts_left"])
        elif self.world.issuer.losing_answers:
            assert said == AWAY
            assert self._state(holder) in (GENERATING, FAILED)
        elif seen.others:
            self._became(holder, said, "active-store-exists", FAILED)
        else:
            self._became(holder, said, "done", GENERATING)

    @rule(who=people, part=st.sampled_from(["password", "keystore"]), bearer=st.booleans())
    def fetch(self, who: int, part: str, bearer: bool) -> None:
        holder, seen = self._look(who)
        known = bearer and seen.row is not None and seen.row["id"] in holder.tokens
        said = self._do(holder, "fetch" if known else "fetch-by-another", part=part)
        if seen.state in (DELIVERED, EXPIRED):
            self._unchanged(seen, said, "delivery-expired")
        elif seen.state is not READY:
            self._unchanged(seen, said, "wrong-state")
        elif not known:
            self._unchanged(seen, said, "delivery-token-invalid")
        else:
            self._unchanged(seen, said, AWAY if self._away else "done")

    @rule(who=people)
    def go_home(self, who: int) -> None:
        holder, seen = self._look(who)
        said = self._do(holder, "complete")
        if seen.state is DELIVERED:
            self._unchanged(seen, said, "done")
        elif seen.state is EXPIRED:
            self._unchanged(seen, said, "delivery-expired")
        elif seen.state is not READY:
            self._unchanged(seen, said, "wrong-state")
        elif self.world.issuer.unreachable:
            self._unchanged(seen, said, AWAY)
        else:
            self._became(holder, said, AWAY if self.world.issuer.losing_answers else "done", DELIVERED)

    @rule(who=people)
    def cancel(self, who: int) -> None:
        holder, seen = self._look(who)
        said = self._do(holder, "cancel")
        if seen.state not in UNFINISHED:
            self._unchanged(seen, said, "wrong-state")
        elif seen.begun and self.world.issuer.unreachable:
            self._unchanged(seen, said, AWAY)
        elif seen.begun and self.world.issuer.losing_answers:
            assert said == AWAY
        else:
            self._became(holder, said, "done", RequestState.CANCELLED)

    @rule(
        who=people, step=st.sampled_from(["terms", "email", "right", "fetch", "complete", "cancel", "start"])
    )
    def lose_a_gate(self, who: int, step: str) -> None:
        holder, seen = self._look(who)
        if seen.row is None and step != "start":
            return
        said = self._do(holder, step, lost=True)
        assert said == "not-health-professional"
        if seen.state in UNFINISHED and seen.row is not None:
            if seen.begun and self._away:
                assert self._state(holder) in (seen.state, FAILED)
            else:
                assert self._state(holder) is RequestState.REJECTED

    @rule(who=people, until=st.sampled_from([TERMS_ACCEPTED, CODE_SENT, GENERATING, READY, DELIVERED]))
    def go_the_straight_way(self, who: int, until: RequestState) -> None:
        """What most people do most of the time; by chance alone nobody would come far."""
        for _ in range(8):
            holder, seen = self._look(who)
            if seen.state is until:
                return
            if seen.state is GENERATING:
                self.world.go_on()
            elif seen.state is READY:
                for part in ("password", "keystore"):
                    self._do(holder, "fetch", part=part)
                self._do(holder, "complete")
            elif self._do(holder, NEXT.get(seen.state, "start")) == "active-store-exists":
                self._do(holder, "deactivate")

    @rule(who=people)
    def the_issuer_dies_over_a_store(self, who: int) -> None:
        """By chance alone it would hardly ever restart while a store is being made."""
        self.go_the_straight_way(who, GENERATING)
        holder, seen = self._look(who)
        self.the_issuer_restarts()
        if seen.state is GENERATING and seen.store is not None:
            assert self._state(holder) is FAILED

    @rule(who=people)
    def deactivate(self, who: int) -> None:
        holder, _ = self._look(who)
        (newest, *_) = [*self.world.held_stores.all_of(self._person(holder)), None]
        if newest is None:
            return
        said = self._do(holder, "deactivate")
        if self._away and newest.store.status is not None:
            assert said == AWAY
        elif newest.store.status is StoreStatus.ISSUING:
            assert said == "wrong-state"
        elif newest.store.status in (StoreStatus.ACTIVE, StoreStatus.RETIRING):
            assert said == "done"
        else:
            assert said == "already-deactivated"

    # What people do at once, in several tabs.

    @rule(
        who=people, deeds=st.lists(st.sampled_from([*STORM, "make", "reap", "sweep"]), min_size=2, max_size=8)
    )
    @precondition(lambda self: not self.world.issuer.losing_answers)
    def all_at_once(self, who: int, deeds: list[str]) -> None:
        holder, _ = self._look(who)
        around = {
            "make": self.world.go_on,
            "reap": self.world.reaper.round,
            "sweep": self.world.journey.sweep,
        }

        def one(deed: str) -> str:
            return self._said(around[deed]) if deed in around else self._do(holder, deed)

        with ThreadPoolExecutor(len(deeds)) as threads:
            said = list(threads.map(one, deeds))
        self.reached["at once"] += len(said)

    # What is always true.

    @invariant()
    def all_that_is_always_true(self) -> None:
        if not hasattr(self, "holders"):
            return
        who = [holder.ehealth_id for holder in self.holders]
        check_invariants(self.world, who)
        now: dict[str, dict[str, Any]] = {}
        for table in (requests, stores):
            for row in rows(self.world, table, table.c.ehealth_id.in_(who), table.c.ended_at.is_not(None)):
                now[row["id"]] = {**row, "delivered_at": None, "store_id": None}
        for table in (requests, stores):
            kind, column = table.name[:-1], table.c.state if table is requests else table.c.status
            with (self.world.database if table is requests else self.world.registry).read() as connection:
                query = sa.select(column).where(table.c.ehealth_id.in_(who))
                self.reached.update(f"{kind} {value}" for value in connection.execute(query).scalars())
        for name, row in now.items():
            assert self.ended.setdefault(name, row) == row, "what has ended has changed"

    # How the machine looks and acts.

    @property
    def _away(self) -> bool:
        return self.world.issuer.unreachable or self.world.issuer.losing_answers

    def _person(self, holder: Holder, *, lost: bool = False) -> Person:
        return self.world.person(
            holder.ehealth_id,
            given_name=f"NAME{'X' * holder.names}",
            standing=replace(ELIGIBLE, health_professional=not lost),
        )

    def _look(self, who: int) -> tuple[Holder, Seen]:
        """Before a call; what is broken is mended after a few of them."""
        if self.patience == 0:
            self._all_well()
        self.patience -= 1
        return self._see(who)

    def _see(self, who: int) -> tuple[Holder, Seen]:
        holder = self.holders[who]
        found = rows(self.world, requests, requests.c.ehealth_id == holder.ehealth_id)
        found.sort(key=lambda row: row["created_at"])
        row = found[-1] if found else None
        holder.request_id = None if row is None else row["id"]
        mine = rows(self.world, stores, stores.c.ehealth_id == holder.ehealth_id)
        store = next((s for s in mine if row is not None and s["request_id"] == row["id"]), None)
        others = frozenset(
            s["status"]
            for s in mine
            if s is not store and s["status"] in (StoreStatus.ACTIVE, StoreStatus.ISSUING)
        )
        state = None if row is None else self._brought_up(row, store)
        return holder, Seen(row=row, state=state, store=store, others=others)

    def _brought_up(self, row: Any, store: Any) -> RequestState:
        """The state that the request must be found in at the next look."""
        state, now = RequestState(row["state"]), self.world.clock.now
        if state not in (GENERATING, READY):
            return state
        active = store is not None and store["status"] == StoreStatus.ACTIVE
        delivery = None
        if active:
            delivery = next(iter(rows(self.world, deliveries, deliveries.c.store_id == store["id"])), None)
        if not active:
            waiting = state is GENERATING and (store is None or store["status"] == StoreStatus.ISSUING)
            return GENERATING if waiting and now < row["deadline"] else FAILED
        deadline = row["deadline"] if state is READY else (delivery["deadline"] if delivery else now)
        if now >= deadline:
            return EXPIRED
        return READY if delivery else DELIVERED

    @staticmethod
    def _active(seen: Seen) -> bool:
        return seen.store is not None and seen.store["status"] == StoreStatus.ACTIVE

    def _renamed(self, holder: Holder, seen: Seen) -> bool:
        return bool(seen.row["given_name"] != f"NAME{'X' * holder.names}")

    def _state_of(self, request_id: str) -> RequestState:
        (row,) = rows(self.world, requests, requests.c.id == request_id)
        return RequestState(row["state"])

    def _state(self, holder: Holder) -> RequestState | None:
        """What the person is shown of their last request; the purge may have taken it."""
        _, seen = self._see(self.holders.index(holder))
        if seen.row is None:
            return None
        return self.world.journey.find(self._person(holder), seen.row["id"]).state

    def _unchanged(self, seen: Seen, said: str, expected: str) -> None:
        if seen.row is None:
            assert said == "nothing"
            return
        assert said == expected
        holder = next(h for h in self.holders if h.ehealth_id == seen.row["ehealth_id"])
        assert self._state(holder) is seen.state

    def _became(
        self, holder: Holder, said: str, expected: str, state: RequestState, attempts_left: int | None = None
    ) -> None:
        assert said == expected
        assert self._state(holder) is state
        if attempts_left is not None:
            (row,) = rows(self.world, requests, requests.c.id == holder.request_id)
            assert row["attempts_left"] == attempts_left

    def _said(self, call: Any) -> str:
        said = "done"
        try:
            call()
        except sa.exc.OperationalError as error:
            raise AssertionError("nothing was told to fail here") from error
        except Exception as error:
            said = problem_of(error).code
            if said == "internal":
                raise
        self.reached[said] += 1
        return said

    def _do(
        self,
        holder: Holder,
        step: str,
        *,
        own: bool = True,
        key: str | None = None,
        part: str = "password",
        lost: bool = False,
    ) -> str:
        world, person, request_id = self.world, self._person(holder, lost=lost), holder.request_id
        address = f"{holder.ehealth_id}@example.com"
        if step == "start":
            return self._said(lambda: world.journey.start(person, key))
        if step == "deactivate":
            return self._said(
                lambda: [
                    world.held_stores.deactivate(
                        person, held.store.id, DeactivationReason.OTHER, confirmed=True
                    )
                    for held in world.held_stores.all_of(person)[:1]
                ]
            )
        if request_id is None:
            return "nothing"
        version = world.texts.terms_version
        french = Language.FRENCH

        def verify(code: str) -> None:
            accepted = world.verification.verify(person, request_id, code, OWN_TOKEN if own else None)
            holder.tokens[request_id] = base64url(accepted.token)

        token = holder.tokens.get(request_id) if step == "fetch" else None
        calls = {
            "terms": lambda: world.journey.accept_terms(person, request_id, version, french),
            "old-terms": lambda: world.journey.accept_terms(person, request_id, "0", french),
            "email": lambda: world.verification.set_email(person, request_id, address, "modern", french),
            "resend": lambda: world.verification.resend(person, request_id),
            "right": lambda: verify(self._code(address)),
            "wrong": lambda: verify(other_than(self._code(address) or "0")),
            "fetch": lambda: world.journey.fetch(person, request_id, part, token),  # type: ignore[arg-type]
            "fetch-by-another": lambda: world.journey.fetch(person, request_id, "password", "A" * 43),
            "complete": lambda: world.journey.complete(person, request_id),
            "cancel": lambda: world.journey.cancel(person, request_id),
        }
        return self._said(calls[step])

    def _code(self, address: str) -> str:
        return self.world.mail.last_code_to(address)


def run(world: World, examples: int, steps: int) -> Counter[str]:
    reached: Counter[str] = Counter()
    run_state_machine_as_test(
        lambda: JourneyMachine(world, reached),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return reached


@pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True)
def test_people_clocks_and_faults_in_any_order(world: World) -> None:
    run(world, examples=12, steps=30)


@pytest.mark.slow
def test_people_clocks_and_faults_in_any_order_at_length(world: World) -> None:
    reached = run(world, examples=100, steps=40)
    assert set(reached) >= REACHED
