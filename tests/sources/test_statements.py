"""What a PostgreSQL server sees of us: how many statements, in which transactions, and what stays behind."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from drift_monitor.core.bins import CategoricalBins, NumericBins, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.sources.source import Source
from tests.postgresql import LoggedStatement, PostgresqlServer
from tests.sources.databases import Postgresql, counter, table

START = datetime(2026, 3, 1, tzinfo=UTC)
NUMBERS = NumericBins((0, 10, 20), ValueType.INTEGER)
LABELS = CategoricalBins(("a", "b"))


@pytest.fixture
def source(postgresql: Postgresql) -> Iterator[Source]:
    made = postgresql.source()
    yield made
    made.close()


def ours(server: PostgresqlServer, postgresql: Postgresql) -> list[LoggedStatement]:
    name = sa.make_url(postgresql.url).database or ""
    return [one for one in server.statements(name) if one.application.startswith("drift-monitor/")]


def counting(server: PostgresqlServer, postgresql: Postgresql) -> list[str]:
    return [one.text for one in ours(server, postgresql) if '"t" AS dataset' in one.text]


def fill(postgresql: Postgresql, features: int) -> list[Any]:
    names = [f"f{number}" for number in range(features)]
    columns = {"at": "timestamptz", "label": "text", **dict.fromkeys(names, "int")}
    rows = [(START + timedelta(minutes=minute), "a", *[minute % 30] * features) for minute in range(600)]
    postgresql.create("t", columns, rows)
    postgresql.execute("CREATE INDEX ON t (at)")
    return [counter("label", LABELS), *(counter(name, NUMBERS) for name in names)]


def hours(*numbers: int) -> list[Span]:
    return [Span(START + timedelta(hours=number), START + timedelta(hours=number + 1)) for number in numbers]


def test_one_statement_counts_all_features_in_all_panes(
    postgresql_server: PostgresqlServer, postgresql: Postgresql, source: Source
) -> None:
    counters = fill(postgresql, 40)
    reading = source.read(table(time_column="at"), counters, hours(0, 1, 2, 5, 9))
    assert reading.statements == 1
    assert reading.rows.tolist() == [60] * 5
    assert len(counting(postgresql_server, postgresql)) == 1


def test_a_further_pane_is_one_more_statement_and_nothing_else(
    postgresql_server: PostgresqlServer, postgresql: Postgresql, source: Source
) -> None:
    counters = fill(postgresql, 3)
    source.read(table(time_column="at"), counters, hours(0, 1))
    before = len(ours(postgresql_server, postgresql))
    source.read(table(time_column="at"), counters, hours(2))
    further = [one.text.split()[0] for one in ours(postgresql_server, postgresql)[before:]]
    assert further == ["BEGIN", "SELECT", "SELECT", "ROLLBACK", "DISCARD"]


def test_wide_tables_take_one_statement_for_each_chunk_of_features(
    postgresql_server: PostgresqlServer, postgresql: Postgresql, source: Source
) -> None:
    counters = fill(postgresql, 120)
    reading = source.read(table(time_column="at"), counters, hours(0, 1, 2, 3))
    assert reading.statements == len(counting(postgresql_server, postgresql)) == 3
    assert len(reading.counts) == 121


def test_every_statement_is_its_own_short_read_only_transaction(
    postgresql_server: PostgresqlServer, postgresql: Postgresql, source: Source
) -> None:
    source.read(table(time_column="at"), fill(postgresql, 2), hours(0))
    texts = [one.text for one in ours(postgresql_server, postgresql)]
    counted = next(number for number, text in enumerate(texts) if '"t" AS dataset' in text)
    assert texts[counted - 2] == "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE"
    assert "set_config('statement_timeout', E'60000', true)" in texts[counted - 1]
    assert "set_config('jit', E'off', true)" in texts[counted - 1]
    assert texts[counted + 1 : counted + 3] == ["ROLLBACK", "DISCARD ALL"]


def test_no_session_is_left_in_a_transaction(postgresql: Postgresql, source: Source) -> None:
    counters = fill(postgresql, 2)
    source.read(table(time_column="at"), counters, hours(0))
    source.read(table(time_column="at"), [counter("bad", NUMBERS, expression="1 / 0")], hours(0))
    with psycopg.connect(postgresql.url.replace("+psycopg", "")) as watcher:
        states = watcher.execute(
            "SELECT state FROM pg_stat_activity WHERE application_name LIKE 'drift-monitor/%'"
            " AND datname = current_database()"
        ).fetchall()
    assert states == [("idle",)]


def test_never_more_sessions_than_allowed(postgresql: Postgresql) -> None:
    counters = fill(postgresql, 2)
    source = postgresql.source(max_connections=2)
    readings: list[Any] = []

    def read() -> None:
        slow = counter("slow", NUMBERS, expression="CASE WHEN pg_sleep(0.001) IS NULL THEN 1 ELSE 1 END")
        readings.append(source.read(table(time_column="at"), [*counters, slow], hours(0)))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    most = 0
    with psycopg.connect(postgresql.url.replace("+psycopg", ""), autocommit=True) as watcher:
        while any(thread.is_alive() for thread in threads):
            (sessions,) = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'drift-monitor/%'"
                " AND datname = current_database()"
            ).fetchone() or (0,)
            most = max(most, sessions)
    source.close()
    assert len(readings) == 6
    assert 1 <= most <= 2


def test_a_time_condition_uses_the_index(postgresql: Postgresql, source: Source) -> None:
    """The database's own statistics count the rows which an hour of many touches."""
    rows = [(START + timedelta(seconds=10 * number), number % 30) for number in range(50_000)]
    postgresql.create("t", {"at": "timestamptz", "x": "int"}, rows)
    postgresql.execute("CREATE INDEX ON t (at)")
    postgresql.execute("ANALYZE t")
    postgresql.execute("SELECT pg_stat_reset()")
    source.describe_features(table(), [])
    source.read(table(time_column="at"), [counter("x", NUMBERS)], hours(7))
    source.close()
    assert touched(postgresql) <= 400


def touched(postgresql: Postgresql) -> int:
    """Rows of `t` read by scans or fetched through indexes since the statistics began; asked until they arrive."""
    with psycopg.connect(postgresql.url.replace("+psycopg", ""), autocommit=True) as watcher:
        while True:
            found = watcher.execute(
                "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 't'"
            ).fetchone()
            if found and found[1]:
                return int(found[0]) + int(found[1])


def test_the_settings_of_the_connection_guard_against_dead_networks(postgresql: Postgresql, source: Source) -> None:
    source.ping()
    with source._session._engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        parameters = driver.info.get_parameters()
    wanted = {"keepalives_idle": "30", "keepalives_count": "3", "tcp_user_timeout": "30000", "connect_timeout": "10"}
    assert {key: parameters[key] for key in wanted} == wanted


def test_a_write_is_refused(postgresql: Postgresql, source: Source) -> None:
    fill(postgresql, 1)
    postgresql.execute(
        "CREATE FUNCTION add_row() RETURNS int LANGUAGE sql AS 'INSERT INTO t(label) VALUES (1) RETURNING 1'"
    )
    reading = source.read(table(), [counter("w", NUMBERS, expression="add_row()")], None)
    assert "ReadOnlySqlTransaction" in str(reading.failed["w"])
    assert reading.rows.tolist() == [600]
