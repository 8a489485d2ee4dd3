"""PostgreSQL as the store: settings of each session, and a client that does not wait for ever.

The server ends what a dead host left behind; the client ends what a server leaves unanswered. Keepalives see a dead
network only: a server that was stopped, or that accepts and never speaks, acknowledges every packet.
"""

import time
from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from drift_monitor.postgresql import PINNED, SEARCH_PATH, prepare, set_local

STATEMENT_TIMEOUT: Final = timedelta(seconds=15)
GRACE: Final = timedelta(seconds=3)  # for an answer to come after the server has ended a statement by its own limit
CONNECT_SECONDS: Final = 3

# Server side, in each transaction. Milliseconds, except the keepalives (seconds).
_SETTINGS: Final = {
    **PINNED,
    "idle_in_transaction_session_timeout": "10000",
    "lock_timeout": "5000",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "synchronous_commit": "on",  # an acknowledged commit stays, whatever the server's default
}
_OPENING: Final = "drift_monitor_opening"  # the statement that sets them, made once for each connection
# Client side: libpq notices a network that went silent.
_CLIENT_SETTINGS: Final = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30000,
    "application_name": "drift-monitor",
    "client_encoding": "utf8",
    "prepare_threshold": None,  # a pooler in transaction mode gives each transaction another session
}


def postgresql_engine(url: URL, *, deadline: timedelta | None, given_up: Callable[[], bool], **shared: Any) -> Engine:
    """An engine whose every statement, commit and rollback is answered within `deadline`, or until `given_up`.

    None: the time the server gives a statement, and a little.
    """
    limit = STATEMENT_TIMEOUT if deadline is None else deadline
    engine = create_engine(
        url, connect_args=_CLIENT_SETTINGS, pool_pre_ping=True, isolation_level="READ COMMITTED", **shared
    )
    patience = (STATEMENT_TIMEOUT + GRACE if deadline is None else deadline).total_seconds()
    answered = _answered(engine.dialect.loaded_dbapi, patience, given_up)

    def connect(dialect: Dialect, record: object, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
        return answered.connect(*arguments, **named)

    def connected(connection: Any, record: ConnectionPoolEntry) -> None:
        milliseconds = str(round(limit.total_seconds() * 1000))
        own = {"statement_timeout": milliseconds, SEARCH_PATH: prepare(connection, read_only=False)}
        record.info[_OPENING] = set_local({**_SETTINGS, **own})

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.info[_OPENING])

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)
    event.listen(engine, "do_executemany", _without_pipeline)
    return engine


def wait_longer(connection: Connection, patience: timedelta) -> None:
    """Give the statements of this connection more time: it is a migration's."""
    connection.connection.dbapi_connection.patience = patience.total_seconds()  # type: ignore[union-attr]


def _answered(driver: Any, seconds: float, given_up: Callable[[], bool]) -> Any:
    """The driver's connection, whose waits end. psycopg is an extra, so its types are not imported here."""
    connection: Any = driver.Connection

    class AnsweredConnection(connection):  # type: ignore[misc]
        patience = seconds

        def wait(self, generator: Any, *args: Any, **named: Any) -> Any:
            return super().wait(self._until_deadline(generator), *args, **named)

        def _until_deadline(self, generator: Any) -> Generator[Any, Any, Any]:
            """The same steps as `generator`; the driver takes one at least every tenth of a second."""
            deadline = time.monotonic() + self.patience
            try:
                state = next(generator)
                while True:
                    ready = yield state
                    if not ready and (given_up() or time.monotonic() > deadline):
                        self.pgconn.finish()  # nothing is waited for on this connection again, not even a rollback
                        raise driver.OperationalError(f"no answer from the server for {self.patience:g} s")
                    state = generator.send(ready)
            except StopIteration as ended:
                return ended.value

    return AnsweredConnection


def _without_pipeline(cursor: Any, statement: str, parameters: Sequence[Any], context: Any) -> bool:
    """A round trip a row: psycopg would send them as a pipeline, in the middle of which no time-out of the server runs.

    A host that dies there would keep its rows locked for ever. What writes many rows puts them into one statement.
    """
    for row in parameters:
        cursor.execute(statement, row)
    return True
