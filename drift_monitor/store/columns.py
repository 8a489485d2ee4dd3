"""Column types: the same Python value in and out of both stores, cleaned on the way in.

Derived ids: the same facts give the same id on every replica and after every restore, so receivers can tell.

Statements that both stores spell alike but SQLAlchemy keeps in dialects: INSERT … ON CONFLICT.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from sqlalchemy import JSON, TIMESTAMP, ColumnElement, Connection, Dialect, Float, Table
from sqlalchemy import Text as PlainText
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.types import TypeDecorator, TypeEngine

from drift_monitor.core.distribution import Counts
from drift_monitor.core.times import clean_number, clean_text, json_text, rfc3339


@lru_cache(maxsize=4096)  # the bounds of a week of panes, each written once for every feature
def instant_text(moment: datetime) -> str:
    """RFC 3339 in UTC, always of the same width, so that the order of the texts is the order of the moments."""
    return rfc3339(moment, "microseconds")


class Instant(TypeDecorator[datetime]):
    """An aware moment: timestamptz on PostgreSQL, RFC 3339 text of fixed width on SQLite. Naive times are refused."""

    impl = PlainText
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(PlainText())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment without time zone can't be stored: {value.isoformat()}")
        return value.astimezone(UTC) if dialect.name == "postgresql" else instant_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC)


class Text(TypeDecorator[str]):
    """Text without NUL and lone surrogates."""

    impl = PlainText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else clean_text(value)


class Number(TypeDecorator[float]):
    """A finite double; NaN and infinities become NULL."""

    impl = Float
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DOUBLE_PRECISION() if dialect.name == "postgresql" else Float())

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return clean_number(value)


class JsonColumn(TypeDecorator[Any]):
    """JSON that both stores accept: JSONB on PostgreSQL, text on SQLite. None is SQL NULL."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))

    # What it holds is cleaned where it becomes text: see `json_text` in `connection`.


class CountArray(TypeDecorator[Counts]):
    """Counts of one spec as a JSON array of whole numbers; plain `json`, which PostgreSQL hands out unconverted."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def process_bind_param(self, value: Counts | None, dialect: Dialect) -> Any:
        return None if value is None else np.asarray(value, dtype=np.int64).tolist()

    def process_result_value(self, value: Any, dialect: Dialect) -> Counts | None:
        return None if value is None else np.array(value, dtype=np.int64)


class CountDocument(CountArray):
    """Counts that a view unfolds: JSONB on PostgreSQL."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))


def counts_text(counts: Sequence[int] | Counts) -> str:
    """Counts as JSON without blanks."""
    return str(_whole_numbers(counts)).replace(" ", "")


def _whole_numbers(counts: Sequence[int] | Counts) -> list[int]:
    return counts.tolist() if isinstance(counts, np.ndarray) else list(counts)


def plain_value(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """What makes a value of such a column, not None, one of SQLite's driver, or one of JSON that PostgreSQL unfolds."""
    match kind:
        case Instant():
            return instant_text
        case CountArray() if dialect.name == "postgresql":
            return _whole_numbers
        case _ if dialect.name == "postgresql":
            return None  # `json_text` cleans them all at once
        case Text():
            return clean_text
        case Number():
            return clean_number
        case CountArray():
            return counts_text
        case JsonColumn():
            return json_text
        case _:
            return None


NAMESPACE = UUID("5a4f9f0e-6a57-5b0f-9d0b-2f8d5f0c7a11")


def derived_id(*parts: str | int | datetime) -> str:
    """uuid5 over the JSON array of the parts; joined text would confuse ("a", "bc") with ("ab", "c")."""
    values = [instant_text(part) if isinstance(part, datetime) else part for part in parts]
    return str(uuid5(NAMESPACE, json.dumps(values, ensure_ascii=True, separators=(",", ":"))))


def run_id(monitor: str, window_end: datetime, revision: int) -> str:
    """The id of an evaluation."""
    return derived_id("run", monitor, window_end, revision)


def episode_id(monitor: str, feature: str, segment: str, rule: str, *, opened: datetime, revision: int) -> str:
    """The id of the episode that this alert opened with this window and revision."""
    return derived_id("episode", monitor, feature, segment, rule, opened, revision)


Insert = postgresql.Insert | sqlite.Insert

# Rows of one statement; SQLite allows 32,766 bound values in each, PostgreSQL 65,535.
ROWS_PER_STATEMENT = 500


def insertion(dialect: str, table: Table) -> Insert:
    """An INSERT of a store's dialect, which knows ON CONFLICT."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose key is not there yet; how many that were."""
    statement = _insertion_of_new(connection.dialect.name, table)
    inserted = 0
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        chunk = [dict(row) for row in rows[start : start + ROWS_PER_STATEMENT]]
        inserted += len(connection.execute(statement, chunk).all())
    return inserted


@cache  # rows are parameters: SQL with the values in it would be compiled for each call
def _insertion_of_new(dialect: str, table: Table) -> ReturningInsert[Any]:
    return insertion(dialect, table).on_conflict_do_nothing().returning(*table.primary_key)


def bulk_insert(connection: Connection, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """`insert_new` of many rows with values for these columns, at a small part of its cost; how many were new."""
    make = [plain_value(table.c[name].type, connection.dialect) for name in names]
    values = [
        tuple([cell if cell is None or to is None else to(cell) for to, cell in zip(make, row, strict=True)])
        for row in rows
    ]
    if not values:
        return 0
    parameters: Any = values
    source = f"VALUES ({', '.join('?' * len(names))})"
    if connection.dialect.name == "postgresql":
        # One parameter for all rows: a driver adapts each by itself, and the protocol has room for 65,535. Its keys
        # are short, as each row repeats them.
        keys = [f"c{number}" for number in range(len(names))]
        parameters = (json_text([dict(zip(keys, row, strict=True)) for row in values]),)
        types = (table.c[name].type.compile(connection.dialect) for name in names)
        typed = ", ".join(f"{key} {kind}" for key, kind in zip(keys, types, strict=True))
        source = f"SELECT {', '.join(keys)} FROM json_to_recordset(%s::json) AS made({typed})"  # noqa: S608 ours
    statement = f'INSERT INTO "{table.name}" ({", ".join(names)}) {source} ON CONFLICT DO NOTHING'
    return connection.exec_driver_sql(statement, parameters, {"preserve_rowcount": True}).rowcount


def upsert(
    connection: Connection,
    table: Table,
    row: Mapping[str, Any],
    *,
    where: ColumnElement[bool] | None = None,
    keep: Sequence[str] = (),
) -> bool:
    """Insert the row or update the one with its key, except columns in `keep`; False where `where` refused."""
    statement = insertion(connection.dialect.name, table).values(dict(row))
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in row if name not in keys and name not in keep}
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changed, where=where)
    return connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1
