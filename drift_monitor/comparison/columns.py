"""Columns of pandas frames as values to be binned and counted, the way a source counts those of a database.

    missing   what pandas takes for missing: None, NA, NaT, and NaN. A float64 column can't tell NaN from NULL; the
              nullable types (Float64, double[pyarrow]) can, and there NaN that is not NA counts as `invalid`
    kind      by the dtype; of object columns by the values: truth values, numbers (decimals stay decimals), or texts
              and other names (bytes, UUIDs, enums, numbers among texts), which are labels. Category columns are
              labels whatever they hold
    refused   times, periods, intervals, complex numbers, lists: nothing here has bins for them

A column without any value has no kind. As a reference it has no bin but `missing`, and all that live holds is unseen.
"""

import datetime
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drift_monitor.core.binning import BooleanProfile, CategoricalProfile, NumericProfile, Profile
from drift_monitor.core.bins import BinSpec, BooleanBins, CategoricalBins, Kind, Number, NumericBins, ValueType
from drift_monitor.core.distribution import Histogram
from drift_monitor.errors import InputError
from drift_monitor.sources.dialects.values import INT64_MAX, INT64_MIN, float_edges, integer_edges, label_of, text_of

SAMPLED_ROWS = 50_000  # quantiles of so many rows are within half a per cent in rank
MOST_LABELS = 10_000  # labels that are remembered by name
_EXACT_FLOATS = 2**53  # integers up to here are floats, too
_NOTHING = CategoricalBins(())  # the bins of a reference without a value
_REFUSED: Sequence[Callable[[Any], bool]] = (
    pd.api.types.is_datetime64_any_dtype,
    pd.api.types.is_timedelta64_dtype,
    pd.api.types.is_complex_dtype,
    lambda dtype: isinstance(dtype, pd.PeriodDtype | pd.IntervalDtype),
)
# Which values are what, the first that fits: a truth value is an integer to Python, an enum may be anything.
_VALUE_TYPES: Sequence[tuple[tuple[type, ...], ValueType]] = (
    ((Enum, str, bytes, uuid.UUID), ValueType.TEXT),
    ((bool,), ValueType.BOOLEAN),
    ((int,), ValueType.INTEGER),
    ((float,), ValueType.FLOAT),
    ((Decimal,), ValueType.DECIMAL),
)

Tally = Sequence[tuple[Any, int]]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnValues:
    """The values of one column. `values`: int64, float64 or bool, or distinct Python values with their rows."""

    kind: Kind | None
    value_type: ValueType | None
    rows: int
    missing: int
    values: NDArray[Any] | Tally


def read_column(column: "pd.Series[Any]") -> ColumnValues:
    """The values of a frame's column. Raises InputError where they have no bins."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy()
        rows = np.bincount(codes[codes >= 0], minlength=len(column.cat.categories)).tolist()
        tally = [(value, count) for value, count in zip(column.cat.categories, rows, strict=True) if count]
        return _column(column, Kind.CATEGORICAL, ValueType.TEXT, tally)
    if any(refused(dtype) for refused in _REFUSED):
        raise InputError(f"values of type {dtype} have no bins")
    try:
        present = column.dropna()
    except InvalidOperation:  # not even pandas can ask a signaling NaN whether it is missing
        raise InputError("decimals that are signaling NaN can't be read") from None
    if pd.api.types.is_bool_dtype(dtype):
        kind, value_type, values = Kind.BOOLEAN, ValueType.BOOLEAN, present.to_numpy(dtype=np.bool_)
    elif pd.api.types.is_integer_dtype(dtype) and (present.empty or present.max() <= INT64_MAX):
        kind, value_type, values = Kind.NUMERIC, ValueType.INTEGER, present.to_numpy(dtype=np.int64)
    elif pd.api.types.is_float_dtype(dtype):
        kind, value_type, values = Kind.NUMERIC, ValueType.FLOAT, present.to_numpy(dtype=np.float64)
    else:
        return _read_objects(column, present)
    return _column(column, kind, value_type, values)


def profile(column: ColumnValues) -> Profile:
    """What binning needs to know of a reference column."""
    match column.kind:
        case Kind.NUMERIC:
            values, value_type = column.values, column.value_type or ValueType.FLOAT
            ends: tuple[Number | None, Number | None] = (None, None)
            if isinstance(values, np.ndarray):
                finite = values[np.isfinite(values)]
                if len(finite):
                    ends = (finite.min().item(), finite.max().item())
                sample: Sequence[Number] = _sampled(finite).tolist()
            else:
                numbers = [
                    (_exact(value, value_type), rows)
                    for value, rows in values
                    if (
                        isinstance(value, int)
                        or bool(np.isfinite(value) if isinstance(value, float) else value.is_finite())
                    )
                ]
                if numbers:
                    ends = (min(numbers)[0], max(numbers)[0])
                places = np.repeat(np.arange(len(numbers)), [rows for _, rows in numbers])
                sample = [numbers[place][0] for place in _sampled(places).tolist()]
            return NumericProfile(
                value_type=value_type, rows=column.rows, minimum=ends[0], maximum=ends[1], sample=sample
            )
        case Kind.BOOLEAN:
            return BooleanProfile(rows=column.rows)
        case _:
            labels = sorted(_labels(column).items(), key=lambda item: (-item[1], item[0]))
            complete = len(labels) <= MOST_LABELS
            return CategoricalProfile(rows=column.rows, labels=labels[:MOST_LABELS], complete=complete)


def count(column: ColumnValues, spec: BinSpec) -> Histogram:
    """The rows of every bin; they add up to the rows of the column."""
    match spec:
        case NumericBins():
            counts = _number_counts(column, spec)
        case CategoricalBins():
            counts = _label_counts(column, spec)
        case BooleanBins():
            counts = np.zeros(spec.size, dtype=np.int64)
            for value, rows in _tally(column.values):  # 0 and 1 are truth values, too
                is_truth = isinstance(value, int | float | Decimal) and value in (0, 1)
                counts[int(value) if is_truth else spec.invalid] += rows
    counts[spec.missing] += column.missing
    return Histogram(spec, counts)


def _column(
    column: "pd.Series[Any]", kind: Kind | None, value_type: ValueType | None, values: NDArray[Any] | Tally
) -> ColumnValues:
    present = len(values) if isinstance(values, np.ndarray) else sum(rows for _, rows in values)
    if not present:
        kind = value_type = None
    return ColumnValues(
        kind=kind, value_type=value_type, rows=len(column), missing=len(column) - present, values=values
    )


def _read_objects(column: "pd.Series[Any]", present: "pd.Series[Any]") -> ColumnValues:
    """An object, string or other column, by the types of its values."""
    values = [_plain(value) for value in present.astype(object).tolist()]
    types = set(map(type, values))
    classes = set(map(_value_type, types))
    distinct: Iterable[tuple[Any, int]]
    if len(types) == 1:
        distinct = Counter(values).items()
    else:  # 1, 1.0 and True are equal, and may be three labels
        distinct = ((value, rows) for (_, value), rows in Counter(zip(map(type, values), values, strict=True)).items())
    tally = list(distinct)
    return _column(column, *_kind_of(classes, tally), tally)


def _plain(value: Any) -> Any:
    """Numpy's numbers as Python's; a decimal NaN, which can't be hashed or compared, as a float."""
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    return float("nan") if isinstance(value, Decimal) and value.is_nan() else value


def _value_type(python_type: type) -> ValueType:
    """What values of a Python type are. Raises InputError where they have no bins."""
    for types, value_type in _VALUE_TYPES:
        if issubclass(python_type, types) and not issubclass(python_type, datetime.date):
            return value_type
    raise InputError(f"values of type {python_type.__name__} have no bins")


def _kind_of(classes: set[ValueType], tally: Tally) -> tuple[Kind | None, ValueType | None]:
    if not classes:
        return None, None
    if ValueType.TEXT in classes:
        return Kind.CATEGORICAL, ValueType.TEXT
    if classes == {ValueType.BOOLEAN}:
        return Kind.BOOLEAN, ValueType.BOOLEAN
    if classes <= {ValueType.BOOLEAN, ValueType.INTEGER}:
        return Kind.NUMERIC, ValueType.INTEGER
    inexact = any(isinstance(value, int) and abs(value) > _EXACT_FLOATS for value, _ in tally)
    return Kind.NUMERIC, ValueType.DECIMAL if ValueType.DECIMAL in classes or inexact else ValueType.FLOAT


def _exact(value: Number, value_type: ValueType) -> Number:
    """A number in the type of its column, without rounding."""
    match value_type:
        case ValueType.DECIMAL:
            return Decimal(value)
        case ValueType.INTEGER:
            return int(value)
        case _:
            return float(value)


def _sampled(values: NDArray[Any]) -> NDArray[Any]:
    """All of them, or a uniform sample; the same rows make the same sample."""
    if len(values) <= SAMPLED_ROWS:
        return values
    return np.random.default_rng(1).choice(values, SAMPLED_ROWS, replace=False, shuffle=False)


def _number_counts(column: ColumnValues, spec: NumericBins) -> Counts:
    values = column.values
    if not isinstance(values, np.ndarray):
        counts = np.zeros(spec.size, dtype=np.int64)
        for value, rows in values:
            # Python compares integers, floats and decimals exactly; what is no number is invalid.
            is_number = isinstance(value, int | float | Decimal) and not isinstance(value, Enum) and value == value
            counts[bisect_right(spec.edges, value) if is_number else spec.invalid] += rows
        return counts
    if values.dtype == np.float64:
        ordinals = np.searchsorted(np.array(float_edges(spec.edges)), values, side="right")
        ordinals[np.isnan(values)] = spec.invalid
    else:
        edges = [max(edge, INT64_MIN) for edge in integer_edges(spec.edges) if edge <= INT64_MAX]
        ordinals = np.searchsorted(np.array(edges, dtype=np.int64), values.astype(np.int64), side="right")
    return np.bincount(ordinals, minlength=spec.size).astype(np.int64)


def _label_counts(column: ColumnValues, spec: CategoricalBins) -> Counts:
    counts = np.zeros(spec.size, dtype=np.int64)
    if spec.id == _NOTHING.id:
        counts[spec.unseen] = column.rows - column.missing
        return counts
    for label, rows in _labels(column).items():
        counts[spec.ordinal(label)] += rows
    return counts


def _labels(column: ColumnValues) -> Mapping[str, int]:
    labels: Counter[str] = Counter()
    for value, rows in _tally(column.values):
        # As sources name it, too; what can't be stored or is too long is replaced.
        labels[text_of(str(label_of(value)).encode("utf-8", "replace"))] += rows
    return labels


def _tally(values: NDArray[Any] | Tally) -> Tally:
    if not isinstance(values, np.ndarray):
        return values
    distinct, rows = np.unique(values, return_counts=True)
    return list(zip(distinct.tolist(), rows.tolist(), strict=True))
