"""SQLite, embedded: rows are streamed in bounded batches and counted here, which is an order of magnitude faster there
than its own GROUP BY.

A column may hold values of any type; a declared type is what its values are taken for, and what does not fit counts
as invalid. Where nothing is declared (expressions, views, queries), some values are looked at.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.sql.expression import ColumnElement

from drift_monitor.core.bins import Kind, ValueType
from drift_monitor.errors import SourceUnavailable
from drift_monitor.sources.dialects.base import (
    CatalogEntry,
    ColumnInfo,
    Dialect,
    ErrorKind,
    Failure,
    SourceLimits,
    TimeAxis,
)
from drift_monitor.sources.dialects.elements import DatasetRows, Relation, ResultRows
from drift_monitor.sources.dialects.sqlite_times import time_axis
from drift_monitor.sources.dialects.values import text_of

BUSY_SECONDS = 5  # a writer holds the file for the time of its transaction
PROBED_TIMES = 100  # values that tell whether a column holds dates only, or parts of seconds
PROBED_ROWS = 1_000  # values that tell the type of a column which declares none

CATALOG = """
SELECT m.name AS relation, x.name AS name, x.type AS declared, x.hidden AS hidden, x.pk AS key,
       EXISTS (SELECT 1 FROM pragma_index_list(m.name) l, pragma_index_info(l.name) i
               WHERE i.seqno = 0 AND i.name = x.name AND NOT l.partial) AS indexed
FROM sqlite_master m, pragma_table_xinfo(m.name) x
WHERE m.type IN ('table', 'view') AND m.name = :name
ORDER BY x.cid
"""

NAMES = """
SELECT NULL, name FROM sqlite_master
WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite|_%' ESCAPE '|'
ORDER BY name
"""

HIDDEN = 1  # a hidden column of a virtual table; 2 and 3 are generated columns, which can be read
TIME = ("DATE", "TIME")
# By parts of a declared type, as SQLite's own affinity does it; the first that is found wins.
DECLARED = (
    (("BOOL", "BIT"), Kind.BOOLEAN, ValueType.BOOLEAN),
    (("INT",), Kind.NUMERIC, ValueType.INTEGER),
    (("CHAR", "CLOB", "TEXT", "STRING", "ENUM"), Kind.CATEGORICAL, ValueType.TEXT),
    (("REAL", "FLOA", "DOUB", "NUM", "DEC", "MONEY"), Kind.NUMERIC, ValueType.FLOAT),
)
# What is called something else (UUID, JSON, POINT, nothing at all) is taken for what its values are.
# By the types of values, the first that is found wins: text among numbers is invalid, not a category.
OBSERVED = (
    ("real", Kind.NUMERIC, ValueType.FLOAT),
    ("integer", Kind.NUMERIC, ValueType.INTEGER),
    ("text", Kind.CATEGORICAL, ValueType.TEXT),
)

FAULTS = (
    ("interrupted", ErrorKind.TIMEOUT),
    ("unable to open database", ErrorKind.UNAVAILABLE),
    ("database is locked", ErrorKind.UNAVAILABLE),
    ("database table is locked", ErrorKind.UNAVAILABLE),
    ("disk i/o error", ErrorKind.UNAVAILABLE),
    ("file is not a database", ErrorKind.UNAVAILABLE),
    ("malformed", ErrorKind.QUERY),
    ("no such table", ErrorKind.TABLE_MISSING),
    ("no such column", ErrorKind.COLUMN_MISSING),
)


class SQLite(Dialect):
    """Facts and spellings of SQLite."""

    name = "sqlite"
    deadline_grace = timedelta()
    features_per_statement = 200
    catalog_is_free = True

    def engine(self, url: sa.URL, limits: SourceLimits) -> sa.Engine:
        path = url.database
        if not path or path == ":memory:":
            raise SourceUnavailable("a SQLite source needs a file: sqlite:///path/to/file.db")
        engine = sa.create_engine(
            "sqlite+pysqlite://",
            creator=partial(_connect, path),
            poolclass=sa.pool.QueuePool,
            hide_parameters=True,
            pool_size=limits.max_connections,
            max_overflow=0,
            pool_timeout=2 * limits.statement_timeout.total_seconds(),
        )
        _follow_path(engine, Path(path))
        return engine

    def abort(self, connection: Any) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):  # closed already
            connection.interrupt()

    def classify(self, error: DBAPIError) -> ErrorKind:
        message = str(error.orig).lower()
        return next((fault for text, fault in FAULTS if text in message), ErrorKind.QUERY)

    def describe_error(self, error: DBAPIError) -> str:
        return str(error.orig)

    def catalog_statement(self, candidates: Sequence[Relation]) -> sa.Executable:
        return sa.text(CATALOG).bindparams(name=candidates[0].name)

    def catalog_entries(self, result: ResultRows) -> Sequence[CatalogEntry]:
        rows = result.fetchall()
        if not rows:
            return []
        keys = [row.name for row in rows if row.key]
        columns = [row for row in rows if row.hidden != HIDDEN]
        return [
            CatalogEntry(
                relation=Relation(rows[0].relation),
                columns={row.name: _declared(row.name, row.declared) for row in columns},
                indexed=frozenset(row.name for row in columns if row.indexed or keys == [row.name]),
            )
        ]

    def names_statement(self) -> sa.Executable:
        return sa.text(NAMES)

    def types_statement(
        self, signature: Sequence[Any], values: Sequence[ColumnElement[Any]], rows: DatasetRows
    ) -> sa.Executable:
        some = sa.select(*(value.label(f"v{number}") for number, value in enumerate(values)))
        probed = some.select_from(rows).limit(PROBED_ROWS).subquery("probed")
        return sa.select(*(sa.func.typeof(column) for column in probed.c))

    def result_columns(self, signature: Sequence[Any], types: Sequence[Any]) -> Sequence[ColumnInfo]:
        return [_observed(column[0], {str(row[number]) for row in types}) for number, column in enumerate(signature)]

    def time_probe(
        self, info: ColumnInfo, time: ColumnElement[Any], rows: DatasetRows, entry: CatalogEntry | None
    ) -> sa.Executable | None:
        first = sa.select(time.label("time")).select_from(rows).where(time.is_not(None))
        some = first.limit(1).scalar_subquery()
        more = first.limit(PROBED_TIMES).subquery()
        longest = sa.select(sa.func.max(sa.func.length(more.c.time))).scalar_subquery()
        if entry is None or info.name not in entry.indexed:
            return sa.select(
                sa.literal_column("0"), longest, some, sa.select(sa.func.max(more.c.time)).scalar_subquery()
            )
        ends = (sa.select(end(time)).select_from(rows).scalar_subquery() for end in (sa.func.min, sa.func.max))
        return sa.select(sa.literal_column("1"), longest, some, *ends)

    def time_axis(self, info: ColumnInfo, zone: ZoneInfo | None, probed: Sequence[Any]) -> TimeAxis | Failure:
        indexed, longest, *values = probed[0]
        values = [value for value in values if value is not None]
        return time_axis(values, zone, longest=longest or 0, indexed=bool(indexed))


def _connect(path: str) -> sqlite3.Connection:
    """A connection that can't write, whatever is sent over it."""
    uri = f"file:{quote(str(Path(path).absolute()))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.text_factory = text_of
    connection.execute("PRAGMA query_only = ON")
    return connection


def _follow_path(engine: sa.Engine, path: Path) -> None:
    """Open the file anew where another one has its name now, or none: an open file is read on wherever it went."""

    def identity() -> tuple[int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @sa.event.listens_for(engine, "connect")
    def remember(connection: sqlite3.Connection, entry: Any) -> None:
        entry.info["file"] = identity()

    @sa.event.listens_for(engine, "checkout")
    def compare(connection: sqlite3.Connection, entry: Any, proxy: Any) -> None:
        if entry.info["file"] != identity():
            raise DisconnectionError(f"{path} is another file now")


def _declared(name: str, declared: str) -> ColumnInfo:
    """A column by its declared type."""
    upper = declared.upper()
    is_time = any(word in upper for word in TIME)
    kind: Kind | None = None
    value_type: ValueType | None = None
    if not is_time:
        named = ((of, type_) for words, of, type_ in DECLARED if any(word in upper for word in words))
        kind, value_type = next(named, (None, None))
    native = upper if is_time or kind is not None or "BLOB" in upper else ""
    return ColumnInfo(name=name, sql_type=declared, native=native, kind=kind, value_type=value_type, is_time=is_time)


def _observed(name: str, types: set[str]) -> ColumnInfo:
    """A column by the types of some of its values."""
    for native, kind, value_type in OBSERVED:
        if native in types:
            return ColumnInfo(name=name, sql_type=native, native=native, kind=kind, value_type=value_type)
    return ColumnInfo(name=name, sql_type=" ".join(types - {"null"}), native="", kind=None, value_type=None)
