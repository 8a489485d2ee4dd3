"""The demo while it runs: each hour brings rows, and the daemon on top of them evaluates the window that has ended."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from drift_monitor.app import ServeOptions, Service, open_services
from drift_monitor.cli.demo import appender, begin, fill
from drift_monitor.clock import SystemClock
from drift_monitor.config.loading import load
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.demo.database import History, instant_text
from drift_monitor.demo.payments import PaymentsData
from drift_monitor.store import runs
from drift_monitor.store.connection import Store
from drift_monitor.store.runs import RunFilter, RunState, Trigger
from tests.clocks import FixedClock

HOUR = timedelta(hours=1)
PATIENCE_SECONDS = 120.0


class LastHours(PaymentsData):
    """The payments, of whose history only the end is measured."""

    def first_window(self, history: History) -> datetime:
        return history.planned_until - HOUR


def rows_in(path: Path, end: datetime) -> int:
    """The rows of the 24 hours before, as the table has them."""
    bounds = [instant_text(end - 24 * HOUR), instant_text(end)]
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT count(*) FROM payments WHERE paid_at >= ? AND paid_at < ?"
        return int(connection.execute(query, bounds).fetchone()[0])


@contextmanager
def serving(config: Path, clock: FixedClock, chore: Callable[[], None]) -> Iterator[None]:
    # On a slow machine the last work takes a while, and nothing of it is left behind.
    patience = timedelta(seconds=PATIENCE_SECONDS / 3)
    quick = DaemonSettings(
        tick=timedelta(milliseconds=250), clock_step=timedelta(days=1), grace=patience, farewell=patience
    )
    options = replace(ServeOptions(listen_address="127.0.0.1:0"), settings=quick, chore=chore)
    service = Service(load(config), options, clock)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield
    finally:
        service.end()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def wait_for(happened: Callable[[], bool], what: str) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.05)):
        if happened():
            return
        pause.wait(0.05)
    pytest.fail(f"{what} never happened")


@pytest.mark.slow
def test_an_hour_later_the_rows_of_the_hour_are_there_and_their_window_is_evaluated(tmp_path: Path) -> None:
    # A little behind the true time, by which the daemon's ticks come.
    start = SystemClock().now().replace(minute=0, second=0, microsecond=0) - HOUR
    data, clock = LastHours(), FixedClock(start + timedelta(minutes=5))
    config = begin(data, tmp_path, seed=2013, until=clock.now())
    with open_services(load(config), clock=clock) as services:
        fill(services, data, tmp_path, lambda monitor, step: None)
    store = Store(f"sqlite:///{tmp_path / 'drift.db'}", clock)

    def rows_counted() -> dict[datetime, int]:
        with store.read() as conn:
            done = runs.history(conn, RunFilter(states=(RunState.DONE,)))
        return {one.key.window_end: (one.result or {})["live_rows"] for one in done}

    def ends(trigger: Trigger) -> list[datetime]:
        with store.read() as conn:
            done = runs.history(conn, RunFilter(states=(RunState.DONE,)))
        return sorted(one.key.window_end for one in done if one.trigger is trigger)

    assert ends(Trigger.BACKFILL) == [start - HOUR, start]
    try:
        with serving(config, clock, appender(data, tmp_path, clock)):
            for slept in (HOUR, 2 * HOUR):  # the second time as on a computer that was asleep
                clock.at += slept
                end = clock.at.replace(minute=0)
                wait_for(lambda end=end: end in ends(Trigger.SCHEDULE), f"the window that ends at {end}")  # type: ignore[misc]
    finally:
        store.close()
    assert data.history(tmp_path).written_until == start + 3 * HOUR
    assert rows_counted() == {end: rows_in(data.file(tmp_path), end) for end in rows_counted()}
    assert ends(Trigger.SCHEDULE) == [start + HOUR, start + 2 * HOUR, start + 3 * HOUR]
