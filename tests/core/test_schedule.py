"""Slots come from the schedule alone; clock changes neither lose nor double one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.schedule import (
    Cron,
    Every,
    PaneGrid,
    Schedule,
    Slot,
    interval,
    jitter,
    last_slot,
    next_slot,
    slots,
)
from drift_monitor.errors import InputError

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NONE = timedelta(0)
BERLIN, UTC_ZONE, LORD_HOWE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"), ZoneInfo("Australia/Lord_Howe")
ZONES = tuple(
    ZoneInfo(key)
    for key in (
        "Europe/Berlin",
        "America/Santiago",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Antarctica/Casey",
        "America/Havana",
        "Asia/Kolkata",
        "America/St_Johns",
    )
)
EXPRESSIONS = (
    "5 * * * *",
    "*/30 * * * *",
    "*/30 0 1 * *",
    "0 */2 * * *",
    "0 */6 * * *",
    "30 2 * * *",
    "0,30 0,2 * * *",
    "15 1-3 * * *",
    "0 0 * * *",
    "0 9 * * MON-FRI",
    "*/20 0-2 * * SUN",
    "0 0 1 * *",
)
INTERVALS = (MINUTE * 15, HOUR, 6 * HOUR, DAY, 7 * DAY)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots_between(
    schedule: Schedule, grid: PaneGrid, after: datetime, until: datetime, settle: timedelta = NONE
) -> Sequence[Slot]:
    return tuple(slots(schedule, grid, settle=settle, jitter=NONE, after=after, until=until))


def local_times(schedule: Schedule, after: str, until: str) -> list[str]:
    """Wall times at which slots of one-minute panes come due."""
    grid = PaneGrid(MINUTE, UTC_ZONE)
    return [
        slot.due.astimezone(schedule.zone).strftime("%d %H:%M")
        for slot in slots_between(schedule, grid, utc(after), utc(until))
    ]


schedules = st.one_of(
    st.builds(Every, st.sampled_from(INTERVALS), st.sampled_from(ZONES)),
    st.builds(Cron, st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES)),
)
# Around clock changes of 2010 to 2012 in these zones, the skipped day of Samoa, and the half hours of Lord Howe.
moments = st.one_of(
    st.datetimes(datetime(2010, 2, 1), datetime(2012, 5, 1), timezones=st.just(UTC)),
    st.sampled_from(["2010-03-04T15", "2010-03-28T01", "2010-10-31T01", "2011-04-02T15", "2011-12-30T10"]).flatmap(
        lambda text: st.timedeltas(-5 * HOUR, 5 * HOUR).map(lambda offset: utc(text) + offset)
    ),
)
grids = st.builds(PaneGrid, st.sampled_from([MINUTE * 15, HOUR, DAY]), st.sampled_from(ZONES))


@given(schedules, grids, moments, st.timedeltas(NONE, 3 * DAY))
def test_slots_do_not_depend_on_where_the_question_starts(
    schedule: Schedule, grid: PaneGrid, start: datetime, later: timedelta
) -> None:
    until = start + 10 * DAY
    whole = slots_between(schedule, grid, start, until)
    rest = slots_between(schedule, grid, start + later, until)
    assert [slot for slot in whole if slot.window_end > start + later] == list(rest)


@given(schedules, grids, moments)
def test_slots_are_in_order_and_end_at_bounds(schedule: Schedule, grid: PaneGrid, start: datetime) -> None:
    found = tuple(islice(slots(schedule, grid, settle=HOUR, jitter=NONE, after=start, until=start + 400 * DAY), 60))
    for one, following in pairwise(found):
        assert one.window_end < following.window_end
        assert one.due <= following.due
    for slot in found:
        assert grid.is_bound(slot.window_end)
        assert start < slot.window_end <= slot.due - HOUR


@given(st.sampled_from(INTERVALS), st.sampled_from(ZONES), moments)
def test_windows_of_one_interval_are_contiguous(every: timedelta, zone: ZoneInfo, start: datetime) -> None:
    grid = PaneGrid(every, zone)
    found = slots_between(Every(every, zone), grid, start, start + 12 * every)
    windows = [grid.window(slot.window_end, every) for slot in found]
    for one, following in pairwise(windows):
        assert one.end == following.start


@given(schedules, grids, moments)
def test_next_slot_is_the_first_of_the_slots(schedule: Schedule, grid: PaneGrid, start: datetime) -> None:
    first = next_slot(schedule, grid, settle=HOUR, jitter=MINUTE, after=start)
    assert first == next(slots(schedule, grid, settle=HOUR, jitter=MINUTE, after=start, until=first.window_end))


@given(schedules, grids, moments, st.sampled_from([NONE, 10 * MINUTE, 2 * DAY]))
def test_last_slot_is_the_newest_that_is_due(
    schedule: Schedule, grid: PaneGrid, at: datetime, settle: timedelta
) -> None:
    last = last_slot(schedule, grid, settle=settle, at=at)
    assert last is not None
    assert last.due <= at
    following = next_slot(schedule, grid, settle=settle, jitter=NONE, after=last.window_end)
    assert following.due > at


def test_a_daily_slot_comes_once_a_day_over_both_clock_changes() -> None:
    grid = PaneGrid(DAY, BERLIN)
    spring = slots_between(Every(DAY, BERLIN), grid, utc("2026-03-27T12:00"), utc("2026-03-31T12:00"))
    assert [slot.window_end for slot in spring] == [
        utc("2026-03-27T23:00"),
        utc("2026-03-28T23:00"),
        utc("2026-03-29T22:00"),
        utc("2026-03-30T22:00"),
    ]


@pytest.mark.parametrize("schedule", [Cron("0 0 * * *", BERLIN), Cron("30 2 * * *", BERLIN), Every(DAY, BERLIN)])
def test_no_day_of_a_year_is_skipped_or_doubled(schedule: Schedule) -> None:
    grid = PaneGrid(DAY, BERLIN)
    found = slots_between(schedule, grid, utc("2026-01-01T12:00"), utc("2027-01-01T12:00"))
    days = [slot.window_end.astimezone(BERLIN).date() for slot in found]
    assert len(days) == 365
    assert all(following - one == DAY for one, following in pairwise(days))


def test_a_fixed_time_that_is_skipped_in_spring_runs_right_after_the_gap() -> None:
    times = local_times(Cron("30 2 * * *", BERLIN), "2026-03-28T00:00", "2026-03-30T12:00")
    assert times == ["28 02:30", "29 03:00", "30 02:30"]


def test_a_fixed_time_that_comes_twice_in_autumn_runs_the_first_time_only() -> None:
    found = slots_between(
        Cron("30 2 * * *", BERLIN), PaneGrid(MINUTE, UTC_ZONE), utc("2026-10-24T12:00"), utc("2026-10-26T12:00")
    )
    assert [slot.due for slot in found] == [utc("2026-10-25T00:30"), utc("2026-10-26T01:30")]


def test_a_starred_time_runs_by_elapsed_time_over_both_clock_changes() -> None:
    starred = Cron("*/30 * * * *", BERLIN)
    assert len(local_times(starred, "2026-03-28T22:59", "2026-03-29T21:59")) == 2 * 23
    assert local_times(starred, "2026-10-25T00:00", "2026-10-25T02:00") == [
        "25 02:30",
        "25 02:00",
        "25 02:30",
        "25 03:00",
    ]


def test_a_change_of_half_an_hour_loses_no_time_of_the_wall() -> None:
    times = local_times(Cron("0 */2 * * *", LORD_HOWE), "2026-04-04T12:00", "2026-04-04T18:00")
    assert times == ["05 00:00", "05 02:00", "05 04:00"]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("zone", [BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")])
@pytest.mark.parametrize("start", ["2026-03-01T00:00", "2026-10-10T00:00"])
def test_cron_times_are_those_of_cronsim_in_zones_that_change_by_whole_hours(
    expression: str, zone: ZoneInfo, start: str
) -> None:
    after, until = utc(start), utc(start) + 40 * DAY
    times = (time.astimezone(UTC) for time in CronSim(expression, after.astimezone(zone)))
    found = slots_between(Cron(expression, zone), PaneGrid(MINUTE, UTC_ZONE), after, until)
    assert [slot.window_end for slot in found] == list(takewhile(lambda time: time <= until, times))


def test_cron_ends_its_window_at_the_last_bound_before_its_time() -> None:
    [slot] = slots_between(
        Cron("25 6 * * *", UTC_ZONE),
        PaneGrid(HOUR, UTC_ZONE),
        utc("2026-11-21T00:00"),
        utc("2026-11-21T23:00"),
        settle=10 * MINUTE,
    )
    assert slot == Slot(utc("2026-11-21T06:00"), utc("2026-11-21T06:25"))


def test_cron_waits_until_its_window_is_settled() -> None:
    slot = next_slot(
        Cron("5 6 * * *", UTC_ZONE),
        PaneGrid(HOUR, UTC_ZONE),
        settle=10 * MINUTE,
        jitter=7 * MINUTE,
        after=utc("2026-11-21T00:00"),
    )
    assert slot == Slot(utc("2026-11-21T06:00"), utc("2026-11-21T06:17"))


def test_cron_times_inside_one_pane_are_one_slot() -> None:
    found = slots_between(
        Cron("*/10 * * * *", UTC_ZONE), PaneGrid(HOUR, UTC_ZONE), utc("2026-11-21T00:00"), utc("2026-11-21T03:00")
    )
    assert [slot.window_end.hour for slot in found] == [1, 2, 3]


def test_a_slot_is_due_when_its_window_is_settled_and_its_jitter_over() -> None:
    slot = next_slot(
        Every(HOUR, UTC_ZONE),
        PaneGrid(HOUR, UTC_ZONE),
        settle=5 * MINUTE,
        jitter=timedelta(seconds=42),
        after=utc("2026-11-21T12:00"),
    )
    assert slot == Slot(utc("2026-11-21T13:00"), utc("2026-11-21T13:05:42"))


def test_the_last_slot_of_a_rare_cron_is_found_years_back() -> None:
    last = last_slot(Cron("0 0 29 2 *", UTC_ZONE), PaneGrid(HOUR, UTC_ZONE), settle=HOUR, at=utc("2026-11-21T12:00"))
    assert last == Slot(utc("2024-02-29T00:00"), utc("2024-02-29T01:00"))


@pytest.mark.parametrize(
    ("expression", "usual"),
    [
        ("5 * * * *", HOUR),
        ("*/15 * * * *", 15 * MINUTE),
        ("0 9 * * MON-FRI", DAY),
        ("0 0 * * SUN", 7 * DAY),
        ("0 0 1 * *", 31 * DAY),
    ],
)
def test_the_interval_of_a_cron_is_its_usual_gap(expression: str, usual: timedelta) -> None:
    assert interval(Cron(expression, BERLIN)) == usual


def test_the_interval_of_every_is_what_it_says() -> None:
    assert interval(Every(6 * HOUR, BERLIN)) == 6 * HOUR


@given(st.text(max_size=30), st.sampled_from([timedelta(seconds=30), 5 * MINUTE, HOUR, DAY]))
def test_jitter_stays_under_a_minute_and_a_tenth_of_the_interval(monitor: str, every: timedelta) -> None:
    assert NONE <= jitter(monitor, Every(every, UTC_ZONE)) < min(MINUTE, every / 10)


def test_jitter_spreads_monitors_over_the_minute() -> None:
    seconds = [jitter(f"monitor {number}", Every(HOUR, UTC_ZONE)).total_seconds() for number in range(600)]
    for start in range(0, 60, 10):
        assert 50 < sum(start <= second < start + 10 for second in seconds) < 150  # 100 expected, sd 9


def test_jitter_is_the_same_in_every_process() -> None:
    program = (
        "from datetime import timedelta; from zoneinfo import ZoneInfo;"
        "from drift_monitor.core.schedule import Every, jitter;"
        "print(jitter('credit_inputs', Every(timedelta(hours=1), ZoneInfo('UTC'))))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {f"{jitter('credit_inputs', Every(HOUR, UTC_ZONE))}\n"}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("5 * * *", "has 4 fields"),
        ("0 5 * * * *", "has 6 fields"),
        ("@daily", "has 1 fields"),
        ("61 * * * *", "can't be read: Bad minute"),
        ("0 0 30 2 *", "can't be read: Bad day-of-month"),
        ("0 0 * 2 MON#5,XYZ", "can't be read: Bad day-of-week"),
    ],
)
def test_a_cron_expression_that_can_not_be_read_is_refused(expression: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cron(expression, BERLIN)


@pytest.mark.parametrize("every", [NONE, -HOUR, 36 * HOUR])
def test_an_interval_that_no_grid_has_is_refused(every: timedelta) -> None:
    with pytest.raises(InputError, match="no schedule"):
        Every(every, BERLIN)
