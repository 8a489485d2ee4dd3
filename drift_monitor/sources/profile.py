"""What binning needs to know of a feature before it can be counted, over one span or the whole table.

Numbers: exact smallest and largest finite value, and a uniform sample for quantiles. Labels: the most frequent ones
with exact counts, and whether that is all of them. All of it is bounded, whatever the table's size: quantiles of
50,000 rows are within half a per cent in rank, less than a divergence over 32 bins can see.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from drift_monitor.core.binning import BooleanProfile, CategoricalProfile, NumericProfile, Profile
from drift_monitor.core.bins import CategoricalBins, Kind, Number, ValueType
from drift_monitor.core.panes import Span
from drift_monitor.errors import FeatureError
from drift_monitor.sources.catalog import Catalog, value_of
from drift_monitor.sources.dataset import ColumnInfo, Counter, Dataset, FeatureColumn
from drift_monitor.sources.dialects.base import PushDialect
from drift_monitor.sources.elements import ResultRows
from drift_monitor.sources.failures import StatementRefused, feature_error
from drift_monitor.sources.observing import LabelObserver, NumberObserver, RowLottery
from drift_monitor.sources.queries import LabelPart, Scan, ends_statement, label_statement, sample_statement
from drift_monitor.sources.reading import Reader
from drift_monitor.sources.session import Session
from drift_monitor.sources.streaming import Placer, batches, stream_statement

SAMPLED_ROWS = 50_000
SAMPLED_CELLS = 8_000_000
FEWEST_SAMPLED_ROWS = 10_000
MOST_LABELS = 10_000

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
    def value(self) -> "sa.ColumnElement[Any]":
        return value_of(self.column)

    def numeric(self, rows: int, ends: Sequence[Number | None], sample: Any) -> NumericProfile:
        return NumericProfile(
            value_type=self.value_type,
            rows=rows,
            minimum=ends[0],
            maximum=ends[1],
            sample=sample,
            scale=self.info.scale,
        )


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
            ProfileRequest(column=one, info=info)
            for one in columns
            if isinstance(info := described[one.feature], ColumnInfo)
        ]
        scan = self._reader.scan(dataset, None if span is None else [span])
        rows = int(self._reader.read(dataset, [], None if span is None else [span]).rows.sum())
        size = self._session.dialect.features_per_statement
        for first in range(0, len(asked), size):
            found |= self._guarded(scan, asked[first : first + size], rows, _sampled_rows(len(asked)))
        return {one.feature: found[one.feature] for one in columns}

    def _guarded(self, scan: Scan, asked: Sequence[ProfileRequest], rows: int, sampled: int) -> Found:
        """Profile all; where that is refused, by halves, until the guilty feature stands alone."""
        try:
            return self._profiled(scan, asked, rows, sampled)
        except StatementRefused as refused:
            if len(asked) == 1:
                column = asked[0].column
                return {column.feature: feature_error(scan.dataset, column, refused.failure)}
        half = len(asked) // 2
        return {
            **self._guarded(scan, asked[:half], rows, sampled),
            **self._guarded(scan, asked[half:], rows, sampled),
        }

    def _profiled(self, scan: Scan, asked: Sequence[ProfileRequest], rows: int, sampled: int) -> Found:
        numbers = [one for one in asked if one.info.kind is Kind.NUMERIC]
        labelled = [one for one in asked if one.info.kind is Kind.CATEGORICAL]
        others = [one for one in asked if one.info.kind is Kind.BOOLEAN]
        dialect = self._session.dialect
        if isinstance(dialect, PushDialect):
            found = {
                **self._pushed_numbers(dialect, scan, numbers, rows, sampled),
                **self._pushed_labels(dialect, scan, labelled, rows),
            }
        else:
            found = self._streamed(scan, numbers, labelled, rows, sampled)
        return {**found, **{one.column.feature: BooleanProfile(rows=rows) for one in others}}

    def _pushed_numbers(
        self, dialect: PushDialect, scan: Scan, asked: Sequence[ProfileRequest], rows: int, sampled: int
    ) -> dict[str, Profile]:
        if not asked:
            return {}
        values = [(one.value, one.info) for one in asked]
        ends = self._session.run(ends_statement(dialect, scan, values), _only_row, many_rows=True)
        share = min(1.0, sampled / rows) if rows else 1.0
        statement = sample_statement(dialect, scan, [one.value for one in asked], share)
        samples = self._session.run(statement, lambda result: _samples(result, asked))
        return {
            one.column.feature: one.numeric(rows, ends[2 * number : 2 * number + 2], samples[number])
            for number, one in enumerate(asked)
        }

    def _pushed_labels(
        self, dialect: PushDialect, scan: Scan, asked: Sequence[ProfileRequest], rows: int
    ) -> dict[str, Profile]:
        if not asked:
            return {}
        parts = [LabelPart(_counter(one)) for one in asked]
        infos = {one.column.feature: one.info for one in asked}
        statement = label_statement(dialect, scan, parts, infos, MOST_LABELS + 1)
        found: list[list[tuple[str, int]]] = [[] for _ in asked]
        for part, label, count in self._session.run(statement, lambda result: result.fetchall(), many_rows=True):
            found[part].append((label, count))
        return {
            one.column.feature: _labels(rows, sorted(labels, key=lambda item: (-item[1], item[0])))
            for one, labels in zip(asked, found, strict=True)
        }

    def _streamed(
        self, scan: Scan, numbers: Sequence[ProfileRequest], labelled: Sequence[ProfileRequest], rows: int, sampled: int
    ) -> dict[str, Profile]:
        """One pass for all; a second one for features with more labels than can be counted at a time."""
        lottery = RowLottery(sampled)
        ranges = [NumberObserver(one.value_type) for one in numbers]
        labels = [LabelObserver() for _ in labelled]

        def observe(columns: Sequence[Sequence[Any]], size: int) -> None:
            draws = lottery.draw(size)
            for observer, values in zip(ranges, columns[: len(ranges)], strict=True):
                observer.add(values, draws, lottery.limit)
            for label_observer, values in zip(labels, columns[len(ranges) :], strict=True):
                label_observer.add(values)

        self._stream(scan, [*numbers, *labelled], observe)
        self._recount(scan, labelled, labels)
        found: dict[str, Profile] = {
            one.column.feature: one.numeric(rows, observer.ends, observer.sample)
            for one, observer in zip(numbers, ranges, strict=True)
        }
        for one, counted in zip(labelled, labels, strict=True):
            found[one.column.feature] = _labels(rows, counted.most_common(MOST_LABELS + 1))
        return found

    def _recount(self, scan: Scan, asked: Sequence[ProfileRequest], observers: Sequence[LabelObserver]) -> None:
        again = [(one, observer) for one, observer in zip(asked, observers, strict=True) if observer.overflown]
        if not again:
            return
        for _, observer in again:
            observer.start_again(MOST_LABELS + 1)

        def observe(columns: Sequence[Sequence[Any]], size: int) -> None:
            for (_, observer), values in zip(again, columns, strict=True):
                observer.add(values)

        self._stream(scan, [one for one, _ in again], observe)

    def _stream(self, scan: Scan, asked: Sequence[ProfileRequest], observe: Observe) -> None:
        def take(result: ResultRows) -> None:
            placer = Placer(scan)
            for batch in batches(result, len(asked) + 1):
                placed = placer.place(batch).rows
                if placed:
                    _, *columns = zip(*placed, strict=True)
                    observe(columns, len(placed))

        self._session.run(stream_statement(scan, [one.value for one in asked]), take)


def _sampled_rows(features: int) -> int:
    return max(FEWEST_SAMPLED_ROWS, min(SAMPLED_ROWS, SAMPLED_CELLS // max(1, features)))


def _counter(asked: ProfileRequest) -> Counter:
    column = asked.column
    spec = CategoricalBins(())
    return Counter(feature=column.feature, column=column.column, expression=column.expression, spec=spec)


def _labels(rows: int, labels: Sequence[tuple[str, int]]) -> CategoricalProfile:
    return CategoricalProfile(rows=rows, labels=labels[:MOST_LABELS], complete=len(labels) <= MOST_LABELS)


def _only_row(result: ResultRows) -> Sequence[Any]:
    return tuple(result.one())


def _samples(result: ResultRows, asked: Sequence[ProfileRequest]) -> list[Any]:
    """The finite values of each column, a batch at a time."""
    found: list[list[Any]] = [[] for _ in asked]
    for batch in batches(result, len(asked)):
        for one, values, column in zip(asked, found, zip(*batch, strict=True), strict=True):
            values.append(_finite(column, one.value_type))
    return [_joined(values, one.value_type) for values, one in zip(found, asked, strict=True)]


def _finite(values: Sequence[Any], value_type: ValueType) -> "NDArray[Any] | list[Decimal]":
    if value_type is ValueType.FLOAT:
        floats = np.array(values, dtype=np.float64)
        return floats[np.isfinite(floats)]
    present = [value for value in values if value is not None]
    if value_type is ValueType.INTEGER:
        return np.array(present, dtype=np.int64)
    return [value for value in present if value.is_finite()]


def _joined(parts: Sequence[Any], value_type: ValueType) -> Any:
    if value_type is ValueType.DECIMAL:
        return [value for part in parts for value in part]
    return np.concatenate(parts) if parts else np.empty(0)
