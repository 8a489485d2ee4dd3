"""Each test that takes `database` runs on SQLite and on PostgreSQL."""

from pathlib import Path

import pytest

from tests.sources.databases import Database, Postgresql, Sqlite


@pytest.fixture
def sqlite(tmp_path: Path) -> Sqlite:
    return Sqlite(tmp_path / "shop.db")


@pytest.fixture
def postgresql(postgresql_url: str) -> Postgresql:
    return Postgresql(postgresql_url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found
