"""What a database must be able to do, and say of itself, for its features to be counted.

A dialect is a list of facts and a few spellings. The builder asks for them; nothing else in the package asks for a
dialect by name. Two ways of counting exist: the server of a `PushDialect` counts and sends counts; rows of any other
are read in bounded batches and counted here, for databases that run inside this process anyway.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import ColumnElement

from drift_monitor.core.bins import BooleanBins, Kind, NumericBins, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FailureReason
from drift_monitor.sources.dialects.elements import DatasetRows, Relation, ResultRows


class ErrorKind(StrEnum):
    """Kinds of errors of a driver, as a dialect classifies them."""

    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    LOCKED = "locked"
    CONFLICT = "conflict"
    TABLE_MISSING = "table_missing"
    COLUMN_MISSING = "column_missing"
    PERMISSION = "permission"
    QUERY = "query"


@dataclass(frozen=True)
class Failure:
    """What is wrong, and what to do next."""

    reason: FailureReason
    detail: str
    hint: str


class StatementRefused(Exception):
    """A statement the database would not run. It never leaves this room: who knows its subject gives it a name."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(frozen=True, kw_only=True)
class SourceLimits:
    """What a user allows us to take of a database."""

    max_connections: int
    statement_timeout: timedelta


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
class CatalogEntry:
    """A relation as the catalog has it.

    `forbidden`: columns which our role may not read. `indexed`: those that come first in an index. `estimated_rows` is
    None where the database has no idea. `places_rows`: whether rows have a place on disk that our role may ask for.
    `hides_rows`: whether row level security shows our role none of them.
    """

    relation: Relation
    columns: Mapping[str, ColumnInfo]
    indexed: frozenset[str]
    forbidden: tuple[str, ...] = ()
    estimated_rows: int | None = None
    places_rows: bool = False
    hides_rows: bool = False


class Dialect(ABC):
    """One kind of database."""

    name: str
    # How long after the statement's limit the client ends it itself; zero where nobody else does.
    deadline_grace: timedelta
    features_per_statement: int
    # Whether asking the catalog costs nothing, so that it is asked each time: not every change is an error there.
    catalog_is_free: bool

    @abstractmethod
    def engine(self, url: sa.URL, limits: SourceLimits) -> sa.Engine:
        """An engine that can only read, with at most the allowed connections."""

    def begin(self, connection: sa.Connection, limits: SourceLimits, *, many_rows: bool) -> None:  # noqa: B027
        """Make a transaction that was just opened independent of how the server, the role or a pooler is set."""

    def leave(self, connection: sa.Connection) -> None:  # noqa: B027
        """Take back what a statement may have left in its session, which somebody else's will use."""

    @abstractmethod
    def abort(self, connection: Any) -> None:
        """End what a driver's connection is doing, from another thread, whatever the network does."""

    def cancel(self, connection: Any) -> None:
        """Ask the database to end what a driver's connection is doing."""
        self.abort(connection)

    @abstractmethod
    def classify(self, error: DBAPIError) -> ErrorKind:
        """What a driver's error means."""

    @abstractmethod
    def describe_error(self, error: DBAPIError) -> str:
        """The error in words, without values of the user's rows."""

    @abstractmethod
    def catalog_statement(self, candidates: Sequence[Relation]) -> sa.Executable:
        """What the catalog knows of relations by these names."""

    @abstractmethod
    def catalog_entries(self, result: ResultRows) -> Sequence[CatalogEntry]:
        """The relations found, best match first."""

    @abstractmethod
    def names_statement(self) -> sa.Executable:
        """Names of all relations our role can see, as (schema or None, name)."""

    def risks_statement(self) -> sa.Executable | None:
        """What a role may do that even a read-only transaction does not prevent, a sentence a row."""
        return None

    @abstractmethod
    def types_statement(
        self, signature: Sequence[Any], values: Sequence[ColumnElement[Any]], rows: DatasetRows
    ) -> sa.Executable:
        """A statement that tells the types of a result, from its signature or from some of its values."""

    @abstractmethod
    def result_columns(self, signature: Sequence[Any], types: Sequence[Any]) -> Sequence[ColumnInfo]:
        """The columns of a result, from its signature and the rows of `types_statement`."""

    def time_probe(
        self, info: ColumnInfo, time: ColumnElement[Any], rows: DatasetRows, entry: CatalogEntry | None
    ) -> sa.Executable | None:
        """A statement that finds out what the type of a time column does not say; None where it says all."""
        return None

    @abstractmethod
    def time_axis(self, info: ColumnInfo, zone: ZoneInfo | None, probed: Sequence[Any]) -> "TimeAxis | Failure":
        """How a time column holds instants, or what is wrong with it."""


class PushDialect(Dialect):
    """A database whose server counts."""

    def number(self, value: ColumnElement[Any], info: ColumnInfo) -> ColumnElement[Any]:
        """A number as the server compares it: edges are made from what this returns."""
        return value

    @abstractmethod
    def numeric_bin(self, value: ColumnElement[Any], info: ColumnInfo, spec: NumericBins) -> ColumnElement[int]:
        """The ordinal of a number's bin, NULL and NaN included."""

    @abstractmethod
    def boolean_bin(self, value: ColumnElement[Any], info: ColumnInfo, spec: BooleanBins) -> ColumnElement[int]:
        """The ordinal of a truth value's bin; integers 0 and 1 are truth values too."""

    @abstractmethod
    def label(self, value: ColumnElement[Any], info: ColumnInfo) -> ColumnElement[str]:
        """A category as `values.label_of` names it, compared byte by byte."""

    @abstractmethod
    def is_label(self, label: ColumnElement[str], labels: Sequence[str]) -> ColumnElement[bool]:
        """Whether a label is one of these."""

    @abstractmethod
    def slice_index(self, time: ColumnElement[Any], bounds: ColumnElement[Any]) -> ColumnElement[int]:
        """Which slice between the bounds, from 1."""

    @abstractmethod
    def is_finite(self, value: ColumnElement[Any], info: ColumnInfo) -> ColumnElement[bool] | None:
        """Whether a number is neither infinite nor NaN; None where the type has only finite ones."""

    @abstractmethod
    def is_sampled(self, share: float, *, placed: bool) -> ColumnElement[bool]:
        """True for this share of the rows, chosen at random; for the same rows of a table each time."""


class TimeAxis(ABC):
    """How one time column holds instants."""

    naive: bool  # whether its values need the source's time zone to mean an instant
    is_daily: bool = False  # whether it holds dates only

    @abstractmethod
    def within(self, time: ColumnElement[Any], span: Span) -> ColumnElement[bool]:
        """A condition that an index can serve and no row of the span fails."""


class PushAxis(TimeAxis):
    """A time column of a database whose server counts."""

    @abstractmethod
    def bounds(self, instants: Sequence[datetime]) -> ColumnElement[Any]:
        """Instants as an array to compare the column with."""

    @abstractmethod
    def instant(self, value: Any) -> datetime | None:
        """A value of the column as an instant; None is None."""


class StreamAxis(TimeAxis):
    """A time column whose values are read and placed here, as whole numbers that sort as they do."""

    @abstractmethod
    def thresholds(self, instants: Sequence[datetime]) -> NDArray[np.int64]:
        """The smallest positions that are not before the instants."""

    @abstractmethod
    def positions(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """Values of the column as positions; NULL comes before every instant."""

    @abstractmethod
    def at(self, position: int) -> datetime:
        """The instant of a position."""
