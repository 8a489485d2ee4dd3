"""What binning needs to know of a feature before it can be counted, over one span or the whole table.

Numbers: exact smallest and largest finite value, and a uniform sample for quantiles. Labels: the most frequent ones
with exact counts, and whether that is all of them. All of it is bounded, whatever the table's size: quantiles of
50,000 rows are within half a per cent in rank, less than a divergence over 32 bins can see.
"""

import math
from collections import Counter as Multiset
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift_monitor.core.binning import BooleanProfile, CategoricalProfile, NumericProfile, Profile
from drift_monitor.core.bins import CategoricalBins, Kind, Number, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FeatureError
from drift_monitor.sources.catalog import Catalog
from drift_monitor.sources.dataset import Counter, Dataset, FeatureColumn, Scan, feature_error
from drift_monitor.sources.dialects.base import ColumnInfo, PushDialect, StatementRefused
from drift_monitor.sources.dialects.elements import ResultRows
from drift_monitor.sources.dialects.values import INT64_MAX, INT64_MIN, ceiling_float, floor_float, label_of
from drift_monitor.sources.reading import Reader
from drift_monitor.sources.session import Session
from drift_monitor.sources.statements import LabelPart, ends_statement, label_statement, sample_statement
from drift_monitor.sources.stream import Placer, are_texts, batches, stream_statement

SAMPLED_ROWS = 50_000  # quantiles of so many rows are within half a per cent in rank
SAMPLED_CELLS = 8_000_000  # of all features together, so that a wide table takes no more memory
FEWEST_SAMPLED_ROWS = 10_000
MOST_LABELS = 10_000

LARGEST_EXACT = 2**53  # from here on two integers may be the same float
# Labels counted at a time; beyond, the rarer half is let go, and the rest counted again in a second pass.
MOST_DISTINCT = 100_000

Found = Mapping[str, Profile | FeatureError]
Observe = Callable[[Sequence[Sequence[Any]], int], None]


@dataclass(frozen=True, kw_only=True)
class ProfileRequest:
    """One feature whose profile is wanted."""

    column: FeatureColumn
    info: ColumnInfo

    @property
    def value_type(self) -> ValueType:
        return self.info.value_type or ValueType.FLOAT

    @property
    def label_counter(self) -> Counter:
        """Counts its labels, none of them known yet."""
        column = self.column
        return Counter(
            feature=column.feature, column=column.column, expression=column.expression, spec=CategoricalBins(())
        )

    def numeric(
        self, rows: int, ends: Sequence[Number | None], sample: Any, value_type: ValueType | None = None
    ) -> NumericProfile:
        return NumericProfile(
            value_type=value_type or self.value_type,
            rows=rows,
            minimum=ends[0],
            maximum=ends[1],
            sample=sample,
            scale=self.info.scale,
            is_single=self.info.native == "float4",
        )


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
        self._fractions = False
        self._largest_integer = 0

    def add(self, values: Sequence[Any], draws: NDArray[np.float64], limit: float) -> None:
        """Look at a batch."""
        numbers, finite = self._numbers(values)
        chosen = finite & (draws < limit)
        self._values.append(numbers[chosen])
        self._draws.append(draws[chosen])
        if limit < self._limit:
            self._limit = limit
            kept = [draws < limit for draws in self._draws]
            self._values = [values[mask] for values, mask in zip(self._values, kept, strict=True)]
            self._draws = [draws[mask] for draws, mask in zip(self._draws, kept, strict=True)]

    @property
    def value_type(self) -> ValueType:
        """The column's type, or the one that its numbers have where that would take them for one another."""
        if not self._fractions and (self._type is ValueType.INTEGER or self._largest_integer > LARGEST_EXACT):
            return ValueType.INTEGER
        return ValueType.FLOAT

    @property
    def ends(self) -> tuple[Number | None, Number | None]:
        """The smallest and the largest finite number, never inside of them."""
        if self._smallest is None or self._largest is None or self.value_type is ValueType.INTEGER:
            return self._smallest, self._largest
        return floor_float(self._smallest), ceiling_float(self._largest)

    @property
    def sample(self) -> NDArray[Any]:
        """Finite numbers of that type."""
        if self.value_type is ValueType.FLOAT:
            return np.concatenate([values.astype(np.float64) for values in self._values] or [np.empty(0)])
        whole = [values if values.dtype.kind == "i" else [_whole(value) for value in values] for values in self._values]
        return np.concatenate([np.array(values, dtype=np.int64) for values in whole] or [np.empty(0, dtype=np.int64)])

    def _numbers(self, values: Sequence[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The values as numbers, and which of them are finite numbers at all."""
        types = set(map(type, values))
        if types == {int}:
            integers = np.array(values, dtype=np.int64)
            self._reach(int(integers.min()), int(integers.max()))
            return integers, np.ones(len(values), dtype=np.bool_)
        if types <= {float, NoneType}:
            numbers = np.array(values, dtype=np.float64)
            finite = np.isfinite(numbers)
        else:
            finite = np.array([type(value) in (int, float) and math.isfinite(value) for value in values])
            numbers = np.array([value if is_one else 0 for value, is_one in zip(values, finite, strict=True)], object)
        if finite.any():
            found = numbers[finite]
            self._reach(*(end if isinstance(end, int) else float(end) for end in (found.min(), found.max())))
            self._fractions = self._fractions or bool(np.any(found // 1 != found))
        return numbers, finite

    def _reach(self, low: Number, high: Number) -> None:
        self._smallest = low if self._smallest is None else min(self._smallest, low)
        self._largest = high if self._largest is None else max(self._largest, high)
        self._largest_integer = max([self._largest_integer, *(abs(end) for end in (low, high) if isinstance(end, int))])


def _whole(number: Number) -> int:
    return min(max(int(number), INT64_MIN), INT64_MAX)


class LabelObserver:
    """How often each label of one feature occurs; exact as long as `overflown` is False."""

    def __init__(self) -> None:
        self.overflown = False
        self._counts: Multiset[Any] = Multiset()
        self._candidates: frozenset[str] | None = None

    def add(self, values: Sequence[Any]) -> None:
        """Look at a batch."""
        counted = Multiset(values if are_texts(values) else map(label_of, values))
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


class Profiler:
    """Profiles features of one source."""

    def __init__(self, session: Session, catalog: Catalog, reader: Reader) -> None:
        self._session = session
        self._catalog = catalog
        self._reader = reader

    def profile(self, dataset: Dataset, columns: Sequence[FeatureColumn], span: Span | None) -> Found:
        """One profile a feature, or why there is none."""
        described = self._catalog.configured_features(dataset, columns)
        found: dict[str, Profile | FeatureError] = {
            feature: info for feature, info in described.items() if isinstance(info, FeatureError)
        }
        asked = [
            ProfileRequest(column=column, info=info)
            for column in columns
            if isinstance(info := described[column.feature], ColumnInfo)
        ]
        spans = None if span is None else [span]
        scan = self._reader.scan(dataset, spans)
        rows = int(self._reader.read(dataset, [], spans).rows.sum())
        sampled = max(FEWEST_SAMPLED_ROWS, min(SAMPLED_ROWS, SAMPLED_CELLS // max(1, len(asked))))
        size = self._session.dialect.features_per_statement
        for first in range(0, len(asked), size):
            found |= self._guarded(scan, asked[first : first + size], rows, sampled)
        return {column.feature: found[column.feature] for column in columns}

    def _guarded(self, scan: Scan, asked: Sequence[ProfileRequest], rows: int, sampled: int) -> Found:
        """Profile all; where that is refused, by halves, until the guilty feature stands alone."""
        try:
            numbers, labelled, others = (
                [request for request in asked if request.info.kind is kind]
                for kind in (Kind.NUMERIC, Kind.CATEGORICAL, Kind.BOOLEAN)
            )
            dialect = self._session.dialect
            if isinstance(dialect, PushDialect):
                found = {
                    **self._pushed_numbers(dialect, scan, numbers, rows, sampled),
                    **self._pushed_labels(dialect, scan, labelled, rows),
                }
            else:
                found = self._streamed(scan, numbers, labelled, rows, sampled)
            return {**found, **{request.column.feature: BooleanProfile(rows=rows) for request in others}}
        except StatementRefused as refused:
            if len(asked) == 1:
                column = asked[0].column
                return {column.feature: feature_error(scan.dataset, column, refused.failure)}
        half = len(asked) // 2
        return {
            **self._guarded(scan, asked[:half], rows, sampled),
            **self._guarded(scan, asked[half:], rows, sampled),
        }

    def _pushed_numbers(
        self, dialect: PushDialect, scan: Scan, asked: Sequence[ProfileRequest], rows: int, sampled: int
    ) -> dict[str, Profile]:
        if not asked:
            return {}
        values = [(request.column.value, request.info) for request in asked]
        ends_of_all = ends_statement(dialect, scan, values)
        ends = self._session.run(ends_of_all, lambda result: tuple(result.one()), many_rows=True)
        share = min(1.0, sampled / rows) if rows else 1.0
        statement = sample_statement(dialect, scan, values, share)
        samples = self._session.run(statement, lambda result: _samples(result, asked))
        return {
            request.column.feature: request.numeric(rows, ends[2 * number : 2 * number + 2], samples[number])
            for number, request in enumerate(asked)
        }

    def _pushed_labels(
        self, dialect: PushDialect, scan: Scan, asked: Sequence[ProfileRequest], rows: int
    ) -> dict[str, Profile]:
        if not asked:
            return {}
        parts = [LabelPart(request.label_counter) for request in asked]
        infos = {request.column.feature: request.info for request in asked}
        statement = label_statement(dialect, scan, parts, infos, MOST_LABELS + 1)
        found: list[list[tuple[str, int]]] = [[] for _ in asked]
        for part, label, count in self._session.run(statement, lambda result: result.fetchall(), many_rows=True):
            found[part].append((label, count))
        return {
            request.column.feature: _labels(rows, sorted(labels, key=lambda item: (-item[1], item[0])))
            for request, labels in zip(asked, found, strict=True)
        }

    def _streamed(
        self, scan: Scan, numbers: Sequence[ProfileRequest], labelled: Sequence[ProfileRequest], rows: int, sampled: int
    ) -> dict[str, Profile]:
        """One pass for all; a second one for features with more labels than can be counted at a time."""
        lottery = RowLottery(sampled)
        ranges = [NumberObserver(request.value_type) for request in numbers]
        labels = [LabelObserver() for _ in labelled]

        def observe(columns: Sequence[Sequence[Any]], size: int) -> None:
            draws = lottery.draw(size)
            for observer, values in zip(ranges, columns[: len(ranges)], strict=True):
                observer.add(values, draws, lottery.limit)
            for label_observer, values in zip(labels, columns[len(ranges) :], strict=True):
                label_observer.add(values)

        self._stream(scan, [*numbers, *labelled], observe)
        again = [(of, counted) for of, counted in zip(labelled, labels, strict=True) if counted.overflown]
        for _, counted in again:
            counted.start_again(MOST_LABELS + 1)

        def recount(columns: Sequence[Sequence[Any]], size: int) -> None:
            for (_, counted), values in zip(again, columns, strict=True):
                counted.add(values)

        if again:
            self._stream(scan, [request for request, _ in again], recount)
        found: dict[str, Profile] = {
            request.column.feature: request.numeric(rows, observer.ends, observer.sample, observer.value_type)
            for request, observer in zip(numbers, ranges, strict=True)
        }
        for request, counted in zip(labelled, labels, strict=True):
            found[request.column.feature] = _labels(rows, counted.most_common(MOST_LABELS + 1))
        return found

    def _stream(self, scan: Scan, asked: Sequence[ProfileRequest], observe: Observe) -> None:
        def take(result: ResultRows) -> None:
            placer = Placer(scan)
            for batch in batches(result, len(asked) + 1):
                placed = placer.place(batch).rows
                if placed:
                    _, *columns = zip(*placed, strict=True)
                    observe(columns, len(placed))
            placer.finish()

        self._session.run(stream_statement(scan, [request.column.value for request in asked]), take)


def _labels(rows: int, labels: Sequence[tuple[str, int]]) -> CategoricalProfile:
    return CategoricalProfile(rows=rows, labels=labels[:MOST_LABELS], complete=len(labels) <= MOST_LABELS)


def _samples(result: ResultRows, asked: Sequence[ProfileRequest]) -> list[Any]:
    """The finite values of each column, a batch at a time; decimals as they are, others as an array."""
    found: list[list[Any]] = [[] for _ in asked]
    for batch in batches(result, len(asked)):
        for request, values, column in zip(asked, found, zip(*batch, strict=True), strict=True):
            values.append(_finite(column, request.value_type))
    return [
        [value for part in parts for value in part]
        if request.value_type is ValueType.DECIMAL
        else np.concatenate(parts or [np.empty(0)])
        for parts, request in zip(found, asked, strict=True)
    ]


def _finite(values: Sequence[Any], value_type: ValueType) -> "NDArray[Any] | list[Decimal]":
    if value_type is ValueType.FLOAT:
        floats = np.array(values, dtype=np.float64)
        return floats[np.isfinite(floats)]
    present = [value for value in values if value is not None]
    if value_type is ValueType.INTEGER:
        return np.array(present, dtype=np.int64)
    return [value for value in present if value.is_finite()]
