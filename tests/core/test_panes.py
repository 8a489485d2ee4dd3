"""Panes tile the line in every zone, whatever its clocks do."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.schedule import PaneGrid, Span
from drift_monitor.errors import InputError

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
INSTANT = timedelta(microseconds=1)
FROM, TO = datetime(2000, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
AWKWARD = (
    "America/Santiago",  # no midnight in spring
    "Asia/Beirut",
    "America/Asuncion",
    "America/Havana",  # midnight twice in autumn
    "America/St_Johns",  # changed clocks at 00:01 until 2011
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Apia",  # left out 2011-12-30
    "Antarctica/Casey",  # went back by three hours
    "Africa/Casablanca",  # four changes a year
    "Europe/Dublin",  # winter time is the negative one
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@cache
def zones() -> tuple[ZoneInfo, ...]:
    """Every IANA zone, of those with equal rules only one."""
    by_rules: dict[bytes, str] = {}
    for key in sorted(available_timezones()):
        file = resources.files("tzdata").joinpath("zoneinfo", *key.split("/"))
        by_rules.setdefault(file.read_bytes() if file.is_file() else key.encode(), key)
    return tuple(ZoneInfo(key) for key in by_rules.values())


def clock_changes(zone: ZoneInfo) -> Iterator[datetime]:
    """A moment at most a day after each change of the zone's clocks."""
    at, before = FROM, FROM.astimezone(zone).utcoffset()
    while at < TO:
        at += 5 * DAY
        offset = at.astimezone(zone).utcoffset()
        if offset != before:
            yield next(
                day
                for day in (at - back * DAY for back in (4, 3, 2, 1, 0))
                if day.astimezone(zone).utcoffset() != before
            )
            before = offset


def assert_tiled(grid: PaneGrid, start: datetime, end: datetime) -> None:
    panes = grid.panes(Span(grid.floor(start), grid.floor(end)))
    assert panes[0].start <= start < panes[0].end
    for one, following in pairwise(panes):
        assert one.end == following.start
    for one in panes:
        assert one.start < one.end
        assert grid.floor(one.start) == grid.floor(one.end - INSTANT) == one.start
        assert grid.shift(one.start, 1) == one.end
        assert grid.shift(one.end, -1) == one.start


@pytest.mark.slow
def test_day_panes_tile_the_days_around_every_clock_change_of_every_zone() -> None:
    changes = 0
    for zone in zones():
        for change in clock_changes(zone):
            changes += 1
            assert_tiled(PaneGrid(DAY, zone), change - 3 * DAY, change + 3 * DAY)
    assert changes > 5000  # else the search for changes is broken


@pytest.mark.slow
def test_a_day_pane_begins_with_the_first_instant_of_its_date_in_every_zone() -> None:
    for zone in zones():
        grid = PaneGrid(DAY, zone)
        for change in clock_changes(zone):
            for bound in (grid.shift(grid.floor(change), panes) for panes in (-1, 0, 1)):
                assert bound.astimezone(zone).date() > (bound - INSTANT).astimezone(zone).date()


@pytest.mark.slow
def test_week_panes_tile_forty_years_in_every_zone() -> None:
    for zone in zones():
        grid = PaneGrid(WEEK, zone)
        panes = grid.panes(Span(grid.floor(FROM), grid.floor(TO)))
        assert len(panes) == (date(2039, 12, 26) - date(1999, 12, 27)).days // 7
        assert max(abs(pane.end - pane.start - WEEK) for pane in panes) <= DAY


@pytest.mark.slow
@pytest.mark.parametrize("key", AWKWARD)
def test_day_panes_tile_forty_years_where_clocks_are_awkward(key: str) -> None:
    assert_tiled(PaneGrid(DAY, ZoneInfo(key)), FROM, TO)


@given(
    st.sampled_from(AWKWARD),
    st.sampled_from([timedelta(minutes=1), timedelta(minutes=15), HOUR, 7 * HOUR, DAY, 2 * DAY, WEEK, 30 * DAY]),
    st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),
    st.integers(-40, 40),
)
def test_shifting_there_and_back_ends_where_it_began(key: str, length: timedelta, at: datetime, panes: int) -> None:
    grid = PaneGrid(length, ZoneInfo(key))
    bound = grid.floor(at)
    assert grid.is_bound(bound)
    assert bound <= at < grid.shift(bound, 1)
    assert grid.shift(grid.shift(bound, panes), -panes) == bound


@pytest.mark.parametrize(
    ("key", "day", "start", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", 25),
        ("America/Santiago", "2026-09-06T12:00", "2026-09-06T04:00", 23),  # 00:00 to 01:00 does not exist
        ("America/Santiago", "2026-04-04T12:00", "2026-04-04T03:00", 25),  # 23:00 to 24:00 comes twice
        ("Australia/Lord_Howe", "2026-10-04T00:00", "2026-10-03T13:30", 23.5),
        ("Australia/Lord_Howe", "2026-04-05T00:00", "2026-04-04T13:00", 24.5),
        ("America/Havana", "2026-11-01T12:00", "2026-11-01T04:00", 25),  # 00:00 to 01:00 comes twice
        ("UTC", "2024-02-29T12:00", "2024-02-29T00:00", 24),
    ],
)
def test_a_day_lasts_as_long_as_its_clocks_say(key: str, day: str, start: str, hours: float) -> None:
    grid = PaneGrid(DAY, ZoneInfo(key))
    bound = grid.floor(utc(day))
    assert bound == utc(start)
    assert grid.shift(bound, 1) - bound == hours * HOUR


def test_a_date_that_a_zone_left_out_is_no_pane() -> None:
    samoa = PaneGrid(DAY, ZoneInfo("Pacific/Apia"))
    pane = samoa.window(utc("2011-12-31T10:00"), DAY)
    assert pane == Span(utc("2011-12-30T10:00"), utc("2011-12-31T10:00"))
    assert samoa.window(pane.start, DAY).start.astimezone(samoa.zone).date() == date(2011, 12, 29)


def test_weeks_begin_on_monday_at_local_midnight() -> None:
    grid = PaneGrid(WEEK, ZoneInfo("Europe/Berlin"))
    assert grid.floor(utc("2026-11-21T12:00")) == utc("2026-11-15T23:00")  # Monday the 16th
    assert grid.floor(utc("2021-01-03T12:00")) == utc("2020-12-27T23:00")  # Sunday of ISO week 53


def test_panes_under_a_day_are_aligned_to_utc_in_every_zone() -> None:
    grid = PaneGrid(6 * HOUR, ZoneInfo("Asia/Kolkata"))
    assert grid.floor(utc("2026-11-21T13:59")) == utc("2026-11-21T12:00")


def test_a_window_of_hours_ends_at_its_bound_and_holds_every_pane() -> None:
    grid = PaneGrid(HOUR, ZoneInfo("Europe/Berlin"))
    window = grid.window(utc("2026-03-29T12:00"), DAY)
    assert window.start == utc("2026-03-28T12:00")
    assert len(grid.panes(window)) == grid.count(DAY) == 24


def test_a_window_of_days_holds_calendar_days_over_a_clock_change() -> None:
    window = PaneGrid(DAY, ZoneInfo("Europe/Berlin")).window(utc("2026-03-29T22:00"), WEEK)
    assert window.start == utc("2026-03-22T23:00")


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-21T12:10", "2026-11-21T12:00"),
        ("2026-11-21T12:09:59", "2026-11-21T11:00"),
        ("2026-11-21T12:00", "2026-11-21T11:00"),
    ],
)
def test_a_pane_is_settled_only_when_its_settle_time_is_over(at: str, expected: str) -> None:
    assert PaneGrid(HOUR, ZoneInfo("UTC")).last_settled(utc(at), timedelta(minutes=10)) == utc(expected)


def test_what_does_not_fit_the_grid_is_refused() -> None:
    grid = PaneGrid(HOUR, ZoneInfo("UTC"))
    with pytest.raises(InputError, match="no bound"):
        grid.shift(utc("2026-11-21T12:30"), 1)
    with pytest.raises(InputError, match="no bound"):
        grid.panes(Span(utc("2026-11-21T12:00"), utc("2026-11-21T12:30")))
    with pytest.raises(InputError, match="whole number"):
        grid.window(utc("2026-11-21T12:00"), 90 * timedelta(minutes=1))
    with pytest.raises(InputError, match="can't be"):
        PaneGrid(36 * HOUR, ZoneInfo("UTC"))
    with pytest.raises(InputError, match="can't be"):
        PaneGrid(timedelta(0), ZoneInfo("UTC"))
    with pytest.raises(InputError, match="can't end"):
        Span(utc("2026-11-21T12:00"), utc("2026-11-21T11:00"))


def test_a_span_without_length_has_no_panes() -> None:
    noon = utc("2026-11-21T12:00")
    assert PaneGrid(HOUR, ZoneInfo("UTC")).panes(Span(noon, noon)) == ()
