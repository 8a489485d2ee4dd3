"""Measurements: what one evaluation found for one feature, with the counts that it was computed from.

A measurement can be recomputed from its row: both count arrays, their bins and the run's configuration are stored.
Revisions are kept; reading functions give the latest one of each window unless asked otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select, tuple_

from drift_monitor.core.comparison import Direction
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.store.runs import RunKey, last_done, latest_done
from drift_monitor.store.schema import measurement
from drift_monitor.store.statements import insert_new

ARRAYS = ("live_counts", "reference_counts", "contribution_live_reference", "contribution_reference_live")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row of `drift_measurements`, with the arrays behind it. Divergences in nats; None: there is no value.

    `_low` and `_high` are the 95 % interval of the noise-corrected value, `_corrected` that value itself. `failure`
    is the reason of a failed feature, `error` its sentence. `alert_states` are this feature's alerts afterwards.
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
    kl_live_reference: float | None = None
    kl_live_reference_low: float | None = None
    kl_live_reference_high: float | None = None
    kl_live_reference_corrected: float | None = None
    kl_reference_live: float | None = None
    kl_reference_live_low: float | None = None
    kl_reference_live_high: float | None = None
    kl_reference_live_corrected: float | None = None
    psi: float | None = None
    psi_low: float | None = None
    psi_high: float | None = None
    psi_corrected: float | None = None
    js: float | None = None
    js_low: float | None = None
    js_high: float | None = None
    js_corrected: float | None = None
    hellinger: float | None = None
    hellinger_low: float | None = None
    hellinger_high: float | None = None
    hellinger_corrected: float | None = None
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

    def estimate(self, metric: str) -> tuple[float | None, float | None, float | None]:
        """Value, lower and upper bound of one of the five divergences."""
        return getattr(self, metric), getattr(self, f"{metric}_low"), getattr(self, f"{metric}_high")


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

_NAMES = tuple(field.name for field in fields(Measurement))


def save(connection: Connection, measurements: Sequence[Measurement]) -> int:
    """Store the measurements of an evaluation; how many were not stored yet."""
    return insert_new(connection, measurement, [_row(one) for one in measurements])


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
    return tuple(one for _, last in sorted(latest_done(connection).items()) for one in of_run(connection, last.key))


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


def place(one: Measurement) -> Place:
    """Where this measurement stands in a history."""
    return (one.window_end, one.feature, one.segment)


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


def _row(one: Measurement) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(one, name) for name in _NAMES}
    values["status"] = one.status.value
    values["direction"] = None if one.direction is None else one.direction.value
    values["alert_states"] = [dict(state) for state in one.alert_states]
    return values


def from_row(row: Row[Any]) -> Measurement:
    """The measurement that a row holds; arrays and alert states may be left out of it."""
    values = {name: value for name, value in row._mapping.items() if name in _NAMES}
    for name in ("live_counts", "reference_counts"):
        if values.get(name) is not None:
            values[name] = tuple(values[name].tolist())
    for name in ("contribution_live_reference", "contribution_reference_live"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    values["status"] = MeasurementStatus(row.status)
    values["direction"] = None if row.direction is None else Direction(row.direction)
    values["alert_states"] = tuple(values.get("alert_states") or ())
    return Measurement(**values)
