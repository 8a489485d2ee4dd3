"""APScheduler as a ticker: a few named ticks in memory, in UTC, never two of a kind at once.

An interval trigger sleeps until a wall-clock time. Where the clock is set back, that time is far away and nothing
would run; `rearm` makes every tick due now.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from drift_monitor.clock import Clock

Tick = Callable[[], None]

# A tick that comes on time is no news, and one that is late is counted by the scheduler lag.
logging.getLogger("apscheduler").setLevel(logging.ERROR)


class Ticker:
    """Runs each tick every so often in a thread of its own."""

    def __init__(self, ticks: Mapping[str, tuple[timedelta, Tick]], clock: Clock) -> None:
        self._clock = clock
        self._names = tuple(ticks)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=len(ticks))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for name, (every, tick) in ticks.items():
            self._scheduler.add_job(tick, "interval", seconds=every.total_seconds(), id=name, next_run_time=clock.now())

    def start(self) -> None:
        self._scheduler.start()

    def rearm(self) -> None:
        """Every tick is due now: the clock was set."""
        for name in self._names:
            self._scheduler.modify_job(name, next_run_time=self._clock.now())
        self._scheduler.wakeup()

    def stop(self) -> None:
        """No further ticks; one that runs now is not waited for."""
        self._scheduler.shutdown(wait=False)
