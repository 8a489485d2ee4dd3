"""Evaluations of a real table, held against numpy: counts, divergences, and what there is where there are none.

Expected counts are numpy's over the rows that a window or reference should have; expected divergences are those of
`compare_counts` on them, which has tests of its own. Which hours belong to a reference is written by hand.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drift_monitor.core.comparison import compare_counts
from drift_monitor.core.divergence import DIVERGENCES, Metric
from drift_monitor.core.rules import MeasurementStatus
from tests.evaluation.workbench import AGE, MONITOR, Ages, People, Workbench, counted, even, high, hour

COUNTRY = {"name": "country", "kind": "categorical"}
FIXED_RANGE = {"from": hour(2).isoformat(), "to": hour(10).isoformat()}


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path, f"sqlite:///{tmp_path}/drift.db")


@pytest.fixture
def life(workbench: Workbench) -> dict[int, tuple[Ages, list[str | None]]]:
    """Forty hours of rows that slowly change, with missing values and ages beyond the bins."""
    generator = np.random.default_rng(20240304)
    hours: dict[int, tuple[Ages, list[str | None]]] = {}
    for number in range(40):
        count = int(generator.integers(80, 120))
        ages = [float(age) for age in generator.normal(15 + number / 4, 12, count)]
        names = generator.choice(["DE", "FR", "IT"], count, p=[0.6 - number / 100, 0.3, 0.1 + number / 100])
        gaps = generator.random((2, count)) < 0.05
        hours[number] = (
            [None if gap else age for age, gap in zip(ages, gaps[0], strict=True)],
            [None if gap else str(name) for name, gap in zip(names, gaps[1], strict=True)],
        )
        workbench.people.arrive(number, *hours[number])
    return hours


def ages_of(life: dict[int, tuple[Ages, list[str | None]]], hours: Iterable[int]) -> Ages:
    return [age for number in hours for age in life[number][0]]


def countries_of(life: dict[int, tuple[Ages, list[str | None]]], hours: Iterable[int]) -> dict[str, int]:
    return dict(Counter(name or "missing" for number in hours for name in life[number][1]))


@pytest.mark.parametrize(
    ("reference", "hours"),
    [
        (FIXED_RANGE, range(2, 10)),
        ({"trailing": "12h", "gap": "2h"}, range(23, 35)),
        ({"trailing": "6h"}, range(31, 37)),
        ({"same_period": {"every": "12h", "count": 2}}, (*range(13, 16), *range(25, 28))),
    ],
    ids=["fixed range", "trailing with gap", "trailing", "same period"],
)
def test_window_and_reference_have_the_rows_of_their_hours(
    workbench: Workbench,
    life: dict[int, tuple[Ages, list[str | None]]],
    reference: dict[str, Any],
    hours: Iterable[int],
) -> None:
    with workbench.open(window="3h", reference=reference, features=[AGE, COUNTRY]) as bench:
        bench.evaluate(40)
        live, past = counted(ages_of(life, range(37, 40))), counted(ages_of(life, hours))
        age = bench.measured(40)
        assert age.status is MeasurementStatus.OK
        assert (age.live_counts, age.reference_counts) == (tuple(live), tuple(past))
        assert (age.live_rows, age.reference_rows) == (sum(live), sum(past))
        expected = compare_counts(live=live, reference=past)
        for name in DIVERGENCES:
            interval = expected.interval[name]
            assert interval is not None
            wanted = (getattr(expected, name), *interval, expected.corrected[name], expected.noise_floors[name])
            assert age.estimate(Metric(name)) == pytest.approx(wanted, rel=1e-12, abs=1e-12), name
        assert age.live_missing_ratio == pytest.approx(live[-1] / sum(live))
        shown = bench.rows("SELECT label, live_count, reference_count FROM drift_histograms WHERE feature = 'country'")
        assert {label: count for label, count, _ in shown if count} == countries_of(life, range(37, 40))
        assert {label: count for label, _, count in shown if count} == countries_of(life, hours)


def test_a_fixed_table_is_read_whole(workbench: Workbench, life: dict[int, tuple[Ages, list[str | None]]]) -> None:
    training = [*even(500), *high(123), None, -5.0, 99.0]
    workbench.people.train(training)
    with workbench.open(window="3h") as bench:
        bench.evaluate(40)
        age = bench.measured(40)
        assert age.reference_counts == tuple(counted(training))
        expected = compare_counts(live=counted(ages_of(life, range(37, 40))), reference=counted(training))
        assert age.value(Metric.PSI) == pytest.approx(expected.psi, rel=1e-12)


def test_a_sliding_window_reads_each_row_once(
    workbench: Workbench, life: dict[int, tuple[Ages, list[str | None]]]
) -> None:
    workbench.people.train(even(500))
    with workbench.open(window="3h", revise=0) as bench:
        bench.evaluate(38, 39, 40)
        assert bench.rows_read(38) == len(ages_of(life, (35, 36, 37)))
        assert bench.rows_read(39) == len(ages_of(life, (38,)))
        assert bench.rows_read(40) == len(ages_of(life, (39,)))
        assert bench.measured(40).live_counts == tuple(counted(ages_of(life, (37, 38, 39))))


def test_too_few_rows_are_insufficient_data_with_counts_but_without_divergences(workbench: Workbench) -> None:
    workbench.people.train(even(500))
    workbench.people.arrive(0, high(49))
    with workbench.open() as bench:
        bench.evaluate(1)
        age = bench.measured(1)
        assert age.status is MeasurementStatus.INSUFFICIENT_DATA
        assert age.live_counts == tuple(counted(high(49)))
        assert age.estimates == {}
        assert bench.episodes() == []


def test_no_rows_are_no_data_without_any_value_and_leave_a_firing_alert_firing(workbench: Workbench) -> None:
    workbench.people.train(even(500))
    workbench.people.arrive(0, high(100))
    with workbench.open() as bench:
        bench.evaluate(1, 2)
        age = bench.measured(2)
        assert age.status is MeasurementStatus.NO_DATA
        assert (age.estimates, age.live_missing_ratio, age.uncertain) == ({}, None, None)
        (episode,) = bench.episodes()
        assert (episode.opened_window, episode.closed_window) == (hour(1), None)
        assert bench.phase_after(2) == "firing"


def test_a_feature_that_fails_says_why_and_harms_no_other(workbench: Workbench) -> None:
    workbench.people.train(even(500))
    workbench.people.arrive(0, even(100))
    workbench.people.arrive(1, even(100))
    with workbench.open(features=[AGE, COUNTRY]) as bench:
        bench.evaluate(1)
        workbench.people.execute("ALTER TABLE people DROP COLUMN country")
        bench.evaluate(2)
        country = bench.measured(2, "country")
        assert (country.status, country.failure) == (MeasurementStatus.FAILED, "column_missing")
        assert country.error is not None
        assert MONITOR in country.error
        assert "country" in country.error
        assert country.estimates == {}
        assert bench.measured(2).status is MeasurementStatus.OK
        assert bench.measured(2).live_counts == tuple(counted(even(100)))


def test_a_source_file_that_was_replaced_is_read_from_then_on(workbench: Workbench, tmp_path: Path) -> None:
    workbench.people.train(even(500))
    workbench.people.arrive(0, even(100))
    with workbench.open() as bench:
        bench.evaluate(1)
        swapped_in = People(tmp_path / "restored.db")
        swapped_in.arrive(1, high(80))
        swapped_in.path.replace(workbench.people.path)
        bench.evaluate(2)
        assert bench.measured(2).live_counts == tuple(counted(high(80)))


def test_a_sliding_reference_with_too_few_rows_waits_for_more_before_bins_are_made(workbench: Workbench) -> None:
    people = workbench.people
    for number, count in enumerate((10, 10, 100, 100, 100)):
        people.arrive(number, even(count))
    with workbench.open(reference={"trailing": "2h"}, features=["age"]) as bench:
        bench.evaluate(3)
        waiting = bench.measured(3)
        assert waiting.status is MeasurementStatus.INSUFFICIENT_DATA
        assert (waiting.live_rows, waiting.reference_rows, waiting.bin_spec) == (100, 20, None)
        bench.evaluate(4, 5)
        first, second = bench.measured(4), bench.measured(5)
        assert first.status is second.status is MeasurementStatus.OK
        assert (first.reference_rows, second.reference_rows) == (110, 200)
        assert first.bin_spec == second.bin_spec is not None


def test_a_frozen_reference_stays_what_it_was_when_the_users_table_changes(workbench: Workbench) -> None:
    people = workbench.people
    people.train(even(500))
    for number in (0, 1):
        people.arrive(number, even(100))
    frozen = "SELECT id, counts FROM reference"
    with workbench.open() as bench:
        bench.evaluate(1)
        before = bench.rows(frozen)
        people.train(high(5000))
        bench.evaluate(2)
        assert bench.rows(frozen) == before
        assert bench.measured(2).reference_counts == tuple(counted(even(500)))
    with workbench.open() as reopened:
        assert reopened.rows(frozen) == before


def test_another_threshold_uses_the_panes_there_are(workbench: Workbench) -> None:
    people = workbench.people
    people.train(even(500))
    for number in range(4):
        people.arrive(number, even(100))
    with workbench.open(window="3h", revise=0) as bench:
        bench.evaluate(3)
    with workbench.open(window="3h", revise=0, rules=[{"metric": "psi", "above": 0.9}]) as bench:
        bench.evaluate(4)
        assert bench.rows_read(4) == 100


def test_another_filter_starts_panes_of_its_own(workbench: Workbench) -> None:
    people = workbench.people
    people.train(even(500))
    for number in range(4):
        people.arrive(number, [*even(100), *high(60)], ["DE"] * 100 + ["FR"] * 60)
    with workbench.open(window="3h", revise=0) as bench:
        bench.evaluate(3)
        everybody = counted([*even(100), *high(60)])
        assert bench.pane_counts(1) == [everybody]
    with workbench.open(window="3h", revise=0, where="country = 'DE'") as bench:
        bench.evaluate(4)
        assert bench.rows_read(4) == 300
        assert bench.measured(4).live_counts == tuple(counted(even(300)))
        assert bench.pane_counts(1) == [everybody, counted(even(100))]
        assert bench.measured(3).live_counts == tuple(3 * np.array(everybody))


def test_hours_of_an_open_episode_are_left_out_of_a_trailing_reference(workbench: Workbench) -> None:
    people = workbench.people
    for number in range(6):
        people.arrive(number, even(200))
    for number in range(6, 10):
        people.arrive(number, high(200))
    with workbench.open(reference={"trailing": "6h"}) as bench:
        bench.evaluate(6, 7, 8, 9, 10)
        assert [(one.opened_window, one.closed_window) for one in bench.episodes()] == [(hour(7), None)]
        # Window 10 looks back on hours 3 to 8; of those, 6 and later belong to the episode.
        assert bench.measured(10).reference_counts == tuple(counted([*even(200)] * 3))
        assert bench.phase_after(10) == "firing"


@pytest.mark.parametrize(
    "change",
    [
        {"features": [COUNTRY]},
        {"rules": [{"name": "another", "metric": "psi", "above": 0.25}]},
    ],
    ids=["feature", "rule"],
)
def test_an_episode_ends_with_its_feature_or_rule(workbench: Workbench, change: dict[str, Any]) -> None:
    people = workbench.people
    people.train(even(500))
    for number in (0, 1):
        people.arrive(number, high(100))
    with workbench.open(features=[AGE, COUNTRY]) as bench:
        bench.evaluate(1)
        assert [one.closed_window for one in bench.episodes()] == [None]
    with workbench.open(**{"features": [AGE, COUNTRY], **change}) as bench:
        bench.evaluate(2)
        ended = bench.episodes()[0]
        assert (ended.opened_window, ended.closed_window, ended.close_reason) == (hour(1), hour(2), "removed")
        assert (2, 0, "resolved") in bench.told()
