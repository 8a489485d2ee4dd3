"""Measurements: what one evaluation found for one feature, with the counts that it was computed from.

A measurement can be recomputed from its row: both count arrays, their bins and the run's configuration are stored.
Contributions are: where counts are read, they come with what each bin contributes. Alert states are the run's.
Revisions are kept; reading functions give the latest one of each window unless asked otherwise.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, Select, and_, select, tuple_

from drift_monitor.core.comparison import Direction, contributions
from drift_monitor.core.distribution import FloatArray
from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.core.schedule import Span
from drift_monitor.core.times import clean_number
from drift_monitor.store.alerts import alert_series
from drift_monitor.store.columns import bulk_insert
from drift_monitor.store.monitors import smoothing_of
from drift_monitor.store.runs import RunKey, last_done, latest_done
from drift_monitor.store.schema import ESTIMATE_COLUMNS, measurement, run

ARRAYS = ("live_counts", "reference_counts")
NO_ESTIMATE = Estimate(None)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row of `drift_measurements`, with the arrays behind it. Divergences in nats; None: there is no value.

    `estimates` holds the divergences that could be computed. `failure` is the reason of a failed feature, `error` its
    sentence. `compared_bins`: how many bins smoothing left to compare; `uncertain`: one of them has so few reference
    rows that noise floors and upper ends of intervals are known badly. `surprise`: how unusual the last
    `surprise_window` hours are, an alarm above `level`, both by a `calibration`. `alert_states` are this feature's
    alerts afterwards, read on demand.
    """

    monitor: str
    feature: str
    window_start: datetime
    window_end: datetime
    revision: int
    status: MeasurementStatus
    segment: str
    live_rows: int | None = None
    reference_rows: int | None = None
    estimates: Mapping[Metric, Estimate] = field(default_factory=dict)
    live_missing_ratio: float | None = None
    reference_missing_ratio: float | None = None
    live_unseen_ratio: float | None = None
    direction: Direction | None = None
    bin_spec: str | None = None
    failure: str | None = None
    error: str | None = None
    live_counts: tuple[int, ...] | None = None
    reference_counts: tuple[int, ...] | None = None
    compared_bins: int | None = None
    uncertain: bool | None = None
    surprise: float | None = None
    level: float | None = None
    surprise_window: int | None = None
    calibration: str | None = None
    contribution_live_reference: tuple[float, ...] | None = None
    contribution_reference_live: tuple[float, ...] | None = None
    alert_states: Sequence[Mapping[str, Any]] = ()

    @property
    def key(self) -> RunKey:
        """The evaluation it belongs to."""
        return RunKey(monitor=self.monitor, window_end=self.window_end, revision=self.revision)

    @property
    def times_its_level(self) -> float | None:
        """Its surprise as a multiple of the level; above 1 is an alarm. None where it was not judged."""
        return None if self.surprise is None or not self.level else self.surprise / self.level

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

_PLAIN = tuple(column.name for column in fields(Measurement) if column.name in measurement.c)
_plain = attrgetter(*_PLAIN)
_COLUMNS = (*_PLAIN, *chain.from_iterable(ESTIMATE_COLUMNS.values()))
_COUNTED = select(measurement, run.c.config_hash).join(
    run,
    and_(
        run.c.monitor == measurement.c.monitor,
        run.c.window_end == measurement.c.window_end,
        run.c.revision == measurement.c.revision,
    ),
)


def save(connection: Connection, measurements: Sequence[Measurement]) -> int:
    """Store the measurements of evaluations; how many were not stored yet."""
    rows = (
        (
            *_plain(measured),
            *chain.from_iterable(measured.estimates.get(metric, NO_ESTIMATE) for metric in ESTIMATE_COLUMNS),
        )
        for measured in measurements
    )
    return bulk_insert(connection, measurement, _COLUMNS, rows)


def above_level(connection: Connection, monitor: str, span: Span) -> Mapping[str, Sequence[Span]]:
    """The hours within a span in which each feature was more surprising than its level."""
    c = measurement.c
    rows = connection.execute(
        select(c.feature, c.window_end, c.surprise_window).where(
            c.monitor == monitor, c.window_end > span.start, c.window_end <= span.end, c.surprise > c.level
        )
    )
    found: dict[str, list[Span]] = defaultdict(list)
    for feature, end, hours in rows:
        found[feature].append(Span(end - timedelta(hours=hours), end))
    return found


def features(connection: Connection, monitor: str) -> tuple[str, ...]:
    """The names of all features of a monitor that are stored."""
    rows = connection.execute(
        select(measurement.c.feature).where(measurement.c.monitor == monitor).distinct().order_by(measurement.c.feature)
    )
    return tuple(rows.scalars())


def of_run(connection: Connection, key: RunKey) -> tuple[Measurement, ...]:
    """The measurements of one evaluation, by feature and segment."""
    rows = connection.execute(
        _COUNTED.where(
            measurement.c.monitor == key.monitor,
            measurement.c.window_end == key.window_end,
            measurement.c.revision == key.revision,
        ).order_by(measurement.c.feature, measurement.c.segment)
    )
    return _whole(connection, rows.all())


def counted(connection: Connection, keys: Sequence[tuple[str, datetime, int, str, str]]) -> Iterator[Measurement]:
    """The measurements with these primary keys, whole: with counts, contributions and alert states."""
    rows = connection.execute(
        _COUNTED.add_columns(run.c.alert_states).where(tuple_(*measurement.primary_key.columns).in_(keys))
    ).all()
    for row, measured in zip(rows, _whole(connection, rows), strict=True):
        series = (measured.feature, measured.segment)
        own = [state for state in row.alert_states or () if alert_series(state) == series]
        yield replace(measured, alert_states=tuple(own))


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
    columns = [column for column in measurement.c if column.name not in ARRAYS]
    statement = _filtered(_COUNTED if with_counts else select(*columns), which)
    if before is not None:
        window_end, feature, segment = before
        later_name = tuple_(measurement.c.feature, measurement.c.segment) > tuple_(feature, segment)
        statement = statement.where(
            (measurement.c.window_end < window_end) | ((measurement.c.window_end == window_end) & later_name)
        )
    rows = connection.execute(
        statement.order_by(measurement.c.window_end.desc(), measurement.c.feature, measurement.c.segment).limit(limit)
    ).all()
    return _whole(connection, rows) if with_counts else tuple(map(from_row, rows))


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


def _whole(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Measurement, ...]:
    """Rows with their counts and the hash of their run's configuration, as measurements with contributions."""
    found = [from_row(row) for row in rows]
    by_hash: dict[str, list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        if row.compared_bins is not None:
            by_hash[row.config_hash].append(position)
    for config_hash, positions in by_hash.items():
        smoothing = smoothing_of(connection, config_hash)
        if smoothing is None:
            continue
        pairs = [(found[position].live_counts or (), found[position].reference_counts or ()) for position in positions]
        for position, parts in zip(positions, contributions(pairs, smoothing), strict=True):
            found[position] = replace(
                found[position],
                contribution_live_reference=_finite(parts["live_reference"]),
                contribution_reference_live=_finite(parts["reference_live"]),
            )
    return tuple(found)


def _finite(values: FloatArray) -> tuple[float, ...]:
    """An infinite contribution (only without smoothing) has no value, as everywhere in the store."""
    if np.isfinite(values).all():
        return tuple(values.tolist())
    return tuple(clean_number(value) for value in values.tolist())  # type: ignore[misc]


def from_row(row: Row[Any]) -> Measurement:
    """The measurement that a row holds, as far as the row has it."""
    columns = row._mapping
    values: dict[str, Any] = {name: columns[name] for name in _PLAIN if name in columns}
    for name in ARRAYS:
        if values.get(name) is not None:
            values[name] = tuple(values[name].tolist())
    values["status"] = MeasurementStatus(row.status)
    values["direction"] = None if row.direction is None else Direction(row.direction)
    values["estimates"] = {
        metric: Estimate(*(columns[name] for name in names))
        for metric, names in ESTIMATE_COLUMNS.items()
        if columns[names[0]] is not None or columns[metric.noise_floor] is not None  # an infinite one has no value
    }
    return Measurement(**values)
