"""Each test of the store runs on SQLite and on PostgreSQL, unless it asks for one of them by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drift_monitor.store import migrate
from drift_monitor.store.connection import Store
from drift_monitor.store.schema import metadata
from tests.migrated import lay_out
from tests.postgresql import PostgresqlServer
from tests.store.making import ManualClock, sqlite_url


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """A store, closed at the end of the block."""
    one = Store(url, ManualClock())
    try:
        yield one
    finally:
        one.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store without schema."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a store with its schema."""
    url: str = request.getfixturevalue(f"{request.param}_store_url")
    return url


@pytest.fixture
def sqlite_store_url(tmp_path: Path) -> str:
    lay_out(tmp_path / "drift.db")
    return sqlite_url(tmp_path)


@pytest.fixture
def postgresql_store_url(migrated_url: str) -> str:
    """One database for all tests, emptied before each: making one anew would take most of the suite's time."""
    with opened(migrated_url) as one, one.begin() as connection:
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
    return migrated_url


@pytest.fixture(scope="session")
def migrated_url(postgresql_server: PostgresqlServer) -> str:
    url = postgresql_server.url(postgresql_server.create_database())
    with opened(url) as one:
        migrate.upgrade(one)
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store with its schema. Its clock stands still on SQLite; PostgreSQL has its own, later."""
    with opened(store_url) as one:
        yield one


@pytest.fixture
def other(store_url: str) -> Iterator[Store]:
    """The same store as another process sees it."""
    with opened(store_url) as one:
        yield one


@pytest.fixture
def sqlite_store(sqlite_store_url: str) -> Iterator[Store]:
    with opened(sqlite_store_url) as one:
        yield one


@pytest.fixture
def postgresql_store(postgresql_store_url: str) -> Iterator[Store]:
    with opened(postgresql_store_url) as one:
        yield one
