"""Times as SQLite holds them: ISO 8601 texts, or seconds since 1970 as integers or floats.

A condition on the column narrows what is read, so that an index can serve it; which slice a row is in is decided here,
from the parsed value. Texts may part date and time by a blank or by `T`, leave out what is zero, and have fractions;
each of these sorts after the bound that it is compared with, and before the next one. A text with an offset other
than UTC does not sort by its instant: where a column has such texts, whole days around the span are read.

One column, one style: texts without a zone and with one, or texts and numbers, are refused. So is a column whose
index shows UTC at both ends when an offset turns up in between, rather than to miss its neighbours silently.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import compress
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.sql.expression import ColumnElement

from drift_monitor.core.schedule import Span
from drift_monitor.errors import FailureReason
from drift_monitor.sources.dialects.base import Failure, StatementRefused, StreamAxis, TimeAxis
from drift_monitor.sources.dialects.values import epoch_scale, epoch_units, from_wall_clock, wall_clock

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the origin of wall clocks too
MICROSECOND = timedelta(microseconds=1)
NOWHERE = np.iinfo(np.int64).min  # where NULL is: before every instant
DAY = timedelta(days=1)
UTC_SUFFIXES = ("Z", "+00:00")
OFFSETS = ("*[+-][0-9][0-9]:[0-9][0-9]", "*[+-][0-9][0-9][0-9][0-9]", "*[+-][0-9][0-9]")

NO_TIME = Failure(
    FailureReason.UNSUPPORTED_TYPE,
    "holds values that are neither ISO 8601 texts nor seconds, milli-, micro- or nanoseconds since 1970",
    "use a query that makes such a column",
)
MIXED = Failure(FailureReason.UNSUPPORTED_TYPE, "mixes times of several styles", "write all its times in one style")
NAIVE = Failure(
    FailureReason.NAIVE_TIME, "has times that do not say in which time zone", "set the source's `time_zone`"
)


def time_axis(probed: Sequence[Any], zone: ZoneInfo | None, *, longest: int, indexed: bool) -> TimeAxis | Failure:
    """How a column holds instants, from some of its values; the smallest and largest among them if it is indexed.

    `longest`: how long the longest of some more values is as a text.
    """
    if probed and all(isinstance(value, int | float) for value in probed):
        return EpochTime(epoch_scale(max(map(abs, probed))))
    if not all(isinstance(value, str) for value in probed):
        return MIXED if any(isinstance(value, int | float) for value in probed) else NO_TIME
    times = []
    for value in probed:
        with suppress(ValueError):  # one that can't be read is named where a window meets it
            times.append(_parsed(value))
    if probed and not times:
        return NO_TIME
    if len({at.tzinfo is None for at in times}) > 1:
        return MIXED
    if times and times[0].tzinfo is None:
        is_daily = longest == len("2026-03-01")
        return TextTime(zone, indexed=indexed, offsets=False, is_daily=is_daily) if zone is not None else NAIVE
    return TextTime(None, indexed=indexed, offsets=any(at.utcoffset() for at in times), is_daily=False)


@dataclass(frozen=True)
class EpochTime(StreamAxis):
    """Seconds since 1970 in UTC, or parts of them: `scale` is 1000 for milliseconds."""

    scale: int
    naive = False

    def within(self, time: ColumnElement[Any], span: Span) -> ColumnElement[bool]:
        return _between(time, epoch_units(span.start, self.scale), epoch_units(span.end, self.scale))

    def thresholds(self, instants: Sequence[datetime]) -> NDArray[np.int64]:
        return _microseconds([at.astimezone(UTC).replace(tzinfo=None) for at in instants])

    def positions(self, values: Sequence[Any]) -> NDArray[np.int64]:
        if not all(value is None or isinstance(value, int | float) for value in values):
            raise StatementRefused(MIXED)
        units = np.array(values, dtype=np.float64)  # None becomes NaN
        if self.scale > 1:
            held = np.abs(units) < 9e12 * self.scale
            return np.where(held, np.floor(np.where(held, units, 0.0) * 1e6 / self.scale).astype(np.int64), NOWHERE)
        seconds, held = units, np.abs(units) < 9e12  # beyond the calendar
        whole = np.floor(np.where(held, seconds, 0.0))
        fraction = np.minimum(np.floor((np.where(held, seconds, 0.0) - whole) * 1e6), 999_999.0)
        return np.where(held, whole.astype(np.int64) * 1_000_000 + fraction.astype(np.int64), NOWHERE)

    def at(self, position: int) -> datetime:
        return (EPOCH + position * MICROSECOND).replace(tzinfo=UTC)


@dataclass(frozen=True)
class TextTime(StreamAxis):
    """ISO 8601 texts; `zone` is the source's where they have none. `offsets`: some are not in UTC."""

    zone: ZoneInfo | None
    indexed: bool
    offsets: bool
    is_daily: bool

    @property
    def naive(self) -> bool:  # type: ignore[override]
        return self.zone is not None

    def within(self, time: ColumnElement[Any], span: Span) -> ColumnElement[bool]:
        start, end = self._wall(span.start), self._wall(span.end)
        around = _between(time, (start.date() - DAY).isoformat(), (end.date() + 2 * DAY).isoformat())
        if self.offsets:
            return around
        tight = sa.or_(*(_between(time, low, high) for low, high in text_ranges(start, end)))
        if self.indexed or self.naive:
            return tight
        # A text that ends with an offset does not sort by its instant; dates end so too, which costs a few rows more.
        shapes = (sa.bindparam(None, shape, sa.Text, unique=True) for shape in OFFSETS)
        return sa.or_(tight, sa.and_(around, sa.or_(*(time.op("GLOB")(shape) for shape in shapes))))

    def thresholds(self, instants: Sequence[datetime]) -> NDArray[np.int64]:
        return _microseconds([self._wall(at) for at in instants])

    def positions(self, values: Sequence[Any]) -> NDArray[np.int64]:
        present = [value is not None for value in values]
        if not all(present):
            positions = np.full(len(values), NOWHERE, dtype=np.int64)
            positions[present] = self.positions(list(compress(values, present)))
            return positions
        if not all(isinstance(text, str) for text in values):
            raise StatementRefused(MIXED)
        try:
            uniform = self._uniform(values)
            return uniform if uniform is not None else self._each(values)
        except ValueError as error:
            raise StatementRefused(NO_TIME) from error

    def at(self, position: int) -> datetime:
        wall = EPOCH + position * MICROSECOND
        return wall.replace(tzinfo=UTC) if self.zone is None else from_wall_clock(wall, self.zone)

    def _wall(self, instant: datetime) -> datetime:
        if self.zone is None:
            return instant.astimezone(UTC).replace(tzinfo=None)
        return wall_clock(instant, self.zone)

    def _uniform(self, texts: Sequence[str]) -> NDArray[np.int64] | None:
        """Positions by numpy where all texts have the shape of the first: full seconds or microseconds, no zone or UTC.

        None where they have not, or one is no time to numpy (the end of a day as 24:00): each is parsed by itself then.
        """
        first = texts[0] if texts else ""
        suffix = next((suffix for suffix in UTC_SUFFIXES if first.endswith(suffix)), "")
        width = len(first) - len(suffix)
        if (suffix == "") is not self.naive or width not in (19, 26) or set(map(len, texts)) != {len(first)}:
            return None
        if suffix and not all(text.endswith(suffix) for text in texts):
            return None
        try:
            return np.array(texts).astype(f"U{width}").astype("datetime64[us]").astype(np.int64)
        except ValueError:
            return None

    def _each(self, texts: Sequence[str]) -> NDArray[np.int64]:
        times = [_parsed(text) for text in texts]
        if any((at.tzinfo is None) is not self.naive for at in times):
            raise StatementRefused(MIXED)
        if self.naive:
            return _microseconds(times)
        if self.indexed and not self.offsets and any(at.utcoffset() for at in times):
            raise StatementRefused(MIXED)
        return _microseconds([at.astimezone(UTC).replace(tzinfo=None) for at in times])


def text_ranges(start: datetime, end: datetime) -> Iterator[tuple[str, str]]:
    """Ranges of texts that hold every spelling of the times from `start` to before `end`, and little else.

    `Z` sorts after `:` and `.`, so a text without seconds could sort after a bound that has them: the end is taken to
    be a full minute. A blank sorts before `T`, so all times of a day with a blank come before all with a `T`: days
    that are cut have a range for each, whole days between them have one.
    """
    if start.time() == time.min:  # and the end of the day before, written as 24:00
        evening = (start.date() - DAY).isoformat()
        yield from ((f"{evening} 24", f"{evening}!"), (f"{evening}T24", f"{evening}U"))
    minute = end.replace(second=0, microsecond=0)
    end = minute if minute == end else minute + timedelta(minutes=1)
    first, last = start.date(), end.date()
    if first == last:
        yield from _day_ranges(first, start.time(), end.time())
        return
    if start.time() != time.min:
        yield from _day_ranges(first, start.time(), None)
        first += DAY
    if first < last:
        yield first.isoformat(), last.isoformat()
    if end.time() != time.min:
        yield from _day_ranges(last, time.min, end.time())


def _day_ranges(day: date, start: time, end: time | None) -> Iterator[tuple[str, str]]:
    low = "" if start == time.min else _shortest(start)
    high = None if end is None else _shortest(end)
    text = day.isoformat()
    yield (f"{text} {low}" if low else text), (f"{text}!" if high is None else f"{text} {high}")
    yield f"{text}T{low}", (f"{text}U" if high is None else f"{text}T{high}")


def _shortest(at: time) -> str:
    """A time of day without the zeros at its end: no spelling of it sorts earlier."""
    if at.microsecond:
        return at.isoformat(timespec="microseconds").rstrip("0")
    if at.second:
        return at.isoformat(timespec="seconds")
    return at.isoformat(timespec="minutes") if at.minute else at.isoformat(timespec="hours")


def _between(value: ColumnElement[Any], low: str | float, high: str | float) -> ColumnElement[bool]:
    return sa.and_(value >= sa.bindparam(None, low, unique=True), value < sa.bindparam(None, high, unique=True))


def _parsed(text: str) -> datetime:
    if len(text) != 10 and (len(text) < 16 or text[10] not in " T"):
        raise ValueError("no date, nor a date and a time to the minute with a blank or T between them")
    if text[11:13] == "24":  # the end of a day, as ISO 8601 has it
        midnight = datetime.fromisoformat(f"{text[:11]}00{text[13:]}")
        if midnight.time() != time.min:
            raise ValueError("a time after the end of its day")
        return midnight + DAY
    return datetime.fromisoformat(text)


def _microseconds(walls: Sequence[datetime]) -> NDArray[np.int64]:
    return np.array([(wall - EPOCH) // MICROSECOND for wall in walls], dtype=np.int64)
