"""Three windows pass while the source is away: they wait, and are made up for; no drift alert takes notice.

In the hours of the outage one alert counts quiet windows towards its end, one is to fire, one is to be cancelled. What
the store holds afterwards is compared with a daemon that saw no outage. That the monitor fails is an alert of its own.
"""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.processes.clock.daemon import ClockedDaemon, Episode, Told
from tests.processes.clock.hourly import MONITOR, drifts_in, due, hourly_daemon, is_oldest_first, numbered, window
from tests.processes.clock.shim import ShiftedClock
from tests.processes.clock.shop import never

pytestmark = pytest.mark.processes

FEATURES = {
    "steady": never,
    "falling": drifts_in(2, 3, 4, 5),  # fires in window 3, quiet from 6 on, resolved by the third quiet one: 8
    "rising": drifts_in(4, 5, 6, 7, 8, 9),  # pending in 4, fires in 5
    "brief": drifts_in(4),  # pending in 4, cancelled in 5
}
HOURS = 9
LONGEST_BACKOFF = timedelta(minutes=15)


def hide_table(shop: Path) -> None:
    _execute(shop, "ALTER TABLE events RENAME TO events_away")


def show_table(shop: Path) -> None:
    _execute(shop, "ALTER TABLE events_away RENAME TO events")


def hide_file(shop: Path) -> None:
    shop.rename(shop.with_suffix(".away"))


def show_file(shop: Path) -> None:
    shop.with_suffix(".away").rename(shop)


def _execute(shop: Path, statement: str) -> None:
    connection = sqlite3.connect(shop, timeout=60)
    connection.execute(statement)
    connection.close()


Outage = tuple[Callable[[Path], None], Callable[[Path], None]]
TABLE_AWAY: Outage = (hide_table, show_table)
FILE_AWAY: Outage = (hide_file, show_file)


def failures(daemon: ClockedDaemon) -> list[Episode]:
    return [one for one in daemon.episodes(MONITOR) if one.rule == "MonitorFailing"]


def drifts(daemon: ClockedDaemon) -> list[Episode]:
    return [one for one in daemon.episodes(MONITOR) if one not in failures(daemon)]


def drifts_told(daemon: ClockedDaemon) -> list[Told]:
    return [one for one in daemon.told(MONITOR) if one.feature]


class Story:
    """A daemon before, during and after the outage."""

    def __init__(self, folder: Path, clock: ShiftedClock, outage: Outage, mistake: str) -> None:
        self.daemon = hourly_daemon(folder, clock, FEATURES, hours=HOURS, mistake=mistake)
        self._clock = clock
        self._shop = folder / "shop.db"
        self._hide, self._show = outage

    def live_until_the_outage(self) -> None:
        self._clock.set(due(1))
        self.daemon.start()
        for number in (2, 3, 4):
            self.daemon.advance_to(due(number))

    def live_through_the_outage(self) -> None:
        self._hide(self._shop)
        for number in (5, 6, 7):
            self.daemon.advance_to(due(number))

    def heal(self) -> None:
        self._show(self._shop)
        self.daemon.advance_to(due(7) + LONGEST_BACKOFF + timedelta(minutes=5))

    def live_on(self) -> None:
        for number in (8, 9):
            self.daemon.advance_to(due(number))


@pytest.fixture
def tell(tmp_path: Path, clock: ShiftedClock) -> Iterator[Callable[[Outage, str], Story]]:
    stories: list[Story] = []

    def begin(outage: Outage, mistake: str = "") -> Story:
        stories.append(Story(tmp_path / "shop", clock, outage, mistake))
        stories[-1].live_until_the_outage()
        return stories[-1]

    yield begin
    for story in stories:
        story.daemon.kill()


@pytest.fixture(scope="module")
def undisturbed(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> ClockedDaemon:
    """A daemon that has lived through the same hours without an outage."""
    folder = tmp_path_factory.mktemp("undisturbed")
    clock = ShiftedClock(shim, folder / "shift")
    daemon = hourly_daemon(folder / "shop", clock, FEATURES, hours=HOURS)
    clock.set(due(1))
    try:
        daemon.start()
        for number in range(2, HOURS + 1):
            daemon.advance_to(due(number))
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    return daemon


def check_waiting(daemon: ClockedDaemon) -> None:
    """The three windows are there, due; the oldest of them says what is wrong; `falling` fires and nothing else."""
    assert numbered(daemon.evaluations(MONITOR)) == {1: "done", 2: "done", 3: "done", 4: "done"} | dict.fromkeys(
        (5, 6, 7), "due"
    )
    oldest = daemon.evaluations(MONITOR)[4]
    assert (oldest.health, oldest.attempts) == ("error", 0)
    assert oldest.error
    assert [(one.feature, one.opened, one.closed) for one in drifts(daemon)] == [("falling", window(3), None)]
    assert [(one.feature, one.status) for one in daemon.told(MONITOR)] == [("falling", "firing"), ("", "firing")]


def check_made_up_for(daemon: ClockedDaemon) -> None:
    evaluations = daemon.evaluations(MONITOR)
    assert numbered(evaluations) == dict.fromkeys(range(1, 8), "done")
    assert is_oldest_first(evaluations)
    assert {one.attempts for one in evaluations} == {1}


def test_the_undisturbed_daemon_is_as_planned(undisturbed: ClockedDaemon) -> None:
    assert [(one.feature, one.opened, one.closed) for one in undisturbed.episodes(MONITOR)] == [
        ("falling", window(3), window(8)),
        ("rising", window(5), None),
    ]
    assert [(one.feature, one.status, one.window_end) for one in undisturbed.told(MONITOR)] == [
        ("falling", "firing", window(3)),
        ("rising", "firing", window(5)),
        ("falling", "resolved", window(8)),
    ]


@pytest.mark.parametrize("outage", [TABLE_AWAY, FILE_AWAY], ids=["table away", "file away"])
def test_an_outage_of_three_windows_changes_nothing_but_the_time_of_their_evaluation(
    tell: Callable[[Outage], Story], undisturbed: ClockedDaemon, outage: Outage
) -> None:
    story = tell(outage)
    story.live_through_the_outage()
    story.daemon.wait_for(lambda: failures(story.daemon), "the alert that the monitor fails")
    check_waiting(story.daemon)
    story.heal()
    check_made_up_for(story.daemon)
    story.live_on()
    story.daemon.wait_for(lambda: [one for one in failures(story.daemon) if one.closed], "its end")
    assert story.daemon.stop() == 0
    assert story.daemon.alert_states(MONITOR) == undisturbed.alert_states(MONITOR)
    assert drifts(story.daemon) == undisturbed.episodes(MONITOR)
    assert drifts_told(story.daemon) == undisturbed.told(MONITOR)
    assert [one.close_reason for one in failures(story.daemon)] == ["recovered"]
    assert [one.status for one in story.daemon.told(MONITOR) if not one.feature] == ["firing", "resolved"]


def test_an_outage_read_as_no_rows_is_noticed(tell: Callable[[Outage, str], Story]) -> None:
    story = tell(TABLE_AWAY, "outage_is_no_data")
    story.live_through_the_outage()
    with pytest.raises(AssertionError):
        check_waiting(story.daemon)
