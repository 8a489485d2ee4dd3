"""An application that writes rows into PostgreSQL as they happen; a table of it can begin to drift, and recover.

Row k of a table is stamped k hundredths of a second after 1970. Well amounts are spread evenly over 0 to 99, drifted
ones over 50 to 99; countries are always the same. While the server is away rows wait, and are written afterwards.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.postgresql import PostgresqlServer

TABLES = ("orders", "visits")
ROWS_A_SECOND = 100
WRITE_EVERY_SECONDS = 0.2
CONNECT_AGAIN_SECONDS = 0.5

# The factors spread consecutive rows evenly: a window that is read before all its rows are there looks alike.
WELL, DRIFTED = "mod(k * 37, 100)", "50 + mod(k * 19, 50)"
COUNTRY = "(ARRAY['DE', 'FR', 'PL', 'ES'])[1 + mod(k, 4)]"
COLUMNS = f"to_timestamp(k::numeric / {ROWS_A_SECOND}) AS at, {{amount}} AS amount, {COUNTRY} AS country"
TRAINING = f"CREATE TABLE training AS SELECT {COLUMNS.format(amount=WELL)} FROM generate_series(1, 2000) AS k"
EMPTY = f"CREATE TABLE {{table}} AS SELECT {COLUMNS.format(amount=WELL)} FROM generate_series(1, 0) AS k"
INDEX = "CREATE INDEX ON {table} (at)"
INSERT = f"INSERT INTO {{table}} SELECT {COLUMNS} FROM generate_series(%s::bigint, %s::bigint) AS k"


class Shop:
    """`orders` and `visits`, written by a thread of their own, and `training`: what they should be like."""

    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server
        self._database = server.create_database()
        self._drifting: frozenset[str] = frozenset()
        self._written = dict.fromkeys(TABLES, _row_now() - 10 * ROWS_A_SECOND)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="shop")
        with server.connect(self._database) as connection:
            connection.execute(TRAINING.encode())
            for table in TABLES:
                connection.execute(EMPTY.format(table=table).encode())
                connection.execute(INDEX.format(table=table).encode())

    @property
    def url(self) -> str:
        return self._server.url(self._database)

    def drift(self, table: str) -> None:
        """From now on the amounts of this table are too large."""
        self._drifting |= {table}

    def recover(self, table: str) -> None:
        self._drifting -= {table}

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _write_on(self) -> None:
        while not self._closed.is_set():
            try:
                with self._server.connect(self._database) as connection:
                    while not self._closed.wait(WRITE_EVERY_SECONDS):
                        self._write(connection)
            except psycopg.OperationalError:  # the server is away
                self._closed.wait(CONNECT_AGAIN_SECONDS)

    def _write(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        """The rows since the last time."""
        for table in TABLES:
            now = _row_now()
            amount = DRIFTED if table in self._drifting else WELL
            connection.execute(INSERT.format(table=table, amount=amount).encode(), (self._written[table] + 1, now))
            self._written[table] = now


@contextmanager
def shop(server: PostgresqlServer) -> Iterator[Shop]:
    """Open for business."""
    one = Shop(server)
    one.open()
    try:
        yield one
    finally:
        one.close()


def _row_now() -> int:
    return int(time.time() * ROWS_A_SECOND)
