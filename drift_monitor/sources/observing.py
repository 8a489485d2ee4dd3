"""What streamed rows tell of their features, in bounded memory: range and sample of numbers, counts of labels."""

import math
from collections import Counter as Multiset
from collections.abc import Sequence
from itertools import compress
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift_monitor.core.bins import Number, ValueType
from drift_monitor.sources.edges import INT64_MAX, INT64_MIN, ceiling_float, floor_float
from drift_monitor.sources.labels import label_of

MOST_DISTINCT = 100_000
"""Labels counted at a time; beyond, the rarer half is let go, and the rest counted again in a second pass."""


class RowLottery:
    """Which rows of a stream are in a uniform sample, without knowing how many there will be.

    Every row draws a number; rows below a limit are in; when there are too many, the limit is halved. The generator is
    seeded, so that the same rows in the same order make the same sample.
    """

    def __init__(self, target: int) -> None:
        self.limit = 1.0
        self._kept = np.empty(0)
        self._target = target
        self._random = np.random.default_rng(1)

    def draw(self, rows: int) -> NDArray[np.float64]:
        """The draws of the next rows; `limit` holds for them and for all before."""
        draws = self._random.random(rows)
        self._kept = np.concatenate([self._kept, draws[draws < self.limit]])
        while self._kept.size > 2 * self._target:
            self.limit /= 2
            self._kept = self._kept[self._kept < self.limit]
        return draws


class NumberObserver:
    """The range and a sample of one feature's finite numbers."""

    def __init__(self, value_type: ValueType) -> None:
        self._type = value_type
        self._smallest: Number | None = None
        self._largest: Number | None = None
        self._values: list[NDArray[Any]] = []
        self._draws: list[NDArray[np.float64]] = []
        self._limit = 1.0

    def add(self, values: Sequence[Any], draws: NDArray[np.float64], limit: float) -> None:
        """Look at a batch."""
        numbers, finite = self._numbers(values)
        chosen = finite & (draws < limit)
        self._values.append(numbers[chosen])
        self._draws.append(draws[chosen])
        if limit < self._limit:
            self._limit = limit
            kept = [draws < limit for draws in self._draws]
            self._values = [one[mask] for one, mask in zip(self._values, kept, strict=True)]
            self._draws = [one[mask] for one, mask in zip(self._draws, kept, strict=True)]

    @property
    def ends(self) -> tuple[Number | None, Number | None]:
        """The smallest and the largest finite number, in the column's type and never inside of them."""
        return self._smallest, self._largest

    @property
    def sample(self) -> NDArray[Any]:
        """Finite numbers of the column's type."""
        kind = np.int64 if self._type is ValueType.INTEGER else np.float64
        return np.concatenate(self._values) if self._values else np.empty(0, dtype=kind)

    def _numbers(self, values: Sequence[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The values as numbers of the column's type, and which of them are finite numbers at all."""
        types = set(map(type, values))
        if types == {int} and self._type is ValueType.INTEGER:
            integers = np.array(values, dtype=np.int64)
            self._reach(int(integers.min()), int(integers.max()))
            return integers, np.ones(len(values), dtype=np.bool_)
        if types <= {float, NoneType} and self._type is not ValueType.INTEGER:
            floats = np.array(values, dtype=np.float64)
            finite = np.isfinite(floats)
            if finite.any():
                self._reach(
                    float(floats.min(where=finite, initial=math.inf)),
                    float(floats.max(where=finite, initial=-math.inf)),
                )
            return floats, finite
        return self._mixed(values)

    def _mixed(self, values: Sequence[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Integers among floats and floats among integers: the range is rounded outwards."""
        finite = np.array([type(value) in (int, float) and math.isfinite(value) for value in values])
        numbers = list(compress(values, finite))
        whole = self._type is ValueType.INTEGER
        if numbers:
            down, up = (math.floor, math.ceil) if whole else (floor_float, ceiling_float)
            self._reach(down(min(numbers)), up(max(numbers)))
        found = np.zeros(len(values), dtype=np.int64 if whole else np.float64)
        found[finite] = [min(max(math.floor(one), INT64_MIN), INT64_MAX) for one in numbers] if whole else numbers
        return found, finite

    def _reach(self, low: Number, high: Number) -> None:
        self._smallest = low if self._smallest is None else min(self._smallest, low)
        self._largest = high if self._largest is None else max(self._largest, high)


class LabelObserver:
    """How often each label of one feature occurs; exact as long as `overflown` is False."""

    def __init__(self) -> None:
        self.overflown = False
        self._counts: Multiset[Any] = Multiset()
        self._candidates: frozenset[str] | None = None

    def add(self, values: Sequence[Any]) -> None:
        """Look at a batch."""
        plain = set(map(type, values)) <= {str, type(None)}
        counted = Multiset(values if plain else map(label_of, values))
        counted.pop(None, None)
        if self._candidates is not None:
            counted = Multiset({label: rows for label, rows in counted.items() if label in self._candidates})
        self._counts.update(counted)
        if len(self._counts) > MOST_DISTINCT:
            self.overflown = True
            self._counts = Multiset(dict(self._counts.most_common(MOST_DISTINCT // 2)))

    def start_again(self, most: int) -> None:
        """Count only the most frequent labels so far, from the first row."""
        self._candidates = frozenset(label for label, _ in self.most_common(most))
        self._counts = Multiset()

    def most_common(self, most: int) -> list[tuple[str, int]]:
        """The most frequent labels, ties by label."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:most]
