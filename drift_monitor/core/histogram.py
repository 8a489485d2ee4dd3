"""Histogram: integer counts over one bin spec. Counts are never probabilities: only smoothing makes a distribution."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from drift_monitor.core.bins import BinSpec
from drift_monitor.errors import InputError

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of one feature, aligned with `spec.bins`; shape (spec.size,), dtype int64, read-only."""

    spec: BinSpec
    counts: Counts

    def __post_init__(self) -> None:
        if self.counts.shape != (self.spec.size,):
            raise InputError(f"{self.counts.shape} counts do not fit a spec of {self.spec.size} bins")
        if self.counts.dtype != np.int64 or (self.counts < 0).any():
            raise InputError("counts must be whole numbers of rows, zero or more")
        self.counts.setflags(write=False)  # handed to threads and to several comparisons

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Histogram) and other.spec.id == self.spec.id and bool((other.counts == self.counts).all())
        )

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def rows(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def missing_rows(self) -> int:
        return int(self.counts[self.spec.missing])

    @cached_property
    def unknown_rows(self) -> int:
        """Rows outside everything the reference held: unseen labels, values below or above."""
        return int(self.counts[list(self.spec.unknown)].sum())

    def merge(self, other: "Histogram") -> "Histogram":
        """The counts of both together; refuses another spec, whose bins mean something else."""
        if other.spec.id != self.spec.id:
            raise InputError(f"histograms of different bin specs don't merge: {self.spec.id} and {other.spec.id}")
        return Histogram(self.spec, self.counts + other.counts)


def histogram(spec: BinSpec, counts: Sequence[int] | Counts) -> Histogram:
    """A histogram from any sequence of whole numbers."""
    return Histogram(spec, np.array(counts, dtype=np.int64))


def merge(spec: BinSpec, histograms: Iterable[Histogram]) -> Histogram:
    """All histograms as one; empty when there are none."""
    total = Histogram(spec, np.zeros(spec.size, dtype=np.int64))
    for part in histograms:
        total = total.merge(part)
    return total
