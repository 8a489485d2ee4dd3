"""Limits on what we take, and what happens when a database is slow, silent, cut off or restarted."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from drift_monitor.core.bins import NumericBins, ValueType
from drift_monitor.errors import InconsistentCounts, SourceError, SourceTimeout, SourceUnavailable
from drift_monitor.sources.dialects.postgresql import PostgreSQL
from drift_monitor.sources.source import Source
from tests.postgresql import PostgresqlServer, find_binaries
from tests.proxy import Proxy
from tests.sources.databases import Postgresql, Sqlite, counter, make_source, table

PATIENCE_SECONDS = 120.0  # on a busy machine
NUMBERS = NumericBins((0, 2, 4), ValueType.INTEGER)
SLOW = {"sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS n FROM n WHERE x < 0"}


@pytest.fixture
def proxy(postgresql_server: PostgresqlServer) -> Iterator[Proxy]:
    made = Proxy(postgresql_server.port)
    yield made
    made.close()


def limit_statements(source: Source, seconds: float) -> None:
    """From now on: what comes before or after the statement in question must not be caught by its short limit."""
    session = source._session
    session._limits = replace(session._limits, statement_timeout=timedelta(seconds=seconds))
    session._look.set()  # the watch waits by the limit that was


def through(proxy: Proxy, postgresql: Postgresql, server: PostgresqlServer, **options: Any) -> Source:
    return make_source(postgresql.url.replace(f":{server.port}/", f":{proxy.port}/"), **options)


def test_the_server_ends_a_statement_that_takes_too_long(postgresql: Postgresql) -> None:
    postgresql.execute("CREATE VIEW t AS SELECT 1 AS n FROM (SELECT pg_sleep(60)) AS nap")
    source = postgresql.source(statement_timeout=timedelta(seconds=0.3))
    with pytest.raises(SourceTimeout, match=r"source 'shop': .* limit of 0.3 s; index the time column, or raise"):
        source.read(table(), [counter("n", NUMBERS)], None)
    until(lambda: sessions(postgresql, "state <> 'idle'") == 0)
    source.close()


def test_sqlite_statements_are_interrupted(sqlite: Sqlite) -> None:
    sqlite.execute("CREATE VIEW t AS " + SLOW["sqlite"])
    source = sqlite.source(statement_timeout=timedelta(seconds=0.3))
    with pytest.raises(SourceTimeout):
        source.read(table(), [], None)
    sqlite.create("u", {"n": "int"}, [(1,)])
    limit_statements(source, 60)
    assert source.read(table("u"), [], None).rows.tolist() == [1]


def test_a_statement_keeps_its_deadline_when_its_source_is_closed(sqlite: Sqlite) -> None:
    """As at a reload, while a worker still reads by the configuration before."""
    sqlite.execute("CREATE VIEW t AS " + SLOW["sqlite"])
    source = sqlite.source(statement_timeout=timedelta(seconds=1))
    closing = threading.Timer(0.3, source.close)
    closing.start()
    for _ in range(2):  # and so does one that begins afterwards
        begun = time.monotonic()
        with pytest.raises(SourceTimeout):
            source.read(table(), [], None)
        assert time.monotonic() - begun < 15
    closing.join()
    source.close()
    until(lambda: not source._session._is_watched)


def test_deadlines_outlive_a_connection_that_can_not_be_ended(sqlite: Sqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite.execute("CREATE VIEW t AS " + SLOW["sqlite"])
    source = sqlite.source(statement_timeout=timedelta(seconds=0.3))
    abort = source._session.dialect.abort

    def fail(connection: Any) -> None:
        abort(connection)
        raise RuntimeError("the connection is lost")

    monkeypatch.setattr(source._session.dialect, "abort", fail)
    for _ in range(2):
        with pytest.raises(SourceTimeout):
            source.read(table(), [], None)
    source.close()


def test_nothing_is_begun_that_nobody_watches(sqlite: Sqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite.execute("CREATE VIEW t AS " + SLOW["sqlite"])
    source = sqlite.source(statement_timeout=timedelta(seconds=0.3))

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(SourceUnavailable, match="source 'shop': no thread can be started"):
            source.read(table(), [], None)
    assert source._session._running == []
    with pytest.raises(SourceTimeout):
        source.read(table(), [], None)
    source.close()


def test_a_silent_network_is_left_at_the_clients_deadline(
    postgresql: Postgresql, postgresql_server: PostgresqlServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgreSQL, "deadline_grace", timedelta(seconds=0.5))
    postgresql.create("t", {"n": "int"}, [(1,)])
    source = through(proxy, postgresql, postgresql_server, max_connections=1)
    source.read(table(), [counter("n", NUMBERS)], None)
    limit_statements(source, 0.5)
    proxy.fall_silent()
    begun = time.monotonic()
    with pytest.raises(SourceUnavailable, match="the server or the network between is silent"):
        source.read(table(), [counter("n", NUMBERS)], None)
    assert time.monotonic() - begun < 60
    assert source._session._engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    source.close()


def test_a_locked_table_is_told_apart_from_a_slow_one(postgresql: Postgresql) -> None:
    postgresql.create("t", {"n": "int"}, [(1,)])
    source = postgresql.source(statement_timeout=timedelta(seconds=1))
    with psycopg.connect(postgresql.url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceTimeout, match="a table is locked by another session"):
            source.read(table(), [counter("n", NUMBERS)], None)
    assert source.read(table(), [counter("n", NUMBERS)], None).rows.tolist() == [1]
    source.close()


@pytest.mark.parametrize("size", [0, 10, 100, 300])
def test_a_connection_that_is_cut_never_gives_half_a_reading(
    postgresql: Postgresql, postgresql_server: PostgresqlServer, proxy: Proxy, size: int
) -> None:
    postgresql.create("t", {f"n{number}": "int" for number in range(40)}, [tuple(range(40))] * 50)
    source = through(proxy, postgresql, postgresql_server)
    counters = [counter(f"n{number}", NUMBERS) for number in range(40)]
    source.read(table(), counters, None)
    proxy.cut_after(size)
    with pytest.raises(SourceUnavailable):
        source.read(table(), counters, None)
    source.close()


def test_a_server_that_restarts_between_readings_is_connected_to_again() -> None:
    binaries = find_binaries()
    assert binaries is not None
    server = PostgresqlServer(binaries)
    try:
        postgresql = Postgresql(server.url())
        postgresql.create("t", {"n": "int"}, [(1,)])
        source = postgresql.source()
        source.read(table(), [counter("n", NUMBERS)], None)
        server.restart("immediate")
        assert source.read(table(), [counter("n", NUMBERS)], None).rows.tolist() == [1]
        server.stop_immediate()
        with pytest.raises(SourceUnavailable):
            source.read(table(), [counter("n", NUMBERS)], None)
        server.start()
        assert source.read(table(), [counter("n", NUMBERS)], None).rows.tolist() == [1]
        source.close()
    finally:
        server.close()


def test_a_deadlock_or_conflict_is_tried_again(postgresql: Postgresql) -> None:
    postgresql.execute("CREATE SEQUENCE tries")
    postgresql.execute(
        "CREATE FUNCTION conflict() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        " IF (SELECT last_value FROM tries) < 3 THEN RAISE EXCEPTION 'conflict with recovery' USING ERRCODE = '40001';"
        " END IF; RETURN 1; END $$"
    )
    postgresql.create("t", {"n": "int"}, [(1,)])
    source = postgresql.source()
    source.describe(table())
    counters = [counter("n", NUMBERS, expression="conflict()")]
    with pytest.raises(SourceUnavailable, match="source 'shop': "):
        source.read(table(), counters, None)
    postgresql.execute("SELECT setval('tries', 3)")
    assert source.read(table(), counters, None).counts["n"].tolist() == [[0, 1, 0, 0, 0, 0]]
    source.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_cancel_ends_what_runs_and_refuses_what_comes(kind: str, request: pytest.FixtureRequest) -> None:
    database = request.getfixturevalue(kind)
    nap = "SELECT 1 AS n FROM (SELECT pg_sleep(60)) AS nap"
    database.execute(f"CREATE VIEW t AS {SLOW.get(kind, nap)}")
    source = database.source()
    failures: list[SourceError] = []

    def read() -> None:
        try:
            source.read(table(), [], None)
        except SourceError as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    until(
        lambda: (
            bool(source._session._running) and (kind == "sqlite" or sessions(database, "wait_event = 'PgSleep'") == 1)
        )
    )
    source.cancel()
    thread.join(timeout=PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert "reading was cancelled because the program ends" in str(failures[0])
    with pytest.raises(SourceUnavailable, match="cancelled"):
        source.ping()
    if kind == "postgresql":
        until(lambda: sessions(database, "state = 'active'") == 0)
    source.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_statement_that_begins_while_all_are_cancelled_is_ended_too(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = request.getfixturevalue(kind)
    database.execute(f"CREATE VIEW t AS {SLOW.get(kind, 'SELECT 1 AS n FROM (SELECT pg_sleep(600)) AS nap')}")
    source = database.source(statement_timeout=timedelta(seconds=600))
    session, cancelled, failures = source._session, threading.Event(), list[SourceError]()
    execute = session._execute

    def late(*arguments: Any, **named: Any) -> Any:
        assert cancelled.wait(PATIENCE_SECONDS)
        return execute(*arguments, **named)

    def read() -> None:
        try:
            session.run(sa.text("SELECT n FROM t"), list)
        except SourceError as error:
            failures.append(error)

    monkeypatch.setattr(session, "_execute", late)
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    until(lambda: bool(session._running))
    source.cancel()
    cancelled.set()
    thread.join(timeout=PATIENCE_SECONDS)
    assert "reading was cancelled because the program ends" in str(failures[0])
    source.close()


def test_a_closed_source_leaves_no_session(postgresql: Postgresql) -> None:
    source = postgresql.source()
    source.ping()
    assert sessions(postgresql, "true") == 1
    source.close()
    until(lambda: sessions(postgresql, "true") == 0)


def test_rows_that_change_between_two_statements_of_a_reading_are_not_mixed(
    postgresql: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that grows while it is read, with more features than one statement takes."""
    monkeypatch.setattr(PostgreSQL, "features_per_statement", 1)
    postgresql.create("t", {"n": "int", "m": "int"}, [(1, 1)])
    source = postgresql.source()
    readings = source._reader._counted

    def and_grow(*arguments: Any) -> Any:
        found = readings(*arguments)
        postgresql.execute("INSERT INTO t VALUES (1, 1)")
        return found

    monkeypatch.setattr(source._reader, "_counted", and_grow)
    with pytest.raises(InconsistentCounts, match="rows changed between two statements of one reading"):
        source.read(table(), [counter("n", NUMBERS), counter("m", NUMBERS)], None)
    source.close()


def sessions(postgresql: Postgresql, condition: str) -> int:
    with psycopg.connect(postgresql.url.replace("+psycopg", "")) as watcher:
        found = watcher.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'drift-monitor/%'"  # type: ignore[arg-type]
            f" AND datname = current_database() AND {condition}"
        ).fetchone()
    return int(found[0]) if found else 0


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens."""
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.01)
