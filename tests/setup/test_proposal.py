"""Proposals for real tables in SQLite and PostgreSQL: time column, history, window, reference, features, text."""

import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest

from drift_monitor.config.loading import parse
from drift_monitor.config.schema import Config, FixedRange, Trailing
from drift_monitor.core.bins import Kind
from drift_monitor.core.schedule import Span
from drift_monitor.errors import DatasetError, InputError
from drift_monitor.setup.proposal import Proposal, configuration, holds_password, propose
from drift_monitor.sources.dataset import Dataset
from drift_monitor.sources.source import Source
from tests.sources.databases import make_source

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOW_OF_DAY = timedelta(hours=12)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROWS_AT_ONCE = 500

Make = Callable[..., str]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, Callable[[str, Sequence[Any]], Any]]]:
    """A URL, and what executes a statement with `?` for values in that database."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as connection:
            yield f"sqlite:///{tmp_path / 'shop.db'}", connection.execute
        return
    url: str = request.getfixturevalue("postgresql_url")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True, client_encoding="utf8") as server:
        yield url, lambda statement, values=(): server.execute(statement.replace("?", "%s"), values)


@pytest.fixture
def source(database: Any) -> Iterator[Source]:
    made = make_source(database[0])
    yield made
    made.close()


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _insert(execute: Any, table: str, rows: Sequence[Sequence[Any]]) -> None:
    row = f"({', '.join('?' for _ in rows[0])})"
    execute("BEGIN", ())
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        values = [value for row_values in some for value in row_values]
        execute(f'INSERT INTO "{table}" VALUES {", ".join([row] * len(some))}', values)
    execute("COMMIT", ())


def _events(database: Any, *, days: float, per_day: int, column: str = "created_at timestamp") -> None:
    """A table of one feature with so many rows a day up to NOW."""
    execute = database[1]
    execute(f"CREATE TABLE events (amount double precision, {column})", ())
    count = int(days * per_day)
    _insert(execute, "events", [(float(i % 97), _text(NOW - (count - i) * DAY / per_day)) for i in range(count)])


def _load(proposal: Proposal, url: str) -> Config:
    return parse(configuration(proposal, url, NOW), environ={"DRIFT_SOURCE_URL": url})


def test_a_window_of_a_day_where_a_day_has_rows_enough(database: Any, source: Source) -> None:
    _events(database, days=20, per_day=300)

    proposal = propose(source, "events", NOW)

    assert (proposal.timing.pane, proposal.timing.window, proposal.timing.min_rows) == (HOUR, DAY, 200)


@pytest.mark.parametrize(("per_day", "window", "min_rows"), [(40, 7, 200), (10, 28, 200), (2, 28, 28)])
def test_longer_windows_where_rows_are_few(
    per_day: int, window: int, min_rows: int, database: Any, source: Source
) -> None:
    _events(database, days=80, per_day=per_day)

    timing = propose(source, "events", NOW).timing

    assert (timing.pane, timing.window, timing.min_rows) == (DAY, window * DAY, min_rows)


def test_the_reference_is_an_older_part_of_the_rows(database: Any, source: Source) -> None:
    _events(database, days=20, per_day=300)

    reference = propose(source, "events", NOW).reference

    assert isinstance(reference, FixedRange)
    assert NOW - 20 * DAY <= reference.from_ < reference.to <= NOW - 5 * DAY
    assert reference.to - reference.from_ >= 10 * DAY


def test_the_reference_slides_where_there_is_no_older_part(database: Any, source: Source) -> None:
    _events(database, days=1.5, per_day=300)

    assert isinstance(propose(source, "events", NOW).reference, Trailing)


@pytest.mark.parametrize("days", [2.1, 3, 9, 14, 45, 200])
def test_the_proposal_loads_whatever_the_length_of_the_history(days: float, database: Any, source: Source) -> None:
    _events(database, days=days, per_day=20)

    proposal = propose(source, "events", NOW)

    monitor = _load(proposal, database[0]).monitors[0]
    assert isinstance(proposal.reference, FixedRange)
    assert monitor.reference == proposal.reference
    assert monitor.window == proposal.timing.window


def test_the_time_column_is_the_one_that_says_when_a_row_was_made(database: Any, source: Source) -> None:
    execute = database[1]
    execute("CREATE TABLE t (birth_date date, updated_at timestamp, created_at timestamp, x integer)", ())
    _insert(execute, "t", [("1980-01-01", _text(NOW), _text(NOW - i * HOUR), i % 3) for i in range(100)])

    assert propose(source, "t", NOW).inspection.time_column.name == "created_at"


def test_an_indexed_time_column_is_preferred_among_equals(database: Any, source: Source) -> None:
    execute = database[1]
    execute("CREATE TABLE t (seen_at timestamp, paid_at timestamp, x integer)", ())
    execute("CREATE INDEX paid ON t (paid_at)", ())
    _insert(execute, "t", [(_text(NOW), _text(NOW - i * HOUR), i % 3) for i in range(100)])

    assert propose(source, "t", NOW).inspection.time_column.name == "paid_at"


def test_a_time_column_without_times_is_passed_over(database: Any, source: Source) -> None:
    execute = database[1]
    execute("CREATE TABLE t (created_at timestamp, seen_at timestamp, x integer)", ())
    _insert(execute, "t", [(None, _text(NOW - i * HOUR), i % 3) for i in range(100)])

    assert propose(source, "t", NOW).inspection.time_column.name == "seen_at"


def test_times_without_a_zone_get_one_that_is_said_to_be_assumed(database: Any, source: Source) -> None:
    _events(database, days=5, per_day=50)

    text = configuration(propose(source, "events", NOW), database[0], NOW)

    assert "    time_zone: UTC      # assumed: times in created_at" in text


def test_times_with_a_zone_need_none(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True, client_encoding="utf8") as server:
        server.execute("CREATE TABLE t (at timestamptz, x integer)")
        server.execute(
            "INSERT INTO t SELECT timestamptz '2026-11-20 12:00Z' - n * interval '1 hour', n % 3"
            " FROM generate_series(1, 100) n"
        )
    source = make_source(postgresql_url)

    text = configuration(propose(source, "t", NOW), postgresql_url, NOW)
    source.close()

    assert "time_zone" not in text


@pytest.mark.parametrize(("column", "step"), [("ts text", "text"), ("event_time integer", "seconds"), ("ts", "text")])
def test_sqlite_times_may_be_texts_or_seconds(column: str, step: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE t (x integer, {column})")
        times = [NOW - i * HOUR for i in range(100)]
        rows = [(i % 3, _text(at) if step == "text" else int(at.timestamp())) for i, at in enumerate(times)]
        _insert(connection.execute, "t", rows)
    source = make_source(f"sqlite:///{tmp_path / 's.db'}")

    proposal = propose(source, "t", NOW)
    source.close()

    assert proposal.inspection.time_column.name == column.split()[0]
    assert [feature.name for feature in proposal.features] == ["x"]


def test_small_numbers_under_the_name_of_a_time_are_no_times(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (lead_time integer, x integer)")
        _insert(connection.execute, "t", [(i % 50, i % 3) for i in range(100)])
    source = make_source(f"sqlite:///{tmp_path / 's.db'}")

    with pytest.raises(InputError, match="'lead_time': no row has a time in it"):
        propose(source, "t", NOW)
    source.close()


def test_a_table_without_times_says_what_to_do_instead(database: Any, source: Source) -> None:
    database[1]("CREATE TABLE plain (x integer)", ())
    with pytest.raises(InputError, match="table 'plain' is empty"):
        propose(source, "plain", NOW)
    database[1]("INSERT INTO plain VALUES (1)", ())

    with pytest.raises(InputError, match="drift-monitor compare REFERENCE LIVE --source"):
        propose(source, "plain", NOW)


def test_an_unknown_table_is_answered_with_near_names(database: Any, source: Source) -> None:
    for name in ("orders", "order_items", "weather"):
        database[1](f"CREATE TABLE {name} (x integer)", ())

    with pytest.raises(InputError) as caught:
        propose(source, "ordrs", NOW)

    assert "'orders'" in str(caught.value) and "weather" not in str(caught.value)


_DDL = """CREATE TABLE orders (
    id integer PRIMARY KEY, reference text, customer_id integer, region_id integer, amount double precision,
    price numeric(10, 2), items integer, is_gift integer, paid boolean, country text, comment text, vacant text,
    raw {bytes}, ordered_at timestamp)"""


def _orders(database: Any, count: int = 3000) -> None:
    url, execute = database
    execute(_DDL.format(bytes="blob" if url.startswith("sqlite") else "bytea"), ())
    random = np.random.default_rng(5)
    rows = [
        (
            *(i, str(uuid.UUID(int=i)), int(random.integers(0, 900)), int(random.integers(1, 9))),
            *(float(random.lognormal(3, 1)), round(float(random.lognormal(3, 1)), 2), int(random.integers(1, 6))),
            *(int(random.integers(0, 2)), bool(random.integers(0, 2)), "DE" if i % 3 else "FR", f"note {i}"),
            *(None, b"x", _text(NOW - (count - i) * 20 * DAY / count)),
        )
        for i in range(count)
    ]
    _insert(execute, "orders", rows)


def test_every_column_gets_the_kind_that_suits_it_and_keys_are_left_out(database: Any, source: Source) -> None:
    _orders(database)

    proposal = propose(source, "orders", NOW)

    kinds = {feature.name: feature.kind for feature in proposal.features}
    assert kinds == {
        "region_id": Kind.CATEGORICAL,
        "amount": Kind.NUMERIC,
        "price": Kind.NUMERIC,
        "items": Kind.NUMERIC,
        "is_gift": Kind.BOOLEAN,
        "paid": Kind.BOOLEAN,
        "country": Kind.CATEGORICAL,
    }
    assert {name for name, _ in proposal.left_out} == {"id", "reference", "customer_id", "comment", "vacant", "raw"}


def test_reasons_for_what_is_left_out_stand_in_the_comments(database: Any, source: Source) -> None:
    _orders(database)

    text = configuration(propose(source, "orders", NOW), database[0], NOW)

    assert "    #   customer_id: looks like a key" in text
    assert "    #   vacant: it has no values in the reference" in text


def test_a_table_of_keys_only_is_refused_with_the_reasons(database: Any, source: Source) -> None:
    execute = database[1]
    execute("CREATE TABLE t (id integer, at timestamp)", ())
    _insert(execute, "t", [(i, _text(NOW - i * HOUR)) for i in range(100)])

    with pytest.raises(InputError, match="no column to watch: id: looks like a key"):
        propose(source, "t", NOW)


NASTY = [
    'we"ird',
    "na'me",
    "a b",
    "yes",
    "x: y",
    "# c",
    "${HOME}",
    "$$",
    "{a}",
    "ü✓",
    "line\nbreak",
    "5",
    "null",
    "-",
    "a\x85b",
]


def test_any_name_of_a_table_or_column_survives_the_way_through_yaml(database: Any, source: Source) -> None:
    execute = database[1]
    table = 'ta"ble: ${X} #1'
    columns = list(NASTY)
    quoted = ", ".join('"' + name.replace('"', '""') + '" integer' for name in columns)
    execute(f'CREATE TABLE "{table.replace(chr(34), chr(34) * 2)}" ({quoted}, at timestamp)', ())
    _insert(execute, table.replace('"', '""'), [(*(i % 3 for _ in columns), _text(NOW - i * HOUR)) for i in range(100)])

    monitor = _load(propose(source, table, NOW), database[0]).monitors[0]

    assert monitor.table == table
    assert {feature.name for feature in monitor.features} == set(columns)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://reader:secret@db/shop", True),
        ("postgresql://reader:p%40ss@db:5432/shop", True),
        ("postgresql://db/shop?user=reader&password=secret", True),
        ("postgresql://reader:pa/ss@db/shop", True),
        ("postgresql://reader@db/shop", False),
        ("postgresql://reader:@db/shop", False),
        ("postgresql://db:5432/shop", False),
        ("sqlite:///shop.db", False),
        ("sqlite:////var/lib/a:b@c/shop.db", False),
    ],
)
def test_a_password_in_a_url_is_noticed(url: str, expected: bool) -> None:
    assert holds_password(url) is expected


def test_a_password_never_gets_into_the_text(postgresql_url: str) -> None:
    database = (postgresql_url, None)
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True, client_encoding="utf8") as server:
        _events(
            (postgresql_url, lambda text, values=(): server.execute(text.replace("?", "%s"), values)),
            days=3,
            per_day=40,
        )
    source = make_source(postgresql_url)

    text = configuration(propose(source, "events", NOW), postgresql_url, NOW)
    source.close()

    assert "postgres:" not in text
    assert "url: ${DRIFT_SOURCE_URL}" in text
    assert "export DRIFT_SOURCE_URL=" in text
    assert parse(text, environ={"DRIFT_SOURCE_URL": database[0]}).sources[0].url.get_secret_value() == postgresql_url


def test_a_table_that_gets_no_rows_any_more_is_told_with_a_window_that_has_some(database: Any, source: Source) -> None:
    _events(database, days=20, per_day=300)

    text = configuration(propose(source, "events", NOW), database[0], NOW + 100 * DAY)

    assert "--at 2026-11-20T12:00:00Z" in text


def _rows(database: Any, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    database[1](f"CREATE TABLE t ({columns})", ())
    _insert(database[1], "t", rows)


def test_a_time_column_can_be_named_and_a_wrong_name_is_answered_with_near_ones(database: Any, source: Source) -> None:
    rows = [(_text(NOW - i * HOUR), _text(NOW - i * HOUR - DAY), i % 3) for i in range(100)]
    _rows(database, "created_at timestamp, booked timestamp, x integer", rows)

    assert propose(source, "t", NOW).inspection.time_column.name == "created_at"
    assert propose(source, "t", NOW, "booked").inspection.time_column.name == "booked"
    with pytest.raises(InputError, match="table 't' has no column 'bookd'; near that are 'booked'"):
        propose(source, "t", NOW, "bookd")
    with pytest.raises(InputError, match="'x': no row has a time in it"):
        propose(source, "t", NOW, "x")


@pytest.mark.parametrize("scale", [1, 1_000, 1_000_000, 1_000_000_000])
def test_numbers_since_1970_are_seconds_or_parts_of_them(database: Any, source: Source, scale: int) -> None:
    rows = [(int((NOW - i * HOUR).timestamp()) * scale, i % 3) for i in range(100)]
    _rows(database, "created_at bigint, x integer", rows)

    inspection = propose(source, "t", NOW).inspection
    assert (inspection.time_column.name, inspection.history.newest) == ("created_at", NOW)


def test_times_that_cannot_be_read_are_the_reason_that_is_told(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as server:
        server.execute("CREATE TABLE t AS SELECT '2026-11-01T00:00:00'::text AS created_at, 1 AS x")
    source = make_source(postgresql_url)

    with pytest.raises(InputError, match="time column 'created_at' is of type text, which is no time; use a query"):
        propose(source, "t", NOW)
    source.close()


def test_dates_have_panes_of_whole_days_and_shorter_ones_are_refused(database: Any, source: Source) -> None:
    rows = [(f"{NOW - i // 300 * DAY:%Y-%m-%d}", float(i % 97)) for i in range(9_000)]
    _rows(database, f"day {'date' if 'postgresql' in database[0] else 'text'}, x double precision", rows)

    proposal = propose(source, "t", NOW)
    assert (proposal.timing.pane, proposal.timing.window, proposal.timing.min_rows) == (DAY, DAY, 200)
    assert proposal.inspection.history.daily[-5:] == (300,) * 5
    text = configuration(proposal, database[0], NOW)
    assert "settle: 12h" in text
    monitor = parse(text, environ={"DRIFT_SOURCE_URL": database[0]}).monitors[0]
    dataset = Dataset(monitor="m", table="t", time_column="day", time_zone=ZoneInfo("UTC"))
    assert source.read(dataset, [], [Span(NOW - NOW_OF_DAY - DAY, NOW - NOW_OF_DAY)]).rows.tolist() == [300]
    assert monitor.pane == DAY
    with pytest.raises(DatasetError, match="holds dates only, and a pane is shorter than a day; set `pane`"):
        source.read(dataset, [], [Span(NOW - HOUR, NOW)])


@pytest.mark.parametrize("far", ["2099-12-31 00:00:00", "2026-10-01 00:00:00"])
def test_one_far_date_does_not_hide_the_table(database: Any, source: Source, far: str) -> None:
    past = datetime(2024, 3, 1, tzinfo=UTC)
    rows = [(_text(past - i * HOUR), i % 3) for i in range(3_000)]
    _rows(database, "created_at timestamp, x integer", [*rows, (far, 1)])

    proposal = propose(source, "t", NOW)
    assert (proposal.inspection.history.newest, proposal.inspection.history.later) == (past, 1)
    assert "# 1 row is dated after that" in configuration(proposal, database[0], NOW)


def test_what_never_changes_and_what_only_grows_is_left_out_with_the_reason(database: Any, source: Source) -> None:
    rows = [(_text(NOW - (3_000 - i) * HOUR / 4), 7, "EUR", i * 2.5, i % 3, 7 if i % 2 else None) for i in range(3_000)]
    _rows(database, "at timestamp, fixed integer, currency text, odometer real, x integer, sometimes integer", rows)

    left_out = dict(propose(source, "t", NOW).left_out)
    assert left_out == {
        "fixed": "it is always 7 in the reference",
        "currency": "it is always 'EUR' in the reference",
        "odometer": "grows with time, so that every window would differ from those before",
    }


def test_no_error_speaks_of_a_monitor_that_there_is_not(database: Any, source: Source) -> None:
    database[1]("CREATE TABLE t (x integer)", ())
    for given in ("t", "nope"):
        with pytest.raises(InputError) as caught:
            propose(source, given, NOW)
        assert "monitor 'init'" not in str(caught.value) and "tried again" not in str(caught.value)
