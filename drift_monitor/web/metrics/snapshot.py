"""What `/metrics` shows at one moment: an immutable value, read from the store in one transaction.

The configuration says which monitors, rules and features there are, so their series exist before the first
evaluation; the store says how each of them stands. Every number is what the last good measurement gave; None stands for
"could not be computed" and becomes no series, and where the latest evaluation gave none, the reason stands beside it.
Nothing of a monitor that is no longer configured is shown.

`without_stale` drops values whose measurement is older than three intervals (at least an hour), so that a gauge of a
monitor that stopped does not live for ever. Alert states, thresholds and points in time stay: a source that fails must
not look like an alert that resolved.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.rules import Health
from drift_monitor.core.schedule import interval
from drift_monitor.queries.status import (
    Readable,
    Status,
    Unmeasured,
    feature_series,
    is_stale,
    next_run_at,
    read_status,
    unmeasured,
)
from drift_monitor.store.alerts import AlertKey
from drift_monitor.store.calibrations import CalibrationState
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.status import Series
from drift_monitor.web.phrases import dataset_text, reference_text


class FeatureSnapshot(NamedTuple):  # as rules: there are thousands, and frozen data classes take three times as long
    """The last good measurement of one feature in one segment, and why the latest evaluation gave none, if so.

    `divergences` and their `noise_floors` by metric. `measured_at` is when the evaluation finished that gave these
    values, None if there never was one.
    """

    feature: str
    segment: str
    measured_at: datetime | None = None
    divergences: Mapping[str, float | None] = MappingProxyType({})  # a Metric is equal to its value
    noise_floors: Mapping[str, float | None] = MappingProxyType({})
    live_missing_ratio: float | None = None
    reference_missing_ratio: float | None = None
    live_unseen_ratio: float | None = None
    surprise: float | None = None
    level: float | None = None
    unmeasured: Unmeasured | None = None


@dataclass(frozen=True, kw_only=True)
class RowsSnapshot:
    """Rows of the window and of the reference, for one segment."""

    live_rows: int
    reference_rows: int
    measured_at: datetime
    segment: str


class RuleSnapshot(NamedTuple):
    """One rule on one feature ("" for rules of the monitor itself): its threshold and whether its alert fires."""

    feature: str
    metric: str
    severity: str
    threshold: float
    firing: bool
    segment: str
    is_upper: bool = True  # the rule says `above`; False: `below`


@dataclass(frozen=True, kw_only=True)
class MonitorSnapshot:
    """One configured monitor. Times are None until the first run, success, window, row or reference."""

    monitor: str
    source: str
    table: str
    reference: str
    interval: timedelta
    last_run_at: datetime | None = None
    last_run_successful: bool | None = None
    last_success_at: datetime | None = None
    next_run_at: datetime | None = None
    last_duration: timedelta | None = None
    newest_record_at: datetime | None = None
    window_end: datetime | None = None
    reference_built_at: datetime | None = None
    features: tuple[FeatureSnapshot, ...] = ()
    rows: tuple[RowsSnapshot, ...] = ()
    rules: tuple[RuleSnapshot, ...] = ()
    calibration: CalibrationState | None = None


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """Undelivered notifications of one receiver."""

    receiver: str
    integration: str
    length: int
    oldest_at: datetime | None = None
    is_failing: bool = False


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All monitors of the configuration in force, and the outbox."""

    monitors: tuple[MonitorSnapshot, ...] = ()
    queues: tuple[QueueSnapshot, ...] = ()


def without_stale(snapshot: Snapshot, at: datetime) -> Snapshot:
    """The snapshot as it may be shown at `at`."""
    return replace(
        snapshot,
        monitors=tuple(
            replace(
                monitor,
                features=tuple(
                    FeatureSnapshot(feature=feature.feature, segment=feature.segment, unmeasured=feature.unmeasured)
                    if is_stale(feature.measured_at, monitor.interval, at)
                    else feature
                    for feature in monitor.features
                ),
                rows=tuple(rows for rows in monitor.rows if not is_stale(rows.measured_at, monitor.interval, at)),
            )
            for monitor in snapshot.monitors
        ),
    )


def read_snapshot(services: Readable) -> Snapshot:
    """How everything stands now; raises StoreError where the store can't be read."""
    with services.store.read() as conn:
        status = read_status(conn, services.config.monitors)
    queues = []
    for receiver in services.config.receivers:
        # All that waits for a receiver, whatever kind it was of when the notification was written.
        own = [queue for queue in status.queues if queue.receiver == receiver.name]
        queues.append(
            QueueSnapshot(
                receiver=receiver.name,
                integration=receiver.integration,
                length=sum(queue.length for queue in own),
                oldest_at=min((queue.oldest for queue in own if queue.oldest), default=None),
                is_failing=receiver.name in status.refusing,
            )
        )
    monitors = tuple(_monitor_snapshot(monitor, status) for monitor in services.config.monitors)
    return Snapshot(monitors=monitors, queues=tuple(queues))


def _monitor_snapshot(monitor: MonitorConfig, status: Status) -> MonitorSnapshot:
    """One configured monitor as it stands."""
    tried, done = status.tried.get(monitor.name), status.done.get(monitor.name)
    features = feature_series(monitor, status)
    duration = tried.finished_at - tried.started_at if tried and tried.started_at and tried.finished_at else None
    return MonitorSnapshot(
        monitor=monitor.name,
        source=monitor.source,
        table=dataset_text(monitor.table),
        reference=reference_text(monitor.reference),
        interval=interval(monitor.schedule),
        last_run_at=None if tried is None else tried.finished_at or tried.started_at,
        last_run_successful=None if tried is None else tried.health is Health.OK,
        last_success_at=None if done is None else done.finished_at,
        next_run_at=next_run_at(monitor, status),
        last_duration=duration,
        newest_record_at=None if done is None else done.newest,
        window_end=None if done is None else done.key.window_end,
        reference_built_at=status.references_built.get(monitor.name),
        features=tuple(_feature_snapshot(series, status) for series in features),
        rows=_rows(monitor, status),
        rules=tuple(_rules(monitor, features, status)),
        calibration=_calibration(monitor, status),
    )


def _calibration(monitor: MonitorConfig, status: Status) -> CalibrationState | None:
    """Whether surprise can be judged, where a rule asks for it."""
    if monitor.surprise_rule is None:
        return None
    state, _ = status.calibrated.get(monitor.name, (CalibrationState.LEARNING, None))
    return state


def _feature_snapshot(series: Series, status: Status) -> FeatureSnapshot:
    reason = unmeasured(series, status)
    good = status.good.get(series)
    if good is None:
        return FeatureSnapshot(feature=series.feature, segment=series.segment, unmeasured=reason)
    measurement = good.measurement
    return FeatureSnapshot(
        feature=series.feature,
        segment=series.segment,
        measured_at=good.finished_at,
        divergences={metric: estimate.value for metric, estimate in measurement.estimates.items()},
        noise_floors={metric: estimate.noise_floor for metric, estimate in measurement.estimates.items()},
        live_missing_ratio=measurement.live_missing_ratio,
        reference_missing_ratio=measurement.reference_missing_ratio,
        live_unseen_ratio=measurement.live_unseen_ratio,
        surprise=measurement.surprise,
        level=measurement.level,
        unmeasured=reason,
    )


def _rows(monitor: MonitorConfig, status: Status) -> tuple[RowsSnapshot, ...]:
    """Rows of the last done window. Features share the live rows; failed ones know of no reference."""
    done = status.done.get(monitor.name)
    if done is None or done.finished_at is None:
        return ()
    segments: dict[str, list[Measurement]] = {}
    for series in status.measured_series.get(monitor.name, ()):
        segments.setdefault(series.segment, []).append(status.latest[series].measurement)
    return tuple(
        RowsSnapshot(
            live_rows=max(measurement.live_rows or 0 for measurement in measurements),
            reference_rows=max(measurement.reference_rows or 0 for measurement in measurements),
            measured_at=done.finished_at,
            segment=segment,
        )
        for segment, measurements in sorted(segments.items())
    )


def _rules(monitor: MonitorConfig, features: Sequence[Series], status: Status) -> Iterator[RuleSnapshot]:
    firing = {key for name, key in status.firing if name == monitor.name}
    for rule in monitor.rules:
        metric, severity, is_upper = rule.metric.value, rule.severity.value, rule.above is not None
        for series in [Series(monitor.name, "")] if rule.metric.is_of_monitor else features:
            yield RuleSnapshot(
                feature=series.feature,
                segment=series.segment,
                metric=metric,
                severity=severity,
                threshold=rule.threshold,
                firing=bool(firing) and AlertKey(series.feature, series.segment, rule.id) in firing,
                is_upper=is_upper,
            )
