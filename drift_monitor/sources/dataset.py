"""What is read and what comes back: datasets, features, slices of time, the counts of one reading, and its errors.

A statement counts per slice; every span is a sum of slices. So spans may be apart, touch or overlap, and the bounds
are always made here: no database's calendar or session time zone has a say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.sql.expression import ColumnElement

from drift_monitor.core.bins import BinSpec, Kind
from drift_monitor.core.distribution import Counts
from drift_monitor.core.schedule import Span
from drift_monitor.errors import DatasetError, FailureReason, FeatureError
from drift_monitor.sources.dialects.base import CatalogEntry, ColumnInfo, Failure, TimeAxis
from drift_monitor.sources.dialects.elements import DatasetColumn, DatasetRows, UserSql


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A table, view or query of a source. `monitor` is named in every error.

    `monitor` is empty where there is none, as in `compare`. `query` and `where` are the user's own SQL, trusted as the
    URL is. `time_zone` says what time stamps without a zone mean; without it they are refused.
    """

    monitor: str = ""
    table: str | None = None
    query: str | None = None
    where: str | None = None
    time_column: str | None = None
    time_zone: ZoneInfo | None = None

    def __str__(self) -> str:
        return f"table {self.table!r}" if self.table is not None else "its query"

    def of(self, subject: str) -> str:
        """What an error is about, beginning with the monitor that reads it."""
        return f"monitor {self.monitor!r}, {subject}" if self.monitor else subject


@dataclass(frozen=True, kw_only=True)
class FeatureColumn:
    """A feature: a column of the dataset, or an SQL expression over its columns. `kind` overrides the column's own."""

    feature: str
    column: str | None = None
    expression: str | None = None
    kind: Kind | None = None

    @property
    def value(self) -> ColumnElement[Any]:
        """The SQL of its value."""
        return UserSql(self.expression) if self.expression is not None else DatasetColumn(self.column or "")

    def __str__(self) -> str:
        return f"column {self.column!r}" if self.column is not None else "its expression"


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A feature and the bins its values are counted into."""

    feature: str
    column: str | None = None
    expression: str | None = None
    spec: BinSpec

    @property
    def target(self) -> FeatureColumn:
        return FeatureColumn(feature=self.feature, column=self.column, expression=self.expression)


@dataclass(frozen=True, kw_only=True)
class Description:
    """A dataset's columns. `forbidden` are columns which our role may not read."""

    columns: Mapping[str, ColumnInfo]
    forbidden: tuple[str, ...]
    time_column: ColumnInfo | None
    time_is_naive: bool
    time_is_daily: bool


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Counts of one reading; arrays run over `spans`, or over the one whole table.

    `rows`: row counts, shape (S,). `newest`: the newest time stamp of each span, None where it has no rows or where
    times were not asked for. `counts`: by feature, shape (S, spec.size); each row adds up to `rows`. `failed`: the
    features which could not be read. `statements`: how many counting statements it took, and how long they took.
    """

    spans: tuple[Span, ...]
    rows: NDArray[np.int64]
    newest: tuple[datetime | None, ...]
    counts: Mapping[str, Counts]
    failed: Mapping[str, FeatureError]
    statements: int
    seconds: float


@dataclass(frozen=True)
class Slices:
    """The elementary slices of some spans: slice i is [bounds[i], bounds[i + 1])."""

    spans: tuple[Span, ...]

    @cached_property
    def bounds(self) -> tuple[datetime, ...]:
        instants = {instant.astimezone(UTC) for span in self.spans for instant in (span.start, span.end)}
        return tuple(sorted(instants))

    @property
    def size(self) -> int:
        return len(self.bounds) - 1

    @cached_property
    def runs(self) -> tuple[Span, ...]:
        """The time covered by any span, as spans that neither touch nor overlap, oldest first."""
        runs: list[Span] = []
        for (start, end), is_wanted in zip(pairwise(self.bounds), self.wanted, strict=True):
            if not is_wanted:
                continue
            if runs and runs[-1].end == start:
                runs[-1] = Span(runs[-1].start, end)
            else:
                runs.append(Span(start, end))
        return tuple(runs)

    @cached_property
    def wanted(self) -> NDArray[np.bool_]:
        """Which slices belong to a span, shape (size,)."""
        wanted = np.zeros(self.size, dtype=np.bool_)
        for first, last in self._ranges:
            wanted[first:last] = True
        return wanted

    def fold(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts per slice, shape (size, ...), as counts per span, shape (len(spans), ...)."""
        return np.stack([counts[first:last].sum(axis=0) for first, last in self._ranges])

    def newest(self, instants: Sequence[datetime | None]) -> tuple[datetime | None, ...]:
        """The newest instant of each slice, as the newest of each span."""
        return tuple(
            max((instant for instant in instants[first:last] if instant is not None), default=None)
            for first, last in self._ranges
        )

    @cached_property
    def _ranges(self) -> tuple[tuple[int, int], ...]:
        position = {instant: index for index, instant in enumerate(self.bounds)}
        return tuple((position[span.start.astimezone(UTC)], position[span.end.astimezone(UTC)]) for span in self.spans)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A dataset as it was found: where its rows come from, its plain columns, and the catalog's entry of a relation."""

    rows: DatasetRows
    columns: Mapping[str, ColumnInfo]
    forbidden: tuple[str, ...]
    entry: CatalogEntry | None = None


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The rows a statement goes over: a dataset, and the slices of time wanted of it (None: all rows)."""

    dataset: Dataset
    origin: Origin
    axis: TimeAxis | None = None
    slices: Slices | None = None

    @property
    def size(self) -> int:
        """How many slices are counted."""
        return 1 if self.slices is None else self.slices.size

    @property
    def time(self) -> ColumnElement[Any]:
        return DatasetColumn(self.dataset.time_column or "")

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """What a row must be: in one of the spans, and as the user's `where` says."""
        if self.axis is not None and self.slices is not None:
            yield sa.or_(*(self.axis.within(self.time, run) for run in self.slices.runs))
        if self.dataset.where is not None:
            yield UserSql(self.dataset.where)

    def select(self, columns: Sequence[ColumnElement[Any]]) -> "sa.Select[Any]":
        """These columns of the rows."""
        return sa.select(*columns).select_from(self.origin.rows).where(*self.conditions())


HINTS = {
    FailureReason.TABLE_MISSING: "check the name in the configuration, and the schema if it is not the default one",
    FailureReason.COLUMN_MISSING: "check the name in the configuration, or restore the column",
    FailureReason.PERMISSION: "grant SELECT on it to the role of the source's URL",
    FailureReason.QUERY_FAILED: "run the same SQL by hand to see what it makes of the rows",
}


def failure(reason: FailureReason, detail: str) -> Failure:
    """A failure with its usual next step."""
    return Failure(reason, detail, HINTS[reason])


def dataset_error(dataset: Dataset, failure: Failure) -> DatasetError:
    """The failure of a dataset, with its names."""
    return DatasetError(f"{dataset.of(str(dataset))}: {failure.detail}; {failure.hint}", failure.reason)


def feature_error(dataset: Dataset, column: FeatureColumn, failure: Failure) -> FeatureError:
    """The failure of one feature, with its names."""
    of_feature = f"feature {column.feature!r}, " if dataset.monitor else ""
    subject = dataset.of(f"{of_feature}{column} of {dataset}")
    return FeatureError(column.feature, f"{subject}: {failure.detail}; {failure.hint}", failure.reason)
