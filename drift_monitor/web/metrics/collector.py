"""From the store to the snapshot that `/metrics` shows: one read transaction, a handful of queries.

The configuration says which monitors, rules and features there are, so their series exist before the first
evaluation; the store says how each of them stands. Values are those of the last good measurement; where the latest
evaluation gave none, the reason stands beside them. Nothing of a monitor that is no longer configured is shown.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.rules import Health
from drift_monitor.core.schedule import interval
from drift_monitor.queries.status import Readable, Status, feature_series, next_run_at, read_status, unmeasured
from drift_monitor.store import outbox
from drift_monitor.store.alerts import AlertKey
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.runs import Run
from drift_monitor.store.status import Series
from drift_monitor.web.metrics.snapshot import (
    FeatureSnapshot,
    MonitorSnapshot,
    QueueSnapshot,
    RowsSnapshot,
    RuleSnapshot,
    Snapshot,
)
from drift_monitor.web.pages.phrases import dataset_text, reference_text


def read_snapshot(services: Readable) -> Snapshot:
    """How everything stands now; raises StoreError where the store can't be read."""
    with services.store.read() as conn:
        standing = read_status(conn, services.config.monitors)
    return Snapshot(
        monitors=tuple(monitor_snapshot(monitor, standing) for monitor in services.config.monitors),
        queues=tuple(
            QueueSnapshot(receiver=one.name, integration=one.integration, length=length, oldest_at=oldest)
            for one in services.config.receivers
            for length, oldest in [_waiting(standing.queues, one.name)]
        ),
    )


def monitor_snapshot(monitor: MonitorConfig, standing: Status) -> MonitorSnapshot:
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


def _feature_snapshot(series: Series, standing: Status) -> FeatureSnapshot:
    reason = unmeasured(series, standing)
    good = standing.good.get(series)
    if good is None:
        return FeatureSnapshot(feature=series.feature, segment=series.segment, unmeasured=reason)
    one = good.measurement
    return FeatureSnapshot(
        feature=series.feature,
        segment=series.segment,
        measured_at=good.finished_at,
        divergences={metric: estimate.value for metric, estimate in one.estimates.items()},
        noise_floor=one.noise_floor,
        live_missing_ratio=one.live_missing_ratio,
        reference_missing_ratio=one.reference_missing_ratio,
        live_unseen_ratio=one.live_unseen_ratio,
        unmeasured=reason,
    )


def _rows(monitor: MonitorConfig, standing: Status) -> tuple[RowsSnapshot, ...]:
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


def _rules(monitor: MonitorConfig, features: Sequence[Series], standing: Status) -> Iterable[RuleSnapshot]:
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
