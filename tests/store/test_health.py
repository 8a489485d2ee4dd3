"""One truth about the store: it is up when it can be written, whatever it is that keeps it from that."""

import os
import resource
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from drift_monitor.errors import StoreUnavailable
from drift_monitor.store import health, migrate
from drift_monitor.store.connection import Store
from drift_monitor.store.health import Replica, StoreProbe, running, sign
from drift_monitor.store.sqlite import FileLock
from drift_monitor.telemetry.metrics import Telemetry
from tests.migrated import lay_out
from tests.postgresql import PostgresqlServer
from tests.proxy import Proxy
from tests.store.conftest import opened
from tests.store.making import ManualClock, sqlite_url

NOBODY = 65534


@pytest.fixture(autouse=True)
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "DEADLINE", timedelta(seconds=0.3))


@contextmanager
def probe_of(store: Store) -> Iterator[StoreProbe]:
    probe = StoreProbe(
        store, Replica(owner="me", version="1", config_hash="abc"), ManualClock(), Telemetry(version="1")
    )
    try:
        yield probe
    finally:
        probe.stop()


def up(probe: StoreProbe, store: Store, looks: int = health.MISSES) -> bool:
    for _ in range(looks):
        probe.look()
    return store.problem is None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No file of this process may become longer than it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def forbidden(path: Path, mode: int) -> Iterator[None]:
    """The process may only read what has lost its rights to write; root would not be stopped."""
    before = path.stat().st_mode
    path.chmod(mode)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(before)


def read_only_file(path: Path) -> AbstractContextManager[None]:
    return forbidden(path, 0o444)


def read_only_folder(path: Path) -> AbstractContextManager[None]:
    return forbidden(path.parent, 0o555)


@contextmanager
def gone(path: Path) -> Iterator[None]:
    path.rename(path.with_suffix(".away"))
    yield
    assert not path.exists(), "nothing may come in its place"
    path.with_suffix(".away").rename(path)


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    kept = path.read_bytes()
    path.write_bytes(b"no database at all" * 400 + kept[7200:])
    yield
    path.write_bytes(kept)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user reaches."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (locked, "write lock"),
        (full_disk, "full"),
        (read_only_file, "read-only"),
        (gone, "is gone"),
        (damaged, "no SQLite database"),
    ],
)
def test_a_file_that_can_not_be_written_is_down_and_heals(
    open_folder: Path, fault: Callable[[Path], AbstractContextManager[None]], says: str
) -> None:
    path = open_folder / "drift.db"
    lay_out(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if os.geteuid() == 0:
        shutil.chown(open_folder, NOBODY)
        shutil.chown(path, NOBODY)
    with opened(sqlite_url(open_folder)) as store, probe_of(store) as probe:
        assert up(probe, store)
        store.close()  # what is open may go on: the disk is what counts
        with fault(path):
            probe.look()
            assert store.problem is None, "one miss is no news"
            assert not up(probe, store, 1)
            assert says in str(store.problem)
        assert up(probe, store, 1)


def test_another_file_in_the_place_of_the_store_is_not_written_blindly(tmp_path: Path) -> None:
    lay_out(tmp_path / "drift.db")
    with opened(sqlite_url(tmp_path)) as store:
        store.transact(lambda conn: sign(conn, Replica(owner="me", version="1", config_hash="abc")))
        (tmp_path / "drift.db").unlink()
        with pytest.raises(StoreUnavailable, match="gone"):
            store.transact(running)
        assert not (tmp_path / "drift.db").exists()
        lay_out(tmp_path / "drift.db")
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"drift.db{suffix}").unlink(missing_ok=True)
        assert store.transact(running) == []


def test_whoever_only_reads_needs_no_lock_from_the_first_connection_on(tmp_path: Path) -> None:
    lay_out(tmp_path / "drift.db")
    with locked(tmp_path / "drift.db"), opened(sqlite_url(tmp_path)) as store, store.read() as connection:
        assert running(connection) == []


def test_our_own_long_writing_is_no_outage(tmp_path: Path) -> None:
    lay_out(tmp_path / "drift.db")
    with opened(sqlite_url(tmp_path)) as store, probe_of(store) as probe:
        with store.begin():
            assert up(probe, store, 3)
        with FileLock.wait(store.maintenance_lock), locked(tmp_path / "drift.db"):
            assert up(probe, store, 3)
        with locked(tmp_path / "drift.db"):
            assert not up(probe, store)


def test_a_pool_whose_connections_never_come_back_is_down(store_url: str) -> None:
    with opened(store_url) as store, probe_of(store) as probe:
        size = store.engine.pool.size()  # type: ignore[attr-defined]
        assert up(probe, store)
        taken = [store.engine.connect() for _ in range(size)]
        assert not up(probe, store, 3)
        assert "none comes back" in str(store.problem)
        for connection in taken:
            connection.close()
        assert up(probe, store, 1)


def test_replicas_show_which_configuration_they_run(store: Store) -> None:
    one, other = (Replica(owner=name, version="1", config_hash=name * 2) for name in ("a", "b"))
    store.transact(lambda conn: (sign(conn, one), sign(conn, other)))
    with store.read() as conn:
        assert [(found.owner, found.config_hash) for found in running(conn)] == [("a", "aa"), ("b", "bb")]
    store.transact(lambda conn: health.sign_off(conn, "a"))
    with store.read() as conn:
        assert [found.owner for found in running(conn)] == ["b"]


def test_a_store_that_another_version_has_migrated_is_noticed(store: Store) -> None:
    with probe_of(store) as probe:
        migrate.check(store)
        assert up(probe, store)
        assert store.outdated is None
        with store.begin() as connection:
            connection.execute(text("UPDATE schema_version SET version_num = '9999'"))
        probe.look()
        assert "to 9999 by another version" in str(store.outdated)
        with store.begin() as connection:
            connection.execute(text("UPDATE schema_version SET version_num = :head"), {"head": migrate.head()})


@pytest.fixture
def proxied(postgresql_server: PostgresqlServer, postgresql_url: str) -> Iterator[tuple[str, Proxy]]:
    """A store behind a network that may fall silent."""
    with opened(postgresql_url) as store:
        migrate.upgrade(store)
    url = make_url(postgresql_url)
    proxy = Proxy(url.port or 5432)
    yield url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False), proxy
    proxy.close()


def test_a_server_that_never_answers_is_down_within_two_deadlines(proxied: tuple[str, Proxy]) -> None:
    url, proxy = proxied
    with opened(url) as store, probe_of(store) as probe:
        assert up(probe, store)
        proxy.fall_silent()
        started = time.monotonic()
        assert not up(probe, store)
        assert time.monotonic() - started < 2 * 3.5 + 1, "a statement has its deadline, a connection three seconds"
        assert "no answer" in str(store.problem) or "timeout" in str(store.problem)


@pytest.mark.parametrize("statement", ["SELECT 1", "INSERT INTO replica SELECT 'a', 'b', 'c', 'd', now(), now()"])
def test_no_statement_waits_for_a_silent_server_longer_than_its_deadline(
    proxied: tuple[str, Proxy], statement: str
) -> None:
    url, proxy = proxied
    store = Store(url, ManualClock(), deadline=timedelta(seconds=1))
    with pytest.raises(StoreUnavailable, match="no answer"), store.begin() as connection:
        connection.execute(text("SELECT 1"))
        proxy.fall_silent()
        started = time.monotonic()
        connection.execute(text(statement))
    assert 0.9 < time.monotonic() - started < 3
    store.close()


def test_a_commit_that_is_never_answered_ends_too(proxied: tuple[str, Proxy]) -> None:
    url, proxy = proxied
    store = Store(url, ManualClock(), deadline=timedelta(seconds=1))
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer"), store.begin() as connection:
        connection.execute(text("SELECT 1"))
        proxy.fall_silent()
    assert time.monotonic() - started < 3
    store.close()


def test_who_gives_up_waits_no_longer(proxied: tuple[str, Proxy]) -> None:
    url, proxy = proxied
    given_up = threading.Event()
    store = Store(url, ManualClock(), given_up=given_up.is_set)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable), store.begin() as connection:
        connection.execute(text("SELECT 1"))
        proxy.fall_silent()
        threading.Timer(0.5, given_up.set).start()
        connection.execute(text("SELECT 1"))
    assert time.monotonic() - started < 2
    store.close()
