"""The snapshot says what the store holds: numbers written by hand come out as they went in."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from drift_monitor.alerting.services import Services
from drift_monitor.core.alerting import AlertPhase, AlertState
from drift_monitor.core.bins import CategoricalBins, NumericBins, ValueType
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import DIVERGENCES, Estimate, Metric
from drift_monitor.core.rules import MeasurementStatus, Severity
from drift_monitor.evaluation.reference import window_of
from drift_monitor.queries.status import Unmeasured
from drift_monitor.store import alerts, leases, measurements, outbox, references, runs
from drift_monitor.store.alerts import AlertKey, AlertRow
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.references import StoredReference
from drift_monitor.web.metrics.snapshot import (
    FeatureSnapshot,
    MonitorSnapshot,
    QueueSnapshot,
    RowsSnapshot,
    RuleSnapshot,
    read_snapshot,
)
from tests.web.filled import HOUR, Counted, a_monitor, a_rule, evaluate, hold, open_store, postpone, reconfigured
from tests.web.snapshots import NOON

AGES = NumericBins((0, 18, 65), ValueType.INTEGER)
COUNTRIES = CategoricalBins(("DE", "FR"))
RULES = (a_rule(Metric.PSI, 0.1), a_rule(Metric.PSI, 0.25, Severity.CRITICAL), a_rule(Metric.ROWS, 1e9))
LOANS = a_monitor("loans", ("age", "country"), rules=RULES)
QUIET = Counted(AGES, (0, 500, 500, 0, 0, 0), (0, 500, 500, 0, 0, 0))
DRIFTED = Counted(AGES, (0, 900, 100, 0, 0, 0), (0, 500, 500, 0, 0, 0))


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    opened = open_store(tmp_path, LOANS)
    yield opened
    opened.store.close()


def the_monitor(services: Services, name: str = "loans") -> MonitorSnapshot:
    return next(one for one in read_snapshot(services).monitors if one.monitor == name)


def the_feature(services: Services, feature: str) -> FeatureSnapshot:
    return next(one for one in the_monitor(services).features if one.feature == feature)


def the_rules(services: Services) -> dict[tuple[str, str, str], bool]:
    return {(rule.feature, rule.metric, rule.severity): rule.firing for rule in the_monitor(services).rules}


def write_measurement(services: Services, **values: object) -> Measurement:
    """A done run at noon with this one measurement."""
    window = window_of(LOANS, NOON)
    one = Measurement(
        monitor="loans",
        segment="",
        window_start=window.start,
        window_end=window.end,
        revision=0,
        **values,  # type: ignore[arg-type]
    )
    claim = hold(services, LOANS, NOON)

    def work(conn: object) -> None:
        references.save_specs(conn, [AGES])  # type: ignore[arg-type]
        leases.confirm(conn, claim, leases.RunResult(rows_read=7))  # type: ignore[arg-type]
        measurements.save(conn, [one])  # type: ignore[arg-type]

    services.store.transact(work)
    return one


def test_numbers_of_a_stored_measurement_are_the_gauges(services: Services) -> None:
    write_measurement(
        services,
        feature="age",
        status=MeasurementStatus.OK,
        live_rows=1000,
        reference_rows=20_000,
        estimates={
            Metric.KL_LIVE_REFERENCE: Estimate(0.5, 0.25, 0.75, 0.4, 0.002),
            Metric.KL_REFERENCE_LIVE: Estimate(0.125),
            Metric.PSI: Estimate(0.625),
            Metric.JS: Estimate(0.0625),
            Metric.HELLINGER: Estimate(0.3),
        },
        live_missing_ratio=0.01,
        reference_missing_ratio=0.02,
        live_unseen_ratio=0.03,
        direction=Direction.NEW,
        bin_spec=AGES.id,
    )

    assert the_feature(services, "age") == FeatureSnapshot(
        segment="",
        feature="age",
        measured_at=NOON,
        divergences={
            Metric.KL_LIVE_REFERENCE: 0.5,
            Metric.KL_REFERENCE_LIVE: 0.125,
            Metric.PSI: 0.625,
            Metric.JS: 0.0625,
            Metric.HELLINGER: 0.3,
        },
        noise_floors={**dict.fromkeys(DIVERGENCES), Metric.KL_LIVE_REFERENCE: 0.002},
        live_missing_ratio=0.01,
        reference_missing_ratio=0.02,
        live_unseen_ratio=0.03,
    )
    assert the_monitor(services).rows == (
        RowsSnapshot(segment="", live_rows=1000, reference_rows=20_000, measured_at=NOON),
    )


def test_a_configured_monitor_has_its_rules_at_zero_before_its_first_evaluation(services: Services) -> None:
    monitor = the_monitor(services)

    assert [one.feature for one in monitor.features] == ["age", "country"]
    assert monitor.rules[0] == RuleSnapshot(
        segment="", feature="age", metric="psi", severity="warning", threshold=0.1, firing=False
    )
    assert set(the_rules(services)) == {
        ("age", "psi", "warning"),
        ("age", "psi", "critical"),
        ("country", "psi", "warning"),
        ("country", "psi", "critical"),
        ("", "rows", "warning"),
    }
    assert not any(the_rules(services).values())
    assert (monitor.last_run_at, monitor.last_run_successful, monitor.window_end) == (None, None, None)
    assert monitor.interval == HOUR
    assert (monitor.table, monitor.reference, monitor.source) == ("predictions", "training", "warehouse")


def test_the_next_run_of_a_new_monitor_is_the_one_the_schedule_names(services: Services) -> None:
    upcoming = the_monitor(services).next_run_at

    # The window that ends at 13:00, settled five minutes later, and at most a minute of jitter.
    assert upcoming is not None
    assert NOON + HOUR + timedelta(minutes=5) <= upcoming < NOON + HOUR + timedelta(minutes=6)


def test_an_evaluation_that_waits_is_the_next_run(services: Services) -> None:
    postpone(services, LOANS, NOON, "timeout", "the statement took too long")

    assert the_monitor(services).next_run_at == NOON + HOUR


def test_a_feature_beyond_its_threshold_fires_and_its_neighbour_does_not(services: Services) -> None:
    countries = Counted(COUNTRIES, (500, 500, 0, 0, 0), (500, 500, 0, 0, 0))
    evaluate(services, LOANS, NOON, {"age": DRIFTED, "country": countries})

    fires = {key for key, firing in the_rules(services).items() if firing}

    assert fires == {("age", "psi", "warning"), ("age", "psi", "critical")}


def test_the_last_good_values_stay_beside_the_reason_why_there_are_no_new_ones(services: Services) -> None:
    evaluate(services, LOANS, NOON - HOUR, {"age": DRIFTED})
    before = the_feature(services, "age")
    services.clock.moment = NOON + HOUR  # type: ignore[attr-defined]
    evaluate(services, LOANS, NOON, {"age": Counted(AGES, (0, 1, 1, 0, 0, 0), (0, 500, 500, 0, 0, 0))})

    after = the_feature(services, "age")

    assert before.divergences[Metric.PSI] is not None and before.unmeasured is None
    assert after == before._replace(unmeasured=Unmeasured.TOO_FEW_ROWS)
    assert after.measured_at == NOON, "the time of the values, not of the attempt"
    assert the_rules(services)["age", "psi", "critical"], "too few rows resolve nothing"


@pytest.mark.parametrize(
    ("counted", "reason"),
    [
        (Counted(AGES, (0,) * 6, (0, 500, 500, 0, 0, 0)), Unmeasured.NO_ROWS),
        (Counted(None, failure="column_missing", error="no column age"), Unmeasured.COLUMN_MISSING),
        (Counted(None, failure="type_changed", error="age is text now"), Unmeasured.TYPE_CHANGED),
        (Counted(None, failure="unsupported_type", error="age is a point"), Unmeasured.UNSUPPORTED_TYPE),
        (Counted(None, failure="query_failed", error="division by zero"), Unmeasured.SOURCE_ERROR),
    ],
)
def test_every_way_to_have_no_value_has_its_reason(services: Services, counted: Counted, reason: Unmeasured) -> None:
    evaluate(services, LOANS, NOON, {"age": counted})

    assert the_feature(services, "age") == FeatureSnapshot(segment="", feature="age", unmeasured=reason)


def test_a_source_that_fails_leaves_values_and_alerts_as_they_were(services: Services) -> None:
    evaluate(services, LOANS, NOON - HOUR, {"age": DRIFTED})
    before = the_monitor(services)
    postpone(services, LOANS, NOON, "unreachable", "connection refused")

    after = the_monitor(services)

    assert after.last_run_successful is False and before.last_run_successful is True
    assert after.rules == before.rules
    assert after.window_end == before.window_end
    assert [one.unmeasured for one in after.features] == [Unmeasured.SOURCE_ERROR] * 2
    assert after.features[0].divergences == before.features[0].divergences


def test_an_error_of_our_own_is_not_blamed_on_the_source(services: Services) -> None:
    evaluate(services, LOANS, NOON - HOUR, {"age": QUIET})
    postpone(services, LOANS, NOON, "internal", "KeyError: 'x'")

    assert the_monitor(services).last_run_successful is False
    assert the_feature(services, "age").unmeasured is None


def test_a_monitor_that_is_no_longer_configured_has_no_series(services: Services) -> None:
    evaluate(services, LOANS, NOON, {"age": DRIFTED})

    assert read_snapshot(reconfigured(services)).monitors == ()


def test_with_all_features_those_that_were_found_are_known(services: Services) -> None:
    evaluate(services, LOANS, NOON, {"age": QUIET, "score": QUIET})
    everything = a_monitor("loans", rules=RULES).model_copy(update={"features": "all"})

    snapshot = read_snapshot(reconfigured(services, everything))

    assert [one.feature for one in snapshot.monitors[0].features] == ["age", "score"]


def test_an_alert_fires_on_although_its_feature_is_no_longer_found(services: Services) -> None:
    everything = a_monitor("loans", rules=RULES).model_copy(update={"features": "all"})
    row = AlertRow(
        monitor="loans",
        key=AlertKey("gone", "", "psi:warning"),
        metric="psi",
        severity="warning",
        threshold=0.1,
        alert=AlertState(
            phase=AlertPhase.FIRING, breaches=1, since=NOON, fired_at=NOON, fired_revision=0, peak=1.0, value=1.0
        ),
        last_window=NOON,
        last_revision=0,
    )
    services.store.transact(lambda conn: alerts.save(conn, [row]))

    snapshot = read_snapshot(reconfigured(services, everything))

    assert [rule.firing for rule in snapshot.monitors[0].rules if rule.feature == "gone"] == [True, False]


def test_every_configured_receiver_has_a_queue_and_waiting_ones_their_length(services: Services) -> None:
    assert read_snapshot(services).queues == (QueueSnapshot(receiver="log", integration="log", length=0),)

    evaluate(services, LOANS, NOON, {"age": DRIFTED})

    assert read_snapshot(services).queues == (
        QueueSnapshot(receiver="log", integration="log", length=1, oldest_at=NOON),
    )
    with services.store.read() as conn:
        assert sum(outbox.states(conn).values()) == 1


def test_when_the_reference_was_built_is_known(services: Services) -> None:
    built = StoredReference(segment="",
        monitor="loans", feature="age", definition="d", kind="table", spec=AGES, counts=(0, 1, 1, 0, 0, 0),
        built_at=NOON - 3 * HOUR,
    )  # fmt: skip
    services.store.transact(lambda conn: references.save(conn, [built]))

    assert the_monitor(services).reference_built_at == NOON - 3 * HOUR


def test_times_of_the_last_run_come_from_the_store(services: Services) -> None:
    evaluate(services, LOANS, NOON, {"age": QUIET})

    monitor = the_monitor(services)

    assert (monitor.last_run_at, monitor.last_success_at, monitor.window_end) == (NOON, NOON, NOON)
    assert monitor.last_duration == timedelta(0)
    assert monitor.newest_record_at == NOON - timedelta(minutes=1)


@contextmanager
def counting_statements(services: Services) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(conn: object, cursor: object, statement: str, *others: object) -> None:
        statements.append(statement)

    event.listen(services.store.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(services.store.engine, "before_cursor_execute", note)


def test_many_monitors_take_as_many_queries_as_one(tmp_path: Path) -> None:
    too_few = Counted(AGES, (0, 1, 1, 0, 0, 0), (0, 500, 500, 0, 0, 0))
    counts = []
    for size in (1, 20):
        folder = tmp_path / str(size)
        folder.mkdir()
        monitors = [a_monitor(f"m{number}", rules=RULES) for number in range(size)]
        services = open_store(folder, *monitors)
        for monitor in monitors:
            evaluate(services, monitor, NOON - HOUR, {"age": QUIET})
            evaluate(services, monitor, NOON, {"age": too_few})
        with counting_statements(services) as statements:
            read_snapshot(services)
        counts.append(len(statements))
        services.store.close()

    assert counts[0] == counts[1]


def test_a_revision_of_the_last_window_wins(services: Services) -> None:
    evaluate(services, LOANS, NOON, {"age": QUIET})
    window = window_of(LOANS, NOON)
    revised = runs.PlannedRun(
        monitor="loans", window_start=window.start, window_end=NOON, next_at=NOON, config_hash=LOANS.hash, revision=1
    )

    def work(conn: object) -> None:
        runs.plan(conn, [revised])  # type: ignore[arg-type]
        claim = leases.claim(conn, "test", HOUR, key=revised.key)  # type: ignore[arg-type]
        assert claim is not None
        leases.confirm(conn, claim, leases.RunResult(rows_read=1))  # type: ignore[arg-type]
        one = Measurement(
            segment="", monitor="loans", feature="age", window_start=window.start, window_end=NOON, revision=1,
            status=MeasurementStatus.OK, estimates={Metric.PSI: Estimate(0.75)},
        )  # fmt: skip
        measurements.save(conn, [one])  # type: ignore[arg-type]

    services.store.transact(work)

    assert the_feature(services, "age").divergences == {Metric.PSI: 0.75}
