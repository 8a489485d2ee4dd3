"""How everything stands, for all monitors at once: what gauges and pages read, in a few queries whatever their number.

Measurements come without their count arrays and alert states, unless those are asked for: a page shows many features
and few histograms.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, and_, func, or_, select, tuple_

from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.store import measurements
from drift_monitor.store.measurements import ARRAYS, Measurement
from drift_monitor.store.runs import UNFINISHED, RunState, newest_of_each
from drift_monitor.store.schema import measurement, reference, run
from drift_monitor.store.statements import ROWS_PER_STATEMENT

Item = TypeVar("Item")

_SCALARS = tuple(column for column in measurement.c if column.name not in ARRAYS)


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


def series_of(one: Measurement) -> Series:
    """The series a measurement belongs to."""
    return Series(one.monitor, one.feature, one.segment)


def latest(connection: Connection) -> tuple[LatestMeasurement, ...]:
    """The measurements of the last done evaluation of every monitor, good or not."""
    done = newest_of_each(run.alias("done"), lambda inner: inner.c.state == RunState.DONE.value).subquery("latest")
    statement: Select[Any] = (
        select(*_SCALARS, done.c.finished_at)
        .join(
            done,
            and_(
                done.c.monitor == measurement.c.monitor,
                done.c.window_end == measurement.c.window_end,
                done.c.revision == measurement.c.revision,
            ),
        )
        .order_by(measurement.c.monitor, measurement.c.feature, measurement.c.segment)
    )
    rows = connection.execute(statement)
    return tuple(LatestMeasurement(measurements.from_row(row), row.finished_at) for row in rows)


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
            one = LatestMeasurement(measurements.from_row(row), row.finished_at)
            found[one.series] = one
    return found


def histories(connection: Connection, stretches: Sequence[Range]) -> dict[Series, list[Measurement]]:
    """The latest revision of each window of these stretches, oldest first."""
    found: dict[Series, dict[datetime, Measurement]] = {}
    for chunk in _chunks(stretches, 50):
        for row in connection.execute(_within(chunk)):
            one = measurements.from_row(row)
            # Revisions come in order, so the last one stays.
            found.setdefault(series_of(one), {})[one.window_end] = one
    return {series: list(windows.values()) for series, windows in found.items()}


def _within(stretches: Sequence[Range]) -> Select[Any]:
    conditions = []
    for one in stretches:
        condition = and_(
            measurement.c.monitor == one.monitor,
            measurement.c.window_end >= one.since,
            measurement.c.window_end <= one.until,
        )
        if one.features is not None:
            condition = and_(condition, measurement.c.feature.in_(sorted(one.features)))
        conditions.append(condition)
    order = (measurement.c.monitor, measurement.c.feature, measurement.c.segment)
    return select(*_SCALARS).where(or_(*conditions)).order_by(*order, measurement.c.window_end, measurement.c.revision)


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
