"""Rows in bounded batches become counts, and no row is kept.

This is also the plainest statement of what counting means: a number belongs to the last edge that is not above it, in
the number's own type; a label to its ordinal; what is neither is invalid; NULL is missing.
"""

from collections import Counter as Multiset
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, pairwise
from types import NoneType
from typing import Any, Protocol

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from drift_monitor.core.bins import BinSpec, BooleanBins, CategoricalBins, NumericBins
from drift_monitor.core.histogram import Counts
from drift_monitor.sources.catalog import value_of
from drift_monitor.sources.dataset import Counter
from drift_monitor.sources.dialects.base import StreamAxis
from drift_monitor.sources.edges import INT64_MAX, INT64_MIN, float_edges, integer_edges
from drift_monitor.sources.elements import ResultRows
from drift_monitor.sources.failures import StatementRefused
from drift_monitor.sources.labels import label_of
from drift_monitor.sources.queries import Scan
from drift_monitor.sources.rows import SliceCounts

Ordinals = NDArray[np.int64]

CELLS_PER_BATCH = 40_000
"""Values read at a time: few enough for the processor's cache, enough for numpy."""

LONGEST_BATCH = 5_000

MOST_CUTS = 4
"""Pieces of a batch that are worth counting one by one."""


def stream_statement(scan: Scan, values: Sequence["sa.ColumnElement[Any]"]) -> "sa.Select[Any]":
    """Rows of (time or NULL, value, ...), in no order."""
    timed = scan.axis is not None and scan.slices is not None
    time = scan.time if timed else sa.null()
    return scan.select([time.label("time"), *(value.label(f"v{number}") for number, value in enumerate(values))])


def batches(result: ResultRows, columns: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows of a result, a bounded number at a time, as the driver gives them."""
    cursor = result.cursor
    assert cursor is not None  # a SELECT has one until it is closed
    size = min(LONGEST_BATCH, max(1, CELLS_PER_BATCH // max(1, columns)))
    while rows := cursor.fetchmany(size):
        yield rows


@dataclass
class StreamTally:
    """Counts per slice, growing batch by batch."""

    scan: Scan
    counters: Sequence[Counter]
    binners: Sequence["Binner"] = field(init=False)

    def __post_init__(self) -> None:
        slices = self.scan.slices
        self.size = slices.size if slices is not None else 1
        self.rows = np.zeros(self.size, dtype=np.int64)
        self.latest = np.full(self.size, INT64_MIN, dtype=np.int64)
        self.counts = {one.feature: np.zeros((self.size, one.spec.size), dtype=np.int64) for one in self.counters}
        self.binners = [binner(one.spec) for one in self.counters]

    def take(self, result: ResultRows) -> SliceCounts:
        """Count a whole result."""
        placer = Placer(self.scan)
        for rows in batches(result, len(self.counters) + 1):
            self._add(placer.place(rows))
        newest = placer.instants(self.latest, self.rows)
        return SliceCounts(rows=self.rows, newest=newest, counts=self.counts)

    def _add(self, placed: "Placed") -> None:
        """Rows mostly come in the order of time: then a batch is cut where its slices change."""
        if not placed.rows:
            return
        np.maximum.at(self.latest, placed.slices, placed.positions)
        cuts = (np.flatnonzero(np.diff(placed.slices)) + 1).tolist()
        if len(cuts) > MOST_CUTS:
            self._add_scattered(placed.rows, placed.slices)
            return
        for first, last in pairwise([0, *cuts, len(placed.rows)]):
            self._add_slice(placed.rows[first:last], int(placed.slices[first]))

    def _add_slice(self, rows: Sequence[tuple[Any, ...]], number: int) -> None:
        self.rows[number] += len(rows)
        _, *columns = zip(*rows, strict=True)
        for counter, binned, values in zip(self.counters, self.binners, columns, strict=True):
            self.counts[counter.feature][number] += binned.counts(values)

    def _add_scattered(self, rows: Sequence[tuple[Any, ...]], slices: NDArray[np.int64]) -> None:
        first, size = int(slices.min()), int(np.ptp(slices)) + 1
        local = slices - first
        self.rows[first : first + size] += np.bincount(local, minlength=size)
        _, *columns = zip(*rows, strict=True)
        for counter, binned, values in zip(self.counters, self.binners, columns, strict=True):
            keys = local * counter.spec.size + binned.ordinals(values)
            counted = np.bincount(keys, minlength=size * counter.spec.size)
            self.counts[counter.feature][first : first + size] += counted.reshape(size, counter.spec.size)


@dataclass(frozen=True)
class Placed:
    """Rows of a batch that are in a wanted slice, with its number and their position in time."""

    rows: Sequence[tuple[Any, ...]]
    slices: NDArray[np.int64]
    positions: NDArray[np.int64]


class Placer:
    """Decides which slice a row is in; the statement's condition may have let through more."""

    def __init__(self, scan: Scan) -> None:
        self._column = scan.dataset.time_column
        self._axis = scan.axis if isinstance(scan.axis, StreamAxis) and scan.slices is not None else None
        if self._axis is not None and scan.slices is not None:
            self._thresholds = self._axis.thresholds(scan.slices.bounds)
            self._wanted = np.concatenate([[False], scan.slices.wanted, [False]])

    def place(self, rows: Sequence[tuple[Any, ...]]) -> Placed:
        """The rows of one batch that count."""
        if self._axis is None:
            zeros = np.zeros(len(rows), dtype=np.int64)
            return Placed(rows, zeros, zeros)
        positions = self._positions(self._axis, [row[0] for row in rows])
        slices = np.searchsorted(self._thresholds, positions, side="right")
        inside = self._wanted[slices]
        if inside.all():
            return Placed(rows, slices - 1, positions)
        return Placed(list(compress(rows, inside.tolist())), slices[inside] - 1, positions[inside])

    def _positions(self, axis: StreamAxis, values: Sequence[Any]) -> NDArray[np.int64]:
        try:
            return axis.positions(values)
        except StatementRefused as refused:
            detail = f"time column {self._column!r} {refused.failure.detail}"
            raise StatementRefused(replace(refused.failure, detail=detail)) from refused

    def instants(self, latest: NDArray[np.int64], rows: NDArray[np.int64]) -> list[Any]:
        """The newest instants of slices; None where there are no rows."""
        axis = self._axis
        if axis is None:
            return [None] * len(rows)
        return [axis.at(int(one)) if count else None for one, count in zip(latest, rows, strict=True)]


class Binner(Protocol):
    """Puts values, as a driver gives them, into the bins of one spec."""

    def ordinals(self, values: Sequence[Any]) -> Ordinals:
        """The bin of each value."""

    def counts(self, values: Sequence[Any]) -> Counts:
        """How many values are in each bin: the same, faster."""


def binner(spec: BinSpec) -> Binner:
    """The binner of a spec."""
    match spec:
        case NumericBins():
            return _NumberBinner(spec)
        case CategoricalBins():
            return _LookupBinner(spec.size, lambda value: spec.ordinal(label_of(value)))
        case BooleanBins():
            known: Mapping[Any, int] = {0: 0, 1: 1, None: spec.missing}
            return _LookupBinner(spec.size, lambda value: known.get(value, spec.invalid))


class _NumberBinner:
    """Floats are compared with floats and integers with integers, so that none is rounded."""

    def __init__(self, spec: NumericBins) -> None:
        integers = [edge for edge in integer_edges(spec.edges) if edge <= INT64_MAX]
        self._spec = spec
        self._float_edges = np.array(float_edges(spec.edges), dtype=np.float64)
        self._integer_edges = np.array([max(edge, INT64_MIN) for edge in integers], dtype=np.int64)

    def ordinals(self, values: Sequence[Any]) -> Ordinals:
        kinds = list(map(type, values))
        if set(kinds) == {float}:
            return self._float_ordinals(values)
        ordinals = np.full(len(values), self._spec.invalid, dtype=np.int64)
        for kind, of_kind in ((float, self._float_ordinals), (int, self._integer_ordinals)):
            if kind in kinds:
                mask = np.array([one is kind for one in kinds])
                ordinals[mask] = of_kind(list(compress(values, mask)))
        if NoneType in kinds:
            ordinals[[one is NoneType for one in kinds]] = self._spec.missing
        return ordinals

    def counts(self, values: Sequence[Any]) -> Counts:
        kinds = list(map(type, values))
        if not set(kinds) <= {float, NoneType}:
            return np.bincount(self.ordinals(values), minlength=self._spec.size)
        numbers = np.array(values, dtype=np.float64)  # None becomes NaN, which sorts last
        numbers.sort()
        held = int(np.searchsorted(numbers, np.nan))
        starts = np.searchsorted(numbers[:held], self._float_edges)
        missing = kinds.count(NoneType)
        invalid = len(values) - held - missing
        return np.concatenate([np.diff(starts, prepend=0, append=held), [invalid, missing]])

    def _integer_ordinals(self, values: Sequence[int]) -> Ordinals:
        return np.searchsorted(self._integer_edges, np.array(values, dtype=np.int64), side="right")

    def _float_ordinals(self, values: Sequence[float]) -> Ordinals:
        numbers = np.array(values, dtype=np.float64)
        ordinals = np.searchsorted(self._float_edges, numbers, side="right")
        ordinals[np.isnan(numbers)] = self._spec.invalid
        return ordinals


@dataclass(frozen=True)
class _LookupBinner:
    """Asks once per distinct value of a batch. Numbers that are equal but of two types are told apart."""

    size: int
    ordinal: Callable[[Any], int]

    def ordinals(self, values: Sequence[Any]) -> Ordinals:
        if not self._plain(values):
            return np.fromiter(map(self.ordinal, values), dtype=np.int64, count=len(values))
        known = {value: self.ordinal(value) for value in set(values)}
        return np.fromiter(map(known.__getitem__, values), dtype=np.int64, count=len(values))

    def counts(self, values: Sequence[Any]) -> Counts:
        if not self._plain(values):
            return np.bincount(self.ordinals(values), minlength=self.size)
        counts = np.zeros(self.size, dtype=np.int64)
        for value, rows in Multiset(values).items():
            counts[self.ordinal(value)] += rows
        return counts

    def _plain(self, values: Sequence[Any]) -> bool:
        return set(map(type, values)) <= {str, NoneType}


def value_columns(counters: Sequence[Counter]) -> list["sa.ColumnElement[Any]"]:
    """The SQL of the counters' values."""
    return [value_of(one.target) for one in counters]
