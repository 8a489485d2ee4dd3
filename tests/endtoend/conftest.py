"""A PostgreSQL server of this folder's own: its tests stop it in the middle of everything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgresql import PostgresqlServer, find_binaries

HERE = Path(__file__).parent
LIMIT_SECONDS = 900  # a last resort: each step of a story has a deadline of its own, which tells what did not happen


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.processes)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    binaries = find_binaries()
    assert binaries is not None, "no PostgreSQL: install the server, or the test dependency pgserver"
    one = PostgresqlServer(binaries)
    yield one
    one.close()
