"""Measurements: what one evaluation found for one feature, with the counts that it was computed from.

A measurement can be recomputed from its row: both count arrays, their bins and the run's configuration are stored.
Revisions are kept; reading functions give the latest one of each window unless asked otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select, tuple_

from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.store.runs import RunKey, last_done, latest_done
from drift_monitor.store.schema import ESTIMATE_COLUMNS, measurement
from drift_monitor.store.statements import insert_new

ARRAYS = ("live_counts", "reference_counts", "contribution_live_reference", "contribution_reference_live")
NO_ESTIMATE = Estimate(None)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row of `drift_measurements`, with the arrays behind it. Divergences in nats; None: there is no value.

    `estimates` holds the divergences that could be computed. `failure` is the reason of a failed feature, `error` its
    sentence. `alert_states` are this feature's alerts afterwards.
    """

    monitor: str
    feature: str
    window_start: datetime
    window_end: datetime
    revision: int
    status: MeasurementStatus
    segment: str = ""
    live_rows: int | None = None
    reference_rows: int | None = None
    estimates: Mapping[Metric, Estimate] = field(default_factory=dict)
    noise_floor: float | None = None
    live_missing_ratio: float | None = None
    reference_missing_ratio: float | None = None
    live_unseen_ratio: float | None = None
    direction: Direction | None = None
    bin_spec: str | None = None
    failure: str | None = None
    error: str | None = None
    live_counts: tuple[int, ...] | None = None
    reference_counts: tuple[int, ...] | None = None
    contribution_live_reference: tuple[float, ...] | None = None
    contribution_reference_live: tuple[float, ...] | None = None
    alert_states: Sequence[Mapping[str, Any]] = ()

    @property
    def key(self) -> RunKey:
        """The evaluation it belongs to."""
        return RunKey(monitor=self.monitor, window_end=self.window_end, revision=self.revision)

    def estimate(self, metric: Metric) -> Estimate:
        """Value, interval and corrected value of a divergence; all None where it could not be computed."""
        return self.estimates.get(metric, NO_ESTIMATE)

    def value(self, metric: Metric) -> float | None:
        return self.estimate(metric).value

    def columns(self) -> dict[str, Any]:
        """The row by the names of its columns."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        for metric, names in ESTIMATE_COLUMNS.items():
            columns |= zip(names, self.estimate(metric), strict=True)
        return columns


@dataclass(frozen=True, kw_only=True)
class MeasurementFilter:
    """Which measurements a history shows: `since` <= window_end < `until`; None is any."""

    monitor: str
    feature: str | None = None
    segment: str | None = None
    since: datetime | None = None
    until: datetime | None = None


# Where a page of history ended: (window_end, feature, segment).
Place = tuple[datetime, str, str]

_PLAIN = tuple(column.name for column in fields(Measurement) if column.name != "estimates")


def save(connection: Connection, measurements: Sequence[Measurement]) -> int:
    """Store the measurements of an evaluation; how many were not stored yet."""
    return insert_new(connection, measurement, [_row(measured) for measured in measurements])


def of_run(connection: Connection, key: RunKey) -> tuple[Measurement, ...]:
    """The measurements of one evaluation, by feature and segment."""
    rows = connection.execute(
        select(measurement)
        .where(
            measurement.c.monitor == key.monitor,
            measurement.c.window_end == key.window_end,
            measurement.c.revision == key.revision,
        )
        .order_by(measurement.c.feature, measurement.c.segment)
    )
    return tuple(from_row(row) for row in rows)


def latest(connection: Connection, monitor: str | None = None) -> tuple[Measurement, ...]:
    """The measurements of the last done evaluation of the monitor, or of each: newest window, latest revision."""
    if monitor is not None:
        last = last_done(connection, monitor)
        return () if last is None else of_run(connection, last.key)
    return tuple(found for _, last in sorted(latest_done(connection).items()) for found in of_run(connection, last.key))


def history(
    connection: Connection,
    which: MeasurementFilter,
    *,
    limit: int = 1000,
    before: Place | None = None,
    with_counts: bool = False,
) -> tuple[Measurement, ...]:
    """The latest revision of each window, newest first; the next page is `before` the last one's (see `place`)."""
    columns = [column for column in measurement.c if with_counts or column.name not in ARRAYS]
    statement = _filtered(select(*columns), which)
    if before is not None:
        window_end, feature, segment = before
        later_name = tuple_(measurement.c.feature, measurement.c.segment) > tuple_(feature, segment)
        statement = statement.where(
            (measurement.c.window_end < window_end) | ((measurement.c.window_end == window_end) & later_name)
        )
    rows = connection.execute(
        statement.order_by(measurement.c.window_end.desc(), measurement.c.feature, measurement.c.segment).limit(limit)
    )
    return tuple(from_row(row) for row in rows)


def place(measured: Measurement) -> Place:
    """Where this measurement stands in a history."""
    return (measured.window_end, measured.feature, measured.segment)


def _filtered(statement: Select[Any], which: MeasurementFilter) -> Select[Any]:
    later = measurement.alias("later")
    newer = (
        select(later.c.revision)
        .where(
            later.c.monitor == measurement.c.monitor,
            later.c.feature == measurement.c.feature,
            later.c.segment == measurement.c.segment,
            later.c.window_end == measurement.c.window_end,
            later.c.revision > measurement.c.revision,
        )
        .exists()
    )
    statement = statement.where(measurement.c.monitor == which.monitor, ~newer)
    if which.feature is not None:
        statement = statement.where(measurement.c.feature == which.feature)
    if which.segment is not None:
        statement = statement.where(measurement.c.segment == which.segment)
    if which.since is not None:
        statement = statement.where(measurement.c.window_end >= which.since)
    if which.until is not None:
        statement = statement.where(measurement.c.window_end < which.until)
    return statement


def _row(measured: Measurement) -> dict[str, Any]:
    return measured.columns() | {
        "status": measured.status.value,
        "direction": None if measured.direction is None else measured.direction.value,
        "alert_states": [dict(state) for state in measured.alert_states],
    }


def from_row(row: Row[Any]) -> Measurement:
    """The measurement that a row holds; arrays and alert states may be left out of it."""
    columns = row._mapping
    values: dict[str, Any] = {name: columns[name] for name in _PLAIN if name in columns}
    for name in ("live_counts", "reference_counts"):
        if values.get(name) is not None:
            values[name] = tuple(values[name].tolist())
    for name in ("contribution_live_reference", "contribution_reference_live"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    values["status"] = MeasurementStatus(row.status)
    values["direction"] = None if row.direction is None else Direction(row.direction)
    values["alert_states"] = tuple(values.get("alert_states") or ())
    values["estimates"] = {
        metric: Estimate(*(columns[name] for name in names))
        for metric, names in ESTIMATE_COLUMNS.items()
        if columns[names[0]] is not None
    }
    return Measurement(**values)
