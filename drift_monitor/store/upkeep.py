"""Look after a SQLite store beside the service that uses it: copy it whole, and give room back to the disk.

A copy is one snapshot; writers go on meanwhile, since readers of a write-ahead log stop nobody. Room is given back in
short steps, each a transaction, between which the service writes. That needs a file made for it: older ones are
rewritten once as a whole, which keeps the service from writing for as long as it takes.
"""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from drift_monitor.errors import InputError, StoreError, StoreUnavailable
from drift_monitor.store.connection import Store
from drift_monitor.store.sqlite import INCREMENTAL, FileLock, create_private

STEP_PAGES: Final = 500  # given back in one transaction: about 2 MB, some ten milliseconds
PAUSE_SECONDS: Final = 0.02  # for others to write
PATIENCE_SECONDS: Final = 60  # for the write lock


def backup(store: Store, target: Path, *, force: bool = False) -> int:
    """Copy the store into a file, and check the copy; its bytes.

    The file is there only when it is whole, and readable by its owner only. Raises InputError where it may not be
    written, StoreError where the copy is damaged: then the store is.
    """
    source = _file_of(store, "use pg_dump, as docs/operations.md says")
    if target.exists() and (target.samefile(source) or not force):
        hint = "name another file" if target.samefile(source) else "name another file, or give --force"
        raise InputError(f"{target} is there already; {hint}")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent} is no directory; make it, or name another file")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    create_private(partial)
    try:
        with closing(_opened(source)) as whole, closing(sqlite3.connect(partial)) as copy:
            whole.backup(copy)
            found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreError(f"store {source} is damaged ({found}): the copy was thrown away; keep your last good one")
        with partial.open("rb+") as written:
            os.fsync(written.fileno())  # a copy that a power failure empties is none
        partial.replace(target)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"store {source} could not be copied to {target}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def vacuum(store: Store) -> tuple[int, int]:
    """Give the pages that hold nothing back to the disk; the file's bytes before and after."""
    source = _file_of(store, "it gives room back by itself (autovacuum)")
    before = source.stat().st_size
    try:
        with closing(_opened(source)) as connection:
            if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == INCREMENTAL:
                _in_steps(connection)
            else:
                with FileLock.wait(store.maintenance_lock):
                    connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
                    connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        hint = "try again when the service writes less, or while it is stopped"
        raise StoreUnavailable(f"store {source} could not be vacuumed: {error}; {hint}") from error
    return before, source.stat().st_size


def _in_steps(connection: sqlite3.Connection) -> None:
    while connection.execute("PRAGMA freelist_count").fetchone()[0]:
        # As a script: `execute` would stop after the first page, since the statement has no columns.
        connection.executescript(f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({STEP_PAGES}); COMMIT")
        time.sleep(PAUSE_SECONDS)


def _opened(source: Path) -> sqlite3.Connection:
    return sqlite3.connect(source, timeout=PATIENCE_SECONDS, isolation_level=None)


def _file_of(store: Store, otherwise: str) -> Path:
    if store.path is None:
        raise InputError(f"store {store.name} is no SQLite file; {otherwise}")
    if not store.path.exists():
        raise InputError(f"store {store.path} does not exist; nothing has been stored yet")
    return store.path
