"""Panes and windows: half-open spans of time, and the grid that cuts time into panes.

Times are timezone-aware UTC datetimes everywhere. Panes tile the line: no instant is in two, none in none.

A wall time is what a zone's clock on the wall shows: a naive datetime. Most are shown once; none while clocks jump
over them; two times where clocks go back.

Panes shorter than a day count from 1970-01-01 00:00 UTC. Panes of whole days run from midnight to midnight of the
grid's zone, counted from Monday 1970-01-05, so that a week is Monday to Monday and a day of 23 or 25 hours is one pane.
Where clocks have no midnight because they jump over it, the day starts with its first instant; where they show midnight
twice, with the first of the two. A date that a zone left out (Samoa, 2011-12-30) is no pane.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from drift_monitor.errors import InputError

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)  # no zone changes its clocks between two full seconds
# Stored panes lie on bounds counted from here: another origin would make all of them strangers.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MONDAY = date(1970, 1, 5).toordinal()


@dataclass(frozen=True, order=True)
class Span:
    """The time from `start` (inside) to `end` (outside)."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise InputError(f"a span can't end ({self.end.isoformat()}) before it starts ({self.start.isoformat()})")


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
