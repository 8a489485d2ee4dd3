"""What gauges and pages read, on both stores."""

import numpy as np

from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.store import measurements, references, runs, status
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.references import StoredReference
from drift_monitor.store.status import Range, Series
from tests.store.making import AGES, add_monitor, finish, hour, measurement, planned, prepared

AGE, INCOME = Series("loans", "age"), Series("loans", "income")


def save(store: Store, *given: measurements.Measurement) -> None:
    store.transact(lambda conn: measurements.save(conn, given))


def without_value(number: int, feature: str = "age", revision: int = 0) -> measurements.Measurement:
    one = measurement(number, feature, revision)
    return measurements.Measurement(
        segment="",
        monitor=one.monitor,
        feature=one.feature,
        window_start=one.window_start,
        window_end=one.window_end,
        revision=revision,
        status=MeasurementStatus.NO_DATA,
    )


def test_latest_are_the_measurements_of_the_last_done_window_of_each_monitor(store: Store) -> None:
    prepared(store, 1, 2)

    def other_monitor(conn: Transaction) -> None:
        add_monitor(conn, "cards")
        finish(conn, 1, "cards")
        runs.plan(conn, [planned(3)])

    store.transact(other_monitor)
    save(store, measurement(1), measurement(2), without_value(2, "income"), measurement(1, monitor="cards"))

    with store.read() as conn:
        found = status.latest(conn, runs.latest_done(conn))

    assert [(one.series, one.measurement.window_end) for one in found] == [
        (Series("cards", "age"), hour(1)),
        (AGE, hour(2)),
        (INCOME, hour(2)),
    ]
    assert all(one.measurement.live_counts is None for one in found), "arrays are not read"
    assert all(one.finished_at.tzinfo for one in found)


def test_the_last_good_measurement_is_the_newest_with_a_value_in_its_latest_revision(store: Store) -> None:
    prepared(store, 1, 2, 3)
    store.transact(lambda conn: finish(conn, 2, revision=1))
    save(store, measurement(1), measurement(2), measurement(2, revision=1), without_value(3))
    save(store, without_value(1, "income"), without_value(3, "income"))

    with store.read() as conn:
        found = status.last_good(conn, [AGE, INCOME, Series("loans", "nix")], hour(0))
        later = status.last_good(conn, [AGE], hour(3))

    assert {series: (one.measurement.window_end, one.measurement.revision) for series, one in found.items()} == {
        AGE: (hour(2), 1)
    }
    assert later == {}


def test_histories_hold_the_latest_revision_of_each_window_in_order(store: Store) -> None:
    prepared(store, 1, 2, 3, 4)
    store.transact(lambda conn: finish(conn, 2, revision=1))
    save(store, *(measurement(number) for number in (4, 3, 2, 1)), measurement(2, revision=1), measurement(2, "income"))
    stretch = Range(monitor="loans", since=hour(2), until=hour(3), features=("age",))

    with store.read() as conn:
        of_age = status.histories(conn, [stretch])
        of_all = status.histories(conn, [Range(monitor="loans", since=hour(2), until=hour(2))])
        of_none = status.histories(conn, [])

    assert {series: [(one.window_end, one.revision) for one in windows] for series, windows in of_age.items()} == {
        AGE: [(hour(2), 1), (hour(3), 0)]
    }
    assert set(of_all) == {AGE, INCOME}
    assert of_none == {}


def test_windows_hold_what_rules_compare_of_the_same_measurements(store: Store) -> None:
    prepared(store, 1, 2, 3)
    store.transact(lambda conn: finish(conn, 2, revision=1))
    save(store, measurement(1), measurement(2), measurement(2, revision=1), without_value(3), measurement(2, "income"))
    stretch = Range(monitor="loans", since=hour(1), until=hour(3))
    wanted = (Metric.PSI, Metric.JS, Metric.UNSEEN_RATIO)

    with store.read() as conn:
        histories = status.histories(conn, [stretch])
        windows = status.windows(conn, [stretch], wanted)
        without_metrics = status.windows(conn, [stretch], ())

    assert {series: [window.end for window in found] for series, found in windows.items()} == {
        AGE: [hour(1), hour(2), hour(3)],
        INCOME: [hour(2)],
    }
    for series, found in windows.items():
        for window, whole in zip(found, histories[series], strict=True):
            assert window.measured.status is whole.status
            assert dict(window.measured.values) == {
                Metric.PSI: whole.estimate(Metric.PSI),
                Metric.JS: whole.estimate(Metric.JS),
                Metric.UNSEEN_RATIO: Estimate(whole.live_unseen_ratio),
            }
    assert [window.measured.values for window in without_metrics[AGE]] == [{}, {}, {}]


def test_counted_brings_the_arrays_of_just_these_measurements(store: Store) -> None:
    prepared(store, 1, 2)
    save(store, measurement(1), measurement(2), measurement(2, "income"))

    with store.read() as conn:
        latest = [one.measurement for one in status.latest(conn, runs.latest_done(conn)) if one.series == AGE]
        found = status.counted(conn, latest)

    (whole,) = found.values()
    assert found.keys() == {AGE}
    assert (whole.window_end, whole.live_counts) == (hour(2), measurement(2).live_counts)
    assert whole.contribution_live_reference is not None


def test_references_tell_when_the_newest_was_built(store: Store) -> None:
    prepared(store)
    built = [
        StoredReference(segment="",
            monitor="loans", feature=feature, definition="d", kind="table", spec=AGES,
            counts=tuple(np.ones(AGES.size, dtype=int).tolist()), built_at=hour(number),
        )
        for feature, number in (("age", 1), ("income", 5))
    ]  # fmt: skip
    store.transact(lambda conn: references.save(conn, built))

    with store.read() as conn:
        assert status.references_built(conn) == {"loans": hour(5)}


def test_what_is_planned_tells_when_it_may_start(store: Store) -> None:
    prepared(store, 1)
    store.transact(lambda conn: runs.plan(conn, [planned(3), planned(2)]))

    with store.read() as conn:
        assert status.waiting_since(conn) == {"loans": hour(2)}
