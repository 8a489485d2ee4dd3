"""A SQLite file as the store: who may have it, how it is opened, and whether it is still the one that was.

An advisory lock on a file beside it keeps a second daemon away. The kernel frees it when its process ends, however it
ends.
"""

import fcntl
import math
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from drift_monitor.clock import Clock
from drift_monitor.errors import StoreLocked, StoreUnavailable

INCREMENTAL: Final = 2  # of `auto_vacuum`: free pages can be given back to the disk step by step
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

    @classmethod
    def is_held(cls, path: Path) -> bool:
        """Whether some process has the lock now."""
        if not path.exists():
            return False
        try:
            cls.acquire(path, owner="").close()
        except StoreLocked:
            return True
        return False

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


def gone(path: Path) -> StoreUnavailable:
    return StoreUnavailable(
        f"store {path} is gone, or another file has taken its place; put it back, or restart the service"
    )


def identity(path: Path) -> tuple[int, int] | None:
    """Which file has this name now; None where none has."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _knows_logarithm(connection: sqlite3.Connection) -> bool:
    """Whether SQLite was built with its mathematical functions: `drift_histograms` needs one of them."""
    try:
        return bool(connection.execute("SELECT ln(1.0) = 0.0").fetchone()[0])
    except sqlite3.OperationalError:
        return False


def sqlite_engine(url: URL, clock: Clock, wait: timedelta, **shared: Any) -> Engine:
    """An engine for one file, whose connections wait so long for its write lock."""
    engine = create_engine(url, connect_args={"timeout": wait.total_seconds()}, **shared)
    opened: set[str] = set()

    @event.listens_for(engine, "do_connect")
    def create(dialect: Dialect, record: object, arguments: Sequence[str], named: object) -> None:
        if not opened:
            create_private(Path(arguments[0]))  # its log and index get the same rights from SQLite
        elif not Path(arguments[0]).exists():  # SQLite would make an empty one
            raise gone(Path(arguments[0]))

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        entry.info["clock"] = clock
        entry.info["file"] = identity(Path(engine.url.database or ""))
        for pragma in (f"busy_timeout={wait.total_seconds() * 1000:.0f}", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if Path(engine.url.database or "").stat().st_size == 0:  # later it needs the write lock, and changes nothing
            connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
        if not _knows_logarithm(connection):
            connection.create_function("ln", 1, math.log, deterministic=True)
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode=WAL")
        opened.add("once")

    return engine
