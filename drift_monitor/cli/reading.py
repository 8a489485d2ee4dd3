"""Stores opened beside a daemon, by commands that read or write a row: nothing is created, migrated or held."""

from collections.abc import Iterator
from contextlib import contextmanager

from drift_monitor.clock import SystemClock
from drift_monitor.config.model import Config
from drift_monitor.store import migrate
from drift_monitor.store.connection import Store


@contextmanager
def open_store(config: Config) -> Iterator[Store]:
    """The store of a configuration, whatever its schema."""
    store = Store(config.store.url.get_secret_value(), SystemClock())
    try:
        yield store
    finally:
        store.close()


@contextmanager
def open_history(config: Config) -> Iterator[Store]:
    """A store whose schema fits; raises StoreOutdated."""
    with open_store(config) as store:
        migrate.check(store)
        yield store
