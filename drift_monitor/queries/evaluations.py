"""Evaluations, measurements, bins and alerts as the JSON that scripts, notebooks and the HTTP interface get.

The names are those of the database views, and they only grow. Times are RFC 3339 in UTC. A number that does not exist,
or is infinite, is None: never NaN, which is no JSON.

What the store remembers, as people ask for it: a history in order, one feature of one window.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import AlertPhase
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Severity
from drift_monitor.core.times import instant
from drift_monitor.errors import InputError
from drift_monitor.store import measurements as measurement_store
from drift_monitor.store import monitors, references, runs
from drift_monitor.store.alerts import AlertRecord
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.measurements import Measurement, MeasurementFilter
from drift_monitor.store.runs import Run
from drift_monitor.store.schema import ESTIMATE_COLUMNS
from drift_monitor.store.texts import clean_document, clean_number, clean_text

JsonObject = dict[str, Any]

MEASUREMENT_COLUMNS = (
    *("monitor", "feature", "segment", "window_start", "window_end", "revision", "status"),
    *("live_rows", "reference_rows"),
    *(name for *names, _ in ESTIMATE_COLUMNS.values() for name in names),
    *("noise_floor", "live_missing_ratio", "reference_missing_ratio", "live_unseen_ratio"),
    *("direction", "bin_spec", "error"),
)


@dataclass(frozen=True, kw_only=True)
class RuleShown:
    """A rule as it was configured when a window was evaluated."""

    id: str
    metric: Metric
    severity: Severity
    side: str
    threshold: float


@dataclass(frozen=True, kw_only=True)
class EvaluatedAlert:
    """One alert as it stood after an evaluation."""

    record: AlertRecord
    rule: RuleShown

    @property
    def is_firing(self) -> bool:
        return self.record.alert.phase is AlertPhase.FIRING

    @property
    def is_active(self) -> bool:
        """Pending or firing."""
        return self.record.alert.phase is not AlertPhase.INACTIVE


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation as the store has it, with all that is shown of it. `alarms`: firing ones first, worst first."""

    run: Run
    measurements: Sequence[Measurement]
    specs: Mapping[str, BinSpec]
    alarms: Sequence[EvaluatedAlert]

    @property
    def active(self) -> Sequence[EvaluatedAlert]:
        """The alerts that were pending or firing."""
        return [alarm for alarm in self.alarms if alarm.is_active]


def read_evaluation(connection: Transaction, run: Run) -> Evaluation:
    """The evaluation of a run; without measurements and alarms where it is not done."""
    measured = measurement_store.of_run(connection, run.key)
    ids = {one.bin_spec for one in measured if one.bin_spec is not None}
    rules = {one.id: one for one in _rules(monitors.configuration_of(connection, run.config_hash))}
    return Evaluation(
        run=run,
        measurements=measured,
        specs=references.specs(connection, ids),
        alarms=_alarms(run, rules),
    )


def evaluation_document(evaluation: Evaluation) -> JsonObject:
    """A row of `drift_evaluations` with its measurements, their bins, and the alerts pending or firing after it."""
    run = evaluation.run
    return {
        "id": run.id,
        "monitor": run.key.monitor,
        "window_start": instant(run.window_start),
        "window_end": instant(run.key.window_end),
        "revision": run.key.revision,
        "state": run.state.value,
        "health": run.health.value,
        "attempts": run.attempts,
        "rows_read": run.rows_read,
        "started_at": None if run.started_at is None else instant(run.started_at),
        "finished_at": None if run.finished_at is None else instant(run.finished_at),
        "error": run.error,
        "measurements": [
            {**measurement_document(one), "bins": bin_documents(one, evaluation.specs.get(one.bin_spec or ""))}
            for one in evaluation.measurements
        ],
        "alerts": [_alert_document(one) for one in evaluation.active],
    }


def measurement_document(measurement: Measurement) -> JsonObject:
    """A row of `drift_measurements`."""
    columns = measurement.columns()
    return {name: _plain(columns[name]) for name in MEASUREMENT_COLUMNS}


def bin_documents(measurement: Measurement, spec: BinSpec | None) -> list[JsonObject]:
    """The rows of `drift_histograms` of one measurement; none where nothing was counted."""
    live = measurement.live_counts
    if spec is None or live is None:
        return []
    return [
        {
            "monitor": measurement.monitor,
            "feature": measurement.feature,
            "segment": measurement.segment,
            "window_end": instant(measurement.window_end),
            "revision": measurement.revision,
            "bin": ordinal,
            "label": clean_text(str(one.label)),
            "lower": None if one.lower is None else clean_number(float(one.lower)),
            "upper": None if one.upper is None else clean_number(float(one.upper)),
            "live_count": live[ordinal],
            "reference_count": _at(measurement.reference_counts, ordinal),
            "contribution_live_reference": _at(measurement.contribution_live_reference, ordinal),
            "contribution_reference_live": _at(measurement.contribution_reference_live, ordinal),
        }
        for ordinal, one in enumerate(spec.bins)
    ]


def _alert_document(alarm: EvaluatedAlert) -> JsonObject:
    alert = alarm.record.alert
    return {
        "feature": alarm.record.key.feature,
        "segment": alarm.record.key.segment,
        "rule": alarm.rule.id,
        "metric": alarm.rule.metric.value,
        "severity": alarm.rule.severity.value,
        "state": alert.phase.value,
        "value": clean_number(alert.value),
        "threshold": alarm.rule.threshold,
        "since": None if alert.since is None else instant(alert.since),
    }


def _alarms(run: Run, rules: Mapping[str, RuleShown]) -> list[EvaluatedAlert]:
    records = [AlertRecord.from_json(one) for one in run.alert_states]
    alarms = [EvaluatedAlert(record=one, rule=rules[one.key.rule]) for one in records if one.key.rule in rules]
    return sorted(
        alarms, key=lambda one: (not one.is_firing, not one.is_active, -one.rule.severity.rank, one.record.key)
    )


def _rules(configuration: Mapping[str, Any] | None) -> Iterator[RuleShown]:
    """The rules of a monitor's stored configuration."""
    for rule in (configuration or {}).get("rules", ()):
        side = "above" if rule.get("above") is not None else "below"
        yield RuleShown(
            id=rule["name"],
            metric=next(metric for metric in Metric if metric.value == rule["metric"]),
            severity=Severity(rule["severity"]),
            side=side,
            threshold=rule[side],
        )


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return instant(value)
    return clean_document(value.value if isinstance(value, Enum) else value)


def _at(values: Sequence[float] | None, ordinal: int) -> float | None:
    return None if values is None else values[ordinal]


PAGE = 5000  # measurements read at a time


def history(store: Store, which: MeasurementFilter) -> list[Measurement]:
    """The latest revision of each measurement, oldest window first."""
    found: list[Measurement] = []
    with store.read() as conn:
        while True:
            before = measurement_store.place(found[-1]) if found else None
            page = measurement_store.history(conn, which, limit=PAGE, before=before)
            found += page
            if len(page) < PAGE:
                break
    return sorted(found, key=lambda one: (one.window_end, one.feature, one.segment))


def last_evaluation(store: Store, monitor: MonitorConfig, at: datetime | None) -> Evaluation:
    """The last evaluation that is done, or that of the window which ends at `at`; raises InputError."""
    with store.read() as conn:
        run = runs.last_done(conn, monitor.name) if at is None else runs.latest_done_of(conn, monitor.name, at)
        if run is not None:
            return read_evaluation(conn, run)
        last = runs.last_done(conn, monitor.name)
    if last is None:
        raise InputError(f"monitor {monitor.name!r} has not been evaluated yet; run `drift-monitor evaluate`")
    asked = "" if at is None else f" that ends at {instant(at)}"
    raise InputError(
        f"monitor {monitor.name!r}: no window{asked} has been evaluated; the last one ends at "
        f"{instant(last.key.window_end)}"
    )


def feature_of(evaluation: Evaluation, feature: str | None) -> Measurement:
    """The measurement of a feature, by default of the one that drifted most; raises InputError."""
    measured = evaluation.measurements
    if feature is None:
        if not measured:
            raise InputError(f"monitor {evaluation.run.key.monitor!r} measured no feature in this window")
        return max(measured, key=_drift)
    for one in measured:
        if one.feature == feature:
            return one
    known = ", ".join(one.feature for one in measured) or "none"
    raise InputError(
        f"monitor {evaluation.run.key.monitor!r} has no feature {feature!r} in this window; known: {known}"
    )


def _drift(measurement: Measurement) -> float:
    """How clearly it drifted: the careful end of PSI's interval, where there is one."""
    psi = measurement.estimate(Metric.PSI)
    found = psi.value if psi.low is None else psi.low
    return -1.0 if found is None else found
