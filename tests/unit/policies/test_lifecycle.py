"""The tables are whole, and what is drawn of them is what they say."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from policies.errors import WrongState
from policies.lifecycle import (
    BEFORE_GENERATION,
    REQUEST_TRANSITIONS,
    STORE_TRANSITIONS,
    UNFINISHED,
    RequestEvent,
    RequestState,
    StoreEvent,
    StoreStatus,
    allowed_actions,
    next_request_state,
    next_store_status,
    statuses_before,
)

ROOT = Path(__file__).parents[3]


def test_the_document_is_what_the_tables_draw() -> None:
    drawn = subprocess.run(
        [sys.executable, ROOT / "scripts/draw_states.py"], check=True, capture_output=True, text=True
    )
    assert (ROOT / "docs/states.md").read_text() == drawn.stdout


def test_every_state_and_event_has_its_place() -> None:
    assert set(REQUEST_TRANSITIONS) == set(UNFINISHED)
    assert set(BEFORE_GENERATION) < set(UNFINISHED)
    reached = {end for moves in REQUEST_TRANSITIONS.values() for end in moves.values()}
    assert reached == set(RequestState) - {RequestState.CREATED}
    told = runpy.run_path(str(ROOT / "scripts/draw_states.py"))
    assert (
        set(told["REQUEST_EVENTS"])
        == set(RequestEvent)
        == {e for m in REQUEST_TRANSITIONS.values() for e in m}
    )
    ended = {end for moves in STORE_TRANSITIONS.values() for end in moves.values()}
    assert ended == set(StoreStatus) - {StoreStatus.ISSUING}
    assert set(told["STORE_EVENTS"]) == set(StoreEvent) == {e for m in STORE_TRANSITIONS.values() for e in m}


@pytest.mark.parametrize("state", RequestState)
def test_only_what_is_in_the_table_follows(state: RequestState) -> None:
    for event in RequestEvent:
        expected = REQUEST_TRANSITIONS.get(state, {}).get(event)
        if expected is None:
            with pytest.raises(WrongState):
                next_request_state(state, event)
        else:
            assert next_request_state(state, event) is expected
    # Whatever is unfinished can be given up; an end allows nothing.
    assert ("cancel" in allowed_actions(state)) == (state in UNFINISHED)
    assert bool(allowed_actions(state)) == (state in UNFINISHED)


@pytest.mark.parametrize("status", StoreStatus)
def test_an_ended_store_never_comes_back(status: StoreStatus) -> None:
    final = status in (StoreStatus.DEACTIVATED, StoreStatus.REVOKED, StoreStatus.EXPIRED)
    assert (status not in STORE_TRANSITIONS) == final
    for event in StoreEvent:
        if status in statuses_before(event):
            assert next_store_status(status, event) is not StoreStatus.ISSUING
        else:
            with pytest.raises(WrongState):
                next_store_status(status, event)
