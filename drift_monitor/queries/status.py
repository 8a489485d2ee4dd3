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
from drift_monitor.core.schedule import interval, jitter, next_slot
from drift_monitor.errors import FailureReason
from drift_monitor.store import alerts, monitors, outbox, runs, status
from drift_monitor.store.alerts import AlertKey, AlertRow
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
    SOURCE_ERROR = "source_error"


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

    @cached_property
    def firing(self) -> Collection[tuple[str, AlertKey]]:
        """Which alerts fire, by monitor."""
        return {(row.monitor, row.key) for row in self.active if row.alert.phase is AlertPhase.FIRING}


def read_status(conn: Transaction, configured: Iterable[MonitorConfig]) -> Status:
    """All that the snapshot needs; the number of queries does not depend on the number of monitors."""
    tried, done = runs.latest(conn), runs.latest_done(conn)
    latest = {one.series: one for one in status.latest(conn)}
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
    )


def _good(
    conn: Transaction,
    configured: Iterable[MonitorConfig],
    done: Mapping[str, Run],
    latest: Mapping[Series, LatestMeasurement],
) -> Mapping[Series, LatestMeasurement]:
    names = {monitor.name: _lookback(monitor) for monitor in configured}
    good = {series: one for series, one in latest.items() if one.measurement.status is MeasurementStatus.OK}
    lacking = [series for series in latest if series not in good and series.monitor in names]
    if not lacking:
        return good
    since = min(done[series.monitor].key.window_end - names[series.monitor] for series in lacking)
    return {**good, **status.last_good(conn, lacking, since)}


def _lookback(monitor: MonitorConfig) -> timedelta:
    return max(_LOOKBACK, _LOOKBACK_INTERVALS * interval(monitor.schedule))


def feature_series(monitor: MonitorConfig, standing: Status) -> tuple[Series, ...]:
    """The features that are configured, or with `all` those that were found, and those with a firing alert."""
    if monitor.features == "all":
        known = [series for series in standing.latest if series.monitor == monitor.name]
    else:
        known = [Series(monitor.name, feature.name) for feature in monitor.features]
    firing = (Series(name, key.feature, key.segment) for name, key in standing.firing if name == monitor.name)
    return tuple(sorted({*known, *(series for series in firing if series.feature)}))


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


def why_unmeasured(one: Measurement) -> Unmeasured | None:
    """Why this measurement has no value; None where it has one."""
    if one.status is MeasurementStatus.OK:
        return None
    return _STATUSES.get(one.status) or _FAILURES.get(one.failure or "", Unmeasured.SOURCE_ERROR)
