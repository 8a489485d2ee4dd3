"""Evaluations, measurements and bins as the store has them: an evaluation, a history in order, one feature of a window.

As JSON, which scripts, notebooks and the HTTP interface get, names are those of the database views, and they only grow.
Times are RFC 3339 in UTC. A number that does not exist, or is infinite, is None: never NaN, which is no JSON.
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
from drift_monitor.core.rules import SURPRISE_LEVEL, Comparand, Rule, Severity
from drift_monitor.core.times import clean_document, clean_number, clean_text, rfc3339
from drift_monitor.errors import InputError
from drift_monitor.store import measurements as measurement_store
from drift_monitor.store import monitors, references, runs
from drift_monitor.store.alerts import AlertRecord
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.measurements import Measurement, MeasurementFilter
from drift_monitor.store.runs import Run
from drift_monitor.store.schema import ESTIMATE_COLUMNS

JsonObject = dict[str, Any]

PAGE = 5000  # measurements read at a time: a year of windows must not stand in memory twice

MEASUREMENT_COLUMNS = (
    *("monitor", "feature", "segment", "window_start", "window_end", "revision", "status"),
    *("live_rows", "reference_rows"),
    *(name for names in ESTIMATE_COLUMNS.values() for name in names[:3]),
    *(floor for *_, floor in ESTIMATE_COLUMNS.values()),
    *("live_missing_ratio", "reference_missing_ratio", "live_unseen_ratio"),
    *("direction", "bin_spec", "error", "uncertain"),
    *("surprise", "level", "surprise_window", "calibration"),
)


@dataclass(frozen=True, kw_only=True)
class EvaluatedAlert:
    """One alert after an evaluation, and its rule as it was configured then."""

    record: AlertRecord
    rule: Rule

    @property
    def is_firing(self) -> bool:
        return self.record.alert.phase is AlertPhase.FIRING

    @property
    def is_active(self) -> bool:
        """Pending or firing."""
        return self.record.alert.phase is not AlertPhase.INACTIVE


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation as the store has it, with all that is shown of it. `alerts`: firing first, then critical first."""

    run: Run
    measurements: Sequence[Measurement]
    specs: Mapping[str, BinSpec]
    alerts: Sequence[EvaluatedAlert]

    @property
    def active(self) -> Sequence[EvaluatedAlert]:
        """The alerts that were pending or firing."""
        return [alert for alert in self.alerts if alert.is_active]


def read_evaluation(connection: Transaction, run: Run) -> Evaluation:
    """The evaluation of a run; without measurements and alerts where it is not done."""
    measured = measurement_store.of_run(connection, run.key)
    ids = {measurement.bin_spec for measurement in measured if measurement.bin_spec is not None}
    # The rules of then: today's thresholds may be others.
    rules = {rule.id: rule for rule in _rules(monitors.configuration_of(connection, run.config_hash))}
    records = [AlertRecord.from_json(document) for document in run.alert_states]
    alerts = [
        EvaluatedAlert(record=record, rule=rules[record.key.rule]) for record in records if record.key.rule in rules
    ]
    return Evaluation(
        run=run,
        measurements=measured,
        specs=references.specs(connection, ids),
        alerts=sorted(
            alerts,
            key=lambda alert: (not alert.is_firing, not alert.is_active, -alert.rule.severity.rank, alert.record.key),
        ),
    )


def _rules(configuration: Mapping[str, Any] | None) -> Iterator[Rule]:
    """The rules of a monitor's stored configuration."""
    for document in (configuration or {}).get("rules", ()):
        if "false_alarms" in document:
            severity = Severity(document["severity"])
            yield Rule(id=document["name"], metric=Metric.SURPRISE, above=SURPRISE_LEVEL, severity=severity)
            continue
        yield Rule(
            id=document["name"],
            metric=next(metric for metric in Metric if metric.value == document["metric"]),
            above=document.get("above"),
            below=document.get("below"),
            on=Comparand(document.get("on", Comparand.LOWER_BOUND)),
            for_windows=document.get("for", 1),
            keep_firing_for=document.get("keep_firing_for", 0),
            severity=Severity(document["severity"]),
        )


def evaluation_document(evaluation: Evaluation) -> JsonObject:
    """A row of `drift_evaluations` with its measurements, their bins, and the alerts pending or firing after it."""
    run = evaluation.run
    return {
        "id": run.id,
        "monitor": run.key.monitor,
        "window_start": rfc3339(run.window_start),
        "window_end": rfc3339(run.key.window_end),
        "revision": run.key.revision,
        "state": run.state.value,
        "health": run.health.value,
        "attempts": run.attempts,
        "rows_read": run.rows_read,
        "started_at": None if run.started_at is None else rfc3339(run.started_at),
        "finished_at": None if run.finished_at is None else rfc3339(run.finished_at),
        "error": run.error,
        "measurements": [
            {
                **measurement_document(measurement),
                "bins": bin_documents(measurement, evaluation.specs.get(measurement.bin_spec or "")),
            }
            for measurement in evaluation.measurements
        ],
        "alerts": [_alert_document(alert) for alert in evaluation.active],
    }


def measurement_document(measurement: Measurement) -> JsonObject:
    """A row of `drift_measurements`."""
    columns = measurement.columns()
    document: JsonObject = {}
    for name in MEASUREMENT_COLUMNS:
        value = columns[name]
        if isinstance(value, datetime):
            document[name] = rfc3339(value)
        else:
            document[name] = clean_document(value.value if isinstance(value, Enum) else value)
    return document


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
            "window_end": rfc3339(measurement.window_end),
            "revision": measurement.revision,
            "bin": ordinal,
            "label": clean_text(str(bin.label)),
            "lower": None if bin.lower is None else clean_number(float(bin.lower)),
            "upper": None if bin.upper is None else clean_number(float(bin.upper)),
            "live_count": live[ordinal],
            "reference_count": _at(measurement.reference_counts, ordinal),
            "contribution_live_reference": _at(measurement.contribution_live_reference, ordinal),
            "contribution_reference_live": _at(measurement.contribution_reference_live, ordinal),
        }
        for ordinal, bin in enumerate(spec.bins)
    ]


def _alert_document(alert: EvaluatedAlert) -> JsonObject:
    key, state = alert.record.key, alert.record.alert
    return {
        "feature": key.feature,
        "segment": key.segment,
        "rule": alert.rule.id,
        "metric": alert.rule.metric.value,
        "severity": alert.rule.severity.value,
        "state": state.phase.value,
        "value": clean_number(state.value),
        "threshold": alert.rule.threshold,
        "since": None if state.since is None else rfc3339(state.since),
    }


def _at(values: Sequence[float] | None, ordinal: int) -> float | None:
    return None if values is None else values[ordinal]


def history(store: Store, which: MeasurementFilter) -> list[Measurement]:
    """The latest revision of each measurement, oldest window first."""
    measurements: list[Measurement] = []
    with store.read() as conn:
        while True:
            before = measurement_store.place(measurements[-1]) if measurements else None
            page = measurement_store.history(conn, which, limit=PAGE, before=before)
            measurements += page
            if len(page) < PAGE:
                break
    return sorted(
        measurements, key=lambda measurement: (measurement.window_end, measurement.feature, measurement.segment)
    )


def last_evaluation(store: Store, monitor: MonitorConfig, at: datetime | None) -> Evaluation:
    """The last evaluation that is done, or that of the window which ends at `at`; raises InputError."""
    with store.read() as conn:
        run = runs.last_done(conn, monitor.name) if at is None else runs.latest_done_of(conn, monitor.name, at)
        if run is not None:
            return read_evaluation(conn, run)
        last = runs.last_done(conn, monitor.name)
    if last is None:
        raise InputError(f"monitor {monitor.name!r} has not been evaluated yet; run `drift-monitor evaluate`")
    asked = "" if at is None else f" that ends at {rfc3339(at)}"
    raise InputError(
        f"monitor {monitor.name!r}: no window{asked} has been evaluated; the last one ends at "
        f"{rfc3339(last.key.window_end)}"
    )


def feature_of(evaluation: Evaluation, feature: str | None) -> Measurement:
    """The measurement of a feature, by default of the one that drifted most; raises InputError."""
    measurements, monitor = evaluation.measurements, evaluation.run.key.monitor
    if feature is None:
        if not measurements:
            raise InputError(f"monitor {monitor!r} measured no feature in this window")
        return max(measurements, key=_drift)
    for measurement in measurements:
        if measurement.feature == feature:
            return measurement
    known = ", ".join(measurement.feature for measurement in measurements) or "none"
    raise InputError(f"monitor {monitor!r} has no feature {feature!r} in this window; known: {known}")


def _drift(measurement: Measurement) -> float:
    """How clearly it drifted: the careful end of PSI's interval, where there is one."""
    psi = measurement.estimate(Metric.PSI)
    drift = psi.value if psi.low is None else psi.low
    return -1.0 if drift is None else drift
