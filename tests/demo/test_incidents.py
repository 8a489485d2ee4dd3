"""Incidents: the plan around the quiet weeks, and what each kind does to a column."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from drift_monitor.demo.incidents import PLANNED, DemoColumn, Incident, IncidentKind, apply_incident, plan_incidents
from drift_monitor.demo.payments import CANDIDATES
from tests.demo.quiet import quiet_stretches

UNTIL = datetime(2026, 11, 21, 4, tzinfo=UTC)
DAY = timedelta(days=1)
PLANS = [plan_incidents(CANDIDATES, seed=seed, until=UNTIL) for seed in range(200)]


def incident(kind: IncidentKind, **changes: Any) -> Incident:
    return Incident(kind=kind, feature="f", start=UNTIL - DAY, end=UNTIL, description="", **changes)


def column(values: list[Any]) -> DemoColumn:
    return DemoColumn(np.array(values), np.zeros(len(values), dtype=bool))


def arrived(kind: IncidentKind, values: list[Any], **changes: Any) -> DemoColumn:
    return apply_incident(incident(kind, **changes), column(values), np.random.default_rng(5))


def test_every_kind_happens_once_and_no_feature_is_hit_twice() -> None:
    for incidents in PLANS:
        assert sorted(one.kind for one in incidents) == sorted(IncidentKind)
        assert len({one.feature for one in incidents}) == len(incidents)


def test_incidents_follow_each_other_and_the_last_goes_on_for_a_day_or_more() -> None:
    for incidents in PLANS:
        for earlier, later in pairwise(incidents):
            assert earlier.end < later.start
            assert DAY < earlier.end - earlier.start <= 2 * DAY
        assert incidents[0].start > UNTIL - PLANNED
        assert incidents[-1].start < UNTIL - DAY
        assert incidents[-1].is_active(UNTIL)


def test_two_quiet_weeks_hold_no_window_with_a_row_of_an_incident() -> None:
    for incidents in PLANS:
        quiet = quiet_stretches(incidents, until=UNTIL)
        assert len(quiet) == 2
        for stretch in quiet:
            assert stretch.end - stretch.start >= 7 * DAY
            assert all(one.start >= stretch.end or one.end + DAY <= stretch.start for one in incidents)


def test_the_plan_moves_with_the_end_of_the_history_and_changes_with_the_seed() -> None:
    first = plan_incidents(CANDIDATES, seed=1, until=UNTIL)
    moved = plan_incidents(CANDIDATES, seed=1, until=UNTIL + 100 * DAY)
    assert [one.start + 100 * DAY for one in first] == [one.start for one in moved]
    assert [one.description for one in first] == [one.description for one in moved]
    assert first != plan_incidents(CANDIDATES, seed=2, until=UNTIL)


def test_a_new_category_takes_its_share_of_the_rows() -> None:
    values = arrived(IncidentKind.NEW_CATEGORY, ["a"] * 4_000, share=0.25, value="later").values
    assert set(values) == {"a", "later"}
    assert np.mean(values == "later") == pytest.approx(0.25, abs=0.03)


def test_a_lost_segment_is_gone_and_the_others_keep_their_proportions() -> None:
    values = arrived(IncidentKind.LOST_SEGMENT, ["a", "b", "b", "b", "gone", "gone"] * 1_000, value="gone").values
    assert set(values) == {"a", "b"}
    assert np.mean(values == "b") == pytest.approx(0.75, abs=0.03)


def test_a_shift_adds_and_a_unit_change_multiplies() -> None:
    assert arrived(IncidentKind.SHIFT, [1.0, -2.5], value=10.0).values.tolist() == [11.0, 7.5]
    assert arrived(IncidentKind.UNIT_CHANGE, [1.0, -2.5], value=100.0).values.tolist() == [100.0, -250.0]


def test_a_unit_change_in_part_of_the_rows_leaves_the_others_alone() -> None:
    values = arrived(IncidentKind.UNIT_CHANGE, [3.0] * 4_000, value=100.0, share=0.4).values
    assert set(values.tolist()) == {3.0, 300.0}
    assert np.mean(values == 300.0) == pytest.approx(0.4, abs=0.03)


def test_a_widening_scales_distances_from_the_centre() -> None:
    assert arrived(IncidentKind.WIDENING, [8.0, 10.0, 11.0], value=2.0, centre=10.0).values.tolist() == [
        6.0,
        10.0,
        12.0,
    ]


def test_a_missing_jump_hides_values_and_keeps_those_that_were_missing() -> None:
    before = DemoColumn(np.arange(4_000), np.arange(4_000) < 100)
    after = apply_incident(incident(IncidentKind.MISSING_JUMP, share=0.5), before, np.random.default_rng(5))
    assert after.missing[:100].all()
    assert after.missing[100:].mean() == pytest.approx(0.5, abs=0.03)


def test_a_spike_puts_its_share_at_the_default() -> None:
    values = arrived(IncidentKind.DEFAULT_SPIKE, [0.1] * 4_000, share=0.4, value=0.5).values
    assert np.mean(values == 0.5) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("kind", IncidentKind)
def test_an_hour_without_rows_stays_without_rows(kind: IncidentKind) -> None:
    values = [] if kind in (IncidentKind.NEW_CATEGORY, IncidentKind.LOST_SEGMENT) else [1.0]
    empty = DemoColumn(np.array(values)[:0], np.zeros(0, dtype=bool))
    assert len(apply_incident(incident(kind, value=2.0), empty, np.random.default_rng(5)).values) == 0
