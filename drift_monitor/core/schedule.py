"""Slots: the moments at which evaluations are due, and the windows they are due for.

A slot comes from the schedule alone, never from the time a program started, so restarts and replicas agree on every
slot without talking, and a slot that was missed can be named afterwards. `Every` has a moment at each bound of a pane
grid of its interval; `Cron` at each time its expression names in its zone. The window of a moment ends at the last pane
bound at or before it, and moments that share that bound are one slot.

A slot is due when its window is settled, plus `jitter`: a share of the interval that hangs on the monitor's name, which
spreads the load of many monitors and is the same in every process.

Cron expressions have five fields and are read by `cronsim`, because APScheduler's `CronTrigger` leaves out whole days
where clocks change. cronsim only matches the wall's dates and times here; which instants a wall time stands for is
decided below, since its own stepping may depend on where it starts and passes over matches where clocks move by half
an hour. The rules are Debian cron's, and cronsim's:

    expression            wall time skipped in spring         wall time shown twice in autumn
    30 2 * * *  (fixed)   at the first instant after the gap  once, the first time
    */30 * * * *  (star)  not at all                          both times

An expression is of the star kind when its minute or hour starts with `*`: such a job runs by elapsed time.
"""

import hashlib
import heapq
import statistics
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from drift_monitor.core.panes import PaneGrid, first_reached, showings, wall_at
from drift_monitor.errors import InputError

_SECOND = timedelta(seconds=1)
# Enough to spread the load of many monitors, little enough that an hourly report is still one of its hour.
_LONGEST_JITTER = timedelta(seconds=60)
# Longer than any zone has set its clocks back since 2000 (Casey station: three hours, 2010 and later).
_LONGEST_REPEAT = timedelta(hours=4)
# Where gaps are sampled: any date would do that is not near a change of calendar or clocks.
_SAMPLE_START = datetime(2024, 1, 1)  # noqa: DTZ001 - wall time of no zone
_SAMPLE_GAPS = 21


@dataclass(frozen=True)
class Every:
    """At each bound of a grid of this interval: from 1970 UTC under a day, from local midnight for whole days."""

    interval: timedelta
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if self.interval <= timedelta(0) or (self.interval > timedelta(days=1) and self.interval % timedelta(days=1)):
            raise InputError(f"every {self.interval} is no schedule; expected less than a day, or whole days")


@dataclass(frozen=True)
class Cron:
    """At the times of a five-field cron expression, read in a zone."""

    expression: str
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if len(self.expression.split()) != 5:
            raise InputError(
                f"cron {self.expression!r} has {len(self.expression.split())} fields; "
                "expected five: minute hour day-of-month month day-of-week"
            )
        try:
            next(CronSim(self.expression, _SAMPLE_START))
        except CronSimError as error:
            raise InputError(f"cron {self.expression!r} can't be read: {error}") from error
        except StopIteration:
            raise InputError(f"cron {self.expression!r} never comes: no such date in fifty years") from None

    @property
    def is_fixed(self) -> bool:
        """True where it names times of day, False where it runs by elapsed time (see the module)."""
        return not any(field.startswith("*") for field in self.expression.split()[:2])


Schedule = Every | Cron


@dataclass(frozen=True, order=True)
class Slot:
    """One evaluation to come or gone: the end of its window, and when it may run."""

    window_end: datetime
    due: datetime


def slots(
    schedule: Schedule, grid: PaneGrid, *, settle: timedelta, jitter: timedelta, after: datetime, until: datetime
) -> Iterator[Slot]:
    """The slots with after < window_end <= until, in order, made as they are asked for."""
    return takewhile(lambda slot: slot.window_end <= until, _slots(schedule, grid, settle, jitter, after))


def next_slot(schedule: Schedule, grid: PaneGrid, *, settle: timedelta, jitter: timedelta, after: datetime) -> Slot:
    """The first slot whose window ends after `after`."""
    return next(_slots(schedule, grid, settle, jitter, after))


def last_slot(schedule: Schedule, grid: PaneGrid, *, settle: timedelta, at: datetime) -> Slot | None:
    """The newest slot whose moment has come and whose window is settled at `at`, without jitter.

    None where there was none in the last fifty years.
    """
    settled = grid.last_settled(at, settle)
    reach = interval(schedule)
    while reach < timedelta(days=50 * 366):
        ended = takewhile(
            lambda slot: slot.due <= at, _slots(schedule, grid, settle, timedelta(0), settled - 2 * reach)
        )
        last = deque(ended, maxlen=1)
        if last:
            return last[0]
        reach *= 2
    return None


@lru_cache(maxsize=1024)
def interval(schedule: Schedule) -> timedelta:
    """The nominal time between two slots; for cron the usual gap between its times (the median of some)."""
    match schedule:
        case Every():
            return schedule.interval
        case Cron():
            times = islice(CronSim(schedule.expression, _SAMPLE_START), _SAMPLE_GAPS + 1)
            return statistics.median_low(later - earlier for earlier, later in pairwise(times))


def jitter(monitor: str, schedule: Schedule) -> timedelta:
    """How long after its slot is settled a monitor runs: under a tenth of the interval, and under a minute."""
    ceiling = min(_LONGEST_JITTER, interval(schedule) / 10)
    # A hash that is the same in every process; Python's own is salted.
    number = int.from_bytes(hashlib.sha256(monitor.encode()).digest()[:8])
    return timedelta(microseconds=number % (ceiling // timedelta(microseconds=1)))


def _slots(schedule: Schedule, grid: PaneGrid, settle: timedelta, jitter: timedelta, after: datetime) -> Iterator[Slot]:
    # Moments before the next bound belong to windows that ended at or before `after`.
    last, first = after, grid.shift(grid.floor(after), 1)
    for moment in _moments(schedule, first - _SECOND):
        window_end = grid.floor(moment)
        if window_end > last:
            last = window_end
            yield Slot(window_end, max(moment, window_end + settle) + jitter)


def _moments(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    match schedule:
        case Every():
            grid = PaneGrid(schedule.interval, schedule.zone)
            bound = grid.floor(after)
            while True:
                bound = grid.shift(bound, 1)
                yield bound
        case Cron():
            yield from _cron_moments(schedule, after)


def _cron_moments(cron: Cron, after: datetime) -> Iterator[datetime]:
    """The instants after `after`, in order.

    Wall times come in the order of the wall, and so do their first showings; second ones wait for their turn.
    """
    last = after
    waiting: list[datetime] = []
    for wall in CronSim(cron.expression, wall_at(after, cron.zone) - _LONGEST_REPEAT):
        shown = (first_reached(wall, cron.zone),) if cron.is_fixed else showings(wall, cron.zone)
        for instant in shown:
            heapq.heappush(waiting, instant)
        while shown and waiting and waiting[0] <= shown[0]:
            instant = heapq.heappop(waiting)
            if instant > last:
                last = instant
                yield instant
