"""The demo's source database: one SQLite file with one table of rows, and a note of how far it has been written.

The note (`demo_history`) is changed in the transaction that adds the rows. So rows of a time are there completely or
not at all, and are added once, however often somebody asks and wherever the process was killed.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from drift_monitor.core.times import rfc3339
from drift_monitor.errors import InputError, SourceUnavailable

Row = Sequence[Any]

_CREATE_HISTORY = """
CREATE TABLE demo_history (
    table_name TEXT PRIMARY KEY,
    seed INTEGER NOT NULL,
    start TEXT NOT NULL,
    planned_until TEXT NOT NULL,
    written_until TEXT NOT NULL
)"""
_BUSY_TIMEOUT_MS = 10_000  # a reader may hold the file for as long as one of its statements takes


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the demo: `create` are its DDL statements, `insert` takes one row of parameters."""

    name: str
    create: tuple[str, ...]
    insert: str


@dataclass(frozen=True, kw_only=True)
class History:
    """What a demo file holds: rows of [start, written_until), made from `seed` as it was planned at `planned_until`."""

    seed: int
    start: datetime
    planned_until: datetime
    written_until: datetime


RowsBetween = Callable[[History, datetime, datetime], Iterable[Row]]
"""The rows of a history whose time lies in [first, second)."""


def recorded_history(path: Path, table: Table) -> History | None:
    """The history in a file, or None where there is none yet."""
    if not path.exists():
        return None
    with _connection(path) as connection:
        return _read(connection, table)


def create_history(path: Path, table: Table, *, seed: int, start: datetime, planned_until: datetime) -> None:
    """Make the table, without rows yet. Refuses a file that holds one already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _connection(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection):
            if _read(connection, table) is not None:
                raise InputError(f"{path} already holds the demo's {table.name}: append to it, or delete the file")
            connection.execute(_CREATE_HISTORY)
            for statement in table.create:
                connection.execute(statement)
            noted = (table.name, seed, *map(instant_text, (start, planned_until, start)))
            connection.execute("INSERT INTO demo_history VALUES (?, ?, ?, ?, ?)", noted)


def append_rows(path: Path, table: Table, until: datetime, rows_between: RowsBetween) -> int:
    """Add the rows between the end of what is written and `until`; returns how many. Doing it again adds none."""
    with _connection(path) as connection, _transaction(connection):
        history = _read(connection, table)
        if history is None:
            raise InputError(f"{path} holds no {table.name} of the demo yet: write its history first")
        if until <= history.written_until:
            return 0
        rows = rows_between(history, history.written_until, until)
        added = connection.executemany(table.insert, rows).rowcount
        connection.execute(
            "UPDATE demo_history SET written_until = ? WHERE table_name = ?", (instant_text(until), table.name)
        )
    return max(added, 0)


def instant_text(at: datetime) -> str:
    """An instant as the tables hold it: UTC, whole seconds, of one width, so that texts sort as times do."""
    return rfc3339(at, "seconds")


def _read(connection: sqlite3.Connection, table: Table) -> History | None:
    known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'demo_history'").fetchone()
    row = (
        known
        and connection.execute(
            "SELECT seed, start, planned_until, written_until FROM demo_history WHERE table_name = ?", (table.name,)
        ).fetchone()
    )
    if not row:
        return None
    seed, *instants = row
    start, planned_until, written_until = map(datetime.fromisoformat, instants)
    return History(seed=seed, start=start, planned_until=planned_until, written_until=written_until)


@contextmanager
def _connection(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # as the store's files
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            yield connection
    except (sqlite3.Error, OSError) as error:
        raise SourceUnavailable(f"the demo's database {path} can't be used: {error}") from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:  # Ctrl-C too: a connection that is closed within a transaction would keep its lock longer
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
