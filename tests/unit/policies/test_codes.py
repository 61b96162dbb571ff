from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.journey.config import JourneyConfig
from policies.codes import check_hourly, check_resend, check_sends, check_shape, check_usable
from policies.errors import CodeExpired, CodeLocked, CodeMalformed, TooManyRequests

NOW = datetime(2027, 3, 1, 9, 0, tzinfo=UTC)


def test_a_code_lives_five_minutes() -> None:
    expiry = NOW + timedelta(seconds=JourneyConfig(code_key_file="unused").code_lifetime)
    assert expiry - NOW == timedelta(minutes=5)
    check_usable(expiry - timedelta(microseconds=1), expiry, 1)
    with pytest.raises(CodeExpired):
        check_usable(expiry, expiry, 1)
    with pytest.raises(CodeExpired):
        check_usable(NOW, None, 1)


@pytest.mark.parametrize(
    "wrong", ["", "12345", "1234567", "１２３４５６", " 123456", "12345\n", "123456\0", "abcdef", "💊"]
)
def test_a_code_is_six_ascii_digits(wrong: str) -> None:
    check_shape("000000")
    with pytest.raises(CodeMalformed):
        check_shape(wrong)


def test_a_burnt_code_is_locked_before_and_after_its_expiry() -> None:
    for now in (NOW, NOW + timedelta(hours=1)):
        with pytest.raises(CodeLocked) as refused:
            check_usable(now, NOW + timedelta(minutes=5), 0)
        assert refused.value.retry_after


@pytest.mark.parametrize(("passed", "wait"), [(0, 31), (29.5, 1), (29.999, 1), (30, None), (31, None)])
def test_the_pause_is_said_to_the_second(passed: float, wait: int | None) -> None:
    now = NOW + timedelta(seconds=passed)
    if wait is None:
        check_resend(now, [NOW - timedelta(minutes=9), NOW], pause=30)
        return
    with pytest.raises(TooManyRequests) as refused:
        check_resend(now, [NOW - timedelta(minutes=9), NOW], pause=30)
    assert refused.value.retry_after == wait


def test_nothing_was_sent_so_nothing_is_waited_for() -> None:
    check_resend(NOW, [], pause=30)


def test_caps() -> None:
    check_sends(2, most=3)
    with pytest.raises(TooManyRequests):
        check_sends(3, most=3)
    oldest = NOW - timedelta(minutes=50)
    check_hourly(NOW, [oldest, *[NOW] * 3], most=5)
    with pytest.raises(TooManyRequests) as refused:
        check_hourly(NOW, [oldest, *[NOW] * 4], most=5)
    assert refused.value.retry_after == 601
