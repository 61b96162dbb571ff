from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from policies.errors import AlreadyDeactivated, RenewalTooEarly, WrongState
from policies.lifecycle import StoreStatus
from policies.renewal import RenewalRules

END = datetime(2030, 3, 1, 9, 0, tzinfo=UTC)
OPENS = END - timedelta(days=90)


def test_the_window_opens_ninety_days_before_the_end() -> None:
    rules = RenewalRules()
    assert rules.opens(END) == OPENS
    rules.check(OPENS, StoreStatus.ACTIVE, END)
    with pytest.raises(RenewalTooEarly) as refused:
        rules.check(OPENS - timedelta(microseconds=1), StoreStatus.ACTIVE, END)
    assert refused.value.extensions == {"renewable_from": OPENS.isoformat()}


@pytest.mark.parametrize("status", sorted(set(StoreStatus) - {StoreStatus.ACTIVE}))
def test_only_an_active_store_is_renewed(status: StoreStatus) -> None:
    running = status in (StoreStatus.ISSUING, StoreStatus.RETIRING)
    with pytest.raises(WrongState if running else AlreadyDeactivated):
        RenewalRules().check(END, status, END)


def test_an_overlap_ends_with_the_certificate_at_the_latest() -> None:
    assert RenewalRules().retires(OPENS, END) is None
    rules = RenewalRules(overlap_days=30)
    assert rules.retires(OPENS, END) == OPENS + timedelta(days=30)
    assert rules.retires(END - timedelta(days=1), END) == END
