"""Whoever slept has not watched."""

from datetime import UTC, datetime, timedelta

from drift_monitor.daemon.watchdog import GapDetector

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_rounds_that_follow_each_other_are_one_vigil() -> None:
    vigil = GapDetector(3 * MINUTE)
    assert {vigil.watched_since(NOON + number * MINUTE) for number in range(100)} == {NOON}


def test_a_round_that_comes_late_begins_anew() -> None:
    vigil = GapDetector(3 * MINUTE)
    vigil.watched_since(NOON)
    assert vigil.watched_since(NOON + 3 * MINUTE) == NOON
    late = NOON + timedelta(hours=8)
    assert vigil.watched_since(late) == late
    assert vigil.watched_since(late + MINUTE) == late


def test_a_clock_that_was_set_back_begins_anew() -> None:
    vigil = GapDetector(3 * MINUTE)
    vigil.watched_since(NOON)
    assert vigil.watched_since(NOON - timedelta(hours=1)) == NOON - timedelta(hours=1)
