"""The watchdog: a process whose loop is dead, or whose work never ends, must end, so that its supervisor starts anew.

A thread of its own, on the monotonic clock, watches how long ago each tick last finished, and whether work does. It
also sees when the wall clock was set, and has the ticker armed anew: a clock set back an hour would stop it for an
hour, silently.

Since when somebody watches without a gap: what happened before is nobody's fault.

A daemon that was stopped or a machine that slept has seen nothing meanwhile. The wall clock tells: two rounds that
are too far apart, or in the wrong order, begin a new vigil.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from drift_monitor.clock import Clock
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.telemetry.logs import ERROR, WARN, log, log_failure

_logger = logging.getLogger(__name__)
STALLED_EXIT_CODE = 70  # EX_SOFTWARE: an error of our own


def end_process() -> None:
    """End now, without clean-up: a dead loop can't be trusted with any."""
    os._exit(STALLED_EXIT_CODE)


class Watchdog:
    """Ends the process when `beat` has not been called for `stalled_after`, or `is_stuck` says so."""

    def __init__(
        self,
        settings: DaemonSettings,
        clock: Clock,
        rearm: Callable[[], None],
        is_stuck: Callable[[], bool] = lambda: False,
        end: Callable[[], None] = end_process,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rearm = rearm
        self._is_stuck = is_stuck
        self._end = end
        self._stopped = threading.Event()
        self._last_beat = clock.monotonic()
        self._seen = (clock.now(), clock.monotonic())
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self.beat()
        self._seen = (self._clock.now(), self._clock.monotonic())
        self._thread.start()

    def beat(self) -> None:
        """The loop has turned."""
        self._last_beat = self._clock.monotonic()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def silence(self) -> timedelta:
        """How long ago the loop last turned."""
        return timedelta(seconds=self._clock.monotonic() - self._last_beat)

    @property
    def is_alive(self) -> bool:
        """Whether the loop turns; one that has not begun is not dead."""
        return not self._thread.ident or self.silence < self._settings.stalled_after

    def _watch(self) -> None:
        wall, monotonic = self._seen
        while not self._stopped.wait(self._settings.tick.total_seconds()):
            now, elapsed = self._clock.now(), self._clock.monotonic() - monotonic
            try:
                self._notice(timedelta(seconds=elapsed), (now - wall) - timedelta(seconds=elapsed))
                must_end = self._must_end()
            except Exception as error:  # noqa: BLE001 whoever watches must not die of what it watches for
                log_failure(_logger, ERROR, "watchdog_failed", "The watchdog could not look at everything.", error)
                must_end = not self.is_alive
            if must_end:
                self._end()
                return
            wall, monotonic = now, self._clock.monotonic()

    def _notice(self, elapsed: timedelta, step: timedelta) -> None:
        if elapsed > self._settings.pause:
            # Nor did this thread run: whoever stopped the process (SIGSTOP, a frozen container) let it go on.
            text = "The process was stopped for a while and goes on."
            log(_logger, WARN, "paused", text, seconds=elapsed.total_seconds())
            self.beat()
            self._arm_anew()
        if abs(step) > self._settings.clock_step:
            text = "The clock was set; ticks are armed anew."
            log(_logger, WARN, "clock_step", text, seconds=step.total_seconds())
            self._arm_anew()

    def _arm_anew(self) -> None:
        """In a thread: the ticker that this waits for may be what is dead, and then somebody must be left to see it."""
        with suppress(RuntimeError):  # no thread is to be had: a ticker that sleeps on is found by its silence
            threading.Thread(target=self._rearm, name="rearm", daemon=True).start()

    def _must_end(self) -> bool:
        if not self.is_alive:
            log(_logger, ERROR, "stalled", "The scheduler's loop is dead; the process ends.")
            return True
        return self._is_stuck()


class ClockTrust:
    """Whether the wall clock can be believed: not for a while after it has leapt ahead.

    A clock that is wrong for seconds would have windows evaluated before their rows are there, others skipped as too
    old, and rows deleted whose time has not come. To wait a little after a machine has slept costs nothing.
    """

    def __init__(self, clock: Clock, settings: DaemonSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._offset = self._offset_now()  # of the wall clock from the monotonic one
        self._distrusted_until = 0.0

    def _offset_now(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def holds(self) -> bool:
        monotonic, offset = self._clock.monotonic(), self._offset_now()
        leap = timedelta(seconds=offset - self._offset)
        if abs(leap) > self._settings.clock_step:
            # Set back, it is where it was before; whatever was planned meanwhile is not there.
            self._distrusted_until = monotonic + self._settings.trust.total_seconds() if leap > timedelta(0) else 0.0
        self._offset = offset
        return monotonic >= self._distrusted_until


class GapDetector:
    """Kept by calling `watched_since` every round; rounds further apart than `gap` break it."""

    def __init__(self, gap: timedelta) -> None:
        self._gap = gap
        self._since: datetime | None = None
        self._last: datetime | None = None

    def watched_since(self, now: datetime) -> datetime:
        """When this vigil began."""
        goes_on = self._last is not None and timedelta(0) <= now - self._last <= self._gap
        if self._since is None or not goes_on:
            self._since = now
        self._last = now
        return self._since
