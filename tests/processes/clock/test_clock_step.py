"""The clock of a running daemon is set back an hour, and forward again.

APScheduler by itself sleeps until its wall-clock time comes again, and stays asleep when the clock is put right.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from tests.processes.clock.daemon import DRIVER, PROGRAM, ClockedDaemon, NeverHappened
from tests.processes.clock.hourly import MONITOR, due, hourly_daemon, numbered
from tests.processes.clock.shim import ShiftedClock
from tests.processes.clock.shop import HOUR, never

pytestmark = pytest.mark.processes

IMPATIENT = timedelta(seconds=2)  # twenty ticks


@pytest.fixture
def running(tmp_path: Path, clock: ShiftedClock) -> Iterator[Callable[..., ClockedDaemon]]:
    daemons: list[ClockedDaemon] = []

    def start(mistake: str = "", command: Sequence[str] = DRIVER) -> ClockedDaemon:
        features = {"steady": never}
        daemon = hourly_daemon(tmp_path / "shop", clock, features, hours=8, mistake=mistake, command=command)
        daemons.append(daemon)
        clock.set(due(3))
        daemon.start()
        advance_to(daemon, 4)
        daemon.wait_for_steps(1)
        return daemon

    yield start
    for daemon in daemons:
        daemon.kill()


def advance_to(daemon: ClockedDaemon, number: int) -> None:
    """Until this window is done: `drift-monitor run` takes a while to believe a clock that was set ahead."""
    daemon.advance_to(due(number))
    daemon.wait_for(lambda: numbered(daemon.evaluations(MONITOR)).get(number) == "done", f"window {number} is done")


@pytest.mark.parametrize("leap", [HOUR, timedelta(days=1), timedelta(days=4000)], ids=["hour", "day", "years"])
def test_a_clock_that_leaps_ahead_for_seconds_has_nothing_done_before_its_time(
    running: Callable[..., ClockedDaemon], clock: ShiftedClock, leap: timedelta
) -> None:
    daemon = running(command=PROGRAM)
    panes = daemon.count("pane")
    clock.move(leap)
    daemon.wait_for_steps(2)
    daemon.wait_for_turns()
    clock.move(-leap)
    daemon.wait_for_steps(3)
    daemon.wait_until_idle()
    assert numbered(daemon.evaluations(MONITOR)) == {3: "done", 4: "done"}
    assert daemon.reasons(MONITOR) == []
    assert daemon.count("pane") == panes > 0, "nothing is deleted by a clock of the future"
    advance_to(daemon, 5)
    assert numbered(daemon.evaluations(MONITOR)) == {3: "done", 4: "done", 5: "done"}


@pytest.mark.parametrize("command", [DRIVER, PROGRAM], ids=["driver", "drift-monitor run"])
def test_a_clock_set_back_and_forward_stops_no_tick_and_repeats_no_window(
    running: Callable[..., ClockedDaemon], clock: ShiftedClock, command: Sequence[str]
) -> None:
    daemon = running(command=command)
    for number, step in enumerate((-HOUR, HOUR), start=2):
        clock.move(step)
        daemon.wait_until_idle()
        daemon.wait_for_steps(number)
        assert numbered(daemon.evaluations(MONITOR)) == {3: "done", 4: "done"}
    advance_to(daemon, 5)
    evaluations = daemon.evaluations(MONITOR)
    assert numbered(evaluations) == {3: "done", 4: "done", 5: "done"}
    assert {(one.attempts, one.revision) for one in evaluations} == {(1, 0)}
    assert [round(step / HOUR.total_seconds()) for step in daemon.wait_for_steps(4)] == [1, -1, 1, 1]


def test_windows_come_in_time_while_the_clock_is_back(
    running: Callable[[], ClockedDaemon], clock: ShiftedClock
) -> None:
    daemon = running()
    clock.move(-3 * HOUR)
    daemon.wait_until_idle()
    for number in (2, 3, 4):
        daemon.advance_to(due(number))
        assert numbered(daemon.evaluations(MONITOR)) == {3: "done", 4: "done"}
    daemon.advance_to(due(5))
    assert numbered(daemon.evaluations(MONITOR)) == {3: "done", 4: "done", 5: "done"}


def test_a_ticker_that_is_not_armed_anew_is_noticed(
    running: Callable[[str], ClockedDaemon], clock: ShiftedClock
) -> None:
    daemon = running("ticker_alone")
    clock.move(-HOUR)
    daemon.wait_for_steps(2)
    with pytest.raises(NeverHappened):
        daemon.wait_for_turns(IMPATIENT)
    clock.move(HOUR)
    with pytest.raises(NeverHappened):
        daemon.wait_for_turns(IMPATIENT)
