"""How the store is reached: transactions, time-outs, locks, and errors that say what to do."""

import multiprocessing
import os
import signal
import sqlite3
import stat
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from drift_monitor.errors import StoreError, StoreLocked, StoreOutdated, StoreUnavailable
from drift_monitor.store import leases, migrate, monitors, runs
from drift_monitor.store.connection import Store
from tests.postgresql import PostgresqlServer
from tests.store.conftest import opened
from tests.store.making import EXPIRED, TTL, add_monitor, planned, sqlite_url


def test_a_block_that_raises_writes_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.begin() as connection:
        add_monitor(connection)
        _ = 1 / 0
    with store.read() as connection:
        assert monitors.listed(connection) == ()


def test_a_reading_transaction_sees_one_snapshot(store: Store, other: Store) -> None:
    with store.read() as reader:
        assert monitors.listed(reader) == ()
        other.transact(add_monitor)
        assert monitors.listed(reader) == ()
    with store.read() as reader:
        assert len(monitors.listed(reader)) == 1


def test_postgresql_refuses_writes_in_a_reading_transaction(postgresql_store: Store) -> None:
    with pytest.raises(StoreError, match="read-only"), postgresql_store.read() as connection:
        add_monitor(connection)


def test_a_transaction_that_reads_before_it_writes_never_fails_because_of_another_commit(tmp_path: Path) -> None:
    # A deferred BEGIN would raise SQLITE_BUSY_SNAPSHOT at once: here the second writer waits for its turn instead.
    with opened(sqlite_url(tmp_path)) as store, opened(sqlite_url(tmp_path)) as other:
        migrate.upgrade(store)
        with store.begin() as connection:
            assert monitors.listed(connection) == ()
            with pytest.raises(StoreUnavailable, match="busy"), _impatient(other).begin():
                pytest.fail("two writers at once")
            add_monitor(connection)


def _impatient(store: Store) -> Store:
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
    return store


def test_sqlite_is_durable_and_enforces_references(sqlite_store: Store) -> None:
    with sqlite_store.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_every_postgresql_session_has_the_time_outs_that_free_what_the_dead_hold(postgresql_store: Store) -> None:
    shown = {
        "idle_in_transaction_session_timeout": "10s",
        "statement_timeout": "15s",
        "lock_timeout": "5s",
        "tcp_keepalives_idle": "15",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "30000",
        "timezone": "UTC",
        "synchronous_commit": "on",
    }
    with postgresql_store.read() as connection:
        assert {name: connection.execute(text(f"SHOW {name}")).scalar() for name in shown} == shown


def test_a_host_that_died_inside_a_transaction_does_not_keep_its_window(postgresql_url: str) -> None:
    with opened(postgresql_url) as dead, opened(postgresql_url) as alive:
        migrate.upgrade(dead)
        dead.transact(_one_due_run)
        with dead.engine.connect() as connection:
            assert leases.claim(connection, "dead", TTL) is not None
            connection.execute(text("SET idle_in_transaction_session_timeout = '300ms'"))
            # The dead one never commits and never closes its connection: the server does that for it.
            with alive.begin() as waiting:
                waiting.execute(text("SELECT 1 FROM run FOR UPDATE"))
            assert alive.transact(lambda c: leases.claim(c, "alive", TTL)) is not None
            with pytest.raises(DBAPIError, match="idle-in-transaction"):
                connection.commit()
                connection.execute(text("SELECT 1"))


def _one_due_run(connection: Connection) -> None:
    add_monitor(connection)
    runs.plan(connection, [planned(0)])


def test_no_rows_travel_in_a_pipeline_where_the_server_has_no_time_out(
    postgresql_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen in the field: a host that died inside one kept its rows locked for ever."""

    def refuse(self: psycopg.Connection[object]) -> None:
        raise AssertionError("a pipeline")

    monkeypatch.setattr(psycopg.Connection, "_pipeline_nolock", refuse)
    with postgresql_store.engine.connect() as bare, pytest.raises(AssertionError, match="a pipeline"):
        bare.connection.cursor().executemany("SELECT %s", [(1,), (2,)])
    with postgresql_store.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE kept (value integer)"))
        connection.execute(text("INSERT INTO kept VALUES (:value)"), [{"value": 1}, {"value": 2}])
        assert connection.execute(text("SELECT sum(value) FROM kept")).scalar_one() == 3


def test_whatever_the_umask_says_only_the_owner_reads_what_we_create(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(sqlite_url(tmp_path)) as store, store.lock():
            migrate.upgrade(store)
            store.transact(add_monitor)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert {"drift.db", "drift.db-wal", "drift.db-shm", "drift.db.lock", "drift.db.migrate.lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_transaction_that_loses_a_race_is_run_again(postgresql_store: Store) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> str:
        tries.append(1)
        if len(tries) < 3:
            connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$"))
        return "done"

    assert postgresql_store.transact(work) == "done"
    assert len(tries) == 3


def test_a_transaction_waits_again_for_a_row_that_a_dead_host_keeps_locked(
    postgresql_store: Store, postgresql_server: PostgresqlServer
) -> None:
    postgresql_store.transact(add_monitor)
    tries: list[int] = []
    with postgresql_server.connect(str(postgresql_store.url.database)) as dead:
        dead.execute("BEGIN")
        dead.execute("SELECT 1 FROM monitor FOR UPDATE")

        def work(connection: Connection) -> None:
            tries.append(1)
            if len(tries) == 2:
                dead.execute("ROLLBACK")  # as the server does for a session that is idle in a transaction
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            connection.execute(text("UPDATE monitor SET enabled = false"))

        postgresql_store.transact(work)
    assert len(tries) == 2


def test_a_transaction_whose_connection_breaks_before_the_commit_is_run_again(
    postgresql_store: Store, postgresql_server: PostgresqlServer
) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> int:
        tries.append(1)
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        if len(tries) == 1:
            with postgresql_server.connect() as killer:
                killer.execute("SELECT pg_terminate_backend(%s)", (backend,))
        add_monitor(connection)
        return len(tries)

    assert postgresql_store.transact(work) == 2
    with postgresql_store.read() as connection:
        assert len(monitors.listed(connection)) == 1


def test_a_server_that_stopped_is_unavailable_and_one_that_came_back_is_used(
    postgresql_store: Store, postgresql_server: PostgresqlServer
) -> None:
    postgresql_store.transact(add_monitor)
    postgresql_server.stop_immediate()
    try:
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            postgresql_store.transact(add_monitor)
    finally:
        postgresql_server.start()
    with postgresql_store.read() as connection:
        assert len(monitors.listed(connection)) == 1


def test_errors_show_neither_password_nor_values(postgresql_server: PostgresqlServer) -> None:
    url = postgresql_server.url("postgres", password="hunter2-canary")
    with opened(url) as store, pytest.raises(StoreUnavailable) as raised, store.read():
        pytest.fail("the password is wrong")
    assert "hunter2-canary" not in str(raised.value)
    assert "hunter2-canary" not in repr(raised.value.__cause__)


def test_a_refused_value_is_not_repeated_in_the_error(store: Store) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("SELECT :value FROM nowhere"), {"value": "canary-value"})

    with pytest.raises(StoreOutdated) as raised:
        store.transact(work)
    assert "canary-value" not in str(raised.value)
    assert "canary-value" not in str(raised.value.__cause__)


def test_the_second_daemon_on_a_sqlite_file_is_told_who_holds_it(sqlite_store: Store, tmp_path: Path) -> None:
    with (
        sqlite_store.lock(),
        opened(sqlite_url(tmp_path)) as second,
        pytest.raises(StoreLocked, match=rf"pid {os.getpid()} on {os.uname().nodename}"),
    ):
        second.lock()
    with opened(sqlite_url(tmp_path)) as third, third.lock():
        pass


def test_the_lock_is_free_as_soon_as_its_holder_was_killed(sqlite_store: Store, tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    holder = processes.Process(target=_hold_lock, args=(sqlite_url(tmp_path), theirs))
    holder.start()
    assert ours.recv() == "locked"
    with pytest.raises(StoreLocked, match=f"pid {holder.pid} "):
        sqlite_store.lock()
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with sqlite_store.lock():
        pass


def _hold_lock(url: str, pipe: Pipe) -> None:
    with opened(url) as store, store.lock():
        pipe.send("locked")
        pipe.recv()


def test_replicas_on_postgresql_need_no_lock(postgresql_store: Store) -> None:
    with postgresql_store.lock(), postgresql_store.lock():
        pass


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Store]:
    """A store whose pages were overwritten in the middle."""
    with opened(sqlite_url(tmp_path)) as store:
        migrate.upgrade(store)
        store.transact(add_monitor)
        store.checkpoint()
        assert store.path is not None
        path = store.path
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with opened(sqlite_url(tmp_path)) as store:
        yield store


def test_a_damaged_file_is_named_with_what_to_do(damaged: Store) -> None:
    with pytest.raises(StoreError, match=r"drift\.db is damaged.*backup"):
        damaged.check_file()


def test_a_sound_file_passes_the_check(store: Store) -> None:
    store.check_file()


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "drift.db").write_bytes(b"this is a shopping list, not a database " * 200)
    with (
        opened(sqlite_url(tmp_path)) as store,
        pytest.raises(StoreError, match=r"drift\.db is no SQLite database"),
        store.read(),
    ):
        pytest.fail("garbage was opened")


def test_a_directory_that_does_not_exist_is_a_clear_error(tmp_path: Path) -> None:
    with opened(sqlite_url(tmp_path / "gone")) as store:
        with pytest.raises(StoreUnavailable, match=r"gone/drift\.db can't be opened"), store.read():
            pytest.fail("a store in no directory was opened")
        with pytest.raises(StoreUnavailable, match=r"gone/drift\.db\.migrate\.lock can't be opened"):
            migrate.upgrade(store)


def test_a_full_disk_is_said_to_be_full(sqlite_store: Store) -> None:
    with pytest.raises(StoreUnavailable, match="disk is full"), sqlite_store.begin() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        connection.exec_driver_sql("CREATE TABLE ballast AS SELECT zeroblob(1000000) AS weight")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("mysql+pymysql://u:secret@h/d", "mysql.pymysql can't hold the store"),
        ("drift.db", "no SQLAlchemy URL"),
    ],
)
def test_a_url_that_can_hold_no_store_is_refused(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as raised, opened(url):
        pytest.fail("opened")
    assert "secret" not in str(raised.value)


def test_the_short_postgresql_url_means_psycopg() -> None:
    with opened("postgresql://localhost/drift") as store:
        assert store.engine.dialect.driver == "psycopg"


def test_an_expired_lease_is_judged_by_the_clock_of_the_server(postgresql_store: Store) -> None:
    # The host's clock says noon of some day in the past; the server's says otherwise.
    postgresql_store.transact(_one_due_run)
    held = postgresql_store.transact(lambda c: leases.claim(c, "one", EXPIRED))
    assert held is not None
    assert held.claimed_at > postgresql_store.clock.now()
    assert postgresql_store.transact(lambda c: leases.claim(c, "two", TTL)) is not None


def test_a_wal_is_folded_into_the_file(sqlite_store: Store) -> None:
    sqlite_store.transact(add_monitor)
    wal = Path(f"{sqlite_store.path}-wal")
    assert wal.stat().st_size > 0
    sqlite_store.checkpoint()
    assert wal.stat().st_size == 0
    with sqlite3.connect(str(sqlite_store.path)) as direct:
        assert direct.execute("SELECT count(*) FROM monitor").fetchone() == (1,)
