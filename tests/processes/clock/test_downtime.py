"""The daemon is stopped for three days of an hourly monitor: 72 windows, three times what `catch_up` makes up for.

The 24 newest are evaluated, the 48 before them are skipped for a stated reason, and no alert takes notice of those,
whatever happened in their hours.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.processes.clock.daemon import ClockedDaemon
from tests.processes.clock.hourly import MONITOR, drifts_in, due, hourly_daemon, is_oldest_first, numbered, window
from tests.processes.clock.shim import ShiftedClock
from tests.processes.clock.shop import never

pytestmark = pytest.mark.processes

LAST_BEFORE, LAST_MISSED = 3, 75
SKIPPED = range(4, 52)
MADE_UP_FOR = range(52, 76)
FEATURES = {
    "steady": never,
    "lasting": drifts_in(1, 2, 3, *MADE_UP_FOR, 76),  # fires in window 2; quiet in the skipped ones only
    "passing": drifts_in(*range(10, 40)),  # drifts in skipped windows only
    "waiting": drifts_in(3, 52),  # pending in 3; the next window that is seen is its second
}


MISTAKES = ("plan_from_start", "forget_missed", "newest_first")

Lives = Mapping[str, Future[ClockedDaemon]]


def stop_for_three_days(daemon: ClockedDaemon, clock: ShiftedClock) -> ClockedDaemon:
    """Three windows, a stop, and everything that a new start makes up for; it still runs."""
    clock.set(due(1))
    daemon.start()
    for number in (2, LAST_BEFORE):
        daemon.advance_to(due(number))
    assert daemon.stop() == 0
    clock.set(due(LAST_MISSED))
    daemon.start()
    return daemon


@pytest.fixture(scope="module")
def lives(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    """The right daemon, named "", and those with a mistake built in, all at the same time."""
    daemons: list[ClockedDaemon] = []
    stories: dict[str, Future[ClockedDaemon]] = {}
    with ThreadPoolExecutor(1 + len(MISTAKES)) as pool:
        for mistake in ("", *MISTAKES):
            folder = tmp_path_factory.mktemp("downtime")
            clock = ShiftedClock(shim, folder / "shift")
            daemons.append(hourly_daemon(folder / "shop", clock, FEATURES, hours=77, mistake=mistake))
            stories[mistake] = pool.submit(stop_for_three_days, daemons[-1], clock)
        yield stories
    for daemon in daemons:
        daemon.kill()


def check_windows(daemon: ClockedDaemon) -> None:
    """Every window once, skipped with its reason or done, in order."""
    evaluations = daemon.evaluations(MONITOR)
    done = (*range(1, LAST_BEFORE + 1), *MADE_UP_FOR)
    assert numbered(evaluations) == dict.fromkeys(SKIPPED, "skipped") | dict.fromkeys(done, "done")
    assert is_oldest_first([one for one in evaluations if one.state == "done"])
    reasons = daemon.reasons(MONITOR)
    assert len(reasons) == len(SKIPPED)
    assert all(reason and reason.startswith("downtime") for reason in reasons)
    assert daemon.metric("drift_monitor_missed_runs_total", monitor=MONITOR, reason="downtime") == len(SKIPPED)


def test_after_three_days_the_newest_windows_are_made_up_for_and_skipped_ones_move_no_alert(lives: Lives) -> None:
    daemon = lives[""].result()
    check_windows(daemon)
    daemon.advance_to(due(76))
    assert numbered(daemon.evaluations(MONITOR))[76] == "done"
    assert [(one.feature, one.opened, one.closed) for one in daemon.episodes(MONITOR)] == [
        ("lasting", window(2), None),
        ("waiting", window(52), window(55)),  # its second breach seen, then three quiet windows
    ]
    assert [(one.feature, one.status, one.window_end) for one in daemon.told(MONITOR)] == [
        ("lasting", "firing", window(2)),
        ("waiting", "firing", window(52)),
        ("waiting", "resolved", window(55)),
    ]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_windows_that_are_lost_or_out_of_order_after_a_restart_are_noticed(lives: Lives, mistake: str) -> None:
    daemon = lives[mistake].result()
    with pytest.raises(AssertionError):
        check_windows(daemon)
