"""What `/metrics` shows at one moment: an immutable value, read from the store elsewhere, never while rendering.

Every number is what the last good measurement gave; None stands for "could not be computed" and becomes no series.
`without_stale` drops values whose measurement is older than three intervals (at least an hour), so that a gauge of a
monitor that stopped does not live for ever. Alert states, thresholds and points in time stay: a source that fails must
not look like an alert that resolved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from drift_monitor.core.divergence import Metric
from drift_monitor.queries.status import Unmeasured

STALE_INTERVALS = 3
MIN_STALE_AGE = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class FeatureSnapshot:
    """The last good measurement of one feature in one segment, and why the latest evaluation gave none, if so.

    `divergences` by metric; `noise_floor` is that of both KL directions, in nats. `measured_at` is when the evaluation
    finished that gave these values, None if there never was one.
    """

    feature: str
    segment: str = ""
    measured_at: datetime | None = None
    divergences: Mapping[Metric, float | None] = field(default_factory=dict)
    noise_floor: float | None = None
    live_missing_ratio: float | None = None
    reference_missing_ratio: float | None = None
    live_unseen_ratio: float | None = None
    unmeasured: Unmeasured | None = None


@dataclass(frozen=True, kw_only=True)
class RowsSnapshot:
    """Rows of the window and of the reference, for one segment."""

    live_rows: int
    reference_rows: int
    measured_at: datetime
    segment: str = ""


@dataclass(frozen=True, kw_only=True)
class RuleSnapshot:
    """One rule on one feature ("" for rules of the monitor itself): its threshold and whether its alert fires."""

    feature: str
    metric: str
    severity: str
    threshold: float
    firing: bool
    segment: str = ""
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


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot:
    """Undelivered notifications of one receiver."""

    receiver: str
    integration: str
    length: int
    oldest_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All monitors of the configuration in force, and the outbox."""

    monitors: tuple[MonitorSnapshot, ...] = ()
    queues: tuple[QueueSnapshot, ...] = ()


def is_stale(measured_at: datetime | None, interval: timedelta, at: datetime) -> bool:
    """Whether values measured then are too old to be shown at `at`."""
    return measured_at is None or at - measured_at > max(STALE_INTERVALS * interval, MIN_STALE_AGE)


def without_stale(snapshot: Snapshot, at: datetime) -> Snapshot:
    """The snapshot as it may be shown at `at`."""
    return replace(snapshot, monitors=tuple(_fresh(monitor, at) for monitor in snapshot.monitors))


def _fresh(monitor: MonitorSnapshot, at: datetime) -> MonitorSnapshot:
    return replace(
        monitor,
        features=tuple(
            _without_values(feature) if is_stale(feature.measured_at, monitor.interval, at) else feature
            for feature in monitor.features
        ),
        rows=tuple(rows for rows in monitor.rows if not is_stale(rows.measured_at, monitor.interval, at)),
    )


def _without_values(feature: FeatureSnapshot) -> FeatureSnapshot:
    return FeatureSnapshot(feature=feature.feature, segment=feature.segment, unmeasured=feature.unmeasured)


def only(snapshot: Snapshot, monitors: frozenset[str]) -> Snapshot:
    """The snapshot of some monitors (`?monitor[]=`); unknown names select nothing."""
    return replace(snapshot, monitors=tuple(each for each in snapshot.monitors if each.monitor in monitors))
