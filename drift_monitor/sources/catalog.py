"""What a source says of its tables and columns, remembered until a statement fails.

A description is no part of a reading: it is asked once, and asked again only when a statement was refused, to find
out which column is gone, forbidden or of another type. Plain columns are looked up in the catalog; expressions and
queries are described by the database itself, from a statement without rows.
"""

import difflib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from drift_monitor.core.bins import BooleanBins, CategoricalBins, Kind, NumericBins, ValueType
from drift_monitor.errors import FailureReason, FeatureError
from drift_monitor.sources.dataset import (
    Counter,
    Dataset,
    Description,
    FeatureColumn,
    Origin,
    dataset_error,
    failure,
    feature_error,
)
from drift_monitor.sources.dialects.base import ColumnInfo, Failure, StatementRefused, TimeAxis
from drift_monitor.sources.dialects.elements import DatasetColumn, DatasetRows, Relation, ResultRows
from drift_monitor.sources.session import Session

Described = Mapping[str, ColumnInfo | FeatureError]


class Catalog:
    """Descriptions of one source's datasets and features."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._origins: dict[tuple[str | None, str | None], Origin] = {}
        self._values: dict[tuple[str | None, str | None, str, str], ColumnInfo] = {}

    def origin(self, dataset: Dataset, *, anew: bool = False) -> Origin:
        """Where a dataset's rows come from; raises DatasetError when that is nowhere or not for us.

        `anew`, as whatever begins to read asks for it: a catalog that costs nothing is looked up again.
        """
        key = (dataset.table, dataset.query)
        with self._lock:
            known = self._origins.get(key)
        if known is None or (anew and self._session.dialect.catalog_is_free):
            known = self._table(dataset) if dataset.table is not None else self._query(dataset)
            with self._lock:
                self._origins[key] = known
        return known

    def describe(self, dataset: Dataset) -> Description:
        """A dataset's columns, and what its time column means."""
        origin = self.origin(dataset, anew=True)
        untyped = [FeatureColumn(feature=name, column=name) for name, info in origin.columns.items() if not info.native]
        observed = self._describe_values(dataset, origin, untyped)
        typed = {name: info for name, info in observed.items() if isinstance(info, ColumnInfo)}
        time_column, is_naive, is_daily = None, False, False
        if dataset.time_column is not None:
            time_column, axis = self.time_column(dataset), self._axis(dataset)
            is_naive = axis.reason is FailureReason.NAIVE_TIME if isinstance(axis, Failure) else axis.naive
            is_daily = isinstance(axis, TimeAxis) and axis.is_daily
        return Description(
            columns={**origin.columns, **typed},
            forbidden=origin.forbidden,
            time_column=time_column,
            time_is_naive=is_naive,
            time_is_daily=is_daily,
        )

    def forget(self, dataset: Dataset) -> None:
        """Ask anew next time: a statement was refused, so something has changed."""
        with self._lock:
            self._origins.pop((dataset.table, dataset.query), None)
            for key in [key for key in self._values if key[:2] == (dataset.table, dataset.query)]:
                del self._values[key]

    def names(self) -> Sequence[str]:
        """Tables and views our role can see, with their schema where it is needed."""
        rows = self._session.ask(self._session.dialect.names_statement())
        return [f"{schema}.{name}" if schema else str(name) for schema, name in rows]

    def time_column(self, dataset: Dataset) -> ColumnInfo:
        """The column that places a dataset's rows in time."""
        if dataset.time_column is None:
            hint = "name the column that holds each row's time"
            raise dataset_error(dataset, Failure(FailureReason.COLUMN_MISSING, "it has no time_column", hint))
        found = self._column(self.origin(dataset), dataset.time_column)
        if isinstance(found, Failure):
            raise dataset_error(dataset, replace(found, detail=f"time column {dataset.time_column!r} {found.detail}"))
        return found

    def axis(self, dataset: Dataset) -> TimeAxis:
        """How a dataset's time column holds instants; raises DatasetError when that can't be told."""
        axis = self._axis(dataset)
        if isinstance(axis, Failure):
            detail = f"time column {dataset.time_column!r} {axis.detail}"
            raise dataset_error(dataset, replace(axis, detail=detail))
        return axis

    def _axis(self, dataset: Dataset) -> "TimeAxis | Failure":
        info, origin = self.time_column(dataset), self.origin(dataset)
        dialect = self._session.dialect
        probe = dialect.time_probe(info, DatasetColumn(info.name), origin.rows, origin.entry)
        try:
            probed = [] if probe is None else self._session.run(probe, lambda result: list(result.fetchall()))
        except StatementRefused as refused:
            raise dataset_error(dataset, refused.failure) from refused
        return dialect.time_axis(info, dataset.time_zone, probed)

    def features(self, dataset: Dataset, columns: Sequence[FeatureColumn]) -> Described:
        """Each feature's column as the database has it, or what is wrong with it."""
        origin = self.origin(dataset, anew=True)
        described: dict[str, ColumnInfo | FeatureError] = {}
        unknown = []
        for column in columns:
            found = self._column(origin, column.column) if column.column is not None else None
            if isinstance(found, Failure):
                described[column.feature] = feature_error(dataset, column, found)
            elif found is None or not found.native:
                unknown.append(column)
            else:
                described[column.feature] = found
        return {**described, **self._describe_values(dataset, origin, unknown)}

    def configured_features(self, dataset: Dataset, columns: Sequence[FeatureColumn]) -> Described:
        """The same, with the kind the user gave it; a type that can't be watched that way is an error."""
        found = self.features(dataset, columns)
        return {
            column.feature: _as_configured(dataset, column, info)
            if isinstance(info := found[column.feature], ColumnInfo)
            else info
            for column in columns
        }

    def _table(self, dataset: Dataset) -> Origin:
        name = dataset.table or ""
        dialect = self._session.dialect
        # The name may mean a relation of just that name, or one in a schema, split at any of its dots.
        dots = [position for position, character in enumerate(name) if character == "."]
        candidates = [Relation(name), *(Relation(name[dot + 1 :], name[:dot]) for dot in dots)]
        try:
            entries = self._session.run(dialect.catalog_statement(candidates), dialect.catalog_entries)
        except StatementRefused as refused:
            raise dataset_error(dataset, refused.failure) from refused
        if not entries:
            detail = f"it does not exist{_meant(name, self.names())}"
            raise dataset_error(dataset, failure(FailureReason.TABLE_MISSING, detail))
        entry = entries[0]
        if not entry.columns and entry.forbidden:
            detail = "our role may read none of its columns"
            raise dataset_error(dataset, failure(FailureReason.PERMISSION, detail))
        if entry.hides_rows:
            detail = "row level security shows our role none of its rows: it has no policy for us to read them"
            hint = "CREATE POLICY ... FOR SELECT TO the role of the source's URL, or give that role BYPASSRLS"
            raise dataset_error(dataset, Failure(FailureReason.PERMISSION, detail, hint))
        return Origin(rows=DatasetRows(entry.relation), columns=entry.columns, forbidden=entry.forbidden, entry=entry)

    def _query(self, dataset: Dataset) -> Origin:
        rows = DatasetRows(dataset.query or "")
        try:
            columns = self._described(rows, sa.select(sa.literal_column("*")).select_from(rows))
        except StatementRefused as refused:
            raise dataset_error(dataset, refused.failure) from refused
        return Origin(rows=rows, columns={column.name: column for column in columns}, forbidden=())

    def _described(
        self, rows: DatasetRows, statement: "sa.Select[Any]", values: "Sequence[sa.ColumnElement[Any]] | None" = None
    ) -> Sequence[ColumnInfo]:
        """The columns of a statement without rows; `values` are their SQL, by default columns of their names."""

        def read_signature(result: ResultRows) -> Sequence[Any]:
            assert result.cursor is not None  # a SELECT, even one without rows, has a signature
            return list(result.cursor.description or ())

        signature = self._session.run(statement.limit(0), read_signature)
        dialect = self._session.dialect
        parts = values if values is not None else [DatasetColumn(column[0]) for column in signature]
        types = self._session.run(
            dialect.types_statement(signature, parts, rows), lambda result: list(result.fetchall())
        )
        return dialect.result_columns(signature, types)

    def _describe_values(
        self, dataset: Dataset, origin: Origin, columns: Sequence[FeatureColumn]
    ) -> dict[str, ColumnInfo | FeatureError]:
        keys = {of.feature: (dataset.table, dataset.query, str(of.column), str(of.expression)) for of in columns}
        with self._lock:
            known = {feature: self._values[key] for feature, key in keys.items() if key in self._values}
        found = self._ask(dataset, origin, [column for column in columns if column.feature not in known])
        with self._lock:
            self._values |= {keys[feature]: info for feature, info in found.items() if isinstance(info, ColumnInfo)}
        return {**known, **found}

    def _ask(
        self, dataset: Dataset, origin: Origin, columns: Sequence[FeatureColumn]
    ) -> dict[str, ColumnInfo | FeatureError]:
        """Describe values in one statement; where that is refused, in halves, until the guilty one stands alone."""
        if not columns:
            return {}
        values = [column.value for column in columns]
        labelled = [value.label(f"e{number}") for number, value in enumerate(values)]
        try:
            found = self._described(origin.rows, sa.select(*labelled).select_from(origin.rows), values)
        except StatementRefused as refused:
            if len(columns) == 1:
                return {columns[0].feature: feature_error(dataset, columns[0], refused.failure)}
            half = len(columns) // 2
            return {**self._ask(dataset, origin, columns[:half]), **self._ask(dataset, origin, columns[half:])}
        return {
            column.feature: replace(info, name=column.column or column.feature)
            for column, info in zip(columns, found, strict=True)
        }

    def _column(self, origin: Origin, name: str) -> ColumnInfo | Failure:
        if name in origin.columns:
            return origin.columns[name]
        if name in origin.forbidden:
            return failure(FailureReason.PERMISSION, "is not for our role to read")
        detail = f"does not exist{_meant(name, [*origin.columns, *origin.forbidden])}"
        return failure(FailureReason.COLUMN_MISSING, detail)


def count_problem(dataset: Dataset, counter: Counter, info: ColumnInfo) -> FeatureError | None:
    """Whether a column's type still fits the bins of its reference."""
    match counter.spec:
        case NumericBins():
            fits = info.kind in (Kind.NUMERIC, None)
        case BooleanBins():
            fits = info.kind is Kind.BOOLEAN or info.value_type in (ValueType.INTEGER, ValueType.TEXT, None)
        case CategoricalBins():
            fits = info.kind is not None or info.value_type is None
    if fits:
        return None
    detail = f"is {info.sql_type} now, but its reference has {counter.spec.kind.value} bins"
    command = f"drift-monitor reference rebuild --monitor={dataset.monitor} --feature={counter.feature}"
    hint = f"restore the type, or run `{command}`"
    return feature_error(dataset, counter.target, Failure(FailureReason.TYPE_CHANGED, detail, hint))


def _as_configured(dataset: Dataset, column: FeatureColumn, info: ColumnInfo) -> ColumnInfo | FeatureError:
    kind = column.kind or info.kind
    if kind is None:
        detail = f"is of type {info.sql_type or 'unknown'}, which has no bins"
        hint = "leave it out, or watch an expression that makes a number or a text of it"
        return feature_error(dataset, column, Failure(FailureReason.UNSUPPORTED_TYPE, detail, hint))
    match kind:
        case Kind.CATEGORICAL:
            return replace(info, kind=kind, value_type=ValueType.TEXT, scale=None)
        case Kind.BOOLEAN if info.value_type in (ValueType.BOOLEAN, ValueType.INTEGER, ValueType.TEXT, None):
            return replace(info, kind=kind, value_type=ValueType.BOOLEAN)
        case Kind.NUMERIC if info.kind is Kind.NUMERIC or not info.native:
            return replace(info, kind=kind, value_type=info.value_type or ValueType.FLOAT)
    detail = f"is of type {info.sql_type}, which can't be watched as {kind.value}"
    hint = "leave `kind` out, or watch an expression that casts it"
    return feature_error(dataset, column, Failure(FailureReason.UNSUPPORTED_TYPE, detail, hint))


def _meant(name: str, names: Sequence[str]) -> str:
    folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""
