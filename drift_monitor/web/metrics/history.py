"""From the store to the snapshot that `/metrics` shows: one read transaction, a handful of queries.

The configuration says which monitors, rules and features there are, so their series exist before the first
evaluation; the store says how each of them stands. Values are those of the last good measurement; where the latest
evaluation gave none, the reason stands beside them. Nothing of a monitor that is no longer configured is shown.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from drift_monitor.config.model import MonitorConfig
from drift_monitor.core.alerting import AlertPhase
from drift_monitor.core.schedule import interval, jitter, next_slot
from drift_monitor.core.status import Health, MeasurementStatus
from drift_monitor.errors import FailureReason
from drift_monitor.store import alerts, monitors, outbox, runs, standings
from drift_monitor.store.alerts import AlertKey, AlertRow
from drift_monitor.store.connection import Transaction
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.runs import Run
from drift_monitor.store.standings import Series, Standing
from drift_monitor.web.metrics.snapshot import (
    FeatureSnapshot,
    MonitorSnapshot,
    QueueSnapshot,
    RowsSnapshot,
    RuleSnapshot,
    Snapshot,
    Unmeasured,
)
from drift_monitor.web.pages.phrases import dataset_text, reference_text
from drift_monitor.web.readable import Readable

# How far before the last evaluation a good measurement is looked for; older values are not shown anyway, unless the
# monitor runs less often than that.
_LOOKBACK = timedelta(days=7)
_LOOKBACK_INTERVALS = 4

_STATUSES = {
    MeasurementStatus.INSUFFICIENT_DATA: Unmeasured.TOO_FEW_ROWS,
    MeasurementStatus.NO_DATA: Unmeasured.NO_ROWS,
}
_FAILURES = {
    FailureReason.COLUMN_MISSING.value: Unmeasured.COLUMN_MISSING,
    FailureReason.TYPE_CHANGED.value: Unmeasured.TYPE_CHANGED,
    FailureReason.UNSUPPORTED_TYPE.value: Unmeasured.UNSUPPORTED_TYPE,
}
_OF_THE_SOURCE = frozenset(reason.value for reason in FailureReason)


@dataclass(frozen=True, kw_only=True)
class Standings:
    """Everything the store says about the present of all monitors."""

    tried: Mapping[str, Run]  # the newest window that was tried
    done: Mapping[str, Run]  # the newest window that succeeded
    latest: Mapping[Series, Standing]  # measurements of `done`, good or not
    good: Mapping[Series, Standing]  # the last good ones
    active: Sequence[AlertRow]  # alerts that are pending or firing
    waiting: Mapping[str, datetime]
    next_window_ends: Mapping[str, datetime]
    references_built: Mapping[str, datetime]
    queues: Sequence[outbox.Queue]

    @cached_property
    def firing(self) -> Collection[tuple[str, AlertKey]]:
        """Which alerts fire, by monitor."""
        return {(row.monitor, row.key) for row in self.active if row.alert.phase is AlertPhase.FIRING}


def read_snapshot(services: Readable) -> Snapshot:
    """How everything stands now; raises StoreError where the store can't be read."""
    with services.store.read() as conn:
        standing = read_standings(conn, services.config.monitors)
    return Snapshot(
        monitors=tuple(monitor_snapshot(monitor, standing) for monitor in services.config.monitors),
        queues=tuple(
            QueueSnapshot(receiver=one.name, integration=one.integration, length=length, oldest_at=oldest)
            for one in services.config.receivers
            for length, oldest in [_waiting(standing.queues, one.name)]
        ),
    )


def read_standings(conn: Transaction, configured: Iterable[MonitorConfig]) -> Standings:
    """All that the snapshot needs; the number of queries does not depend on the number of monitors."""
    tried, done = runs.latest(conn), runs.latest_done(conn)
    latest = {one.series: one for one in standings.latest(conn)}
    return Standings(
        tried=tried,
        done=done,
        latest=latest,
        good=_good(conn, configured, done, latest),
        active=alerts.active(conn),
        waiting=standings.waiting_since(conn),
        next_window_ends={one.name: one.next_window_end for one in monitors.listed(conn) if one.next_window_end},
        references_built=standings.references_built(conn),
        queues=outbox.queues(conn),
    )


def _good(
    conn: Transaction, configured: Iterable[MonitorConfig], done: Mapping[str, Run], latest: Mapping[Series, Standing]
) -> Mapping[Series, Standing]:
    names = {monitor.name: _lookback(monitor) for monitor in configured}
    good = {series: one for series, one in latest.items() if one.measurement.status is MeasurementStatus.OK}
    lacking = [series for series in latest if series not in good and series.monitor in names]
    if not lacking:
        return good
    since = min(done[series.monitor].key.window_end - names[series.monitor] for series in lacking)
    return {**good, **standings.last_good(conn, lacking, since)}


def _lookback(monitor: MonitorConfig) -> timedelta:
    return max(_LOOKBACK, _LOOKBACK_INTERVALS * interval(monitor.schedule))


def monitor_snapshot(monitor: MonitorConfig, standing: Standings) -> MonitorSnapshot:
    """One configured monitor as it stands."""
    tried, done = standing.tried.get(monitor.name), standing.done.get(monitor.name)
    features = feature_series(monitor, standing)
    return MonitorSnapshot(
        monitor=monitor.name,
        source=monitor.source,
        table=dataset_text(monitor.table),
        reference=reference_text(monitor.reference),
        interval=interval(monitor.schedule),
        last_run_at=None if tried is None else tried.finished_at or tried.started_at,
        last_run_successful=None if tried is None else tried.health is Health.OK,
        last_success_at=None if done is None else done.finished_at,
        next_run_at=next_run_at(monitor, standing),
        last_duration=_duration(tried),
        newest_record_at=None if done is None else done.newest,
        window_end=None if done is None else done.key.window_end,
        reference_built_at=standing.references_built.get(monitor.name),
        features=tuple(_feature_snapshot(series, standing) for series in features),
        rows=_rows(monitor, standing),
        rules=tuple(_rules(monitor, features, standing)),
    )


def feature_series(monitor: MonitorConfig, standing: Standings) -> tuple[Series, ...]:
    """The features that are configured, or with `all` those that were found, and those with a firing alert."""
    if monitor.features == "all":
        known = [series for series in standing.latest if series.monitor == monitor.name]
    else:
        known = [Series(monitor.name, feature.name) for feature in monitor.features]
    firing = (Series(name, key.feature, key.segment) for name, key in standing.firing if name == monitor.name)
    return tuple(sorted({*known, *(series for series in firing if series.feature)}))


def next_run_at(monitor: MonitorConfig, standing: Standings) -> datetime | None:
    """When the next evaluation may start: one that waits already, or else the one the schedule names."""
    if monitor.name in standing.waiting:
        return standing.waiting[monitor.name]
    window_end = standing.next_window_ends.get(monitor.name)
    if window_end is None:
        return None
    slot = next_slot(
        monitor.schedule,
        monitor.grid,
        settle=monitor.settle,
        jitter=jitter(monitor.name, monitor.schedule),
        after=window_end - timedelta(microseconds=1),
    )
    return slot.due


def unmeasured(series: Series, standing: Standings) -> Unmeasured | None:
    """Why the latest evaluation gave no value; None where it gave one, or where there was none yet."""
    tried = standing.tried.get(series.monitor)
    if tried is not None and tried.health is Health.ERROR and tried.error_code in _OF_THE_SOURCE:
        return Unmeasured.SOURCE_ERROR
    latest = standing.latest.get(series)
    return None if latest is None else why_unmeasured(latest.measurement)


def why_unmeasured(one: Measurement) -> Unmeasured | None:
    """Why this measurement has no value; None where it has one."""
    if one.status is MeasurementStatus.OK:
        return None
    return _STATUSES.get(one.status) or _FAILURES.get(one.failure or "", Unmeasured.SOURCE_ERROR)


def _feature_snapshot(series: Series, standing: Standings) -> FeatureSnapshot:
    reason = unmeasured(series, standing)
    good = standing.good.get(series)
    if good is None:
        return FeatureSnapshot(feature=series.feature, segment=series.segment, unmeasured=reason)
    one = good.measurement
    return FeatureSnapshot(
        feature=series.feature,
        segment=series.segment,
        measured_at=good.finished_at,
        kl_live_reference=one.kl_live_reference,
        kl_reference_live=one.kl_reference_live,
        noise_floor=one.noise_floor,
        psi=one.psi,
        js=one.js,
        hellinger=one.hellinger,
        live_missing_ratio=one.live_missing_ratio,
        reference_missing_ratio=one.reference_missing_ratio,
        live_unseen_ratio=one.live_unseen_ratio,
        unmeasured=reason,
    )


def _rows(monitor: MonitorConfig, standing: Standings) -> tuple[RowsSnapshot, ...]:
    """Rows of the last done window. Features share the live rows; failed ones know of no reference."""
    done = standing.done.get(monitor.name)
    if done is None or done.finished_at is None:
        return ()
    found: dict[str, list[Measurement]] = {}
    for series, one in standing.latest.items():
        if series.monitor == monitor.name:
            found.setdefault(series.segment, []).append(one.measurement)
    return tuple(
        RowsSnapshot(
            live_rows=max(one.live_rows or 0 for one in all_of),
            reference_rows=max(one.reference_rows or 0 for one in all_of),
            measured_at=done.finished_at,
            segment=segment,
        )
        for segment, all_of in sorted(found.items())
    )


def _rules(monitor: MonitorConfig, features: Sequence[Series], standing: Standings) -> Iterable[RuleSnapshot]:
    for rule in monitor.rules:
        watched = [Series(monitor.name, "")] if rule.metric.is_of_monitor else features
        for series in watched:
            key = AlertKey(series.feature, series.segment, rule.id)
            yield RuleSnapshot(
                feature=series.feature,
                segment=series.segment,
                metric=rule.metric.value,
                severity=rule.severity.value,
                threshold=rule.threshold,
                firing=(monitor.name, key) in standing.firing,
                is_upper=rule.above is not None,
            )


def _duration(run: Run | None) -> timedelta | None:
    if run is None or run.started_at is None or run.finished_at is None:
        return None
    return run.finished_at - run.started_at


def _waiting(queues: Sequence[outbox.Queue], receiver: str) -> tuple[int, datetime | None]:
    """All that waits for a receiver, whatever kind it was of when the notification was written."""
    own = [queue for queue in queues if queue.receiver == receiver]
    return sum(queue.length for queue in own), min((one.oldest for one in own if one.oldest), default=None)
