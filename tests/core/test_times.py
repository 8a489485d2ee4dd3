"""Durations as Prometheus writes them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.times import format_duration, parse_duration
from drift_monitor.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("500ms", 0.5),
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("7d", 7 * 86_400),
        ("2w", 14 * 86_400),
        ("1y", 365 * 86_400),
        ("1d12h", 36 * 3600),
    ],
)
def test_a_duration_is_the_sum_of_its_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "1.5h", "-5m", "1 h", "30m1h", "1h1h", "h", "1H", "99999999999y", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=36_500 * 86_400_000))
def test_a_formatted_duration_parses_to_itself(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration
