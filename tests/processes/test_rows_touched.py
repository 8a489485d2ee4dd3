"""A further evaluation touches the rows of the new pane and of those it reads again, and no others.

Not what the program says of itself is counted. On PostgreSQL it is the server's own statistics of the table: tuples
fetched by scans of it and of its index. On SQLite it is a function in the monitor's `where`, which the database calls
for every row that it looks at, and the number of instructions of its machine, which also sees rows that are skipped.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from sqlalchemy import Engine, event

from drift_monitor.app import open_services
from drift_monitor.config.loading import load
from drift_monitor.evaluation.on_demand import evaluate_now
from drift_monitor.store import panes as pane_store
from tests.postgresql import PostgresqlServer
from tests.processes.processes import wait_until
from tests.processes.world import HOUR, text

ROWS = 50  # an hour
WINDOW_HOURS = 24
REFERENCE_HOURS = 12
INSTRUCTIONS = 10  # of SQLite's machine between two calls
NEWEST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR  # the end of the newest window
CONFIGURATION = """
store: {{url: "sqlite:///{folder}/store.db"}}
sources: [{{name: shop, url: "{source}"}}]
monitors:
  - name: orders
    source: shop
    table: orders
    time_column: at
    features: [amount, country]
    {where}
    every: 1h
    pane: 1h
    window: {window}h
    revise: {revise}
    min_rows: 100
    reference: {{from: "{reference_from}", to: "{reference_to}"}}
"""


class Source(Protocol):
    """A table of orders whose database tells how many of its rows were touched."""

    url: str
    where: str

    def touched(self) -> int: ...


def orders() -> Iterator[tuple[str, float, str]]:
    """As many rows in each hour of the reference, the windows, and a day before and after the reference."""
    hour = NEWEST - (WINDOW_HOURS + 2 * 24 + REFERENCE_HOURS) * HOUR
    while hour < NEWEST:
        for number in range(ROWS):
            yield text(hour + number * timedelta(minutes=1)), 10.0 + number, ("DE", "FR")[number % 2]
        hour += HOUR


class SqliteOrders:
    """Counts by a function that the database calls; only connections opened while this one is watching have it."""

    where = 'where: "touched(at)"'

    def __init__(self, folder: Path) -> None:
        path = folder / "source.db"
        self.url = f"sqlite:///{path}"
        self.calls = self.instructions = 0
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE orders (at TIMESTAMP, amount REAL, country TEXT)")
            database.executemany("INSERT INTO orders VALUES (?, ?, ?)", list(orders()))
            database.execute("CREATE INDEX orders_at ON orders (at)")

    def watch(self, connection: sqlite3.Connection, entry: Any) -> None:
        connection.create_function("touched", 1, self._touch)
        if connection.execute("PRAGMA query_only").fetchone() == (1,):  # a source's connection, not the store's
            connection.set_progress_handler(self._work, INSTRUCTIONS)

    def touched(self) -> int:
        return self.calls

    def _touch(self, at: object) -> bool:
        self.calls += 1
        return True

    def _work(self) -> int:
        self.instructions += INSTRUCTIONS
        return 0


class PostgresqlOrders:
    """Counts by `pg_stat_user_tables`, which is complete once the sessions have ended."""

    where = ""

    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server
        self._name = server.create_database()
        self.url = server.url(self._name)
        with server.connect(self._name) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE orders (at timestamptz, amount float8, country text)")
            with cursor.copy("COPY orders FROM STDIN") as copy:
                for row in orders():
                    copy.write_row(row)
            cursor.execute("CREATE INDEX orders_at ON orders (at)")
            cursor.execute("VACUUM ANALYZE orders")
            # The table is small: its index would not be worth the server's while.
            cursor.execute(f"ALTER DATABASE {self._name} SET enable_seqscan = off")

    def touched(self) -> int:
        with self._server.connect() as connection:
            wait_until(lambda: self._sessions(connection) == 0, "the sessions have ended")
        with self._server.connect(self._name) as connection:
            row = connection.execute(
                "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables"
            ).fetchone()
        assert row is not None
        return int(str(row[0]))

    def close(self) -> None:
        self._server.drop_database(self._name)

    def _sessions(self, connection: "psycopg.Connection[tuple[object, ...]]") -> int:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [self._name]).fetchone()
        assert found is not None
        return int(str(found[0]))


@pytest.fixture
def sqlite_orders(tmp_path: Path) -> Iterator[SqliteOrders]:
    source = SqliteOrders(tmp_path)
    event.listen(Engine, "connect", source.watch)
    yield source
    event.remove(Engine, "connect", source.watch)


@pytest.fixture
def postgresql_orders(postgresql_server: PostgresqlServer) -> Iterator[PostgresqlOrders]:
    source = PostgresqlOrders(postgresql_server)
    yield source
    source.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def source(request: pytest.FixtureRequest) -> Source:
    found: Source = request.getfixturevalue(f"{request.param}_orders")
    return found


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A monitor of a source, evaluated by separate starts of the program."""

    source: Source
    config: Path

    def touched_by(self, window_end: datetime) -> int:
        """How many rows one evaluation touches."""
        before = self.source.touched()
        config = load(self.config)
        with open_services(config) as services:
            evaluated = evaluate_now(services, config.monitor("orders"), window_end)
        assert evaluated.problem is None
        return self.source.touched() - before


def watch(source: Source, folder: Path, revise: int = 1) -> Watched:
    reference_end = NEWEST - (WINDOW_HOURS + 24) * HOUR
    path = folder / "drift.yml"
    path.write_text(
        CONFIGURATION.format(
            folder=folder,
            source=source.url,
            where=source.where,
            window=WINDOW_HOURS,
            revise=revise,
            reference_from=text(reference_end - REFERENCE_HOURS * HOUR),
            reference_to=text(reference_end),
        )
    )
    return Watched(source=source, config=path)


@pytest.mark.parametrize("revise", [0, 1, 3])
def test_an_hour_later_only_the_new_pane_and_the_revised_ones_are_touched(
    source: Source, tmp_path: Path, revise: int
) -> None:
    monitor = watch(source, tmp_path, revise)
    assert monitor.touched_by(NEWEST - HOUR) >= WINDOW_HOURS * ROWS

    assert monitor.touched_by(NEWEST) == (1 + revise) * ROWS
    assert monitor.touched_by(NEWEST) == 0  # it is stored


def test_the_count_tells_when_stored_panes_are_not_used(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = watch(source, tmp_path)
    monitor.touched_by(NEWEST - HOUR)
    monkeypatch.setattr(pane_store, "stored", lambda connection, monitor, definitions, span: {})
    monkeypatch.setattr(pane_store, "stored_rows", lambda connection, monitor, definition, span: ())

    assert monitor.touched_by(NEWEST) == WINDOW_HOURS * ROWS


def test_sqlite_does_no_work_for_the_rows_it_leaves_out(sqlite_orders: SqliteOrders, tmp_path: Path) -> None:
    """A scan of the whole table would call the function for the same rows; its instructions give it away."""
    monitor = watch(sqlite_orders, tmp_path)
    monitor.touched_by(NEWEST - HOUR)
    before = sqlite_orders.instructions
    monitor.touched_by(NEWEST)
    used = sqlite_orders.instructions - before

    database = sqlite3.connect(sqlite_orders.url.removeprefix("sqlite:///"))
    with closing(database):
        database.create_function("touched", 1, lambda at: True)
        sqlite_orders.instructions = 0
        database.set_progress_handler(sqlite_orders._work, INSTRUCTIONS)
        database.execute("SELECT count(*) FROM orders NOT INDEXED WHERE at < '1970'").fetchall()
    assert 0 < used < sqlite_orders.instructions
