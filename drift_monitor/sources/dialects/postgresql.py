"""PostgreSQL 14 and later, through psycopg 3: the server counts.

`width_bucket` with an array of edges is exact and half-open, in the column's own type: floats against floats,
integers against integers, decimals against decimals. NaN is the largest value there, so an edge 'NaN' at the end
gives it a bin of its own without another test per row.
"""

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import ColumnElement

from drift_monitor.core.bins import BooleanBins, Kind, NumericBins, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FailureReason
from drift_monitor.sources.dialects.base import (
    CatalogEntry,
    ColumnInfo,
    ErrorKind,
    Failure,
    PushAxis,
    PushDialect,
    SourceLimits,
    TimeAxis,
)
from drift_monitor.sources.dialects.elements import DatasetColumn, DatasetRows, Relation, ResultRows
from drift_monitor.sources.dialects.values import (
    HEAD_CHARACTERS,
    INT64_MAX,
    INT64_MIN,
    LONGEST_LABEL_BYTES,
    MARK,
    decimal_edges,
    float_edges,
    from_wall_clock,
    integer_edges,
    wall_clock,
)
from drift_monitor.version import __version__

CONNECTION = {
    "application_name": f"drift-monitor/{__version__}",
    "connect_timeout": 10,
    "keepalives": 1,  # a firewall that forgets the connection is noticed within a minute or two
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "prepare_threshold": None,  # a generic plan would not see the bounds and edges
}

LOCK_MILLISECONDS = 10_000
# What the planner may think of to count labels of many slices by hashing; counts themselves take a few MB.
WORK_MEMORY = "32MB"
# Rows are sampled by the hash of where they lie, modulo this; unlike TABLESAMPLE that leaves indexes their use.
PLACES = 2**24

INTEGERS = {"int2", "int4", "int8"}
FLOATS = {"float4", "float8"}
TEXTS = {"text", "varchar", "bpchar", "name", "citext", "char"}
TYPES: Mapping[str, tuple[Kind, ValueType]] = {
    **dict.fromkeys(INTEGERS, (Kind.NUMERIC, ValueType.INTEGER)),
    **dict.fromkeys(FLOATS, (Kind.NUMERIC, ValueType.FLOAT)),
    **dict.fromkeys(TEXTS, (Kind.CATEGORICAL, ValueType.TEXT)),
    "numeric": (Kind.NUMERIC, ValueType.DECIMAL),
    "bool": (Kind.BOOLEAN, ValueType.BOOLEAN),
}
ENUM = "e"  # the category of enumerated types, whose names are the user's
ZONED = "timestamptz"
NAIVE_TIMES = {"timestamp", "date"}

FAULTS = {
    "08": ErrorKind.UNAVAILABLE,  # connection
    "28": ErrorKind.UNAVAILABLE,  # authorization
    "3D": ErrorKind.UNAVAILABLE,  # no such database
    "53": ErrorKind.UNAVAILABLE,  # out of memory, disk, connections
    "57P": ErrorKind.UNAVAILABLE,  # shutting down, starting up
    "57014": ErrorKind.TIMEOUT,
    "55P03": ErrorKind.LOCKED,
    "40001": ErrorKind.CONFLICT,
    "40P01": ErrorKind.CONFLICT,
    "42P01": ErrorKind.TABLE_MISSING,
    "3F000": ErrorKind.TABLE_MISSING,
    "42703": ErrorKind.COLUMN_MISSING,
    "42501": ErrorKind.PERMISSION,
}

# Error classes whose messages hold names and syntax, but no values of rows.
SPEAKING_CLASSES = ("42", "3F", "3D", "28", "08", "53", "57")

CATALOG = """
SELECT n.nspname AS schema, c.relname AS relation, c.reltuples::float8 AS estimate,
       c.relkind IN ('r', 'p', 'm') AND has_table_privilege(c.oid, 'SELECT') AS places_rows,
       a.attname AS name, has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable,
       format_type(a.atttypid, a.atttypmod) AS sql_type,
       coalesce(b.typname, t.typname) AS native, coalesce(b.typtype, t.typtype)::text AS category,
       CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END AS modifier,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid) AS indexed
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd'
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f')
  AND ((c.relname = :name AND pg_table_is_visible(c.oid))
       OR EXISTS (SELECT FROM unnest(CAST(:schemas AS text[]), CAST(:names AS text[])) AS wanted(schema, name)
                  WHERE n.nspname = wanted.schema AND c.relname = wanted.name))
ORDER BY pg_table_is_visible(c.oid) DESC, n.nspname, c.relname, a.attnum
"""

NAMES = """
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN NULL ELSE n.nspname END, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
  AND NOT c.relispartition
ORDER BY 1 NULLS FIRST, 2
"""

RESULT_TYPES = """
SELECT wanted.position, format_type(wanted.type, wanted.modifier), t.typname, t.typtype::text, wanted.modifier
FROM unnest(CAST(:types AS bigint[])::oid[], CAST(:modifiers AS int[])) WITH ORDINALITY
     AS wanted(type, modifier, position)
JOIN pg_type t ON t.oid = wanted.type
ORDER BY 1
"""


class PostgreSQL(PushDialect):
    """Facts and spellings of PostgreSQL."""

    name = "postgresql"
    deadline_grace = timedelta(seconds=5)
    features_per_statement = 50
    catalog_is_free = False

    def engine(self, url: sa.URL, limits: SourceLimits) -> sa.Engine:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={**CONNECTION, **{key: value for key, value in url.query.items() if key in CONNECTION}},
            hide_parameters=True,
            use_native_hstore=False,  # saves a look into the catalog with every connection
            pool_size=limits.max_connections,
            max_overflow=0,
            pool_timeout=2 * limits.statement_timeout.total_seconds(),
        )

        @sa.event.listens_for(engine, "connect")
        def make_read_only(connection: Any, _: Any) -> None:
            connection.read_only = True

        return engine

    def transaction_settings(self, limits: SourceLimits, *, many_rows: bool) -> str:
        milliseconds = int(limits.statement_timeout.total_seconds() * 1000)
        settings = [
            f"SET LOCAL statement_timeout = {milliseconds}",
            # Shorter, so that a table that is locked is told apart from one that is slow.
            f"SET LOCAL lock_timeout = {min(milliseconds // 2, LOCK_MILLISECONDS)}",
            "SET LOCAL idle_in_transaction_session_timeout = 15000",
            f"SET LOCAL work_mem = '{WORK_MEMORY}'",
        ]
        if not many_rows:
            settings.append("SET LOCAL jit = off")  # compiling takes longer than counting few rows
        return "; ".join(settings)

    def abort(self, connection: Any) -> None:
        """Shut the socket: a client that waits for an answer which never comes is woken at once."""
        with contextlib.suppress(OSError, ValueError), socket.socket(fileno=os.dup(connection.fileno())) as handle:
            handle.shutdown(socket.SHUT_RDWR)

    def cancel(self, connection: Any) -> None:
        try:
            connection.cancel_safe(timeout=2)
        except Exception:  # noqa: BLE001 - whatever is wrong with asking, shutting the socket ends it
            self.abort(connection)

    def classify(self, error: DBAPIError) -> ErrorKind:
        state = getattr(error.orig, "sqlstate", None)
        if state is None:
            return ErrorKind.UNAVAILABLE if isinstance(error, sa.exc.OperationalError) else ErrorKind.QUERY
        # The whole state says more than its first three characters, and these more than its class.
        return next((FAULTS[state[:length]] for length in (5, 3, 2) if state[:length] in FAULTS), ErrorKind.QUERY)

    def describe_error(self, error: DBAPIError) -> str:
        state = getattr(error.orig, "sqlstate", None)
        if state is None or state.startswith(SPEAKING_CLASSES):
            return " ".join(str(error.orig).partition("\nLINE")[0].split())
        return f"{type(error.orig).__name__} (SQLSTATE {state})"

    def catalog_statement(self, candidates: Sequence[Relation]) -> sa.Executable:
        qualified = [candidate for candidate in candidates if candidate.schema is not None]
        return sa.text(CATALOG).bindparams(
            sa.bindparam("name", candidates[0].name, sa.Text),
            sa.bindparam("schemas", [candidate.schema for candidate in qualified], ARRAY(sa.Text)),
            sa.bindparam("names", [candidate.name for candidate in qualified], ARRAY(sa.Text)),
        )

    def catalog_entries(self, result: ResultRows) -> Sequence[CatalogEntry]:
        rows: dict[Relation, list[Any]] = {}
        for row in result:
            rows.setdefault(Relation(row.relation, row.schema), []).append(row)
        return [_entry(relation, found) for relation, found in rows.items()]

    def names_statement(self) -> sa.Executable:
        return sa.text(NAMES)

    def types_statement(
        self, signature: Sequence[Any], values: Sequence[ColumnElement[Any]], rows: DatasetRows
    ) -> sa.Executable:
        return sa.text(RESULT_TYPES).bindparams(
            sa.bindparam("types", [column.type_code for column in signature], ARRAY(sa.BigInteger)),
            sa.bindparam("modifiers", [_modifier(column) for column in signature], ARRAY(sa.Integer)),
        )

    def result_columns(self, signature: Sequence[Any], types: Sequence[Any]) -> Sequence[ColumnInfo]:
        return [
            _column(column.name, sql_type, native, category, modifier)
            for column, (_, sql_type, native, category, modifier) in zip(signature, types, strict=True)
        ]

    def time_axis(self, info: ColumnInfo, zone: ZoneInfo | None, probed: Sequence[Any]) -> TimeAxis | Failure:
        if info.native == ZONED:
            return PostgresqlTime(None)
        if info.native not in NAIVE_TIMES:
            detail = f"is of type {info.sql_type}, which is no time"
            return Failure(FailureReason.UNSUPPORTED_TYPE, detail, "use a query that makes a timestamptz of it")
        if zone is None:
            detail = f"is of type {info.sql_type}, which does not say in which time zone"
            return Failure(FailureReason.NAIVE_TIME, detail, "set the source's `time_zone`")
        return PostgresqlTime(zone)

    def numeric_bin(self, value: ColumnElement[Any], info: ColumnInfo, spec: NumericBins) -> ColumnElement[int]:
        return sa.func.coalesce(sa.func.width_bucket(value, _edges(info, spec), type_=sa.Integer), spec.missing)

    def boolean_bin(self, value: ColumnElement[Any], info: ColumnInfo, spec: BooleanBins) -> ColumnElement[int]:
        if info.native == "bool":
            return sa.case((value, 1), (sa.not_(value), 0), else_=spec.missing)
        return sa.case((value.is_(None), spec.missing), (value == 0, 0), (value == 1, 1), else_=spec.invalid)

    def label(self, value: ColumnElement[Any], info: ColumnInfo) -> ColumnElement[str]:
        text = sa.cast(value, sa.Text)
        short = sa.case(
            (sa.func.octet_length(text) <= LONGEST_LABEL_BYTES, text),
            else_=sa.func.left(text, HEAD_CHARACTERS).op("||")(MARK).op("||")(sa.func.md5(text)),
        )
        return sa.collate(short if info.native in TEXTS else text, "C")

    def is_label(self, label: ColumnElement[str], labels: Sequence[str]) -> ColumnElement[bool]:
        possible = [label for label in labels if "\x00" not in label]  # no text of PostgreSQL holds it
        return label == sa.any_(sa.bindparam(None, possible, ARRAY(sa.Text), unique=True))

    def slice_index(self, time: ColumnElement[Any], bounds: ColumnElement[Any]) -> ColumnElement[int]:
        return sa.func.width_bucket(time, bounds, type_=sa.Integer)

    def is_finite(self, value: ColumnElement[Any], info: ColumnInfo) -> ColumnElement[bool] | None:
        if info.native in INTEGERS:
            return None
        native = "numeric" if info.native == "numeric" else "float8"
        low: ColumnElement[Any] = sa.literal_column(f"'-Infinity'::{native}")
        high: ColumnElement[Any] = sa.literal_column(f"'Infinity'::{native}")
        return sa.and_(value > low, value < high)

    def is_sampled(self, share: float, *, placed: bool) -> ColumnElement[bool]:
        if not placed:
            return sa.func.random() < share
        place = sa.func.hashtid(DatasetColumn("ctid"), type_=sa.Integer)
        return place.op("&")(PLACES - 1) < round(share * PLACES)


@dataclass(frozen=True)
class PostgresqlTime(PushAxis):
    """A timestamp column, with a time zone of its own (`zone` is None) or by the source's."""

    zone: ZoneInfo | None

    @property
    def naive(self) -> bool:  # type: ignore[override]
        return self.zone is not None

    def within(self, time: ColumnElement[Any], span: Span) -> ColumnElement[bool]:
        start, end = (sa.bindparam(None, self._bound(at), self._type, unique=True) for at in (span.start, span.end))
        return sa.and_(time >= start, time < end)

    def bounds(self, instants: Sequence[datetime]) -> ColumnElement[Any]:
        return sa.bindparam(None, [self._bound(at) for at in instants], ARRAY(self._type), unique=True)

    def instant(self, value: Any) -> datetime | None:
        if value is None:
            return None
        if self.zone is None:
            return value.astimezone(UTC)  # type: ignore[no-any-return]
        wall = value if isinstance(value, datetime) else datetime.combine(value, time.min)
        return from_wall_clock(wall, self.zone)

    @property
    def _type(self) -> sa.TIMESTAMP:
        return sa.TIMESTAMP(timezone=self.zone is None)

    def _bound(self, instant: datetime) -> datetime:
        return instant if self.zone is None else wall_clock(instant, self.zone)


def _entry(relation: Relation, rows: Sequence[Any]) -> CatalogEntry:
    columns = [row for row in rows if row.name is not None]  # a table may have none
    estimate = rows[0].estimate
    return CatalogEntry(
        relation=relation,
        columns={
            row.name: _column(row.name, row.sql_type, row.native, row.category, row.modifier)
            for row in columns
            if row.readable
        },
        forbidden=tuple(row.name for row in columns if not row.readable),
        estimated_rows=int(estimate) if estimate >= 0 else None,
        places_rows=rows[0].places_rows,
        indexed=frozenset(row.name for row in columns if row.indexed),
    )


def _column(name: str, sql_type: str, native: str, category: str, modifier: int) -> ColumnInfo:
    as_text = (Kind.CATEGORICAL, ValueType.TEXT) if category == ENUM else (None, None)
    kind, value_type = TYPES.get(native, as_text)
    scale = None
    if value_type is ValueType.DECIMAL and modifier >= 4:
        # Decimal places are in the type modifier of a numeric, as an eleven-bit signed number.
        scale = (((modifier - 4) & 0x7FF) ^ 1024) - 1024
    return ColumnInfo(
        name=name,
        sql_type=sql_type,
        native=native,
        kind=kind,
        value_type=value_type,
        scale=scale,
        is_time=native == ZONED or native in NAIVE_TIMES,
    )


def _modifier(column: Any) -> int:
    """The type modifier of a numeric in a result, as the catalog would write it."""
    if not column.precision:
        return -1
    return ((int(column.precision) << 16) | (int(column.scale or 0) & 0x7FF)) + 4


def _edges(info: ColumnInfo, spec: NumericBins) -> ColumnElement[Any]:
    """The edges as an array of the column's own type; NaN, which sorts last here, is the edge of its own bin."""
    if info.native in FLOATS:
        floats = [*float_edges(spec.edges), float("nan")]
        return sa.bindparam(None, floats, ARRAY(sa.Double), unique=True)
    integers = integer_edges(spec.edges)
    if info.native in INTEGERS and all(INT64_MIN <= edge <= INT64_MAX for edge in integers):
        return sa.bindparam(None, integers, ARRAY(sa.BigInteger), unique=True)
    decimals = [str(edge) for edge in decimal_edges(spec.edges)]
    return sa.cast(sa.bindparam(None, [*decimals, "NaN"], ARRAY(sa.Text), unique=True), ARRAY(sa.Numeric))
