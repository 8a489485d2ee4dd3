"""For every room: a PostgreSQL server for the whole run, a fresh database for each test, and the gate for skips."""

from collections.abc import Iterator

import pytest

from tests.postgresql import PostgresqlServer, find_binaries
from tests.skips import SkipGate


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipGate(), "skip-gate")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A server of our own; a test that stops it must start it again."""
    binaries = find_binaries()
    if binaries is None:
        pytest.fail("no PostgreSQL: install the server, or the test dependency pgserver", pytrace=False)
    server = PostgresqlServer(binaries)
    yield server
    server.close()


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    name = postgresql_server.create_database()
    yield postgresql_server.url(name)
    postgresql_server.drop_database(name)
