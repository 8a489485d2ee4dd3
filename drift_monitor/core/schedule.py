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

Panes and windows: half-open spans of time, and the grid that cuts time into panes.

Times are timezone-aware UTC datetimes everywhere. Panes tile the line: no instant is in two, none in none.

A wall time is what a zone's clock on the wall shows: a naive datetime. Most are shown once; none while clocks jump
over them; two times where clocks go back.

Panes shorter than a day count from 1970-01-01 00:00 UTC. Panes of whole days run from midnight to midnight of the
grid's zone, counted from Monday 1970-01-05, so that a week is Monday to Monday and a day of 23 or 25 hours is one
pane. Where clocks have no midnight because they jump over it, the day starts with its first instant; where they show
midnight twice, with the first of the two. A date that a zone left out (Samoa, 2011-12-30) is no pane.
"""

import hashlib
import heapq
import statistics
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from drift_monitor.errors import InputError

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)  # no zone changes its clocks between two full seconds
# Stored panes lie on bounds counted from here: another origin would make all of them strangers.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MONDAY = date(1970, 1, 5).toordinal()


class _Bounds(NamedTuple):
    start: datetime
    end: datetime


class Span(_Bounds):
    """The time from `start` (inside) to `end` (outside)."""

    # A tuple, because spans are keys: a window looks up hundreds of panes, and tuples are hashed and compared in C.
    __slots__ = ()

    def __new__(cls, start: datetime, end: datetime) -> Self:
        """Raises InputError where it would end before it starts."""
        if start > end:
            raise InputError(f"a span can't end ({end.isoformat()}) before it starts ({start.isoformat()})")
        return super().__new__(cls, start, end)


@dataclass(frozen=True)
class PaneGrid:
    """The bounds of all panes of one length in one zone; a length is under a day, or whole days."""

    length: timedelta
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if self.length <= timedelta(0) or (self.length > _DAY and self.length % _DAY):
            raise InputError(f"a pane can't be {self.length} long; expected less than a day, or whole days")

    def floor(self, at: datetime) -> datetime:
        """The last bound at or before `at`."""
        return self._bound(self._index(at))

    def is_bound(self, at: datetime) -> bool:
        return self.floor(at) == at

    def shift(self, bound: datetime, panes: int) -> datetime:
        """The bound `panes` panes later, or earlier where negative: calendar days for panes of days."""
        self._check_bound(bound)
        index = self._index(bound)
        if self.length < _DAY:
            return self._bound(index + panes)
        # Day by day, since a date that the zone left out is no pane and must not be counted.
        step = 1 if panes > 0 else -1
        for _ in range(abs(panes)):
            bound, index = self._neighbour(bound, index, step)
        return bound

    def panes(self, span: Span) -> tuple[Span, ...]:
        """All panes of a span, in order; the span must run from bound to bound."""
        self._check_bound(span.start)
        self._check_bound(span.end)
        panes: list[Span] = []
        start, index = span.start, self._index(span.start)
        while start < span.end:
            end, index = self._neighbour(start, index, 1)
            panes.append(Span(start, end))
            start = end
        return tuple(panes)

    def count(self, length: timedelta) -> int:
        """How many panes make this length; raises InputError where they don't come out even."""
        count, rest = divmod(length, self.length)
        if rest or count < 1:
            raise InputError(f"{length} is no whole number of panes of {self.length}")
        return count

    def window(self, end: datetime, length: timedelta) -> Span:
        """The span of length / pane panes that ends at the bound `end`."""
        return Span(self.shift(end, -self.count(length)), end)

    def last_settled(self, at: datetime, settle: timedelta) -> datetime:
        """The newest bound whose pane may be read at `at`: bound + settle <= at."""
        return self.floor(at - settle)

    def _check_bound(self, at: datetime) -> None:
        if not self.is_bound(at):
            raise InputError(f"{at.isoformat()} is no bound of panes of {self.length} in {self.zone.key}")

    def _neighbour(self, bound: datetime, index: int, step: int) -> tuple[datetime, int]:
        """The next bound in the direction of `step`, past dates the zone left out."""
        while True:
            index += step
            other = self._bound(index)
            if other != bound:
                return other, index

    def _bound(self, index: int) -> datetime:
        if self.length < _DAY:
            return _EPOCH + index * self.length
        return _start_of_day(self.zone, _FIRST_MONDAY + index * self.length.days)

    def _index(self, at: datetime) -> int:
        if self.length < _DAY:
            return (at - _EPOCH) // self.length
        today = wall_at(at, self.zone).toordinal()
        # Just after clocks go back over midnight the wall still says yesterday, though today has begun.
        index = (today + 1 - _FIRST_MONDAY) // self.length.days
        while self._bound(index) > at:
            index -= 1
        return index


@lru_cache(maxsize=4096)  # a year of days for about ten zones
def _start_of_day(zone: ZoneInfo, ordinal: int) -> datetime:
    """The first instant of a date, in UTC."""
    return first_reached(datetime.fromordinal(ordinal), zone)


def wall_at(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the wall shows at an instant."""
    return instant.astimezone(zone).replace(tzinfo=None)


def showings(wall: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants, in UTC and in order, at which the wall shows this time: none, one or two."""
    candidates = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return tuple(sorted({instant for instant in candidates if wall_at(instant, zone) == wall}))


def first_reached(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant, in UTC, at which the wall shows this time or, where clocks jump over it, a later one."""
    after = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if wall_at(after, zone) == wall:
        return after
    # The jump lies between what the offsets after it (fold 1) and before it (fold 0) make of the time left out.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while after - before > _SECOND:
        middle = before + (after - before) // (2 * _SECOND) * _SECOND
        if wall_at(middle, zone) >= wall:
            after = middle
        else:
            before = middle
    return after


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
