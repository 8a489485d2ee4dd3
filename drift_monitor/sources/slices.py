"""Spans of time cut into slices that don't overlap, and instants as columns without a zone hold them.

A statement counts per slice; every span is a sum of slices. So spans may be apart, touch or overlap, and the bounds
are always made here: no database's calendar or session time zone has a say.

Wall-clock times. Where a column has no zone, a bound becomes the wall-clock time before which every row is earlier
than the bound. The hour that clocks repeat in autumn can't be told apart in such a column: its rows count as the
first of the two hours, and the second stays empty. Nothing is lost and nothing counted twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import TypeVar
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from drift_monitor.core.panes import Span

Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True)
class Slices:
    """The elementary slices of some spans: slice i is [bounds[i], bounds[i + 1])."""

    spans: tuple[Span, ...]

    @cached_property
    def bounds(self) -> tuple[datetime, ...]:
        instants = {instant.astimezone(UTC) for span in self.spans for instant in (span.start, span.end)}
        return tuple(sorted(instants))

    @property
    def size(self) -> int:
        return len(self.bounds) - 1

    @cached_property
    def runs(self) -> tuple[Span, ...]:
        """The time covered by any span, as spans that neither touch nor overlap, oldest first."""
        wanted = self.wanted
        runs: list[Span] = []
        for index, (start, end) in enumerate(pairwise(self.bounds)):
            if not wanted[index]:
                continue
            if runs and runs[-1].end == start:
                runs[-1] = Span(runs[-1].start, end)
            else:
                runs.append(Span(start, end))
        return tuple(runs)

    @cached_property
    def wanted(self) -> NDArray[np.bool_]:
        """Which slices belong to a span, shape (size,)."""
        wanted = np.zeros(self.size, dtype=np.bool_)
        for first, last in self._ranges:
            wanted[first:last] = True
        return wanted

    def fold(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts per slice, shape (size, ...), as counts per span, shape (len(spans), ...)."""
        return np.stack([counts[first:last].sum(axis=0) for first, last in self._ranges])

    def newest(self, instants: Sequence[datetime | None]) -> tuple[datetime | None, ...]:
        """The newest instant of each slice, as the newest of each span."""
        return tuple(
            max((one for one in instants[first:last] if one is not None), default=None) for first, last in self._ranges
        )

    @cached_property
    def _ranges(self) -> tuple[tuple[int, int], ...]:
        position = {instant: index for index, instant in enumerate(self.bounds)}
        return tuple((position[span.start.astimezone(UTC)], position[span.end.astimezone(UTC)]) for span in self.spans)


def wall_clock(instant: datetime, zone: ZoneInfo) -> datetime:
    """The earliest wall-clock time that no row before `instant` reaches; naive."""
    local = instant.astimezone(zone)
    if local.fold == 0:
        return local.replace(tzinfo=None)
    return _end_of_repeated_hour(instant, zone)


def from_wall_clock(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a wall-clock time, the first one where clocks showed it twice."""
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _end_of_repeated_hour(instant: datetime, zone: ZoneInfo) -> datetime:
    """The wall clock at the last moment before it was set back."""
    inside = instant.astimezone(UTC)
    repeated = inside.astimezone(zone)
    before = repeated.replace(fold=0).utcoffset() or timedelta()
    after = repeated.utcoffset() or timedelta()
    outside = inside - (before - after)
    while inside - outside > timedelta(seconds=1):
        middle = outside + (inside - outside) / 2
        if middle.astimezone(zone).utcoffset() == after:
            inside = middle
        else:
            outside = middle
    change = inside.replace(microsecond=0)  # zones change on whole seconds
    return (change + before).replace(tzinfo=None)
