"""Spans cut into slices, edges in a column's own type, labels: the pure parts."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.schedule import Span
from drift_monitor.sources.dataset import Slices
from drift_monitor.sources.dialects.values import (
    ceiling_float,
    float_edges,
    floor_float,
    from_wall_clock,
    integer_edges,
    wall_clock,
)

START = datetime(2026, 3, 1, tzinfo=UTC)


def span(low: int, high: int) -> Span:
    return Span(START + timedelta(minutes=low), START + timedelta(minutes=high))


minutes = st.integers(0, 50)
spans = st.lists(st.tuples(minutes, minutes).map(lambda ends: span(min(ends), max(ends) + 1)), min_size=1, max_size=8)


@given(spans, st.lists(minutes, max_size=40))
def test_every_span_is_the_sum_of_its_slices(wanted: list[Span], rows: list[int]) -> None:
    slices = Slices(tuple(wanted))
    times = [START + timedelta(minutes=row) for row in rows]
    counts = np.array(
        [sum(low <= at < high for at in times) for low, high in pairwise(slices.bounds)],
        dtype=np.int64,
    )
    assert slices.fold(counts).tolist() == [sum(one.start <= at < one.end for at in times) for one in wanted]


@given(spans)
def test_runs_cover_the_spans_and_nothing_else(wanted: list[Span]) -> None:
    runs = Slices(tuple(wanted)).runs
    for minute in range(52):
        at = START + timedelta(minutes=minute)
        assert any(run.start <= at < run.end for run in runs) is any(one.start <= at < one.end for one in wanted)
    assert all(first.end < second.start for first, second in pairwise(runs))


numbers = st.one_of(
    st.integers(-(2**80), 2**80),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(numbers, st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_on_the_same_side_of_an_edge_and_of_its_float(edge: int | float | Decimal, value: float) -> None:
    (as_float,) = float_edges([edge])
    assert (value >= as_float) is (Fraction(value) >= Fraction(edge))


@given(numbers, st.integers(-(2**63), 2**63 - 1))
def test_an_integer_is_on_the_same_side_of_an_edge_and_of_its_integer(edge: int | float | Decimal, value: int) -> None:
    (as_integer,) = integer_edges([edge])
    assert (value >= as_integer) is (Fraction(value) >= Fraction(edge))


@given(numbers)
def test_rounding_outwards_keeps_a_number_inside(number: int | float | Decimal) -> None:
    low, high = floor_float(number), ceiling_float(number)
    assert Fraction(low) <= Fraction(number)
    assert math.isinf(high) or Fraction(number) <= Fraction(high)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])
def test_wall_clocks_of_bounds_never_go_back_and_no_row_is_in_two_panes(zone: str) -> None:
    place = ZoneInfo(zone)
    for first in (
        datetime(2026, 3, 27, tzinfo=UTC),
        datetime(2026, 4, 3, tzinfo=UTC),
        datetime(2026, 10, 23, tzinfo=UTC),
    ):
        bounds = [first + timedelta(minutes=15 * number) for number in range(96 * 4)]
        walls = [wall_clock(bound, place) for bound in bounds]
        assert walls == sorted(walls)
        for bound, wall in zip(bounds, walls, strict=True):
            assert from_wall_clock(wall, place) >= bound
            before = from_wall_clock(wall - timedelta(microseconds=1), place)
            shown = before.astimezone(place).replace(tzinfo=None)
            assert before < bound or shown != wall - timedelta(microseconds=1)
