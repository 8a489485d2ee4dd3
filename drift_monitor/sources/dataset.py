"""What is read and what comes back: datasets, features, their columns, and the counts of one reading."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from drift_monitor.core.bins import BinSpec, Kind, ValueType
from drift_monitor.core.histogram import Counts
from drift_monitor.core.panes import Span
from drift_monitor.errors import FeatureError


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A table, view or query of a source. `monitor` is named in every error.

    `query` and `where` are the user's own SQL, trusted as the URL is. `time_zone` says what time stamps without a
    zone mean; without it they are refused.
    """

    monitor: str
    table: str | None = None
    query: str | None = None
    where: str | None = None
    time_column: str | None = None
    time_zone: ZoneInfo | None = None

    def __str__(self) -> str:
        return f"table {self.table!r}" if self.table is not None else "its query"


@dataclass(frozen=True, kw_only=True)
class FeatureColumn:
    """A feature: a column of the dataset, or an SQL expression over its columns. `kind` overrides the column's own."""

    feature: str
    column: str | None = None
    expression: str | None = None
    kind: Kind | None = None

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
class ColumnInfo:
    """What a database says of a column.

    `kind` and `value_type` are None for types that can't be watched. `native` is the database's short name of the
    type, `sql_type` the long one people know. `scale`: decimal places of a decimal column, None if unbounded.
    `is_time` is True for columns that can be a monitor's time column by their type.
    """

    name: str
    sql_type: str
    native: str
    kind: Kind | None
    value_type: ValueType | None
    scale: int | None = None
    is_time: bool = False


@dataclass(frozen=True, kw_only=True)
class Description:
    """A dataset's columns. `forbidden` are columns which our role may not read."""

    columns: Mapping[str, ColumnInfo]
    forbidden: tuple[str, ...]
    time_column: ColumnInfo | None
    time_is_naive: bool


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
