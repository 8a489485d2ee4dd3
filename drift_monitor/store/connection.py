"""The way into the store: one engine, short transactions, and errors of our own tree.

SQLite: WAL, `synchronous=FULL`, foreign keys on, and BEGIN IMMEDIATE for whatever may write: a deferred transaction
that reads first fails at once when another one commits in between, whatever the busy time-out says. PostgreSQL: the
server ends our session when this host dies inside a transaction, so no row stays locked by the dead; the settings
travel in `options` and hold from the first statement on.

The store's clock decides what is due: that of the PostgreSQL server, or on SQLite (one daemon a file) the host's.

An advisory lock on a file beside a SQLite store. The kernel frees it when its process ends, however it ends.

Foreign errors become ours here, once: what happened to the store, and what to do next.
"""

import fcntl
import math
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Dialect, Engine, create_engine, event, func, select
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
from drift_monitor.errors import StoreError, StoreLocked, StoreOutdated, StoreUnavailable

PRIVATE: Final = 0o600  # of every file that we create: what they hold is nobody else's business


def create_private(path: Path) -> None:
    """An empty file that only its owner can read, where there is none. Whoever opens it next tells what is wrong."""
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))


class FileLock:
    """A held lock; `close` frees it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: Path, *, owner: str) -> Self:
        """Take the lock at once, or raise StoreLocked with the process that holds it. `owner` names what is locked."""
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "an unknown process"
            os.close(descriptor)
            raise StoreLocked(f"{owner} is in use by {holder}; stop that daemon first, or use another store") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        return cls(descriptor)

    @classmethod
    def wait(cls, path: Path) -> Self:
        """Take the lock as soon as it is free."""
        descriptor = _open(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise StoreUnavailable(f"lock file {path} can't be opened: {error.strerror}") from error


# Losing these races is normal: the transaction was rolled back as a whole and may simply be run again.
# A lock that was not to be had in time is one: its holder may be a dead host, whose session the server ends after two
# such waits at most.
_RACES: Final = {"40001", "40P01", "55P03"}
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_SQLITE: Final[dict[int, tuple[type[StoreError], str]]] = {
    sqlite3.SQLITE_BUSY: (StoreUnavailable, "is busy: another process holds its write lock"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailable, "is busy: another process holds its write lock"),
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
    return StoreError(f"store {store}: {error}")


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
BUSY_TIMEOUT_MS: Final = 5000

# Server side: the server ends what a dead host left behind. Milliseconds, except the keepalives (seconds).
SESSION_SETTINGS: Final = {
    "idle_in_transaction_session_timeout": "10000",
    "statement_timeout": "15000",
    "lock_timeout": "5000",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "timezone": "UTC",
    "synchronous_commit": "on",  # an acknowledged commit stays, whatever the server's default
}
# Client side: libpq notices a server that went silent.
_CLIENT_SETTINGS: Final = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30000,
    "application_name": "drift-monitor",
}
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
    """An open store. Thread-safe; `close` gives all connections back."""

    def __init__(self, url: str, clock: Clock, *, pool_size: int = 5) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as error:
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
        self.clock = clock
        self.engine = _engine(self.url, clock, pool_size)

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    @property
    def name(self) -> str:
        """The store as messages name it: without a password."""
        return str(self.path) if self.path else self.url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """The file of a SQLite store."""
        return Path(self.url.database or "").absolute() if self.dialect == "sqlite" else None

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
                if attempt == TRIES or not again:
                    raise translated(error, self.name) from error
            time.sleep(random.uniform(0, PAUSE_SECONDS * 2**attempt))  # noqa: S311 jitter, no secret
        raise AssertionError("unreachable")

    def now(self, connection: Connection) -> datetime:
        """The present moment by the store's clock."""
        return now(connection)

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
            raise StoreError(f"store {self.path} is damaged ({found}); stop the service and put a backup in its place")

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
            raise translated(error, self.name) from error


def _engine(url: URL, clock: Clock, pool_size: int) -> Engine:
    shared: dict[str, Any] = {
        "hide_parameters": True,
        "json_serializer": json_text,
        "poolclass": QueuePool,
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": POOL_TIMEOUT_SECONDS,
    }
    try:
        if url.drivername == "sqlite":
            engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, **shared)
            _prepare_sqlite(engine, clock)
            return engine
        settings = " ".join(f"-c {name}={value}" for name, value in SESSION_SETTINGS.items())
        given = str(url.query.get("options", ""))
        arguments = {**_CLIENT_SETTINGS, "options": f"{settings} {given}".strip()}
        engine = create_engine(url, connect_args=arguments, pool_pre_ping=True, **shared)
        event.listen(engine, "do_executemany", _without_pipeline)
        return engine
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(
            "store url: the PostgreSQL driver is not installed; pip install 'drift-monitor[postgresql]'"
        ) from error


def _without_pipeline(cursor: Any, statement: str, parameters: Sequence[Any], context: Any) -> bool:
    """A round trip a row: psycopg would send them as a pipeline, in the middle of which no time-out of the server runs.

    A host that dies there would keep its rows locked for ever. What writes many rows puts them into one statement.
    """
    for one in parameters:
        cursor.execute(statement, one)
    return True


def _knows_logarithm(connection: sqlite3.Connection) -> bool:
    """Whether SQLite was built with its mathematical functions: `drift_histograms` needs one of them."""
    try:
        return bool(connection.execute("SELECT ln(1.0) = 0.0").fetchone()[0])
    except sqlite3.OperationalError:
        return False


def _prepare_sqlite(engine: Engine, clock: Clock) -> None:
    @event.listens_for(engine, "do_connect")
    def create(dialect: Dialect, record: object, arguments: Sequence[str], named: object) -> None:
        create_private(Path(arguments[0]))  # its log and index get the same rights from SQLite

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        entry.info["clock"] = clock
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if not _knows_logarithm(connection):
            connection.create_function("ln", 1, math.log, deterministic=True)
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode=WAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get(_READING)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
