"""Rows in bounded batches become counts here, and no row is kept.

This is also the plainest statement of what counting means: a number belongs to the last edge that is not above it, in
the number's own type; a label to its ordinal; what is neither is invalid; NULL is missing.
"""

from collections import Counter as Multiset
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress, pairwise
from types import NoneType
from typing import Any, Protocol

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from drift_monitor.core.bins import BinSpec, BooleanBins, CategoricalBins, NumericBins
from drift_monitor.core.distribution import Counts
from drift_monitor.sources.dataset import Counter, Scan
from drift_monitor.sources.dialects.base import StatementRefused, StreamAxis
from drift_monitor.sources.dialects.elements import ResultRows
from drift_monitor.sources.dialects.values import (
    INT64_MAX,
    INT64_MIN,
    MARK,
    float_edges,
    integer_edges,
    label_of,
    truth_of,
)
from drift_monitor.sources.statements import SliceCounts

Ordinals = NDArray[np.int64]
Rows = Sequence[tuple[Any, ...]]

CELLS_PER_BATCH = 40_000  # values read at a time: few enough for the processor's cache, enough for numpy
LONGEST_BATCH = 5_000
MOST_FORMS, LONGEST_FORM = 3, 40  # of times that can't be read, in an error
MOST_CUTS = 4  # pieces of a batch that are worth counting one by one


def stream_statement(scan: Scan, values: Sequence["sa.ColumnElement[Any]"]) -> "sa.Select[Any]":
    """Rows of (time or NULL, value, ...), in no order."""
    timed = scan.axis is not None and scan.slices is not None
    time = scan.time if timed else sa.null()
    return scan.select([time.label("time"), *(value.label(f"v{number}") for number, value in enumerate(values))])


def batches(result: ResultRows, columns: int) -> Iterator[Rows]:
    """The rows of a result, a bounded number at a time, as the driver gives them."""
    cursor = result.cursor
    assert cursor is not None  # a SELECT has one until it is closed
    size = min(LONGEST_BATCH, max(1, CELLS_PER_BATCH // max(1, columns)))
    while rows := cursor.fetchmany(size):
        yield rows


def _form(value: Any) -> str:
    """How a value is written, without saying what it says."""
    if not isinstance(value, str):
        return type(value).__name__
    shape = "".join("9" if sign.isdigit() else "a" if sign.isalpha() else sign for sign in value[:LONGEST_FORM])
    return shape + (MARK if len(value) > LONGEST_FORM else "")


@dataclass(frozen=True)
class Placed:
    """Rows of a batch that are in a wanted slice, with its number and their position in time."""

    rows: Rows
    slices: NDArray[np.int64]
    positions: NDArray[np.int64]


class Placer:
    """Decides which slice a row is in; the statement's condition may have let through more."""

    def __init__(self, scan: Scan) -> None:
        self._column = scan.dataset.time_column
        self._refused: StatementRefused | None = None
        self._unread = Multiset[str]()  # times that can't be read, by their form
        self._axis = scan.axis if isinstance(scan.axis, StreamAxis) and scan.slices is not None else None
        if self._axis is not None and scan.slices is not None:
            self._thresholds = self._axis.thresholds(scan.slices.bounds)
            self._wanted = np.concatenate([[False], scan.slices.wanted, [False]])

    def place(self, rows: Rows) -> Placed:
        """The rows of one batch that count."""
        if self._axis is None:
            zeros = np.zeros(len(rows), dtype=np.int64)
            return Placed(rows, zeros, zeros)
        times = [row[0] for row in rows]
        try:
            positions = self._axis.positions(times)
        except StatementRefused as refused:  # the reading fails at its end, when all such rows are known
            self._refused = refused
            self._unread.update(_form(value) for value in times if not self._reads(value))
            return Placed([], np.empty(0, np.int64), np.empty(0, np.int64))
        slices = np.searchsorted(self._thresholds, positions, side="right")
        inside = self._wanted[slices]
        if inside.all():
            return Placed(rows, slices - 1, positions)
        return Placed(list(compress(rows, inside.tolist())), slices[inside] - 1, positions[inside])

    def finish(self) -> None:
        """Raise StatementRefused where times could not be read: a row that can't be placed may belong to any slice."""
        if self._refused is None:
            return
        found = self._refused.failure
        detail = f"time column {self._column!r} {found.detail}"
        if self._unread:
            forms = ", ".join(f"{form!r} ({count:,} rows)" for form, count in self._unread.most_common(MOST_FORMS))
            detail += f"; of the form {forms}, where 9 is a digit and a a letter"
        raise StatementRefused(replace(found, detail=detail)) from self._refused

    def _reads(self, value: Any) -> bool:
        assert self._axis is not None  # something was refused by it
        try:
            self._axis.positions([value])
        except StatementRefused:
            return False
        return True

    def instants(self, latest: NDArray[np.int64], rows: NDArray[np.int64]) -> list[Any]:
        """The newest instants of slices; None where there are no rows."""
        axis = self._axis
        if axis is None:
            return [None] * len(rows)
        return [axis.at(int(position)) if count else None for position, count in zip(latest, rows, strict=True)]


class StreamTally:
    """Counts per slice, growing batch by batch."""

    def __init__(self, scan: Scan, counters: Sequence[Counter]) -> None:
        self._placer = Placer(scan)
        self._rows = np.zeros(scan.size, dtype=np.int64)
        self._latest = np.full(scan.size, INT64_MIN, dtype=np.int64)
        self._counts = {of.feature: np.zeros((scan.size, of.spec.size), dtype=np.int64) for of in counters}
        self._binners = [(self._counts[counter.feature], binner(counter.spec)) for counter in counters]

    def take(self, result: ResultRows) -> SliceCounts:
        """Count a whole result."""
        for rows in batches(result, len(self._binners) + 1):
            placed = self._placer.place(rows)
            if placed.rows:
                self._add(placed)
        self._placer.finish()
        newest = self._placer.instants(self._latest, self._rows)
        return SliceCounts(rows=self._rows, newest=newest, counts=self._counts)

    def _add(self, placed: Placed) -> None:
        """Rows mostly come in the order of time: then a batch is cut where its slices change, and counted faster."""
        np.maximum.at(self._latest, placed.slices, placed.positions)
        cuts = (np.flatnonzero(np.diff(placed.slices)) + 1).tolist()
        if len(cuts) > MOST_CUTS:
            self._add_scattered(placed)
            return
        for first, last in pairwise([0, *cuts, len(placed.rows)]):
            number = int(placed.slices[first])
            self._rows[number] += last - first
            _, *columns = zip(*placed.rows[first:last], strict=True)
            for (counts, binned), values in zip(self._binners, columns, strict=True):
                counts[number] += binned.counts(values)

    def _add_scattered(self, placed: Placed) -> None:
        first, size = int(placed.slices.min()), int(np.ptp(placed.slices)) + 1
        local = placed.slices - first
        self._rows[first : first + size] += np.bincount(local, minlength=size)
        _, *columns = zip(*placed.rows, strict=True)
        for (counts, binned), values in zip(self._binners, columns, strict=True):
            bins = counts.shape[1]
            counted = np.bincount(local * bins + binned.ordinals(values), minlength=size * bins)
            counts[first : first + size] += counted.reshape(size, bins)


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
            known = {0: 0, 1: 1, None: spec.invalid}
            return _LookupBinner(spec.size, lambda value: spec.missing if value is None else known[truth_of(value)])


class _NumberBinner:
    """Floats are compared with floats and integers with integers, so that none is rounded."""

    def __init__(self, spec: NumericBins) -> None:
        integers = [max(edge, INT64_MIN) for edge in integer_edges(spec.edges) if edge <= INT64_MAX]
        self._spec = spec
        self._edges: Mapping[type, NDArray[Any]] = {
            float: np.array(float_edges(spec.edges), dtype=np.float64),
            int: np.array(integers, dtype=np.int64),
        }

    def ordinals(self, values: Sequence[Any]) -> Ordinals:
        kinds = list(map(type, values))
        if set(kinds) == {float}:
            return self._bins(values, float)
        ordinals = np.full(len(values), self._spec.invalid, dtype=np.int64)
        for kind in self._edges:
            if kind in kinds:
                mask = np.array([found is kind for found in kinds])
                ordinals[mask] = self._bins(list(compress(values, mask)), kind)
        if NoneType in kinds:
            ordinals[[found is NoneType for found in kinds]] = self._spec.missing
        return ordinals

    def _bins(self, values: Sequence[Any], kind: type) -> Ordinals:
        edges = self._edges[kind]
        numbers = np.array(values, dtype=edges.dtype)
        ordinals = np.searchsorted(edges, numbers, side="right")
        ordinals[np.isnan(numbers)] = self._spec.invalid
        return ordinals

    def counts(self, values: Sequence[Any]) -> Counts:
        kinds = list(map(type, values))
        if not set(kinds) <= {float, NoneType}:
            return np.bincount(self.ordinals(values), minlength=self._spec.size)
        numbers = np.array(values, dtype=np.float64)  # None becomes NaN, which sorts last
        numbers.sort()
        held = int(np.searchsorted(numbers, np.nan))
        starts = np.searchsorted(numbers[:held], self._edges[float])
        missing = kinds.count(NoneType)
        invalid = len(values) - held - missing
        return np.concatenate([np.diff(starts, prepend=0, append=held), [invalid, missing]])


@dataclass(frozen=True)
class _LookupBinner:
    """Asks once per distinct value of a batch. Numbers that are equal but of two types are told apart."""

    size: int
    ordinal: Callable[[Any], int]

    def ordinals(self, values: Sequence[Any]) -> Ordinals:
        find = self.ordinal
        if are_texts(values):
            find = {value: self.ordinal(value) for value in set(values)}.__getitem__
        return np.fromiter(map(find, values), dtype=np.int64, count=len(values))

    def counts(self, values: Sequence[Any]) -> Counts:
        if not are_texts(values):
            return np.bincount(self.ordinals(values), minlength=self.size)
        counts = np.zeros(self.size, dtype=np.int64)
        for value, rows in Multiset(values).items():
            counts[self.ordinal(value)] += rows
        return counts


def are_texts(values: Sequence[Any]) -> bool:
    """Whether values that are equal are the same: 1, 1.0 and True are not."""
    return set(map(type, values)) <= {str, NoneType}
