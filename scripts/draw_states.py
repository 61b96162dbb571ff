"""Draw the states of requests and stores from their tables: python scripts/draw_states.py > docs/states.md"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from policies.lifecycle import (
    REQUEST_TRANSITIONS,
    STORE_TRANSITIONS,
    RequestEvent,
    RequestState,
    StoreEvent,
    StoreStatus,
    allowed_actions,
)

Transitions = Mapping[StrEnum, Mapping[StrEnum, StrEnum]]

# What each event means.
REQUEST_EVENTS = {
    RequestEvent.ACCEPT_TERMS: "The terms in force are accepted; a code sent before is worthless.",
    RequestEvent.SEND_CODE: "The data are confirmed and a code is on its way to the address.",
    RequestEvent.ACCEPT_CODE: "The right code was entered: the generation begins.",
    RequestEvent.DATA_CHANGED: "The provider's data are not those shown: they are confirmed anew.",
    RequestEvent.DEFER: "The issuer refused before anything was begun: the same code may be tried again.",
    RequestEvent.GENERATED: "The registry holds the active store.",
    RequestEvent.COMPLETE: "The holder went back home; the sealed material is gone.",
    RequestEvent.CANCEL: "The holder gave up; what had begun is revoked.",
    RequestEvent.SUPERSEDE: "The holder started over; what had begun is revoked.",
    RequestEvent.DEADLINE: "A day has passed; or the generation's bound, or the delivery's deadline.",
    RequestEvent.FAIL: "The registry holds no active store of this request, and will hold none.",
    RequestEvent.REJECT: "A gate was lost; what had begun is revoked.",
}

STORE_EVENTS = {
    StoreEvent.ACTIVATE: "Signed, sealed, and in time.",
    StoreEvent.RETIRE: "Its successor was activated, and an overlap is configured.",
    StoreEvent.DEACTIVATE: "By its holder; or its successor was activated, or the overlap has ended.",
    StoreEvent.REVOKE: "By an officer; or its request ended before it was delivered.",
    StoreEvent.LAPSE: "The certificate's validity has ended.",
}


def diagram(transitions: Transitions, first: StrEnum) -> Iterable[str]:
    rows = [(start, event, end) for start, moves in transitions.items() for event, end in moves.items()]
    # Ends that every state leads to are drawn once, or the picture would be all arrows.
    crowded = {
        end for _, _, end in rows if len({start for start, _, to in rows if to == end}) == len(transitions)
    }
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {_name(first)}"
    for start, event, end in rows:
        if end not in crowded:
            yield f"    {_name(start)} --> {_name(end)}: {event}"
    if crowded:
        yield '    state "any of the states before an end" as unfinished'
        for end in sorted(crowded):
            events = " or ".join(dict.fromkeys(event for _, event, to in rows if to == end))
            yield f"    unfinished --> {_name(end)}: {events}"
    for state in (state for state in {end: None for _, _, end in rows} if state not in transitions):
        yield f"    {_name(state)} --> [*]"
    yield "```"


def table(transitions: Transitions, events: Mapping[StrEnum, str]) -> Iterable[str]:
    yield "| from | event | to | |"
    yield "|---|---|---|---|"
    for start, moves in transitions.items():
        for event, end in moves.items():
            yield f"| {start} | {event} | {end} | {events[event]} |"


def document() -> str:
    return "\n".join(
        [
            "# States",
            "",
            "Drawn from the tables in [`policies/lifecycle.py`](../policies/lifecycle.py) by",
            "`python scripts/draw_states.py > docs/states.md`; a test holds the two together.",
            "Each transition is a compare-and-set on the state that it starts from, in one transaction",
            "with its audit event.",
            "",
            "## Requests",
            "",
            *diagram(REQUEST_TRANSITIONS, RequestState.CREATED),
            "",
            *table(REQUEST_TRANSITIONS, REQUEST_EVENTS),
            "",
            "What the API names in `allowed_actions`:",
            "",
            "| state | actions |",
            "|---|---|",
            *(f"| {state} | {', '.join(allowed_actions(state)) or '–'} |" for state in RequestState),
            "",
            "## Stores",
            "",
            *diagram(STORE_TRANSITIONS, StoreStatus.ISSUING),
            "",
            *table(STORE_TRANSITIONS, STORE_EVENTS),
            "",
        ]
    )


def _name(state: StrEnum) -> str:
    return state.replace("-", "_")


if __name__ == "__main__":
    sys.stdout.write(document())
