"""Result rows of a counting statement become counts per span, and must add up."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift_monitor.core.histogram import Counts
from drift_monitor.errors import InconsistentCounts
from drift_monitor.sources.dataset import Counter, Dataset
from drift_monitor.sources.queries import ALL_ROWS, NAMED, LabelPart, PackedPart, Part


@dataclass(frozen=True, kw_only=True)
class SliceCounts:
    """Counts per slice: all rows, shape (S,); the newest time of each; by feature, shape (S, spec.size)."""

    rows: NDArray[np.int64]
    newest: Sequence[datetime | None]
    counts: Mapping[str, Counts]


def tally(
    result: Iterable[Sequence[Any]], parts: Sequence[Part], size: int, instant: Callable[[Any], datetime | None]
) -> SliceCounts:
    """The counts in rows of (slice, part, bin, label, rows, newest) for `size` slices, numbered from 1."""
    totals = np.zeros(size, dtype=np.int64)
    newest: list[datetime | None] = [None] * size
    cells: list[list[tuple[int, int, int]]] = [[] for _ in parts]
    for slice_number, part_number, key, label, rows, latest in result:
        if part_number == ALL_ROWS:
            totals[slice_number - 1], newest[slice_number - 1] = rows, instant(latest)
        else:
            cells[part_number].append((*_cell(parts[part_number], slice_number, key, label), rows))
    counts: dict[str, Counts] = {}
    for part, found in zip(parts, cells, strict=True):
        counts |= _part_counts(part, found, size)
    return SliceCounts(rows=totals, newest=newest, counts=counts)


def check_totals(dataset: Dataset, rows: NDArray[np.int64], counts: Mapping[str, Counts]) -> None:
    """Every row of a slice is in one bin of each feature; raises InconsistentCounts where that is not so."""
    for feature, binned in counts.items():
        wrong = np.flatnonzero(binned.sum(axis=1) != rows)
        if wrong.size:
            found, expected = int(binned[wrong[0]].sum()), int(rows[wrong[0]])
            raise InconsistentCounts(
                f"monitor {dataset.monitor!r}, feature {feature!r}: {found} rows in its bins, {expected} in {dataset}; "
                "the reading is thrown away and will be tried again"
            )


def _cell(part: Part, slice_number: int | None, key: int, label: str | None) -> tuple[int, int]:
    """The slice, from 0, and the bin of a group. Numbered parts of several slices have the slice in their key."""
    if slice_number is None and isinstance(part, PackedPart):
        return key // part.size - 1, key % part.size
    if isinstance(part, LabelPart) and key == NAMED:
        key = part.counter.spec.ordinals[label]  # type: ignore[union-attr, index]
    return (slice_number or 1) - 1, key


def _part_counts(part: Part, cells: Sequence[tuple[int, int, int]], size: int) -> Mapping[str, Counts]:
    table = np.array(cells, dtype=np.int64).reshape(-1, 3)
    slices, keys, rows = table.T
    if isinstance(part, LabelPart):
        return {part.counter.feature: _counts(part.counter, slices, keys, rows, size)}
    counts = {}
    for counter in reversed(part.counters):
        counts[counter.feature] = _counts(counter, slices, keys % counter.spec.size, rows, size)
        keys = keys // counter.spec.size
    return counts


def _counts(
    counter: Counter,
    slices: NDArray[np.int64],
    bins: NDArray[np.int64],
    rows: NDArray[np.int64],
    size: int,
) -> Counts:
    counts = np.zeros((size, counter.spec.size), dtype=np.int64)
    np.add.at(counts, (slices, bins), rows)
    return counts
