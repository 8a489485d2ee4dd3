"""Statements that both stores spell alike but SQLAlchemy keeps in dialects: INSERT … ON CONFLICT."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from drift_monitor.store.columns import driver_value

Insert = postgresql.Insert | sqlite.Insert

# Rows of one statement; SQLite allows 32,766 bound values in each, PostgreSQL 65,535.
ROWS_PER_STATEMENT = 500


def insert(connection: Connection, table: Table) -> Insert:
    """An INSERT of this store's dialect, which knows ON CONFLICT."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose key is not there yet; how many that were."""
    keys = list(table.primary_key)
    statement = insert(connection, table).on_conflict_do_nothing().returning(*keys)
    inserted = 0
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        chunk = [dict(row) for row in rows[start : start + ROWS_PER_STATEMENT]]
        # Rows as parameters, one statement in the cache: SQL with the values in it would be compiled for each call.
        inserted += len(connection.execute(statement, chunk).all())
    return inserted


def bulk_insert(connection: Connection, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """`insert_new` of many rows with values for these columns, at a small part of its cost; how many were new."""
    make = [driver_value(table.c[name].type, connection.dialect) for name in names]
    values = [
        tuple([cell if cell is None or to is None else to(cell) for to, cell in zip(make, row, strict=True)])
        for row in rows
    ]
    if not values:
        return 0
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    statement = (
        f'INSERT INTO "{table.name}" ({", ".join(names)}) VALUES ({", ".join([mark] * len(names))}) '  # noqa: S608 ours
        "ON CONFLICT DO NOTHING"
    )
    return connection.exec_driver_sql(statement, values, {"preserve_rowcount": True}).rowcount


def upsert(
    connection: Connection,
    table: Table,
    row: Mapping[str, Any],
    *,
    where: ColumnElement[bool] | None = None,
    keep: Sequence[str] = (),
) -> bool:
    """Insert the row or update the one with its key, except columns in `keep`; False where `where` refused."""
    statement = insert(connection, table).values(dict(row))
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in row if name not in keys and name not in keep}
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changed, where=where)
    return connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1
