"""The daemon over both changes of the clocks in Berlin, 2026: days of 23 and of 25 hours.

Every window is there once, with the right bounds, never before its time; no alert opens or closes because of it.
Instants are written by hand: clocks go from 02:00 CET (01:00 UTC) to 03:00 CEST on March 29th, and from 03:00 CEST
(01:00 UTC) back to 02:00 CET on October 25th.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.processes.clock.daemon import ClockedDaemon
from tests.processes.clock.shim import ShiftedClock
from tests.processes.clock.shop import always, never, open_shop

pytestmark = pytest.mark.processes

HOUR = timedelta(hours=1)
SETTLE = timedelta(minutes=5)
MONITORS = ("days", "nights", "hours")

CONFIG = """
store: {{url: "sqlite:///{folder}/drift.db"}}
sources: [{{name: shop, url: "sqlite:///{folder}/shop.db"}}]
receivers: [{{name: log, log: {{}}}}]
monitors:
  - {{name: days, every: 1d, pane: 1d, window: 1d, {common}}}
  - {{name: nights, cron: "30 2 * * *", pane: 1d, window: 1d, {common}}}
  - {{name: hours, cron: "30 2 * * *", pane: 1h, window: 24h, {common}}}
"""
COMMON = (
    "source: shop, table: events, time_column: at, time_zone: Europe/Berlin, reference: {table: training}, "
    "features: [steady, moved]"
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of the clocks: windows as (start, end), and the moments at which a night's run may start.

    `moments` are those at which we look: around midnight and half past two, before and after, and by day.
    """

    start: datetime
    end: datetime
    moments: tuple[datetime, ...]
    days: tuple[tuple[datetime, datetime], ...]
    hours: tuple[tuple[datetime, datetime], ...]
    half_past_two: tuple[datetime, ...]


def march(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def october(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 10, day, hour, minute, tzinfo=UTC)


SPRING = Change(
    start=march(28, 8),
    end=march(31, 8),
    moments=(
        *(march(28, 22, 7), march(28, 23, 7), march(29, 0, 7), march(29, 0, 37), march(29, 1, 7), march(29, 2, 7)),
        *(march(29, 22, 7), march(30, 0, 7), march(30, 0, 37), march(30, 1, 37)),
        *(march(30, 22, 7), march(31, 1, 37)),
    ),
    days=(
        (march(26, 23), march(27, 23)),
        (march(27, 23), march(28, 23)),
        (march(28, 23), march(29, 22)),  # 23 hours
        (march(29, 22), march(30, 22)),
    ),
    hours=(
        (march(27, 1), march(28, 1)),
        (march(28, 1), march(29, 1)),
        (march(29, 0), march(30, 0)),
        (march(30, 0), march(31, 0)),
    ),
    # 02:30 does not exist on the 29th: the first instant after the gap stands for it.
    half_past_two=(march(28, 1, 30), march(29, 1), march(30, 0, 30), march(31, 0, 30)),
)
AUTUMN = Change(
    start=october(24, 8),
    end=october(27, 8),
    moments=(
        *(october(24, 21, 7), october(24, 22, 7), october(25, 0, 7), october(25, 0, 37), october(25, 1, 7)),
        *(october(25, 1, 37), october(25, 22, 7), october(25, 23, 7), october(26, 0, 37), october(26, 1, 37)),
        *(october(26, 23, 7), october(27, 1, 37)),
    ),
    days=(
        (october(22, 22), october(23, 22)),
        (october(23, 22), october(24, 22)),
        (october(24, 22), october(25, 23)),  # 25 hours
        (october(25, 23), october(26, 23)),
    ),
    hours=(
        (october(23, 0), october(24, 0)),
        (october(24, 0), october(25, 0)),
        (october(25, 1), october(26, 1)),
        (october(26, 1), october(27, 1)),
    ),
    # 02:30 is shown twice on the 25th: the first time counts.
    half_past_two=(october(24, 0, 30), october(25, 0, 30), october(26, 1, 30), october(27, 1, 30)),
)


STORIES = {
    "23 hours": (SPRING, ""),
    "25 hours": (AUTUMN, ""),
    "days of 24 hours": (SPRING, "days_of_24_hours"),
    "cron by the library": (AUTUMN, "library_cron"),
}


def live_through(change: Change, daemon: ClockedDaemon, clock: ShiftedClock) -> tuple[Change, ClockedDaemon]:
    """From the day before a change to the days after it."""
    clock.set(change.start)
    try:
        daemon.start()
        for moment in change.moments:
            daemon.advance_to(moment)
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    return change, daemon


@pytest.fixture(scope="module")
def lives(
    shim: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[tuple[Change, ClockedDaemon]]]]:
    """All stories at the same time, some of them with a mistake built in."""
    with ThreadPoolExecutor(len(STORIES)) as pool:
        yield {
            name: pool.submit(
                live_through, change, *prepared(tmp_path_factory.mktemp("daylight"), shim, change, mistake)
            )
            for name, (change, mistake) in STORIES.items()
        }


def prepared(folder: Path, shim: Path, change: Change, mistake: str) -> tuple[ClockedDaemon, ShiftedClock]:
    features = {"steady": never, "moved": always}
    open_shop(folder / "shop.db", change.start - 100 * HOUR, change.end, features, rows=20)
    clock = ShiftedClock(shim, folder / "shift")
    return ClockedDaemon(folder, CONFIG.format(folder=folder, common=COMMON), clock, mistake), clock


def check_windows(change: Change, daemon: ClockedDaemon) -> None:
    """Each window once, done, with its bounds."""
    expected = {"days": change.days, "nights": change.days, "hours": change.hours}
    for monitor in MONITORS:
        found = daemon.evaluations(monitor)
        assert [(one.window_start, one.window_end) for one in found] == list(expected[monitor]), monitor
        assert {(one.state, one.revision, one.attempts) for one in found} == {("done", 0, 1)}, monitor


def check_times(change: Change, daemon: ClockedDaemon) -> None:
    """Nothing starts before its window is settled, and nothing of the night before half past two."""
    for monitor in MONITORS:
        for one in daemon.evaluations(monitor):
            assert one.started_at is not None
            assert one.started_at >= one.window_end + SETTLE
    for monitor in ("nights", "hours"):
        starts = [one.started_at for one in daemon.evaluations(monitor)]
        for start, night in zip(starts, change.half_past_two, strict=True):
            assert start is not None
            assert night <= start, monitor


def check_alerts(daemon: ClockedDaemon) -> None:
    """The feature that has moved fires from the first window to the last; nothing else ever fires."""
    for monitor in MONITORS:
        first = daemon.evaluations(monitor)[0].window_end
        episodes = daemon.episodes(monitor)
        assert {(one.feature, one.opened, one.closed) for one in episodes} == {("moved", first, None)}
        assert {(one.feature, one.status, one.window_end) for one in daemon.told(monitor)} == {
            ("moved", "firing", first)
        }


Lives = Mapping[str, Future[tuple[Change, ClockedDaemon]]]


@pytest.mark.parametrize("story", ["23 hours", "25 hours"])
def test_every_window_over_a_change_of_the_clocks_is_there_once_and_moves_no_alert(lives: Lives, story: str) -> None:
    change, daemon = lives[story].result()
    check_windows(change, daemon)
    check_times(change, daemon)
    check_alerts(daemon)


@pytest.mark.parametrize("story", ["days of 24 hours", "cron by the library"])
def test_wrong_days_and_wrong_nights_are_noticed(lives: Lives, story: str) -> None:
    change, daemon = lives[story].result()
    with pytest.raises(AssertionError):
        check_windows(change, daemon)
