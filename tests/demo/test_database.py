"""The demo's database: a history is there completely or not at all, and no row is added twice."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drift_monitor.demo.database import History, Row, Table, append_rows, create_history, instant_text, recorded_history
from drift_monitor.errors import InputError, SourceUnavailable

TABLE = Table(name="ticks", create=("CREATE TABLE ticks (at TEXT PRIMARY KEY)",), insert="INSERT INTO ticks VALUES (?)")
START = datetime(2026, 3, 28, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
END = START + 5 * HOUR
EMPTY = History(seed=3, start=START, planned_until=END, written_until=START)


def a_row_an_hour(history: History, start: datetime, end: datetime) -> Iterator[Row]:
    assert history.start == START
    while start < end:
        yield (instant_text(start),)
        start += HOUR


def broken_off(history: History, start: datetime, end: datetime) -> Iterator[Row]:
    yield (instant_text(start),)
    raise KeyboardInterrupt


def ticks(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [at for (at,) in connection.execute("SELECT at FROM ticks ORDER BY at")]


def begin(path: Path) -> None:
    create_history(path, TABLE, seed=3, start=START, planned_until=END)


def test_a_history_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "source.db"
    assert recorded_history(path, TABLE) is None
    begin(path)
    assert recorded_history(path, TABLE) == EMPTY
    assert ticks(path) == []


def test_a_second_history_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    begin(path)
    with pytest.raises(InputError, match="already holds the demo's ticks"):
        begin(path)


def test_rows_are_appended_once_however_often_one_asks(tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    begin(path)
    assert append_rows(path, TABLE, START + 5 * HOUR, a_row_an_hour) == 5
    assert append_rows(path, TABLE, START + 8 * HOUR, a_row_an_hour) == 3
    assert append_rows(path, TABLE, START + 8 * HOUR, a_row_an_hour) == 0
    assert append_rows(path, TABLE, START + 7 * HOUR, a_row_an_hour) == 0
    assert ticks(path) == [instant_text(START + n * HOUR) for n in range(8)]


def test_an_append_broken_off_adds_nothing_and_can_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    begin(path)
    until = START + 2 * HOUR
    with pytest.raises(KeyboardInterrupt):
        append_rows(path, TABLE, until, broken_off)
    assert recorded_history(path, TABLE) == EMPTY
    assert append_rows(path, TABLE, until, a_row_an_hour) == 2


def test_appending_to_a_file_without_history_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="write its history first"):
        append_rows(tmp_path / "new.db", TABLE, START, a_row_an_hour)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("this is no database, and it is long enough to be read as one" * 20)
    with pytest.raises(SourceUnavailable, match=r"notes\.txt"):
        recorded_history(path, TABLE)


def test_times_are_utc_text_that_sorts_as_time_does() -> None:
    assert instant_text(datetime(2026, 3, 5, 7, 8, 9, 999_999, tzinfo=UTC)) == "2026-03-05T07:08:09Z"
