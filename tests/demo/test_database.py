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
HISTORY = History(seed=3, start=START, planned_until=START + 5 * HOUR, written_until=START + 5 * HOUR)


def one_an_hour(start: datetime, end: datetime) -> Iterator[Row]:
    while start < end:
        yield (instant_text(start),)
        start += HOUR


def broken_off(start: datetime, end: datetime) -> Iterator[Row]:
    yield (instant_text(start),)
    raise KeyboardInterrupt


def ticks(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [at for (at,) in connection.execute("SELECT at FROM ticks ORDER BY at")]


def test_a_history_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "source.db"
    assert recorded_history(path, TABLE) is None
    create_history(path, TABLE, HISTORY, one_an_hour)
    assert recorded_history(path, TABLE) == HISTORY
    assert len(ticks(path)) == 5


def test_a_second_history_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    create_history(path, TABLE, HISTORY, one_an_hour)
    with pytest.raises(InputError, match="already holds the demo's ticks"):
        create_history(path, TABLE, HISTORY, one_an_hour)


def test_a_history_broken_off_leaves_nothing_and_can_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    with pytest.raises(KeyboardInterrupt):
        create_history(path, TABLE, HISTORY, broken_off)
    assert recorded_history(path, TABLE) is None
    create_history(path, TABLE, HISTORY, one_an_hour)
    assert len(ticks(path)) == 5


def test_rows_are_appended_once_however_often_one_asks(tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    create_history(path, TABLE, HISTORY, one_an_hour)
    until = HISTORY.written_until + 3 * HOUR
    assert append_rows(path, TABLE, until, one_an_hour) == 3
    assert append_rows(path, TABLE, until, one_an_hour) == 0
    assert append_rows(path, TABLE, until - HOUR, one_an_hour) == 0
    assert ticks(path) == [instant_text(START + n * HOUR) for n in range(8)]


def test_an_append_broken_off_adds_nothing_and_can_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    create_history(path, TABLE, HISTORY, one_an_hour)
    until = HISTORY.written_until + 2 * HOUR
    with pytest.raises(KeyboardInterrupt):
        append_rows(path, TABLE, until, broken_off)
    assert recorded_history(path, TABLE) == HISTORY
    assert append_rows(path, TABLE, until, one_an_hour) == 2


def test_appending_to_a_file_without_history_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="write its history first"):
        append_rows(tmp_path / "new.db", TABLE, START, one_an_hour)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("this is no database, and it is long enough to be read as one" * 20)
    with pytest.raises(SourceUnavailable, match=r"notes\.txt"):
        recorded_history(path, TABLE)


def test_times_are_utc_text_that_sorts_as_time_does() -> None:
    assert instant_text(datetime(2026, 3, 5, 7, 8, 9, 999_999, tzinfo=UTC)) == "2026-03-05T07:08:09Z"
