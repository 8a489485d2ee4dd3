"""Stores with their schema, like one that was migrated once a run: migrating takes most of a small test's time."""

import tempfile
from functools import cache
from pathlib import Path

from drift_monitor.clock import SystemClock
from drift_monitor.store import migrate
from drift_monitor.store.connection import Store


def migrate_store(url: str) -> None:
    store = Store(url, SystemClock())
    try:
        migrate.upgrade(store)
    finally:
        store.close()


def lay_out(path: Path) -> None:
    """Put a SQLite store without rows there."""
    path.write_bytes(_empty_store())


@cache
def _empty_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drift.db"
        migrate_store(f"sqlite:///{path}")
        return path.read_bytes()
