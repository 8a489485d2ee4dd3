"""From values to places on a chart, and the values worth a tick.

Divergences use a square root: they grow with the square of a shift, so equal steps of the axis are about equal shifts,
and a threshold of 0.05 stays readable beside a value of 5.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_STEPS = tuple(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672, 1344, 2688, 8064))
_EPOCH = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday, so that weekly ticks are Mondays
_MIN_GAP = 24.0  # between two ticks of a value axis
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class ValueScale:
    """[0, top] onto [bottom_y, top_y]; y grows downwards."""

    top: float
    bottom_y: float
    top_y: float
    is_root: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; what lies outside is drawn at the edge."""
        share = min(max(value / self.top, 0.0), 1.0) if self.top > 0 else 0.0
        share = math.sqrt(share) if self.is_root else share
        return self.bottom_y + share * (self.top_y - self.bottom_y)

    def ticks(self) -> tuple[float, ...]:
        """0 and round values, far enough apart to be read."""
        chosen: list[float] = []
        for value in self._candidates():
            apart = all(abs(self(value) - self(other)) >= _MIN_GAP for other in (*chosen, 0.0))
            if apart and value <= self.top:
                chosen.append(value)
        return (0.0, *sorted(chosen))

    def _candidates(self) -> Iterator[float]:
        if self.top <= 0 or not math.isfinite(self.top):
            return
        first = math.floor(math.log10(self.top))
        if not self.is_root:
            step = next(one for one in _round_steps(self.top) if self.top / one <= 5)
            yield from (step * count for count in range(1, 6))
            return
        for exponent in range(first, first - 3, -1):
            yield from (digit * 10.0**exponent for digit in (5, 2, 1))


def _round_steps(top: float) -> Iterator[float]:
    start = math.floor(math.log10(top)) - 1
    for exponent in range(start, start + 3):
        yield from (digit * 10.0**exponent for digit in (1, 2, 5))


@dataclass(frozen=True)
class TimeScale:
    """[start, end] onto [left, right]."""

    start: datetime
    end: datetime
    left: float
    right: float

    def __call__(self, at: datetime) -> float:
        """The place of a moment; what lies outside is drawn at the edge."""
        whole = max(self.end - self.start, timedelta(seconds=1))
        share = min(max((at - self.start) / whole, 0.0), 1.0)
        return self.left + share * (self.right - self.left)

    def ticks(self, most: int = 8) -> Sequence[tuple[datetime, str]]:
        """At most about so many round moments (UTC) with their labels."""
        length = self.end - self.start
        step = next((one for one in _STEPS if length / one <= most), _STEPS[-1])
        at = _EPOCH + math.ceil((self.start - _EPOCH) / step) * step
        found = []
        while at <= self.end:
            is_midnight = (at - _EPOCH) % _DAY == timedelta(0)
            found.append((at, f"{at.day} {at:%b}" if is_midnight else f"{at:%H:%M}"))
            at += step
        return found


def tick_text(value: float) -> str:
    """A tick's label."""
    return f"{value:.4g}"
