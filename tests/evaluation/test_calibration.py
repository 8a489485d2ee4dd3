"""A rule that keeps a budget of false alarms, on a real table: what it learns from, when it speaks, what it says.

Forty days of rows by the hour, whose ages follow the hour of the day; from the thirty-seventh day on they are a quarter
of a bin higher: a drift below the customary thresholds.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from drift_monitor.core.divergence import Metric
from drift_monitor.core.schedule import Span
from drift_monitor.errors import SourceTimeout
from drift_monitor.evaluation.backfill import backfill
from drift_monitor.sources.dataset import Counter, Dataset, Reading
from drift_monitor.store import calibrations
from drift_monitor.store.calibrations import CalibrationState, StoredCalibration
from tests.evaluation.workbench import AGE, MONITOR, Bench, Workbench, hour

DAY = 24
BEGINS = 36 * DAY
COUNTRY = {"name": "country", "kind": "categorical"}
BUDGET = {"false_alarms": "1 per 28d"}
KEYS = {"window": "24h", "features": [AGE, COUNTRY], "rules": [BUDGET], "reference": {"table": "training"}}


def rows_of(random: np.random.Generator, number: int, moved: float) -> tuple[list[float | None], list[str | None]]:
    count = int(random.integers(150, 250))
    ages = random.normal(20 + 4 * np.sin(2 * np.pi * number / DAY) + moved, 8, count)
    missing = random.random(count) < 0.1
    names = random.choice(["DE", "FR", "IT"], count, p=[0.6, 0.3, 0.1])
    return [None if gap else float(age) for age, gap in zip(ages, missing, strict=True)], [str(name) for name in names]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    folder, random = tmp_path_factory.mktemp("calibration"), np.random.default_rng(36)
    workbench = Workbench(folder, f"sqlite:///{folder}/drift.db")
    for number in range(40 * DAY):
        workbench.people.arrive(number, *rows_of(random, number, 2.5 if number >= BEGINS else 0.0))
    workbench.people.train(*rows_of(random, 0, 0.0))
    return workbench


@pytest.fixture
def workbench(filled: Workbench, tmp_path: Path) -> Iterator[Workbench]:
    with filled.copied(tmp_path) as copy:
        yield copy


def newest(bench: Bench) -> StoredCalibration:
    with bench.services.store.read() as conn:
        found = calibrations.latest(conn, MONITOR)
    assert found is not None
    return found


def test_a_drift_that_thresholds_do_not_see_is_one_alert_that_names_its_feature(workbench: Workbench) -> None:
    with workbench.open(**{**KEYS, "rules": [BUDGET, {"metric": "psi", "above": 0.25}]}) as bench:
        bench.evaluate(*range(BEGINS - 12, BEGINS + 25))
        (episode,) = bench.episodes()
        assert (episode.metric, episode.key.feature) == ("surprise", "")
        assert hour(BEGINS) < episode.opened_window <= hour(BEGINS + 24)
        (body,) = [json.loads(body) for (body,) in bench.rows("SELECT body FROM outbox")]
        (alert,) = body["alerts"]
        assert alert["annotations"]["features"] == "age"
        assert alert["annotations"]["summary"].startswith("people drifted: age; surprise ")
        assert "its level is" in alert["annotations"]["description"]
        assert alert["annotations"]["verdict"].startswith("age: surprise ")
        assert "1 false alarm per 28d" in alert["annotations"]["description"]
        opened = (episode.opened_window - hour(0)) // timedelta(hours=1)
        age, country = (bench.measured(opened, name) for name in ("age", "country"))
        assert age.surprise is not None and age.level is not None and age.surprise > age.level
        assert country.surprise is not None and country.surprise < country.level
        assert age.calibration == newest(bench).id and age.surprise_window in (1, 6, 24)


def test_the_first_evaluation_reads_the_last_four_weeks_and_is_judged_at_once(workbench: Workbench) -> None:
    with workbench.open(**KEYS) as bench:
        bench.evaluate(BEGINS - 1)
        made = newest(bench)
        assert made.state is CalibrationState.CALIBRATED
        assert made.history == Span(hour(BEGINS - 1 - 29 * DAY), hour(BEGINS - 1 - DAY))  # none of the window's own day
        assert bench.measured(BEGINS - 1).surprise is not None
        panes = bench.rows("SELECT count(*) FROM pane_rows")[0][0]
        assert panes == 29 * DAY


def test_a_history_that_takes_too_long_is_read_piece_by_piece(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workbench.open(**KEYS) as bench:
        source, lengths = bench.services.sources["people"], []
        read = source.read

        def slow(dataset: Dataset, counters: Sequence[Counter], spans: Sequence[Span] | None) -> Reading:
            if len(spans or ()) > 4 * DAY:
                raise SourceTimeout("a statement took longer than 30s")
            lengths.append(len(spans or ()))
            return read(dataset, counters, spans)

        monkeypatch.setattr(source, "read", slow)
        bench.evaluate(BEGINS - 1)
        assert newest(bench).state is CalibrationState.CALIBRATED
        assert sum(lengths) - lengths[-1] == 28 * DAY  # each pane once, and then those of the window


def test_under_two_weeks_it_is_learning_and_says_nothing(workbench: Workbench) -> None:
    with workbench.open(**KEYS) as bench:
        bench.evaluate(14 * DAY + 12)
        assert newest(bench).state is CalibrationState.LEARNING
        assert bench.measured(14 * DAY + 12).surprise is None
        assert bench.phase_after(14 * DAY + 12) == "inactive"
        bench.evaluate(15 * DAY + 13)  # a day later it is tried again, and there are fourteen days
        assert newest(bench).state is CalibrationState.CALIBRATED
        assert bench.measured(15 * DAY + 13).surprise is not None


def test_a_calibration_serves_for_a_week_and_for_the_same_bins(workbench: Workbench) -> None:
    with workbench.open(**KEYS) as bench:
        bench.evaluate(20 * DAY, 21 * DAY, 27 * DAY - 1)
        first = newest(bench)
        assert bench.measured(27 * DAY - 1).calibration == first.id
        bench.evaluate(27 * DAY)
        second = newest(bench)
        assert second.history.end == hour(26 * DAY) and bench.measured(27 * DAY).calibration == second.id != first.id
    with workbench.open(**{**KEYS, "features": [{"name": "age", "bins": {"edges": [0, 20, 40]}}]}) as bench:
        bench.evaluate(27 * DAY + 1)
        assert newest(bench).features == ("age",) and bench.measured(27 * DAY + 1).calibration == newest(bench).id


def test_hours_above_the_level_are_no_part_of_a_later_history(workbench: Workbench) -> None:
    with workbench.open(**KEYS) as bench:
        bench.evaluate(*range(BEGINS, BEGINS + 4 * DAY))
        open_then = newest(bench)
        bench.services.store.transact(lambda conn: conn.exec_driver_sql("DELETE FROM calibration"))
        bench.evaluate(40 * DAY)  # the drift goes on: were its three days part of the history, it would be half normal
        again = newest(bench)
        assert again.id != open_then.id
        age = bench.measured(40 * DAY)
        assert age.surprise is not None and age.level is not None and age.surprise > age.level


def test_no_rows_are_no_calm(workbench: Workbench) -> None:
    """What is not there is neither drift nor recovery: the alert stays as it is, and features have no surprise."""
    workbench.people.execute(f"DELETE FROM people WHERE at >= '{hour(BEGINS + 20):%Y-%m-%dT%H:%M}'")
    with workbench.open(**KEYS) as bench:
        bench.evaluate(*range(BEGINS + 12, BEGINS + 20), BEGINS + 20 + DAY, BEGINS + 22 + DAY)
        (episode,) = bench.episodes()
        assert episode.closed_window is None and bench.phase_after(BEGINS + 22 + DAY) == "firing"
        assert bench.measured(BEGINS + 19).surprise is not None
        assert bench.measured(BEGINS + 20 + DAY).surprise is None


def test_a_feature_that_is_gone_ends_no_alert(workbench: Workbench) -> None:
    with workbench.open(**KEYS) as bench:
        bench.evaluate(*range(BEGINS + 12, BEGINS + 20))
        assert [episode.closed_window for episode in bench.episodes()] == [None]
        workbench.people.execute("ALTER TABLE people RENAME COLUMN age TO years")
        bench.evaluate(*range(BEGINS + 20, BEGINS + 48, 9))
        assert bench.measured(BEGINS + 47).surprise is None
        assert [episode.closed_window for episode in bench.episodes()] == [None]
        country = bench.measured(BEGINS + 47, "country")
        assert country.surprise is not None and country.level is not None and country.surprise < country.level


def test_a_backfill_judges_each_window_by_what_was_known_then(workbench: Workbench) -> None:
    with workbench.open(**KEYS) as bench:
        monitor = bench.services.config.monitor(MONITOR)
        for _ in backfill(bench.services, monitor, hour(34 * DAY), hour(BEGINS + DAY)):
            pass
        (episode,) = bench.episodes()
        assert hour(BEGINS) < episode.opened_window <= hour(BEGINS + 24)


@pytest.mark.parametrize("keys", [{"pane": "30m"}, {"pane": "6h", "every": "6h"}, {"pane": "1d", "every": "1d"}])
def test_panes_of_other_lengths_are_judged_by_the_lengths_they_divide(
    workbench: Workbench, keys: dict[str, str]
) -> None:
    lengths = {"30m": {1, 6, 24}, "6h": {6, 24}, "1d": {24}}
    with workbench.open(**KEYS, **keys) as bench:
        bench.evaluate(35 * DAY, 39 * DAY)
        fitted = newest(bench).fitted
        assert fitted is not None and {known.length for known in fitted.lengths} == lengths[keys["pane"]]
        calm, moved = bench.measured(35 * DAY), bench.measured(39 * DAY)
        assert calm.surprise is not None and calm.level is not None and calm.surprise < calm.level
        assert moved.surprise is not None and moved.level is not None and moved.surprise > moved.level


def test_a_calibration_comes_back_whole(workbench: Workbench) -> None:
    with workbench.open(**KEYS) as bench:
        bench.evaluate(30 * DAY)
        (packed,) = bench.rows("SELECT arrays FROM calibration")[0]
        first = newest(bench)
        calibrations._unpacked.cache_clear()
        again = newest(bench)
        assert first.fitted is not None and again.fitted is not None and isinstance(packed, bytes)
        for one, other in zip(first.fitted.lengths, again.fitted.lengths, strict=True):
            assert (one.level, one.usual, one.many_level) == (other.level, other.usual, other.many_level)
            for kind, same in zip(one.fits, other.fits, strict=True):
                np.testing.assert_array_equal(kind.axes, same.axes)
        assert again.id == bench.measured(30 * DAY).calibration


def test_a_missing_rate_that_doubles_is_noticed(workbench: Workbench) -> None:
    random = np.random.default_rng(1)
    workbench.people.execute("DELETE FROM people WHERE at >= '2024-04-08'")
    for number in range(35 * DAY, 35 * DAY + 6):
        ages, names = rows_of(random, number, 0.0)
        gone = random.random(len(ages)) < 0.14
        workbench.people.arrive(number, [None if gap else age for age, gap in zip(ages, gone, strict=True)], names)
    with workbench.open(**KEYS) as bench:
        bench.evaluate(*range(35 * DAY + 1, 35 * DAY + 7))
        assert [episode.metric for episode in bench.episodes()] == [Metric.SURPRISE.value]
