"""Foreign errors become ours here, once: what happened to the store, and what to do next."""

import sqlite3
from typing import Any, Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from drift_monitor.errors import StoreError, StoreOutdated, StoreUnavailable

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
        return _primary_code(original) in _BUSY
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
    kind, what = _SQLITE.get(_primary_code(error), (StoreError, f"refused a statement: {text}"))
    return kind(f"store {store} {what}")


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


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
