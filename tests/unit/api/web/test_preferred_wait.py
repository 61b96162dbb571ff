from __future__ import annotations

import pytest

from api.web.waiting import MOST_SECONDS, preferred_wait


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, None),
        ("", None),
        ("wait=5", 5),
        ("wait=0", 0),
        ("WAIT = 5", 5),
        ('wait="5"', 5),
        ("respond-async, wait=7", 7),
        ("wait=7; x=y, respond-async", 7),
        ("return=minimal", None),
        ("wait=31", MOST_SECONDS),
        ("wait=999999999", MOST_SECONDS),
        ("wait=9999999999", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=x", None),
        ("wait", None),
        ("await=5", None),
        ("x=wait=5", None),
        # The first one counts (RFC 7240 2).
        ("wait=1, wait=2", 1),
    ],
)
def test_what_is_malformed_is_no_preference(prefer: str | None, seconds: int | None) -> None:
    assert preferred_wait(prefer) == seconds
