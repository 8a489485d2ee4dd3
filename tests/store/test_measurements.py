"""Measurements come back as they were written, in their latest revision, page by page, and through the views."""

import math
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Integer, Row, Text, column, text

from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.store import leases, measurements, monitors, runs, status
from drift_monitor.store.alerts import AlertKey, Episode, open_episode
from drift_monitor.store.columns import Number
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.measurements import Measurement, MeasurementFilter
from tests.store.making import AGES, COUNTRIES, TTL, add_monitor, finish, hour, measurement, planned, prepared

# Of the counts in `making`, by hand: three bins have rows, s = 3/2, q = (b + 1/2) / 21.5, p = (c + s q) / 11.5.
REFERENCE = [1.5 / 21.5, 10.5 / 21.5, 9.5 / 21.5]
LIVE = [(c + 1.5 * q) / 11.5 for c, q in zip((0, 3, 7), REFERENCE, strict=True)]
ANCHORED = (
    (*(p * math.log(p / q) for p, q in zip(LIVE, REFERENCE, strict=True)), 0.0, 0.0, 0.0),
    (*(q * math.log(q / p) for p, q in zip(LIVE, REFERENCE, strict=True)), 0.0, 0.0, 0.0),
)
LOANS = MeasurementFilter(monitor="loans")


def save(store: Store, *found: Measurement) -> int:
    return store.transact(lambda connection: measurements.save(connection, found))


def places(found: tuple[Measurement, ...]) -> list[tuple[datetime, str, int]]:
    return [(one.window_end, one.feature, one.revision) for one in found]


def test_a_measurement_comes_back_whole(store: Store) -> None:
    prepared(store, 0)
    full = replace(
        measurement(0),
        estimates={
            Metric.PSI: Estimate(0.1, 0.01, 0.2, 0.09, 1e-9), Metric.JS: Estimate(0.5), Metric.HELLINGER: Estimate(1.0)
        },
        uncertain=True,
        live_missing_ratio=0.0, reference_missing_ratio=0.125, live_unseen_ratio=1 / 3, direction=Direction.NEW,
    )  # fmt: skip
    assert save(store, full) == 1
    assert save(store, full) == 0
    with store.read() as connection:
        (found,) = measurements.of_run(connection, full.key)
    assert found == replace(
        full,
        contribution_live_reference=pytest.approx(ANCHORED[0], abs=1e-12),
        contribution_reference_live=pytest.approx(ANCHORED[1], abs=1e-12),
    )


def test_a_whole_measurement_has_the_alert_states_of_its_run_as_they_are_now(store: Store) -> None:
    prepared(store)
    of_age, of_wage = {"feature": "age", "rule": "psi:warning"}, {"feature": "wage", "rule": "psi:warning"}

    def work(connection: Transaction) -> None:
        finish(connection, 0)
        run = runs.find(connection, planned(0).key)
        assert run is not None
        runs.rewrite_alert_states(connection, run.id, [of_age, of_wage, {"rule": "rows:warning"}])

    store.transact(work)
    save(store, measurement(0), measurement(0, "wage"))
    with store.read() as connection:
        found = status.counted(connection, [measurement(0), measurement(0, "wage")])
    assert {series.feature: list(measured.alert_states) for series, measured in found.items()} == {
        "age": [of_age],
        "wage": [of_wage],
    }


def test_a_feature_that_failed_has_a_reason_and_no_values(store: Store) -> None:
    prepared(store, 0)
    failed = Measurement(
        segment="",
        monitor="loans",
        feature="income",
        window_start=hour(-24),
        window_end=hour(0),
        revision=0,
        status=MeasurementStatus.FAILED,
        failure="column_missing",
        error="column income is gone",
    )
    save(store, failed)
    with store.read() as connection:
        assert measurements.of_run(connection, failed.key) == (failed,)
        assert histogram(connection, failed) == []


def test_numbers_that_are_none_are_stored_as_missing(store: Store) -> None:
    prepared(store, 0, smoothing="none")
    infinite = replace(
        measurement(0),
        estimates={Metric.PSI: Estimate(math.inf, corrected=math.inf), Metric.JS: Estimate(math.nan)},
        live_counts=(10, 0, 0, 0, 0, 0), reference_counts=(0, 20, 0, 0, 0, 0), compared_bins=6,
    )  # fmt: skip
    save(store, infinite)
    with store.read() as connection:
        (found,) = measurements.of_run(connection, infinite.key)
        shown = histogram(connection, infinite)
    assert found.estimates == {}
    assert (found.value(Metric.PSI), found.estimate(Metric.JS)) == (None, Estimate(None))
    assert found.contribution_live_reference == (None, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert found.contribution_reference_live == (0.0, None, 0.0, 0.0, 0.0, 0.0)
    assert tuple(row.contribution_live_reference for row in shown) == found.contribution_live_reference
    assert tuple(row.contribution_reference_live for row in shown) == found.contribution_reference_live


def test_the_latest_measurements_are_those_of_the_last_done_evaluation(store: Store) -> None:
    prepared(store, 0, 1)
    store.transact(lambda connection: finish(connection, 1, revision=1))
    store.transact(lambda connection: runs.plan(connection, [planned(2)]))
    save(store, measurement(0), measurement(1), measurement(1, revision=1), measurement(1, "wage", revision=1))
    with store.read() as connection:
        expected = [(hour(1), "age", 1), (hour(1), "wage", 1)]
        assert places(measurements.latest(connection, "loans")) == expected
        assert places(measurements.latest(connection)) == expected
        assert measurements.latest(connection, "cards") == ()


def test_history_is_paged_in_the_latest_revisions_without_arrays(store: Store) -> None:
    prepared(store, 0, 1)
    store.transact(lambda connection: finish(connection, 0, revision=1))
    save(store, measurement(0), measurement(0, "wage"), measurement(0, revision=1), measurement(1), measurement(1, "b"))
    with store.read() as connection:
        first = measurements.history(connection, LOANS, limit=3)
        second = measurements.history(connection, LOANS, limit=3, before=measurements.place(first[-1]))
    assert places(first + second) == [
        (hour(1), "age", 0), (hour(1), "b", 0), (hour(0), "age", 1), (hour(0), "wage", 0),
    ]  # fmt: skip
    assert first[0].live_counts is None
    assert first[0].value(Metric.KL_LIVE_REFERENCE) == 0.5


def test_history_is_filtered(store: Store) -> None:
    prepared(store, 0, 1, 2)
    save(store, *(measurement(number, feature) for number in range(3) for feature in ("age", "wage")))
    which = replace(LOANS, feature="wage", segment="", since=hour(1), until=hour(2))
    with store.read() as connection:
        found = measurements.history(connection, which, with_counts=True)
    assert places(found) == [(hour(1), "wage", 0)]
    assert found[0].live_counts == (0, 3, 7, 0, 0, 0)


def test_the_bins_of_a_measurement_carry_labels_bounds_counts_and_contributions(store: Store) -> None:
    prepared(store, 0)
    save(store, measurement(0))
    with store.read() as connection:
        found = histogram(connection, measurement(0))
    assert [(b.bin, b.label, b.lower, b.upper, b.live_count, b.reference_count) for b in found] == [
        (0, "below", None, 0.0, 0, 1),
        (1, "[0, 18)", 0.0, 18.0, 3, 10),
        (2, "[18, 65)", 18.0, 65.0, 7, 9),
        (3, "above", 65.0, None, 0, 0),
        (4, "invalid", None, None, 0, 0),
        (5, "missing", None, None, 0, 0),
    ]
    assert [b.contribution_live_reference for b in found] == pytest.approx(ANCHORED[0], abs=1e-12)
    assert [b.contribution_reference_live for b in found] == pytest.approx(ANCHORED[1], abs=1e-12)


@pytest.mark.parametrize("method", ["additive", "none"])
def test_contributions_follow_from_the_counts_by_the_smoothing_of_the_run(store: Store, method: str) -> None:
    prepared(store, 0, smoothing=method)
    counts = {"live_counts": (2, 3, 5, 0, 0, 0), "reference_counts": (1, 10, 9, 0, 0, 0)}
    save(store, replace(measurement(0), **counts, compared_bins=6))
    a = 0.5 if method == "additive" else 0.0
    masses = [
        ((c + a) / (10 + 6 * a), (b + a) / (20 + 6 * a))
        for c, b in zip(counts["live_counts"], counts["reference_counts"], strict=True)
    ]
    toward_live = [p * math.log(p / q) if p else 0.0 for p, q in masses]
    toward_reference = [q * math.log(q / p) if p else 0.0 for p, q in masses]
    with store.read() as connection:
        shown = histogram(connection, measurement(0))
        (whole,) = measurements.of_run(connection, planned(0).key)
    assert [row.contribution_live_reference for row in shown] == pytest.approx(toward_live, abs=1e-12)
    assert [row.contribution_reference_live for row in shown] == pytest.approx(toward_reference, abs=1e-12)
    assert whole.contribution_live_reference == pytest.approx(toward_live, abs=1e-12)
    assert whole.contribution_reference_live == pytest.approx(toward_reference, abs=1e-12)


def histogram(connection: Transaction, one: Measurement) -> list[Row[Any]]:
    """The measurement in `drift_histograms`, bin by bin."""
    types = {
        **dict.fromkeys(("bin", "live_count", "reference_count"), Integer),
        **dict.fromkeys(("lower", "upper", "contribution_live_reference", "contribution_reference_live"), Number),
        "label": Text,
    }
    keys = {"monitor": one.monitor, "feature": one.feature, "revision": one.revision}
    query = f"SELECT {', '.join(types)} FROM drift_histograms"
    columns = [column(name, kind) for name, kind in types.items()]
    ordered = f"{query} WHERE monitor = :monitor AND feature = :feature AND revision = :revision ORDER BY bin"
    return list(connection.execute(text(ordered).columns(*columns), keys))


def fetched(store: Store, query: str) -> list[dict[str, Any]]:
    with store.read() as connection:
        rows = connection.execute(text(query)).mappings()
        return [{name: _as_moment(name, value) for name, value in row.items()} for row in rows]


def _as_moment(name: str, value: Any) -> Any:
    if isinstance(value, str) and name.split("_")[-1] in ("start", "end", "window", "at"):
        assert value.endswith("Z"), "times of views are RFC 3339 in UTC"
        return datetime.fromisoformat(value)
    return value


def test_the_view_of_measurements_shows_what_was_measured(store: Store) -> None:
    prepared(store, 0)
    save(store, measurement(0))
    (row,) = fetched(store, "SELECT * FROM drift_measurements")
    assert {name: value for name, value in row.items() if value is not None} == {
        "monitor": "loans", "feature": "age", "segment": "", "window_start": hour(-24), "window_end": hour(0),
        "revision": 0, "status": "ok", "live_rows": 10, "reference_rows": 20, "kl_live_reference": 0.5,
        "kl_live_reference_low": 0.25, "kl_live_reference_high": 0.75, "bin_spec": AGES.id,
    }  # fmt: skip


def test_the_view_of_histograms_leaves_out_what_was_not_counted(store: Store) -> None:
    prepared(store, 0)
    counted = replace(
        measurement(0, "country"),
        status=MeasurementStatus.INSUFFICIENT_DATA,
        bin_spec=COUNTRIES.id,
        live_counts=(1, 2, 0, 3, 0),
        reference_counts=(4, 5, 6, 0, 0),
        compared_bins=None,
    )
    uncounted = replace(measurement(0, "age"), live_counts=None)
    save(store, counted, uncounted)
    rows = fetched(store, "SELECT * FROM drift_histograms ORDER BY bin")
    assert [(row["label"], row["live_count"], row["reference_count"]) for row in rows] == [
        ("DE", 1, 4), ("FR", 2, 5), ("rare", 0, 6), ("unseen", 3, 0), ("missing", 0, 0),
    ]  # fmt: skip
    assert {row["contribution_live_reference"] for row in rows} == {None}


def test_the_view_of_evaluations_shows_every_run(store: Store) -> None:
    prepared(store, 0)
    store.transact(lambda connection: runs.plan(connection, [planned(1)]))
    held = store.transact(lambda connection: leases.claim(connection, "one", TTL))
    assert held is not None
    store.transact(lambda c: leases.fail(c, held, error_code="table_missing", error="no table"))
    rows = fetched(store, "SELECT * FROM drift_evaluations ORDER BY window_end")
    shown = [
        tuple(row[name] for name in ("window_end", "state", "health", "attempts", "rows_read", "error")) for row in rows
    ]
    assert shown == [(hour(0), "done", "ok", 1, 100, None), (hour(1), "failed", "error", 1, None, "no table")]
    assert rows[0]["started_at"] <= rows[0]["finished_at"]


@pytest.mark.parametrize("closed", [True, False])
def test_the_view_of_episodes_shows_open_and_closed_ones(store: Store, closed: bool) -> None:
    prepared(store)
    episode = Episode(
        monitor="loans", key=AlertKey("age", "", "psi:critical"), metric="psi", severity="critical",
        opened_window=hour(0), opened_revision=0, peak_value=0.5,
        closed_window=hour(3) if closed else None, close_reason="recovered" if closed else None,
    )  # fmt: skip
    store.transact(lambda connection: open_episode(connection, episode))
    assert fetched(store, "SELECT * FROM drift_episodes") == [
        {
            "id": episode.id, "monitor": "loans", "feature": "age", "segment": "", "rule": "psi:critical",
            "metric": "psi", "severity": "critical", "opened_window": hour(0),
            "closed_window": hour(3) if closed else None, "close_reason": "recovered" if closed else None,
            "peak_value": 0.5,
        }
    ]  # fmt: skip


def test_the_view_of_monitors_shows_what_is_configured(store: Store) -> None:
    def work(connection: Transaction) -> None:
        add_monitor(connection, "loans")
        add_monitor(connection, "cards")
        assert monitors.set_next(connection, "loans", hour(1))
        assert not monitors.set_next(connection, "nobody", hour(1))
        assert monitors.disable_others(connection, ["loans"]) == ("cards",)
        assert monitors.disable_others(connection, ["loans"]) == ()

    store.transact(work)
    rows = fetched(store, "SELECT * FROM drift_monitors ORDER BY monitor")
    assert rows == [
        {"monitor": "cards", "source": "warehouse", "enabled": False, "next_window_end": None, "config_hash": "c1"},
        {"monitor": "loans", "source": "warehouse", "enabled": True, "next_window_end": hour(1), "config_hash": "c1"},
    ]
    with store.read() as connection:
        found = monitors.configuration_of(connection, "c1")
        assert found is not None
        assert found["monitor"] == "loans"
