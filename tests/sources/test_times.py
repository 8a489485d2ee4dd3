"""Time columns of every style: which rows are in which span, and which rows are looked at to know it."""

import random
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from drift_monitor.core.schedule import Span
from drift_monitor.errors import DatasetError, FailureReason
from drift_monitor.sources.dialects.sqlite_times import text_ranges
from tests.sources.databases import Database, Postgresql, Sqlite, table

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 3, 2, 22, tzinfo=UTC)
SPANS = [
    Span(START + timedelta(minutes=low), START + timedelta(minutes=high))
    for low, high in ((0, 60), (60, 120), (115, 125), (119.5, 121), (-600, 0), (180, 1800), (0, 1))
]


def texts(separator: str, suffix: str, digits: str) -> Callable[[datetime], str]:
    return lambda at: at.isoformat(sep=separator, timespec=digits).removesuffix("+00:00") + suffix


def shortest(at: datetime) -> str:
    """Zeros left out, as people write times by hand."""
    text = at.strftime("%Y-%m-%d %H:%M:%S")
    return text.removesuffix(" 00:00:00") if text.endswith(" 00:00:00") else text.removesuffix(":00")


def mixed(at: datetime) -> str:
    return texts(" " if at.minute % 2 else "T", "", "seconds" if at.microsecond == 0 else "microseconds")(at)


STYLES: dict[str, Callable[[datetime], Any]] = {
    "blank": texts(" ", "", "seconds"),
    "T": texts("T", "", "seconds"),
    "microseconds": texts(" ", "", "microseconds"),
    "milliseconds": texts("T", "Z", "milliseconds"),
    "Z": texts("T", "Z", "seconds"),
    "UTC offset": texts(" ", "+00:00", "microseconds"),
    "mixed separators": mixed,
    "zeros left out": shortest,
    "integers": lambda at: int(at.timestamp()),
    "floats": lambda at: at.timestamp(),
    "Berlin offset": lambda at: at.astimezone(BERLIN).isoformat(),
    "many offsets": lambda at: at.astimezone(timezone(timedelta(hours=at.minute % 26 - 12))).isoformat(" "),
}


def moments(*, fractions: bool) -> list[datetime]:
    rng = random.Random(5)
    some = [START + timedelta(seconds=rng.randrange(-40_000, 120_000)) for _ in range(1500)]
    edges = [bound for span in SPANS for bound in (span.start, span.end)]
    nearby = [edge + timedelta(seconds=step) for edge in edges for step in (-1, 0, 1)]
    if fractions:
        nearby += [edge + timedelta(microseconds=step) for edge in edges for step in (-1, 1, 500_000)]
    midnights = [START + timedelta(hours=2), START + timedelta(hours=2, seconds=-1)]
    return some + nearby + midnights


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_time_in_sqlite(sqlite: Sqlite, style: str, indexed: bool) -> None:
    keeps = style in ("microseconds", "UTC offset", "mixed separators", "floats", "Berlin offset", "many offsets")
    times = moments(fractions=keeps)
    if not keeps:
        times = [at.replace(microsecond=0) for at in times]
        if style == "zeros left out":
            times = [*times, *(at.replace(second=0) for at in times)]
    write = STYLES[style]
    sqlite.create("t", {"at": "DATETIME"}, [(write(at),) for at in times])
    if indexed:
        sqlite.execute("CREATE INDEX i ON t (at)")
    reading = sqlite.source().read(table(time_column="at", time_zone=ZoneInfo("UTC")), [], SPANS)
    inside = [[at for at in times if span.start <= at < span.end] for span in SPANS]
    assert reading.rows.tolist() == [len(one) for one in inside]
    newest = [max(one) if one else None for one in inside]
    tolerance = timedelta(microseconds=1 if style == "floats" else 0)
    for found, wanted in zip(reading.newest, newest, strict=True):
        assert found is not None and wanted is not None
        assert abs(found - wanted) <= tolerance


def test_an_instant_column_of_postgresql(postgresql: Postgresql) -> None:
    times = moments(fractions=True)
    postgresql.create("t", {"at": "timestamptz"}, [(at,) for at in times] + [(None,), ("infinity",), ("-infinity",)])
    reading = postgresql.source().read(table(time_column="at"), [], SPANS)
    inside = [[at for at in times if span.start <= at < span.end] for span in SPANS]
    assert reading.rows.tolist() == [len(one) for one in inside]
    assert list(reading.newest) == [max(one) for one in inside]


def wall(at: datetime) -> str:
    return at.astimezone(BERLIN).strftime("%Y-%m-%d %H:%M:%S")


def hour(year: int, month: int, day: int, start: int) -> Span:
    begin = datetime(year, month, day, tzinfo=UTC) + timedelta(hours=start)
    return Span(begin, begin + timedelta(hours=1))


def test_wall_clock_times_mean_the_sources_zone(database: Database) -> None:
    times = [datetime(2026, 1, 5, 10, minute, tzinfo=UTC) for minute in range(0, 60, 5)]
    database.create("t", {"at": "timestamp"}, [(wall(at),) for at in times])
    dataset = table(time_column="at", time_zone=BERLIN)
    source = database.source()
    reading = source.read(dataset, [], [hour(2026, 1, 5, 9), hour(2026, 1, 5, 10), hour(2026, 1, 5, 11)])
    assert reading.rows.tolist() == [0, 12, 0]
    assert reading.newest == (None, times[-1], None)
    assert source.describe(dataset).time_is_naive


def test_the_hour_that_clocks_leave_out_has_no_rows_and_loses_none(database: Database) -> None:
    times = [datetime(2026, 3, 28, 23, tzinfo=UTC) + timedelta(minutes=10 * number) for number in range(30)]
    database.create("t", {"at": "timestamp"}, [(wall(at),) for at in times])
    hours = [hour(2026, 3, 28, 23 + number) for number in range(5)]
    reading = database.source().read(table(time_column="at", time_zone=BERLIN), [], hours)
    assert reading.rows.tolist() == [6, 6, 6, 6, 6]


@pytest.mark.parametrize("together", [True, False])
def test_the_hour_that_clocks_repeat_counts_as_the_first_of_the_two(database: Database, together: bool) -> None:
    """Nothing is lost or counted twice, whichever panes are read together."""
    times = [datetime(2026, 10, 24, 23, tzinfo=UTC) + timedelta(minutes=10 * number) for number in range(24)]
    database.create("t", {"at": "timestamp"}, [(wall(at),) for at in times])
    quarters = [
        Span(start, start + timedelta(minutes=15))
        for start in (datetime(2026, 10, 24, 23, tzinfo=UTC) + timedelta(minutes=15 * number) for number in range(16))
    ]
    source, dataset = database.source(), table(time_column="at", time_zone=BERLIN)
    if together:
        rows = source.read(dataset, [], quarters).rows.tolist()
    else:
        rows = [int(source.read(dataset, [], [span]).rows[0]) for span in quarters]
    by_hour = [sum(rows[first : first + 4]) for first in range(0, 16, 4)]
    assert by_hour == [6, 12, 0, 6]


def test_a_date_column_is_a_day_of_the_sources_zone(postgresql: Postgresql) -> None:
    postgresql.create("t", {"at": "date"}, [("2026-03-01",), ("2026-03-02",), ("2026-03-02",)])
    start = datetime(2026, 3, 2, tzinfo=BERLIN).astimezone(UTC)
    reading = postgresql.source().read(
        table(time_column="at", time_zone=BERLIN), [], [Span(start, start + timedelta(days=1))]
    )
    assert (reading.rows.tolist(), reading.newest) == ([2], (start,))


def test_times_without_a_zone_are_refused_where_the_source_has_none(database: Database) -> None:
    database.create("t", {"at": "timestamp"}, [("2026-03-01 10:00:00",)])
    source = database.source()
    with pytest.raises(
        DatasetError, match=r"monitor 'm', table 't': time column 'at' .* set the source's `time_zone`"
    ) as caught:
        source.read(table(time_column="at"), [], SPANS)
    assert caught.value.reason is FailureReason.NAIVE_TIME
    assert source.describe(table(time_column="at")).time_is_naive


@pytest.mark.parametrize(
    "values",
    [
        ("2026-03-02 22:10:00", "2026-03-02T22:20:00Z"),
        ("2026-03-02 22:10:00", 1772489400),
        ("2026-03-02 22:10:00", "soon"),
        ("2026-03-02 22:10:00", b"2026-03-02 22:20:00"),
    ],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_a_column_of_several_styles_is_refused_rather_than_miscounted(
    sqlite: Sqlite, values: tuple[Any, ...], indexed: bool
) -> None:
    sqlite.create("t", {"at": "DATETIME"}, [(value,) for value in values])
    if indexed:
        sqlite.execute("CREATE INDEX i ON t (at)")
    dataset = table(time_column="at", time_zone=ZoneInfo("UTC"))
    whole = Span(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    try:
        rows = sqlite.source().read(dataset, [], [whole]).rows.tolist()
    except DatasetError as error:
        assert "time column 'at'" in str(error)
        assert error.reason is FailureReason.UNSUPPORTED_TYPE
    else:  # without an index, rows that no ISO time between the bounds could be are not even looked at
        assert rows == [1] and (not indexed or values[-1] == "soon")


def test_an_offset_between_utc_texts_is_refused_rather_than_missed(sqlite: Sqlite) -> None:
    texts = [f"2026-03-02T22:{minute:02}:00Z" for minute in range(60)]
    sqlite.create("t", {"at": "timestamp"}, [(text,) for text in texts] + [("2026-03-02T22:30:00+05:00",)])
    sqlite.execute("CREATE INDEX i ON t (at)")
    with pytest.raises(
        DatasetError, match=r"several styles; of the form '9999-99-99a99:99:99\+99:99' \(1 rows\), .*; write all"
    ):
        sqlite.source().read(table(time_column="at"), [], SPANS[:1])


@pytest.mark.parametrize("style", ["blank", "T", "Z", "UTC offset", "mixed separators", "integers", "floats"])
def test_an_index_limits_what_sqlite_reads(sqlite: Sqlite, style: str) -> None:
    """The statement is sent once more, for its plan and the rows that it returns."""
    times = [START + timedelta(seconds=10 * number) for number in range(-8640, 8640)]
    sqlite.create("t", {"at": "DATETIME"}, [(STYLES[style](at),) for at in times])
    sqlite.execute("CREATE INDEX i ON t (at)")
    source = sqlite.source()
    dataset = table(time_column="at", time_zone=ZoneInfo("UTC"))
    fetched: list[int] = []
    plans: list[str] = []

    def watch(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "dataset" in statement:
            with sqlite3.connect(sqlite.path) as explainer:
                plan = explainer.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
                plans.extend(str(step[3]) for step in plan)
                fetched.append(len(explainer.execute(statement, parameters).fetchall()))

    sa.event.listen(source._session._engine, "before_cursor_execute", watch)
    reading = source.read(dataset, [], [Span(START + timedelta(hours=1), START + timedelta(hours=2))])
    assert reading.rows.tolist() == [360]
    assert fetched[-1] == 360
    assert not any(step.startswith("SCAN") and step != "SCAN CONSTANT ROW" for step in plans), plans


@pytest.mark.parametrize("separator", [" ", "T"])
def test_text_ranges_hold_all_spellings_of_the_times_inside_and_no_others(separator: str) -> None:
    spans = [
        ("2026-03-02 10:00:00", "2026-03-02 11:00:00"),
        ("2026-03-02 00:00:00", "2026-03-02 11:30:00"),
        ("2026-03-02 22:00:00", "2026-03-03 00:00:00"),
        ("2026-03-02 22:10:05", "2026-03-03 01:00:00.5"),
        ("2026-03-01 00:00:00", "2026-03-05 00:00:00"),
        ("2026-03-01 05:00:00", "2026-03-05 06:00:00"),
    ]
    steps = [timedelta(minutes=number * 5) for number in range(1500)] + [timedelta(minutes=605, microseconds=500_000)]
    for low, high in spans:
        start, end = datetime.fromisoformat(low), datetime.fromisoformat(high)
        ranges = list(text_ranges(start, end))
        for at in (datetime(2026, 2, 28) + step for step in steps):
            spellings = {
                at.isoformat(sep=separator),
                at.isoformat(sep=separator, timespec="microseconds"),
                shortest(at),
            }
            for text in (spelling + zone for spelling in spellings for zone in ("", "Z", "+00:00") if spelling):
                if len(text) < 17 and text.endswith(("Z", "+00:00")):
                    continue
                found = any(first <= text < last for first, last in ranges)
                assert found or not start <= at < end, text
                full = start.second == end.second == 0
                assert not found or start <= at < end or not full, text
