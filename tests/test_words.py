"""What people read, in the same words everywhere."""

from datetime import timedelta

import pytest

from drift_monitor import words
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Rule


def test_every_direction_has_a_name() -> None:
    assert set(words.DIRECTION_NAMES) == set(words.DIRECTION_SENTENCES) == set(Direction)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.25, "0.25"),
        (0.012345, "0.0123"),
        (-1.2345, "-1.23"),
        (999.4, "999"),
        (999.7, "1,000"),
        (1234567.0, "1,234,567"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
    ],
)
def test_a_number_has_three_digits(value: float | None, said: str) -> None:
    assert words.number(value) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (1e-9, "< 0.0001 %"),
        (0.000123, "0.012 %"),
        (0.0625, "6.2 %"),
        (0.125, "12.5 %"),
        (0.5, "50 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_said_in_percent(share: float | None, said: str) -> None:
    assert words.percent(share) == said


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        (Metric.PSI, 0.1234567, "0.123"),
        (Metric.MISSING_RATIO, 0.5, "50 %"),
        (Metric.ROWS, 12345.0, "12,345"),
        (Metric.FRESHNESS, 7500.2, "2h5m"),
        (Metric.FRESHNESS, None, "–"),
    ],
)
def test_an_amount_is_said_as_its_metric_is_read(metric: Metric, value: float | None, said: str) -> None:
    assert words.amount(metric, value) == said


@pytest.mark.parametrize(
    ("metric", "threshold", "said"),
    [(Metric.MISSING_RATIO, 0.0625, "6.25 %"), (Metric.JS, 0.0125, "0.0125"), (Metric.ROWS, 100.0, "100")],
)
def test_a_threshold_is_said_exactly(metric: Metric, threshold: float, said: str) -> None:
    assert words.threshold(Rule(id="r", metric=metric, above=threshold)) == said


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, ""), (1.0, "█" * 24), (0.5, "█" * 12), (1 / 24 / 8, "▏"), (7 / 24 / 8, "▉")]
)
def test_bars_are_as_long_as_their_share_in_eighths(share: float, drawn: str) -> None:
    assert words.bar(share, 24) == drawn.ljust(24)


def test_a_share_that_occurs_is_never_drawn_as_nothing() -> None:
    assert words.bar(0.0001, 4) == "▏   "
    assert words.bar(0.0, 4) == "    "
    assert words.bar(2.0, 4) == "████"


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=-5, seconds=-3), "5 min"),
        (timedelta(hours=3, minutes=10), "3 h 10 min"),
        (timedelta(hours=11, minutes=10), "11 h"),
        (timedelta(days=1, hours=4), "1 d 4 h"),
        (timedelta(days=3, hours=4), "3 d"),
    ],
)
def test_an_age_is_rough(length: timedelta, said: str) -> None:
    assert words.age(length) == said
