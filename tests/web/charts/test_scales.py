"""Scales: where values are drawn and which of them get a tick."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.web.charts.svg import TimeScale, ValueScale

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)


def test_zero_lies_at_the_foot_and_the_largest_value_at_the_top() -> None:
    scale = ValueScale(8.0, bottom_y=100.0, top_y=20.0, is_root=False)

    assert (scale(0.0), scale(4.0), scale(8.0)) == (100.0, 60.0, 20.0)


def test_a_root_scale_draws_a_quarter_of_the_value_at_half_the_height() -> None:
    assert ValueScale(4.0, 100.0, 0.0, is_root=True)(1.0) == 50.0


def test_values_beyond_the_ends_are_drawn_at_the_edge() -> None:
    scale = ValueScale(1.0, 100.0, 0.0, is_root=False)

    assert (scale(float("inf")), scale(-1.0)) == (0.0, 100.0)


@given(top=st.floats(1e-6, 1e6), is_root=st.booleans())
def test_ticks_are_round_few_apart_and_inside(top: float, is_root: bool) -> None:
    scale = ValueScale(top, 240.0, 0.0, is_root)

    ticks = scale.ticks()

    assert 2 <= len(ticks) <= 11
    assert all(0 <= tick <= top for tick in ticks)
    assert all(float(f"{tick:.2g}") == float(f"{tick:.12g}") for tick in ticks), "two digits say each of them"
    places = [scale(tick) for tick in ticks]
    assert all(one - other >= 24 for one, other in pairwise(places))


def test_days_are_named_by_date_and_hours_by_time() -> None:
    day = TimeScale(MIDNIGHT, MIDNIGHT + timedelta(hours=6), 0.0, 600.0)

    assert day.ticks()[:2] == [(MIDNIGHT, "20 Nov"), (MIDNIGHT + timedelta(hours=1), "01:00")]


@given(hours=st.integers(1, 24 * 4000), offset=st.integers(0, 500))
def test_there_are_never_more_time_ticks_than_asked_for_and_one(hours: int, offset: int) -> None:
    start = MIDNIGHT + timedelta(minutes=7 * offset)
    scale = TimeScale(start, start + timedelta(hours=hours), 0.0, 800.0)

    ticks = scale.ticks(8)

    assert len(ticks) <= 13
    assert all(scale.start <= at <= scale.end for at, _ in ticks)
