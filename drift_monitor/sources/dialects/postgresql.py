"""PostgreSQL 14 and later, through psycopg 3: the server counts.

`width_bucket` with an array of edges is exact and half-open, in the column's own type: floats against floats,
integers against integers, decimals against decimals. NaN is the largest value there, so an edge 'NaN' at the end
gives it a bin of its own without another test per row.
"""

import contextlib
import math
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import ColumnElement

from drift_monitor.core.bins import BooleanBins, NumericBins
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FailureReason
from drift_monitor.postgresql import PINNED, SEARCH_PATH, prepare, set_local
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
from drift_monitor.sources.dialects.postgresql_catalog import (
    CATALOG,
    DECIMALS,
    EPOCHS,
    FAULTS,
    FLOATS,
    INTEGERS,
    NAIVE_TIMES,
    NAMES,
    RESULT_TYPES,
    RISKS,
    SPEAKING_CLASSES,
    TEXTS,
    ZONED,
    column_of,
    entry_of,
    modifier_of,
)
from drift_monitor.sources.dialects.values import (
    FALSE_WORDS,
    HEAD_CHARACTERS,
    INT64_MAX,
    INT64_MIN,
    LONGEST_LABEL_BYTES,
    MARK,
    TRUE_WORDS,
    decimal_edges,
    epoch_scale,
    epoch_units,
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
}
FIXED = {
    "client_encoding": "utf8",
    "prepare_threshold": None,  # a generic plan would not see the bounds and edges
}

LOCK_MILLISECONDS = 10_000
# Beside what pins the meaning of a statement: what it may do and cost.
SETTINGS = {
    **PINNED,
    "default_transaction_read_only": "on",
    "idle_in_transaction_session_timeout": "15000",
    "max_parallel_workers_per_gather": "2",
    # What the planner may think of to count labels of many slices by hashing; counts themselves take a few MB.
    "work_mem": "32MB",
}
# Texts of a database in SQL_ASCII are bytes in any encoding; these are UTF-8, in hexadecimal.
UTF8 = "^([0-7][0-9a-f]|(c[2-9a-f]|d[0-9a-f])[89ab][0-9a-f]|e[0-9a-f]([89ab][0-9a-f]){2}|f[0-4]([89ab][0-9a-f]){3})*$"
PROBED_ROWS = 1_000  # times that tell whether numbers are seconds or parts of them
# Rows are sampled by the hash of where they lie, modulo this; unlike TABLESAMPLE that leaves indexes their use.
PLACES = 2**24


class PostgreSQL(PushDialect):
    """Facts and spellings of PostgreSQL."""

    name = "postgresql"
    deadline_grace = timedelta(seconds=5)
    features_per_statement = 50
    catalog_is_free = False
    encoding = "UTF8"  # of the database, known with the first connection

    def engine(self, url: sa.URL, limits: SourceLimits) -> sa.Engine:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            # Patience is the URL's to say, the meaning of what is sent is not.
            connect_args={
                **CONNECTION,
                **{key: value for key, value in url.query.items() if key in CONNECTION},
                **FIXED,
            },
            isolation_level="READ COMMITTED",
            hide_parameters=True,
            use_native_hstore=False,  # saves a look into the catalog with every connection
            pool_size=limits.max_connections,
            max_overflow=0,
            pool_timeout=2 * limits.statement_timeout.total_seconds(),
        )

        driver: Any = engine.dialect.loaded_dbapi  # an extra, so its types are not imported here

        class BinaryCursor(driver.Cursor):  # type: ignore[misc]
            """Results in binary go by the protocol that takes one statement at a time, whatever a user's SQL says."""

            def __init__(self, connection: Any, *, row_factory: Any = None) -> None:
                super().__init__(connection, row_factory=row_factory)
                self.format = driver.pq.Format.BINARY

        @sa.event.listens_for(engine, "connect")
        def make_read_only(connection: Any, entry: Any) -> None:
            connection.cursor_factory = BinaryCursor
            entry.info[SEARCH_PATH] = prepare(connection, read_only=True)
            self.encoding = connection.info.parameter_status("server_encoding")

        return engine

    def begin(self, connection: sa.Connection, limits: SourceLimits, *, many_rows: bool) -> None:
        milliseconds = int(limits.statement_timeout.total_seconds() * 1000)
        settings = {
            **SETTINGS,
            SEARCH_PATH: connection.info[SEARCH_PATH],
            "statement_timeout": str(milliseconds),
            # Shorter, so that a table that is locked is told apart from one that is slow.
            "lock_timeout": str(min(milliseconds // 2, LOCK_MILLISECONDS)),
            **({} if many_rows else {"jit": "off"}),  # compiling takes longer than counting few rows
        }
        connection.exec_driver_sql(set_local(settings))

    def leave(self, connection: sa.Connection) -> None:
        """A rollback takes back settings; locks, prepared statements and the like go with everything else."""
        driver = connection.connection.dbapi_connection
        assert driver is not None  # the connection was not invalidated
        if driver.closed:
            return
        driver.autocommit = True
        driver.execute("DISCARD ALL")
        driver.autocommit = False

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
        return [entry_of(relation, found) for relation, found in rows.items()]

    def names_statement(self) -> sa.Executable:
        return sa.text(NAMES)

    def risks_statement(self) -> sa.Executable:
        return sa.text(RISKS)

    def types_statement(
        self, signature: Sequence[Any], values: Sequence[ColumnElement[Any]], rows: DatasetRows
    ) -> sa.Executable:
        return sa.text(RESULT_TYPES).bindparams(
            sa.bindparam("types", [column.type_code for column in signature], ARRAY(sa.BigInteger)),
            sa.bindparam("modifiers", [modifier_of(column) for column in signature], ARRAY(sa.Integer)),
        )

    def result_columns(self, signature: Sequence[Any], types: Sequence[Any]) -> Sequence[ColumnInfo]:
        return [
            column_of(column.name, sql_type, native, category, modifier)
            for column, (_, sql_type, native, category, modifier) in zip(signature, types, strict=True)
        ]

    def time_probe(
        self, info: ColumnInfo, time: ColumnElement[Any], rows: DatasetRows, entry: CatalogEntry | None
    ) -> sa.Executable | None:
        if info.native not in EPOCHS:
            return None
        some = sa.select(sa.cast(time, sa.Numeric).label("time")).select_from(rows).limit(PROBED_ROWS).subquery()
        size = sa.func.abs(some.c.time)
        return sa.select(sa.func.max(size).filter(size < INT64_MAX))  # neither infinite nor NaN

    def time_axis(self, info: ColumnInfo, zone: ZoneInfo | None, probed: Sequence[Any]) -> TimeAxis | Failure:
        if info.native == ZONED:
            return PostgresqlTime(None, is_daily=False)
        if info.native in EPOCHS:
            return PostgresqlEpoch(epoch_scale(float(probed[0][0] or 0)), EPOCHS[info.native]())
        if info.native not in NAIVE_TIMES:
            detail = f"is of type {info.sql_type}, which is no time"
            return Failure(FailureReason.UNSUPPORTED_TYPE, detail, "use a query that makes a timestamptz of it")
        if zone is None:
            detail = f"is of type {info.sql_type}, which does not say in which time zone"
            return Failure(FailureReason.NAIVE_TIME, detail, "set the source's `time_zone`")
        return PostgresqlTime(zone, is_daily=info.native == "date")

    def number(self, value: ColumnElement[Any], info: ColumnInfo) -> ColumnElement[Any]:
        match info.native:
            case "float4":  # what a driver says of a `real` is not what the server compares
                return sa.cast(value, sa.Double)
            case "money":
                return sa.cast(value, sa.Numeric)
            case "date":
                return sa.func.date_part("epoch", value, type_=sa.Double) / sa.literal_column("86400.0::float8")
            case "interval":
                return sa.func.date_part("epoch", value, type_=sa.Double)
        return value

    def numeric_bin(self, value: ColumnElement[Any], info: ColumnInfo, spec: NumericBins) -> ColumnElement[int]:
        place = sa.func.width_bucket(self.number(value, info), _edges(info, spec), type_=sa.Integer)
        return sa.func.coalesce(place, spec.missing)

    def boolean_bin(self, value: ColumnElement[Any], info: ColumnInfo, spec: BooleanBins) -> ColumnElement[int]:
        if info.native == "bool":
            return sa.case((value, 1), (sa.not_(value), 0), else_=spec.missing)
        if info.native in INTEGERS:
            return sa.case((value.is_(None), spec.missing), (value == 0, 0), (value == 1, 1), else_=spec.invalid)
        word = sa.func.lower(sa.func.btrim(sa.cast(value, sa.Text)))
        told = ((word.in_(words), ordinal) for ordinal, words in enumerate((FALSE_WORDS, TRUE_WORDS)))
        return sa.case((value.is_(None), spec.missing), *told, else_=spec.invalid)

    def label(self, value: ColumnElement[Any], info: ColumnInfo) -> ColumnElement[str]:
        text = sa.cast(value, sa.Text)
        if info.native not in TEXTS:
            return sa.collate(text, "C")
        mark = MARK if self.encoding == "UTF8" else "..."
        long, told = sa.func.octet_length(text) > LONGEST_LABEL_BYTES, mark + sa.func.md5(text)
        short = sa.case((long, sa.func.left(text, HEAD_CHARACTERS) + told), else_=text)
        if self.encoding == "SQL_ASCII":
            raw = sa.func.encode(sa.func.convert_to(text, "SQL_ASCII"), "hex", type_=sa.Text)
            named = "not UTF-8: " + sa.func.left(raw, HEAD_CHARACTERS) + sa.case((long, told), else_="")
            short = sa.case((raw.op("!~")(UTF8), named), (long, sa.func.left(raw, HEAD_CHARACTERS) + told), else_=text)
        return sa.collate(short, "C")

    def is_label(self, label: ColumnElement[str], labels: Sequence[str]) -> ColumnElement[bool]:
        possible = [label for label in labels if self._can_hold(label)]
        return label == sa.any_(sa.bindparam(None, possible, ARRAY(sa.Text), unique=True))

    def _can_hold(self, label: str) -> bool:
        """Whether there can be such a text in this database: without NUL, and in its encoding."""
        with contextlib.suppress(LookupError):  # an encoding by a name that is the server's own
            try:
                label.encode("utf-8" if self.encoding == "SQL_ASCII" else self.encoding)
            except UnicodeEncodeError:
                return False
        return "\x00" not in label

    def slice_index(self, time: ColumnElement[Any], bounds: ColumnElement[Any]) -> ColumnElement[int]:
        return sa.func.width_bucket(time, bounds, type_=sa.Integer)

    def is_finite(self, value: ColumnElement[Any], info: ColumnInfo) -> ColumnElement[bool] | None:
        if info.native in INTEGERS:
            return None
        native, number = "numeric" if info.native in DECIMALS else "float8", self.number(value, info)
        low: ColumnElement[Any] = sa.literal_column(f"'-Infinity'::{native}")
        high: ColumnElement[Any] = sa.literal_column(f"'Infinity'::{native}")
        return sa.and_(number > low, number < high)

    def is_sampled(self, share: float, *, placed: bool) -> ColumnElement[bool]:
        if not placed:
            return sa.func.random() < share
        place = sa.func.hashtid(DatasetColumn("ctid"), type_=sa.Integer)
        return place.op("&")(PLACES - 1) < round(share * PLACES)


@dataclass(frozen=True)
class PostgresqlTime(PushAxis):
    """A timestamp column, with a time zone of its own (`zone` is None) or by the source's."""

    zone: ZoneInfo | None
    is_daily: bool

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


@dataclass(frozen=True)
class PostgresqlEpoch(PushAxis):
    """Numbers that count since 1970 in UTC, `scale` a second, in a column that compares with this type."""

    scale: int
    type: sa.types.TypeEngine[Any]
    naive = False

    def within(self, time: ColumnElement[Any], span: Span) -> ColumnElement[bool]:
        start, end = (sa.bindparam(None, self._bound(at), self.type, unique=True) for at in (span.start, span.end))
        return sa.and_(time >= start, time < end)

    def bounds(self, instants: Sequence[datetime]) -> ColumnElement[Any]:
        return sa.bindparam(None, [self._bound(at) for at in instants], ARRAY(self.type), unique=True)

    def instant(self, value: Any) -> datetime | None:
        if value is None:
            return None
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=math.floor(value * 1_000_000 / self.scale))

    def _bound(self, instant: datetime) -> Any:
        units = epoch_units(instant, self.scale)
        return math.ceil(units) if isinstance(self.type, sa.BigInteger) else units


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
