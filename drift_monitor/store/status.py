"""How everything stands, for all monitors at once: what gauges and pages read, in a few queries whatever their number.

Measurements come without their count arrays and alert states, unless those are asked for: a page shows many features
and few histograms. Rows are taken apart by position, since a scrape reads a hundred thousand values: by name it would
cost three times as much.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple, Self, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, and_, func, or_, select, tuple_

from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import Measured, MeasurementStatus
from drift_monitor.store import measurements
from drift_monitor.store.columns import ROWS_PER_STATEMENT
from drift_monitor.store.measurements import ARRAYS, Measurement
from drift_monitor.store.runs import UNFINISHED, Run, RunState, newest_of_each
from drift_monitor.store.schema import ESTIMATE_COLUMNS, measurement, reference, run

Item = TypeVar("Item")

_SCALARS = tuple(column for column in measurement.c if column.name not in ARRAYS)
_OF_THE_RUN = ("window_start", "window_end", "revision")
_PARTS = len(Estimate._fields)
_RATIOS = {Metric.MISSING_RATIO: "live_missing_ratio", Metric.UNSEEN_RATIO: "live_unseen_ratio"}
# By their values, since a dictionary answers six times as fast as the class of an enum.
_STATUSES = {status.value: status for status in MeasurementStatus}
_DIRECTIONS: dict[str | None, Direction | None] = {None: None} | {direction.value: direction for direction in Direction}


class Series(NamedTuple):
    """What has a history of its own; `segment` is "" for the whole dataset."""

    monitor: str
    feature: str
    segment: str = ""


@dataclass(frozen=True)
class LatestMeasurement:
    """A measurement, and when the evaluation that gave it finished."""

    measurement: Measurement
    finished_at: datetime

    @property
    def series(self) -> Series:
        return series_of(self.measurement)


@dataclass(frozen=True, kw_only=True)
class Range:
    """A part of a monitor's history: `since` <= window_end <= `until`, of some features or of all."""

    monitor: str
    since: datetime
    until: datetime
    features: Collection[str] | None = None


class WindowValues(NamedTuple):
    """What one window gave for the rules of a feature, and nothing else."""

    end: datetime
    measured: Measured


@dataclass(frozen=True)
class _Layout:
    """Columns of a statement that begins with them, and where the parts of a measurement stand among them."""

    columns: Sequence[ColumnElement[Any]]
    fields: Sequence[tuple[str, int]]
    estimates: Sequence[tuple[Metric, int]]

    @classmethod
    def of(cls, columns: Sequence[Column[Any]]) -> Self:
        places = {column.name: place for place, column in enumerate(columns)}
        known = [(field.name, places[field.name]) for field in fields(Measurement) if field.name in places]
        return cls(columns, known, [(metric, places[names[0]]) for metric, names in ESTIMATE_COLUMNS.items()])

    def measurement(self, row: Row[Any], **known: Any) -> Measurement:
        """The measurement of a row; `known` is what the columns leave out."""
        values = {name: row[place] for name, place in self.fields}
        values["status"] = _STATUSES[values["status"]]
        values["direction"] = _DIRECTIONS[values["direction"]]
        # The columns of a divergence stand side by side in the table.
        estimates = {
            metric: Estimate(*row[place : place + _PARTS])
            for metric, place in self.estimates
            if row[place] is not None or row[place + _PARTS - 1] is not None
        }
        # Not by its `__init__`, which sets each field of a frozen class for itself: a scrape reads thousands of these.
        measured = object.__new__(Measurement)
        measured.__dict__.update(values, **known, estimates=estimates)
        return measured


_WHOLE = _Layout.of(_SCALARS)
_WITHOUT_WINDOW = _Layout.of([column for column in _SCALARS if column.name not in _OF_THE_RUN])


def series_of(measured: Measurement) -> Series:
    """The series a measurement belongs to."""
    return Series(measured.monitor, measured.feature, measured.segment)


def latest(connection: Connection, done: Mapping[str, Run]) -> tuple[LatestMeasurement, ...]:
    """The measurements of the last done evaluations, good or not; `done` is `runs.latest_done` of this transaction."""
    newest = newest_of_each(run.alias("done"), lambda inner: inner.c.state == RunState.DONE.value).subquery("latest")
    statement = (
        select(*_WITHOUT_WINDOW.columns)
        .join(
            newest,
            and_(
                newest.c.monitor == measurement.c.monitor,
                newest.c.window_end == measurement.c.window_end,
                newest.c.revision == measurement.c.revision,
            ),
        )
        .where(measurement.c.monitor.in_(done))
        .order_by(measurement.c.monitor, measurement.c.feature, measurement.c.segment)
    )
    found = []
    for row in connection.execute(statement).all():
        of = done[row[0]]
        measured = _WITHOUT_WINDOW.measurement(
            row, window_start=of.window_start, window_end=of.key.window_end, revision=of.key.revision
        )
        found.append(LatestMeasurement(measured, of.finished_at or of.key.window_end))
    return tuple(found)


def last_good(
    connection: Connection, wanted: Collection[Series], since: datetime
) -> Mapping[Series, LatestMeasurement]:
    """The newest good measurement of these series, where there is one at or after `since`."""
    found: dict[Series, LatestMeasurement] = {}
    for chunk in _chunks(sorted(wanted)):
        place = func.row_number().over(
            partition_by=(measurement.c.monitor, measurement.c.feature, measurement.c.segment),
            order_by=(measurement.c.window_end.desc(), measurement.c.revision.desc()),
        )
        good = (
            select(*_SCALARS, place.label("place"))
            .where(
                tuple_(measurement.c.monitor, measurement.c.feature, measurement.c.segment).in_(chunk),
                measurement.c.status == MeasurementStatus.OK.value,
                measurement.c.window_end >= since,
            )
            .subquery()
        )
        rows = connection.execute(
            select(good, run.c.finished_at)
            .join(
                run,
                and_(
                    run.c.monitor == good.c.monitor,
                    run.c.window_end == good.c.window_end,
                    run.c.revision == good.c.revision,
                ),
            )
            .where(good.c.place == 1)
        )
        for row in rows:
            measured = LatestMeasurement(_WHOLE.measurement(row), row.finished_at)
            found[measured.series] = measured
    return found


def histories(connection: Connection, stretches: Sequence[Range]) -> dict[Series, list[Measurement]]:
    """The latest revision of each window of these stretches, oldest first."""
    found: dict[Series, dict[datetime, Measurement]] = {}
    for chunk in _chunks(stretches, 50):
        for row in connection.execute(_within(_SCALARS, chunk)).all():
            measured = _WHOLE.measurement(row)
            # Revisions come in order, so the last one stays.
            found.setdefault(series_of(measured), {})[measured.window_end] = measured
    return {series: list(by_end.values()) for series, by_end in found.items()}


def windows(
    connection: Connection, stretches: Sequence[Range], metrics: Collection[Metric]
) -> dict[Series, list[WindowValues]]:
    """What the rules on these metrics saw in these stretches, oldest first: `histories` at a fifth of the cost."""
    divergences = [metric for metric in ESTIMATE_COLUMNS if metric in metrics]
    ratios = [metric for metric in _RATIOS if metric in metrics]
    names = [name for metric in divergences for name in ESTIMATE_COLUMNS[metric]]
    names += [_RATIOS[metric] for metric in ratios]
    keys = ("monitor", "feature", "segment", "window_end", "status")
    columns = [measurement.c[name] for name in (*keys, *names)]
    starts = [(metric, len(keys) + _PARTS * position) for position, metric in enumerate(divergences)]
    places = [(metric, len(keys) + _PARTS * len(divergences) + position) for position, metric in enumerate(ratios)]
    found: dict[Series, dict[datetime, WindowValues]] = {}
    for chunk in _chunks(stretches, 50):
        for row in connection.execute(_within(columns, chunk)).all():
            values = {metric: Estimate(*row[start : start + _PARTS]) for metric, start in starts}
            for metric, place in places:
                values[metric] = Estimate(row[place])
            window = WindowValues(row[3], Measured(_STATUSES[row[4]], values))
            found.setdefault(Series(row[0], row[1], row[2]), {})[window.end] = window
    return {series: list(by_end.values()) for series, by_end in found.items()}


def _within(columns: Sequence[ColumnElement[Any]], stretches: Sequence[Range]) -> Select[Any]:
    conditions = []
    for stretch in stretches:
        condition = and_(
            measurement.c.monitor == stretch.monitor,
            measurement.c.window_end >= stretch.since,
            measurement.c.window_end <= stretch.until,
        )
        if stretch.features is not None:
            condition = and_(condition, measurement.c.feature.in_(sorted(stretch.features)))
        conditions.append(condition)
    order = (measurement.c.monitor, measurement.c.feature, measurement.c.segment)
    return select(*columns).where(or_(*conditions)).order_by(*order, measurement.c.window_end, measurement.c.revision)


def counted(connection: Connection, wanted: Sequence[Measurement]) -> dict[Series, Measurement]:
    """These measurements, whole: with count arrays, contributions and alert states."""
    keys = [(key.monitor, key.window_end, key.revision, key.feature, key.segment) for key in wanted]
    return {
        series_of(measured): measured for chunk in _chunks(keys) for measured in measurements.counted(connection, chunk)
    }


def references_built(connection: Connection) -> Mapping[str, datetime]:
    """When the newest frozen reference of each monitor was built."""
    newest = func.max(reference.c.built_at).label("newest")
    rows = connection.execute(select(reference.c.monitor, newest).group_by(reference.c.monitor))
    return {row.monitor: row.newest for row in rows}


def waiting_since(connection: Connection) -> Mapping[str, datetime]:
    """When the next evaluation of each monitor that is planned already may start; monitors without one are left out."""
    first = func.min(run.c.next_at).label("first")
    rows = connection.execute(select(run.c.monitor, first).where(run.c.state.in_(UNFINISHED)).group_by(run.c.monitor))
    return {row.monitor: row.first for row in rows}


def _chunks(items: Sequence[Item], size: int = ROWS_PER_STATEMENT) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
