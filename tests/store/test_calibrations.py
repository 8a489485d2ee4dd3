"""Calibrations come back as they were stored, on either database; the newest history counts."""

from datetime import timedelta

import numpy as np

from drift_monitor.core.calibration import calibrate
from drift_monitor.core.schedule import Span
from drift_monitor.core.surprise import PaneHistory
from drift_monitor.store import calibrations
from drift_monitor.store.calibrations import CalibrationState, PastHours, StoredCalibration
from drift_monitor.store.connection import Store
from tests.store.making import hour, prepared

DAY = timedelta(days=1)


def a_calibration(days: int = 0, *, is_learning: bool = False) -> StoredCalibration:
    """Of three features and 28 days, or of nothing yet."""
    counts = np.random.default_rng(days).poisson(30.0, (3, 28 * 24, 5)).astype(np.float64)
    history = PaneHistory(
        start=0.0,
        counts=counts,
        reference=counts.sum(axis=1),
        bins=np.array([5.0, 5.0, 4.0]),
        is_reference=np.ones(counts.shape[1], dtype=np.bool_),
        left_out=np.zeros(counts.shape[:2], dtype=np.bool_),
    )
    end = hour(0) + days * DAY
    hours = PastHours(feature="age", series="bins", span=Span(end - DAY, end), height=30.5, is_state=True)
    return StoredCalibration(
        monitor="loans",
        definition="d1",
        state=CalibrationState.LEARNING if is_learning else CalibrationState.CALIBRATED,
        made_at=end,
        history=Span(end - 28 * DAY, end),
        features=("age", "country", "amount"),
        incidents=(hours,),
        fitted=None if is_learning else calibrate([history], episodes_per_hour=1 / 672),
    )


def test_a_calibration_comes_back_as_it_was(store: Store) -> None:
    prepared(store)
    made = a_calibration()
    store.transact(lambda conn: calibrations.save(conn, made))
    with store.read() as conn:
        found = calibrations.latest(conn, "loans")
    assert found is not None and found.id == made.id
    assert (found.history, found.features, found.incidents) == (made.history, made.features, made.incidents)
    assert found.fitted is not None and made.fitted is not None
    for one, other in zip(found.fitted.lengths, made.fitted.lengths, strict=True):
        assert (one.length, one.usual, one.level, one.many_level) == (
            other.length,
            other.usual,
            other.level,
            other.many_level,
        )
        np.testing.assert_array_equal(one.fits[0].axes, other.fits[0].axes)
    np.testing.assert_array_equal(found.fitted.references[0], made.fitted.references[0])


def test_the_newest_history_counts_or_the_newest_before_a_moment(store: Store) -> None:
    prepared(store)
    for days in (0, 14, 7):
        store.transact(lambda conn, days=days: calibrations.save(conn, a_calibration(days, is_learning=days == 14)))
    with store.read() as conn:
        newest, before = calibrations.latest(conn, "loans"), calibrations.latest(conn, "loans", hour(0) + 13 * DAY)
        assert newest is not None and newest.state is CalibrationState.LEARNING and newest.fitted is None
        assert before is not None and before.history.end == hour(0) + 7 * DAY
        assert calibrations.latest(conn, "others") is None
        assert calibrations.states(conn) == {"loans": (CalibrationState.LEARNING, newest.history)}


def test_it_is_good_for_a_time_and_for_what_it_counted() -> None:
    made, good_for = a_calibration(), {CalibrationState.CALIBRATED: 7 * DAY}
    assert made.is_of("d1", hour(0), good_for=good_for) and made.is_of("d1", hour(167), good_for=good_for)
    assert not made.is_of("d1", hour(168), good_for=good_for)
    assert not made.is_of("d1", hour(-1), good_for=good_for)
    assert not made.is_of("d2", hour(0), good_for=good_for)
