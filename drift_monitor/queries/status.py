"""What the store knows of the present, for pages, gauges and commands: a handful of queries for all monitors.

The configuration says which monitors, rules and features there are; the store says how each of them stands. Values
are those of the last good measurement; where the latest evaluation gave none, `Unmeasured` says why.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from drift_monitor.alerting.services import PastProgress
from drift_monitor.clock import Clock
from drift_monitor.config.schema import Config, MonitorConfig
from drift_monitor.core.alerting import AlertPhase
from drift_monitor.core.rules import Health, MeasurementStatus
from drift_monitor.core.schedule import Span, interval, jitter, next_slot
from drift_monitor.errors import FailureReason
from drift_monitor.store import alerts, calibrations, monitors, outbox, runs, status
from drift_monitor.store.alerts import AlertKey, AlertRow
from drift_monitor.store.calibrations import CalibrationState
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.runs import Run
from drift_monitor.store.status import LatestMeasurement, Series
from drift_monitor.telemetry.metrics import Telemetry


class Readable(Protocol):
    """`alerting.services.Services` as readers see it: no source is read and no message sent to show a page."""

    @property
    def config(self) -> Config: ...

    @property
    def store(self) -> Store: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def telemetry(self) -> Telemetry: ...

    @property
    def past(self) -> Mapping[str, PastProgress]: ...


class Unmeasured(StrEnum):
    """Why a feature has no value from the latest evaluation."""

    TOO_FEW_ROWS = "too_few_rows"
    NO_ROWS = "no_rows"
    COLUMN_MISSING = "column_missing"
    TYPE_CHANGED = "type_changed"
    UNSUPPORTED_TYPE = "unsupported_type"
    INVALID_VALUES = "invalid_values"
    SOURCE_ERROR = "source_error"


# Values are stale after so many intervals, but not before an hour: a monitor of every minute may pause.
STALE_INTERVALS = 3
MIN_STALE_AGE = timedelta(hours=1)
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
    FailureReason.INVALID_VALUES.value: Unmeasured.INVALID_VALUES,
}
_OF_THE_SOURCE = frozenset(reason.value for reason in FailureReason)


@dataclass(frozen=True, kw_only=True)
class Status:
    """Everything the store says about the present of all monitors."""

    tried: Mapping[str, Run]  # the newest window that was tried
    done: Mapping[str, Run]  # the newest window that succeeded
    latest: Mapping[Series, LatestMeasurement]  # measurements of `done`, good or not
    good: Mapping[Series, LatestMeasurement]  # the last good ones
    active: Sequence[AlertRow]  # alerts that are pending or firing
    waiting: Mapping[str, datetime]
    next_window_ends: Mapping[str, datetime]
    references_built: Mapping[str, datetime]
    queues: Sequence[outbox.Queue]
    refusing: Collection[str]  # receivers that accept nothing any more
    calibrated: Mapping[str, tuple[CalibrationState, Span]]  # by which surprise is judged, and its history

    @cached_property
    def firing(self) -> Collection[tuple[str, AlertKey]]:
        """Which alerts fire, by monitor."""
        return {(row.monitor, row.key) for row in self.active if row.alert.phase is AlertPhase.FIRING}

    @cached_property
    def measured_series(self) -> Mapping[str, Collection[Series]]:
        """The series of `latest`, by monitor."""
        return _by_monitor(self.latest)

    @cached_property
    def firing_series(self) -> Mapping[str, Collection[Series]]:
        """What an alert fires for, by monitor; alerts of the monitor itself are left out."""
        return _by_monitor(Series(monitor, key.feature, key.segment) for monitor, key in self.firing if key.feature)


def _by_monitor(found: Iterable[Series]) -> Mapping[str, Collection[Series]]:
    groups: dict[str, set[Series]] = {}
    for series in found:
        groups.setdefault(series.monitor, set()).add(series)
    return groups


def read_status(conn: Transaction, configured: Collection[MonitorConfig]) -> Status:
    """All that the snapshot needs; the number of queries does not depend on the number of monitors."""
    tried, done = runs.latest(conn), runs.latest_done(conn)
    names = {monitor.name for monitor in configured}
    of_configured = {name: run for name, run in done.items() if name in names}
    latest = {measured.series: measured for measured in status.latest(conn, of_configured)}
    return Status(
        tried=tried,
        done=done,
        latest=latest,
        good=_good(conn, configured, done, latest),
        active=alerts.active(conn),
        waiting=status.waiting_since(conn),
        next_window_ends={one.name: one.next_window_end for one in monitors.listed(conn) if one.next_window_end},
        references_built=status.references_built(conn),
        queues=outbox.queues(conn),
        refusing={found.receiver for found in outbox.refusing(conn)},
        calibrated=calibrations.states(conn),
    )


def _good(
    conn: Transaction,
    configured: Iterable[MonitorConfig],
    done: Mapping[str, Run],
    latest: Mapping[Series, LatestMeasurement],
) -> Mapping[Series, LatestMeasurement]:
    """The latest measurements that are good, and for the other series the last good ones before."""
    good = {series: found for series, found in latest.items() if found.measurement.status is MeasurementStatus.OK}
    lacking = [series for series in latest if series not in good]
    if not lacking:
        return good
    lookbacks = {
        monitor.name: max(_LOOKBACK, _LOOKBACK_INTERVALS * interval(monitor.schedule)) for monitor in configured
    }
    since = min(done[series.monitor].key.window_end - lookbacks[series.monitor] for series in lacking)
    return {**good, **status.last_good(conn, lacking, since)}


def feature_series(monitor: MonitorConfig, standing: Status) -> tuple[Series, ...]:
    """The features that are configured, or with `all` those that were found, and those with a firing alert."""
    known: Iterable[Series]
    if monitor.features == "all":
        known = standing.measured_series.get(monitor.name, ())
    else:
        known = (Series(monitor.name, feature.name) for feature in monitor.features)
    return tuple(sorted({*known, *standing.firing_series.get(monitor.name, ())}))


def is_stale(measured_at: datetime | None, interval: timedelta, at: datetime) -> bool:
    """Whether values measured then are too old to be shown at `at`."""
    return measured_at is None or at - measured_at > max(STALE_INTERVALS * interval, MIN_STALE_AGE)


def next_run_at(monitor: MonitorConfig, standing: Status) -> datetime | None:
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


def unmeasured(series: Series, standing: Status) -> Unmeasured | None:
    """Why the latest evaluation gave no value; None where it gave one, or where there was none yet."""
    tried = standing.tried.get(series.monitor)
    if tried is not None and tried.health is Health.ERROR and tried.error_code in _OF_THE_SOURCE:
        return Unmeasured.SOURCE_ERROR
    latest = standing.latest.get(series)
    return None if latest is None else why_unmeasured(latest.measurement)


def why_unmeasured(measurement: Measurement) -> Unmeasured | None:
    """Why this measurement has no value; None where it has one."""
    if measurement.status is MeasurementStatus.OK:
        return None
    return _STATUSES.get(measurement.status) or _FAILURES.get(measurement.failure or "", Unmeasured.SOURCE_ERROR)
