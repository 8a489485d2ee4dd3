"""Make a bin spec from a profile of the reference: quantiles with tail edges, uniform, explicit edges, top labels.

A profile is what a source says of a feature before it can be counted. The sample may be small; `minimum` and
`maximum` are exact, so that `below` and `above` mean outside everything the reference held.
"""

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, ROUND_FLOOR, Context, Decimal
from fractions import Fraction

import numpy as np

from drift_monitor.core.bins import BinSpec, BooleanBins, CategoricalBins, Number, NumericBins, ValueType
from drift_monitor.errors import InputError


@dataclass(frozen=True, kw_only=True)
class NumericProfile:
    """Reference values of a numeric feature.

    `sample`: finite values of the column's own type, a uniform sample or all of them. `minimum`, `maximum`: exact,
    over the finite values; None when there are none. `scale`: decimal places of a decimal column, None if unbounded.
    `is_single`: a float column of 32 bits.
    """

    value_type: ValueType
    rows: int
    minimum: Number | None
    maximum: Number | None
    sample: Sequence[Number]
    scale: int | None = None
    is_single: bool = False


@dataclass(frozen=True, kw_only=True)
class CategoricalProfile:
    """Labels of the reference with their row counts, most frequent first (ties by label).

    `complete` is False where the reference holds more labels than are listed here.
    """

    rows: int
    labels: Sequence[tuple[str, int]]
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class BooleanProfile:
    """A column of two values needs no more than its name."""

    rows: int


Profile = NumericProfile | CategoricalProfile | BooleanProfile

FEW_LABELS = 50  # numbers in a key column that are still labels, not keys
UNIQUE = 0.5  # distinct values per row from which on a text is a key or free text
KEY_NAME = re.compile(r"(.*_)?(id|uuid|guid|key|pk|fk|no|nr|number|hash|token)|.*(Id|ID|Key)")


def is_key(name: str, profile: Profile) -> bool:
    """Whether a column names rows rather than says something of them: almost all values differ, or count up.

    Integers by a name such as `order_id` with many values, or unique and dense; texts of which most occur once.
    """
    match profile:
        case NumericProfile(value_type=ValueType.INTEGER, sample=sample):
            distinct = len({int(value) for value in sample})
            if KEY_NAME.fullmatch(name):
                return distinct > min(FEW_LABELS, UNIQUE * len(sample))
            dense = int(profile.maximum or 0) - int(profile.minimum or 0) < 2 * max(profile.rows, 1)
            return len(sample) > 1 and distinct == len(sample) and dense and distinct > FEW_LABELS
        case CategoricalProfile(labels=labels):
            rows = sum(count for _, count in labels)
            return not profile.complete or (len(labels) > FEW_LABELS and len(labels) > UNIQUE * rows)
    return False


@dataclass(frozen=True)
class Quantiles:
    """K bins of equal mass in the reference, plus tail edges; the default for numbers."""

    count: int = 16


@dataclass(frozen=True)
class Uniform:
    """K bins of equal width between the reference's minimum and maximum."""

    count: int


@dataclass(frozen=True)
class Edges:
    """Edges as the user gives them, literally."""

    edges: tuple[Number, ...]


@dataclass(frozen=True)
class Top:
    """The most frequent labels, each holding at least 0.1 % of the rows; the default for categories."""

    count: int = 30


Binning = Quantiles | Uniform | Edges | Top


TAIL_LEVELS = (Fraction(1, 1000), Fraction(1, 100), Fraction(99, 100), Fraction(999, 1000))  # edges beside quantiles
_STEPS = 4  # of rounding between a value and what is taken for it
_LEAST_SINGLE = 2.0**-149  # the step of 32-bit floats around zero
_LARGEST = float(np.finfo(np.float64).max)
RARE_BELOW = Fraction(1, 1000)  # a label with a smaller share of the rows gets no bin of its own
_EXACT = Context(prec=200_000, Emax=MAX_EMAX, Emin=MIN_EMIN)  # more digits than a numeric column can hold: never rounds
_DIVISION = Context(prec=50)  # digits of edges of equal width where the column states no scale


def make_spec(profile: Profile, binning: Binning | None = None) -> BinSpec:
    """The bin spec of a profile; None takes the default of its kind. Raises InputError naming what does not fit.

    Quantiles (default of numbers): the reference's minimum, its k/K quantiles and the 0.1, 1, 99 and 99.9 % quantiles,
    all of them values that occur (inverted_cdf), and the successor of its maximum, so that every reference value lies
    in an inner bin. A value v that holds 1/(2K) of the rows, and every value where there are no more than K, has a bin
    of its own, [v, successor(v)); of floats it reaches four steps of the column's type each way, never past the middle
    to another value. Without any finite value there are no edges, and one bin for all numbers. Uniform: K bins of equal
    width over the same range. Edges: as given, in the column's type. Top (default of categories): the most frequent
    labels; the others are `rare`.
    """
    match profile:
        case NumericProfile():
            return _numeric_spec(profile, Quantiles() if binning is None else binning)
        case CategoricalProfile(labels=labels, rows=rows, complete=complete):
            top = Top() if binning is None else binning
            if not isinstance(top, Top):
                raise InputError(f"a categorical column takes top labels, not {type(top).__name__.lower()}")
            # Ties by label, so that the same reference makes the same spec whatever order a database counts in.
            ranked = sorted(labels, key=lambda item: (-item[1], item[0]))
            frequent = [label for label, count in ranked if count >= RARE_BELOW * rows]
            kept = frequent[: _at_least_one(top.count, "top labels")]
            return CategoricalBins(tuple(kept), tuple(label for label, _ in ranked[len(kept) :]), complete)
        case BooleanProfile():
            if binning is not None:
                raise InputError(f"a boolean column has two bins and takes no {type(binning).__name__.lower()}")
            return BooleanBins()


def successor(value: Number, value_type: ValueType, scale: int | None = None) -> Number:
    """The next value the column can hold: nextafter for floats, + 1 for integers, + 10^-scale for decimals.

    A decimal column without a scale steps like a float. The largest float has no finite successor: inf.
    """
    match value_type:
        case ValueType.INTEGER:
            return int(value) + 1
        case ValueType.DECIMAL:
            if scale is not None:
                return _EXACT.add(Decimal(value), Decimal(1).scaleb(-scale, context=_EXACT))
            beyond = math.nextafter(float(value), math.inf)
            if math.isinf(beyond):
                return _EXACT.add(Decimal(value), 1)  # beyond all floats
            # The shortest text that stands for a float may lie below it, and below a value with more digits.
            short = Decimal(repr(beyond))
            return short if short > value else Decimal(beyond)
        case _:
            return math.nextafter(float(value), math.inf)


def _numeric_spec(profile: NumericProfile, binning: Binning) -> NumericBins:
    match binning:
        case Edges(edges=()):
            raise InputError("numeric bins need at least two edges, got 0")
        case Edges():
            edges = [_edge(edge, profile.value_type) for edge in binning.edges]
            return NumericBins(tuple(edges), profile.value_type)
        case Quantiles():
            values = _sorted_values(profile)
            inner = _quantile_edges(profile, values, _at_least_one(binning.count, "quantiles"))
        case Uniform():
            values = _sorted_values(profile)
            count = _at_least_one(binning.count, "uniform bins")
            inner = _uniform_edges(profile, values, count) if values or profile.minimum is not None else []
        case Top():
            raise InputError("a numeric column has no top labels; use quantiles, uniform or edges")
    if profile.minimum is None and not len(values):
        return NumericBins((), profile.value_type)
    return NumericBins(_closed(profile, values, inner), profile.value_type)


def _sorted_values(profile: NumericProfile) -> Sequence[Number]:
    """The sample in order, as the types of its edges; by numpy wherever a machine number holds every value."""
    values: list[Number]
    match profile.value_type:
        case ValueType.FLOAT:
            values = np.sort(np.array(profile.sample, dtype=np.float64) + 0.0).tolist()  # -0.0 becomes plain
            return values
        case ValueType.INTEGER:
            with suppress(OverflowError):  # wider than 64 bits: sorted as Python's integers below
                values = np.sort(np.array([int(value) for value in profile.sample], dtype=np.int64)).tolist()
                return values
    return sorted(_typed(value, profile.value_type) for value in profile.sample)


def _quantile_edges(profile: NumericProfile, values: Sequence[Number], count: int) -> list[Number]:
    runs = list(Counter(values).items())
    if not runs:
        return []
    own = runs
    if len(runs) > count:
        # Half an average bin alone; once is no repetition, however small the sample.
        own = [(value, rows) for value, rows in runs if rows > 1 and 2 * count * rows >= len(values)]
    edges = _edges_of_own(profile, [value for value, _ in own], [value for value, _ in runs])
    if own is not runs:
        # inverted_cdf: the smallest value that at least this share of the sample does not exceed, one that occurs.
        levels = (*(Fraction(k, count) for k in range(1, count)), *TAIL_LEVELS)
        alone = {value for value, _ in own}
        found = (values[math.ceil(level * len(values)) - 1] for level in levels)
        edges += [value for value in found if value not in alone]
    return edges


def _edges_of_own(profile: NumericProfile, own: Sequence[Number], values: Sequence[Number]) -> list[Number]:
    """The edges around values that have a bin each; `values` are all that occur, in order."""
    if profile.value_type is not ValueType.FLOAT:
        return [edge for value in own for edge in (value, successor(value, profile.value_type, profile.scale))]
    edges: list[Number] = []
    for value in map(float, own):
        place = bisect_left(values, value)
        step = math.ulp(value)
        if profile.is_single:
            step = max(math.ldexp(1.0, math.frexp(value)[1] - 24), _LEAST_SINGLE) if value else _LEAST_SINGLE
        low, high = value - _STEPS * step, value + _STEPS * step
        if place > 0:
            low = max(low, _middle(float(values[place - 1]), value))
        if place + 1 < len(values):
            high = min(high, _middle(value, float(values[place + 1])))
        edges += [max(low, -_LARGEST), min(high, math.inf)]
    return edges


def _middle(low: float, high: float) -> float:
    """A float above `low` and not above `high`, halfway between them where there is one."""
    middle = low / 2 + high / 2
    return middle if low < middle <= high else high


def _uniform_edges(profile: NumericProfile, values: Sequence[Number], count: int) -> list[Number]:
    low, high = _range(profile, values)
    if isinstance(low, float):
        # As a weighted mean, since high - low overflows where both ends are large.
        return [low * (1 - k / count) + float(high) * (k / count) for k in range(1, count)]
    if isinstance(low, int):
        return [low + k * (int(high) + 1 - low) // count for k in range(1, count)]
    width = _EXACT.subtract(Decimal(high), low)
    shares = [_DIVISION.divide(_EXACT.multiply(width, Decimal(k)), Decimal(count)) for k in range(1, count)]
    if profile.scale is not None:  # down to the column's own step
        step = Decimal(1).scaleb(-profile.scale, context=_EXACT)
        shares = [share.quantize(step, rounding=ROUND_FLOOR, context=_EXACT) for share in shares]
    return [_EXACT.add(low, share) for share in shares]


def _closed(profile: NumericProfile, values: Sequence[Number], inner: Sequence[Number]) -> tuple[Number, ...]:
    """Strictly increasing edges from the minimum to the successor of the maximum, with `inner` edges between."""
    low, high = _range(profile, values)
    last = successor(high, profile.value_type, profile.scale)
    # A value with a bin of its own at an end has some room there, too.
    low, last = min([low, *inner]), max([last, *inner])
    if last == math.inf:  # the largest float there is can't lie below a finite edge: it counts as `above`
        low, last = min(low, math.nextafter(float(high), 0.0)), high
    between = {_tidy(edge) for edge in inner if low < edge < last}
    return tuple(sorted({_tidy(low), *between, _tidy(last)}))


def _range(profile: NumericProfile, sample: Sequence[Number]) -> tuple[Number, Number]:
    """Exact minimum and maximum of the reference; a sample may know values the aggregates came too early for."""
    values = [_typed(value, profile.value_type) for value in (profile.minimum, profile.maximum) if value is not None]
    values += [*sample[:1], *sample[-1:]]
    if not values:
        raise InputError("the reference holds no finite value to make bins from; give edges, or another reference")
    return min(values), max(values)


def _typed(value: Number, value_type: ValueType) -> Number:
    """A value of the column as the Python type of its edges; numpy scalars and -0.0 become plain."""
    match value_type:
        case ValueType.INTEGER:
            return int(value)
        case ValueType.DECIMAL:
            return Decimal(value) if isinstance(value, int | Decimal) else Decimal(repr(float(value)))
        case _:
            return float(value) + 0.0


def _edge(edge: Number, value_type: ValueType) -> Number:
    """An edge as the user wrote it, in the column's type. Among integers, x >= 0.5 and x >= 1 are the same bin edge."""
    if isinstance(edge, bool) or not isinstance(edge, int | float | Decimal):
        raise InputError(f"edge {edge!r} is no number")
    if isinstance(edge, float | Decimal) and not math.isfinite(edge):
        raise InputError(f"edge {edge!r} is not finite; values outside the edges count as below and above anyway")
    if value_type is ValueType.INTEGER:
        return math.ceil(edge)
    try:
        return _tidy(_typed(edge, value_type))
    except OverflowError:
        raise InputError(f"edge {edge!r} is too large for a float column") from None


def _tidy(number: Number) -> Number:
    """Decimals without trailing zeros, so that 1.0 and 1.00 make the same spec; other numbers as they are."""
    if not isinstance(number, Decimal):
        return number
    return Decimal(format(number.normalize(_EXACT), "f")) if number else Decimal(0)


def _at_least_one(count: int, what: str) -> int:
    if count < 1:
        raise InputError(f"{count} {what}: at least one is needed")
    return count
