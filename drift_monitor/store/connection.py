"""The way into the store: one engine, short transactions, and errors of our own tree.

SQLite: WAL, `synchronous=FULL`, foreign keys on, and BEGIN IMMEDIATE for whatever may write: a deferred transaction
that reads first fails at once when another one commits in between, whatever the busy time-out says. PostgreSQL has a
file of its own.

The store's clock decides what is due: that of the PostgreSQL server, or on SQLite (one daemon a file) the host's.

Foreign errors become ours here, once: what happened to the store, and what to do next.
"""

import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from drift_monitor.clock import Clock
from drift_monitor.core.times import json_text
from drift_monitor.errors import StoreBusy, StoreError, StoreOutdated, StoreUnavailable
from drift_monitor.store.postgresql import postgresql_engine
from drift_monitor.store.sqlite import FileLock, gone, identity, sqlite_engine

# Losing these races is normal: the transaction was rolled back as a whole and may simply be run again.
# A lock that was not to be had in time is one: its holder may be a dead host, whose session the server ends after two
# such waits at most.
_RACES: Final = {"40001", "40P01", "55P03"}
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_SQLITE: Final[dict[int, tuple[type[StoreError], str]]] = {
    sqlite3.SQLITE_BUSY: (StoreBusy, "is busy: another process holds its write lock"),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "is busy: another process holds its write lock"),
    sqlite3.SQLITE_FULL: (StoreUnavailable, "could not be written: the disk is full; free some space"),
    sqlite3.SQLITE_IOERR: (StoreUnavailable, "could not be read or written: the disk reports an error or is full"),
    sqlite3.SQLITE_CANTOPEN: (StoreUnavailable, "can't be opened: does its directory exist, and may we write there?"),
    sqlite3.SQLITE_READONLY: (StoreUnavailable, "is read-only: give this user the right to write it and its directory"),
    sqlite3.SQLITE_CORRUPT: (StoreError, "is damaged; stop the service and put a backup in its place"),
    sqlite3.SQLITE_NOTADB: (StoreError, "is no SQLite database; put a backup in its place, or name another file"),
}

# SQLSTATE classes of PostgreSQL that trying again may heal.
_TRANSIENT_CLASSES: Final = {"08", "28", "3D", "53", "55", "57", "58", "25"}
_UNDEFINED: Final = {"42P01", "42703", "3F000"}


def is_race(error: SQLAlchemyError) -> bool:
    """Whether the transaction only lost against another one, and may be run again at once."""
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.Error):
        return (getattr(original, "sqlite_errorcode", 0) & 0xFF) in _BUSY
    return getattr(original, "sqlstate", None) in _RACES


def is_lost_connection(error: SQLAlchemyError) -> bool:
    """Whether the server went away under the transaction."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def translated(error: SQLAlchemyError, store: str) -> StoreError:
    """The error of our own tree; `store` names the store without its password."""
    if isinstance(error, PoolTimeout):
        return StoreUnavailable(f"store {store}: all connections are in use; try again, or raise the pool size")
    original = getattr(error, "orig", None)
    if isinstance(original, sqlite3.Error):
        return _from_sqlite(original, store)
    if isinstance(error, DBAPIError) and original is not None:
        return _from_postgresql(error, store)
    # The whole text of SQLAlchemy would quote the statement.
    return StoreError(f"store {store}: {original or str(error).partition(chr(10))[0]}")


def _from_sqlite(error: sqlite3.Error, store: str) -> StoreError:
    text = str(error)
    if text.startswith(("no such table", "no such column")):
        return StoreOutdated(f"store {store}: {text}; run `drift-monitor migrate`")
    kind, what = _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, (StoreError, f"refused a statement: {text}"))
    return kind(f"store {store} {what}")


def _from_postgresql(error: DBAPIError, store: str) -> StoreError:
    original: Any = error.orig  # psycopg is an extra, so its error types are not imported here
    state: str | None = getattr(original, "sqlstate", None)
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    text = str(primary or original).strip().replace("\n", " ")
    if state in _UNDEFINED:
        return StoreOutdated(f"store {store}: {text}; run `drift-monitor migrate`")
    if state is None and isinstance(error, OperationalError | InterfaceError):
        return StoreUnavailable(f"store {store} can't be reached: {text}")
    if state is not None and (state[:2] in _TRANSIENT_CLASSES or state in _RACES):
        return StoreUnavailable(f"store {store} is unavailable: {text}")
    return StoreError(f"store {store} refused a statement: {text}")


Result = TypeVar("Result")

# What rooms above call the connection of an open transaction: SQLAlchemy is no business of theirs.
Transaction = Connection

TRIES: Final = 5  # of one transaction that keeps losing races
PAUSE_SECONDS: Final = 0.05  # before the second try; doubled each time, with full jitter
POOL_TIMEOUT_SECONDS: Final = 10
BUSY_TIMEOUT: Final = timedelta(seconds=5)

_READING: Final = "drift_monitor_reading"


def now(connection: Connection) -> datetime:
    """The present moment by the store's clock."""
    if connection.dialect.name == "postgresql":
        moment = connection.execute(select(func.clock_timestamp())).scalar_one()
        assert isinstance(moment, datetime)
        return moment
    clock: Clock = connection.info["clock"]
    return clock.now()


class Store:
    """An open store. Thread-safe; `close` gives all connections back.

    `deadline` of a statement, where it is to be shorter than usual; once `given_up`, nothing is waited for.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        pool_size: int = 5,
        deadline: timedelta | None = None,
        given_up: Callable[[], bool] | None = None,
    ) -> None:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError) as error:  # a port that is no number
            raise StoreError(
                "store url: no SQLAlchemy URL; write sqlite:///drift.db or postgresql+psycopg://…"
            ) from error
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
            raise StoreError("store url: SQLite needs a file, as in sqlite:///drift.db; a store in memory forgets")
        if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
            raise StoreError(
                f"store url: {parsed.drivername} can't hold the store; use sqlite:///… or postgresql+psycopg://…"
            )
        self.url = parsed
        self.path = Path(parsed.database or "").absolute() if parsed.drivername == "sqlite" else None
        self.clock = clock
        self.given_up = given_up or (lambda: False)
        self.problem: str | None = None  # why nothing can be written now, as `StoreProbe` has found
        self.schema: str | None = None  # its revision when it was opened, as this program needs it
        self.outdated: str | None = None  # what to say where another program has migrated it since
        self.damage: str | None = None  # what a transaction has found broken in the file
        self.movements = 0  # connections that came out of the pool
        self._writing: dict[int, float] = {}  # since when, by driver connection: write transactions on SQLite
        self.engine = _engine(self.url, clock, pool_size=pool_size, deadline=deadline, given_up=self.given_up)
        event.listen(self.engine, "checkout", self._moved)
        if self.path is not None:
            event.listen(self.engine, "checkin", self._given_back)
            event.listen(self.engine, "begin", self._begin)

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    @property
    def name(self) -> str:
        """The store as messages name it: without a password."""
        return str(self.path) if self.path else self.url.render_as_string(hide_password=True)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A writing transaction: committed at the end of the block, rolled back by an exception."""
        with self._errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A reading transaction: one snapshot, nothing can be written, nobody is blocked."""
        options: dict[str, Any] = {_READING: True}
        if self.dialect == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._errors(), self.engine.connect() as bare:
            connection = bare.execution_options(**options)
            with connection.begin():
                yield connection

    def transact(self, work: Callable[[Connection], Result]) -> Result:
        """`work` in one transaction, run again when it lost a race or its connection before the commit was sent.

        `work` must have no effect outside the transaction. Where the answer to a COMMIT was lost the outcome is not
        known: StoreUnavailable is raised, and the caller looks before trying again.
        """
        for attempt in range(1, TRIES + 1):
            committing = False
            try:
                with self.engine.connect() as connection, connection.begin() as transaction:
                    result = work(connection)
                    committing = True
                    transaction.commit()
                return result
            except SQLAlchemyError as error:
                again = is_race(error) or (is_lost_connection(error) and not committing)
                if attempt == TRIES or not again or self.given_up():
                    raise self._translated(error) from error
            time.sleep(random.uniform(0, PAUSE_SECONDS * 2**attempt))  # noqa: S311 jitter, no secret
        raise AssertionError("unreachable")

    def now(self, connection: Connection) -> datetime:
        """The present moment by the store's clock."""
        return now(connection)

    @property
    def free_bytes(self) -> int | None:
        """What is free on the disk of a SQLite store; None where nobody knows."""
        return None if self.path is None else shutil.disk_usage(self.path.parent).free

    @property
    def is_exhausted(self) -> bool:
        """Whether no connection is left in the pool."""
        pool = self.engine.pool
        return isinstance(pool, QueuePool) and pool.checkedout() >= pool.size()

    def is_busy(self, at_most: timedelta) -> bool:
        """Whether a writer of our own keeps others from the file: a transaction of this process, or a command's."""
        if any(time.monotonic() - since < at_most.total_seconds() for since in tuple(self._writing.values())):
            return True
        return self.path is not None and FileLock.is_held(self.maintenance_lock)

    @property
    def maintenance_lock(self) -> Path:
        """Held by whoever needs the whole SQLite file for a while: migrations, and what rewrites it."""
        return Path(f"{self.path}.migrate.lock")

    def lock(self) -> FileLock | nullcontext[None]:
        """The right to be this SQLite file's only daemon, until closed; raises StoreLocked. Free on PostgreSQL."""
        if self.path is None:
            return nullcontext()
        return FileLock.acquire(Path(f"{self.path}.lock"), owner=f"store {self.path}")

    def check_file(self) -> None:
        """Raise StoreError where the SQLite file is damaged: indexed reads may go on answering from a broken file."""
        if self.path is None or not self.path.exists():
            return
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            self.damage = f"store {self.path} is damaged ({found}); stop the service and put a backup in its place"
            raise StoreError(self.damage)

    def checkpoint(self) -> None:
        """Fold SQLite's write-ahead log into the file, so that it does not grow without bound."""
        if self.path is None:
            return
        with self._errors(), self.engine.connect() as connection:
            connection.execution_options(**{_READING: True, "isolation_level": "AUTOCOMMIT"}).exec_driver_sql(
                "PRAGMA wal_checkpoint(TRUNCATE)"
            )

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self._translated(error) from error

    def _translated(self, error: SQLAlchemyError) -> StoreError:
        ours = translated(error, self.name)
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY and self._writing:
            return StoreBusy(f"store {self.name} is busy: this process is in a long transaction of its own")
        if code in _DAMAGED:
            self.damage = str(ours)
        return ours

    def _moved(self, connection: object, entry: ConnectionPoolEntry, proxy: object) -> None:
        self.movements += 1

    def _begin(self, connection: Connection) -> None:
        """BEGIN on SQLite, in the file that lies under the store's name."""
        assert self.path is not None
        if connection.info["file"] != identity(self.path):
            self.damage = None  # of the one that was
            connection.invalidate()  # the next one opens what lies there by then
            raise gone(self.path)
        if connection.get_execution_options().get(_READING):
            connection.exec_driver_sql("BEGIN")
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            self._writing[id(connection.connection.dbapi_connection)] = time.monotonic()

    def _given_back(self, connection: object, entry: ConnectionPoolEntry) -> None:
        self._writing.pop(id(connection), None)


def _engine(
    url: URL, clock: Clock, *, pool_size: int, deadline: timedelta | None, given_up: Callable[[], bool]
) -> Engine:
    shared: dict[str, Any] = {
        "hide_parameters": True,
        "json_serializer": json_text,
        "poolclass": QueuePool,
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": POOL_TIMEOUT_SECONDS,
    }
    try:
        if url.drivername != "sqlite":
            return postgresql_engine(url, deadline=deadline, given_up=given_up, **shared)
        return sqlite_engine(url, clock, BUSY_TIMEOUT if deadline is None else min(deadline, BUSY_TIMEOUT), **shared)
    except ArgumentError as error:  # of hosts and ports among the options
        raise StoreError(f"store url: {error}") from error
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(
            "store url: the PostgreSQL driver is not installed; pip install 'drift-monitor[postgresql]'"
        ) from error
