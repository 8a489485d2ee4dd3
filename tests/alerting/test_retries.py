"""The waits between tries."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.alerting.dispatch import delay, next_attempt

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HIGHEST_DRAW = 1 - 2**-53


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_every_wait_is_between_a_second_and_five_minutes(attempt: int, drawn: float) -> None:
    assert timedelta(seconds=1) <= delay(attempt, lambda: drawn) <= timedelta(minutes=5)


def test_ceiling_doubles_up_to_five_minutes() -> None:
    ceilings = [round(delay(attempt, lambda: HIGHEST_DRAW).total_seconds()) for attempt in range(1, 11)]
    assert ceilings == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_jitter_is_full_down_to_the_smallest_wait() -> None:
    assert delay(9, lambda: 0.0) == timedelta(seconds=1)


def test_retry_after_is_honoured_up_to_an_hour() -> None:
    def after(seconds: float) -> datetime | None:
        return next_attempt(1, created_at=NOON, at=NOON, retry_after=seconds, draw=lambda: 0.0)

    assert after(90) == NOON + timedelta(seconds=90)
    assert after(10**9) == NOON + timedelta(hours=1)
    assert after(0.1) == NOON + timedelta(seconds=1)


@pytest.mark.parametrize(("age", "given_up"), [(timedelta(hours=23, minutes=50), False), (timedelta(hours=24), True)])
def test_notification_is_given_up_after_a_day(age: timedelta, *, given_up: bool) -> None:
    moment = next_attempt(20, created_at=NOON, at=NOON + age, retry_after=None, draw=lambda: 0.5)
    assert (moment is None) is given_up
