"""The service as `drift-monitor run` composes it, looking at its clock more often, and with mistakes to build in.

    python -m tests.processes.clock.driver CONFIG [MISTAKE]

Each mistake is one that the tests of time must catch; a test that passes with a mistake proves nothing.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from apscheduler.triggers.cron import CronTrigger

from drift_monitor.app import ServeOptions, Service
from drift_monitor.config.loading import load
from drift_monitor.core import schedule
from drift_monitor.core.schedule import Cron, Span
from drift_monitor.daemon.daemon import Daemon
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.errors import SourceError
from drift_monitor.evaluation import planning
from drift_monitor.sources.dataset import Counter, Dataset, Reading
from drift_monitor.sources.source import Source
from drift_monitor.store import leases, runs
from drift_monitor.telemetry.logs import LogFormat, configure

# Tests let time pass by setting the clock ahead: it is believed at once.
QUICK = DaemonSettings(tick=timedelta(milliseconds=100), resend=timedelta(seconds=1), trust=timedelta(0))


def ticker_alone() -> None:
    """APScheduler is not armed anew after the clock was set."""
    patch.object(Daemon, "_rearm", lambda self: None).start()


def plan_from_start() -> None:
    """Each start begins with the last window, whatever the store has: the past is what this process remembers."""
    remembered: dict[str, datetime] = {}
    due_slots = planning._due_slots

    def from_start(monitor: Any, last: datetime | None, now: datetime) -> Sequence[Any]:
        found = due_slots(monitor, remembered.get(monitor.name), now)
        if found:
            remembered[monitor.name] = found[-1].window_end
        return found

    patch.object(planning, "_due_slots", from_start).start()


def forget_missed() -> None:
    """Windows beyond the catch-up limit are left out without a word."""
    patch.object(runs, "skip", lambda connection, planned, reason: 0).start()


def newest_first() -> None:
    """The newest waiting window is claimed before older ones."""

    def is_last(moment: datetime) -> Any:
        other = runs.run.alias("other")
        waiting = other.c.state.in_(runs.UNFINISHED) & (other.c.monitor == runs.run.c.monitor)
        return ~runs.select(other.c.id).where(waiting & (other.c.window_end > runs.run.c.window_end)).exists()

    patch.object(leases, "_is_first", is_last).start()


def outage_is_no_data() -> None:
    """A source that fails is read as one without rows."""
    read = Source.read

    def forgiving(self: Source, dataset: Dataset, counters: Sequence[Counter], spans: Sequence[Span] | None) -> Reading:
        try:
            return read(self, dataset, counters, spans)
        except SourceError:
            whole = tuple(spans or ())
            return Reading(
                spans=whole,
                rows=np.zeros(len(whole), dtype=np.int64),
                newest=(None,) * len(whole),
                counts={one.feature: np.zeros((len(whole), one.spec.size), dtype=np.int64) for one in counters},
                failed={},
                statements=1,
                seconds=0.0,
            )

    patch.object(Source, "read", forgiving).start()


def library_cron() -> None:
    """Cron times come from APScheduler's trigger."""

    def moments(cron: Cron, after: datetime) -> Iterator[datetime]:
        trigger = CronTrigger.from_crontab(cron.expression, timezone=cron.zone)
        now, previous = after.astimezone(cron.zone), None
        while True:
            previous = trigger.get_next_fire_time(previous, now)
            if previous is None:
                return
            now = previous
            if previous > after:
                yield previous.astimezone(UTC)

    patch.object(schedule, "_cron_moments", moments).start()


def days_of_24_hours() -> None:
    """Days are 24 hours from midnight UTC in winter time, whatever the zone does in summer."""

    def start(zone: Any, ordinal: int) -> datetime:
        offset = datetime(2026, 1, 1, tzinfo=zone).utcoffset() or timedelta(0)
        return datetime.fromordinal(ordinal).replace(tzinfo=UTC) - offset

    patch.object(schedule, "_start_of_day", start).start()


MISTAKES: Mapping[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        ticker_alone,
        plan_from_start,
        forget_missed,
        newest_first,
        outage_is_no_data,
        library_cron,
        days_of_24_hours,
    )
}


def main(config_file: str, mistake: str = "") -> int:
    if mistake:
        MISTAKES[mistake]()
    configure("info", LogFormat.JSON)
    return Service(load(Path(config_file)), ServeOptions(listen_address="127.0.0.1:0", settings=QUICK)).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
