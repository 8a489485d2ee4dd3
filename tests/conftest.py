"""For every room: a PostgreSQL server for the whole run, a fresh database for each test, the gate for skips, profiles.

Property tests try the same examples in every run, however long each takes: what fails, fails again. With
`--hypothesis-profile=quick` they try a quarter of them.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests import installed
from tests.migrated import migrate_store
from tests.once import made_once
from tests.postgresql import PostgresqlServer, find_binaries
from tests.skips import SkipGate

settings.register_profile("whole", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("whole"), max_examples=25)
settings.load_profile("whole")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipGate(), "skip-gate")


def pytest_itemcollected(item: pytest.Item) -> None:
    assert isinstance(item, pytest.Function)
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    databases = {value for value in parameters if isinstance(value, str)}
    if "postgresql_server" in item.fixturenames or "postgresql" in databases:
        item.add_marker(pytest.mark.postgresql)


@pytest.hookimpl(trylast=True)  # after the folders that mark their tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests take longest come first: at the end of a run no worker waits long for another one."""
    marks = defaultdict[Path, set[str]](set)
    for item in items:
        marks[item.path] |= {mark.name for mark in item.iter_markers()}
    items.sort(key=lambda item: -len(marks[item.path] & {"processes", "slow"}))


@pytest.fixture(autouse=True)
def no_silent_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A service that runs in a thread of the tests and ends its process would end the tests, and say nothing of why.

    Here it ends its thread. With code 0 it left work behind, as it may on a slow machine; any other is a failure.
    """
    codes: list[int] = []
    tests, end = os.getpid(), os._exit

    def end_thread(code: int) -> NoReturn:
        if os.getpid() != tests:  # a child of the tests
            end(code)
        codes.append(code)
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", end_thread)
    yield
    assert not any(codes), f"the process would have ended with {codes}; the log says why"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A server of our own; a test that stops it must start it again."""
    binaries = find_binaries()
    if binaries is None:
        pytest.fail("no PostgreSQL: install the server, or the test dependency pgserver", pytrace=False)
    server = PostgresqlServer(binaries)
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgresql_store_template(postgresql_server: PostgresqlServer) -> str:
    """The name of a database with the store's schema."""
    name = postgresql_server.create_database()
    migrate_store(postgresql_server.url(name))
    return name


@pytest.fixture
def migrated_postgresql_url(postgresql_server: PostgresqlServer, postgresql_store_template: str) -> Iterator[str]:
    """The URL of a fresh database with the store's schema."""
    name = postgresql_server.create_database(postgresql_store_template)
    yield postgresql_server.url(name)
    postgresql_server.drop_database(name)


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    name = postgresql_server.create_database()
    yield postgresql_server.url(name)
    postgresql_server.drop_database(name)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel made from it."""
    return made_once(tmp_path_factory, "built", installed.build)


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    return installed.the_wheel(built)


@pytest.fixture(scope="session")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`drift-monitor` of an environment that holds the wheel and what it asks for, nothing else."""
    environment = made_once(tmp_path_factory, "environment", lambda folder: installed.install(wheel, folder))
    return environment / "bin" / "drift-monitor"
