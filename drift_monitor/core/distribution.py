"""From counts to distributions: smoothing both sides of a comparison, many features at once.

A histogram is never a distribution. Only here, by smoothing or by checking plain probabilities, do two rows of
counts become two distributions P (live) and Q (reference) over the same bins; a divergence takes nothing else.

    anchored   a = pseudocount, bins empty on both sides dropped, K = the bins left, s = a K
                   q = (b + a) / (m + s)          the reference, smoothed evenly (a = 1/2: Jeffreys' prior)
                   p = (c + s q) / (n + s)        live: s pseudo-rows that look like the reference
               finite both ways; a window moves away from the reference only as its rows do, so that a small
               window of the same shape as a large reference does not look like drift.
    additive   all K bins kept: (c + a) / (n + a K) on both sides
    none       c / n; a divergence may be infinite. For reference values and study, not for monitoring.

What is lost in p - q can't be found again later: with 1e9 rows that differ by one, the difference of two rounded
probabilities has seven good digits left. So the difference is made from the counts, p - q = (u Y - v X) / (X' Y'), with
products that keep their rounding error (Dekker, "A floating-point technique for extending the available precision",
Numerische Mathematik 18, 1971). It is exact to the last bits for counts below 2^53; beyond that float64 no longer
holds every count, and the counts themselves are rounded to a relative 1.1e-16.

Histogram: integer counts over one bin spec. Counts are never probabilities: only smoothing makes a distribution.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift_monitor.core.bins import BinSpec, CategoricalBins
from drift_monitor.errors import InputError

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = tuple[NDArray[np.intp], ...]  # where an array of features and bins is meant, as `nonzero` gives it
Side = tuple[FloatArray, FloatArray]  # counts (F, K) and their totals (F, 1)

SUM_TOLERANCE = 1e-9  # how far plain probabilities may sum from 1: rounding of a few thousand printed decimals
FEWEST_TO_KNOW = 5.0  # reference rows in a bin, from which on its share is known well enough for the noise floor
_SPLITTER = 134_217_729.0  # 2^27 + 1: cuts the 53 bits of a float64 into two halves whose products are exact
_SERIES_BELOW = 0.02  # |p - q| / (p + q): the terms left out of the series are then below 1e-16 of the whole
_LARGEST_RATIO = 1e300  # a probability below 1e-300 of the other side's: its ratio would overflow


class SmoothingMethod(StrEnum):
    """How counts become probabilities."""

    ANCHORED = "anchored"
    ADDITIVE = "additive"
    NONE = "none"


@dataclass(frozen=True)
class Smoothing:
    """A method and its pseudocount: rows added to each bin. `none` does not look at the pseudocount."""

    method: SmoothingMethod = SmoothingMethod.ANCHORED
    pseudocount: float = 0.5

    def __post_init__(self) -> None:
        if self.method is not SmoothingMethod.NONE and not 0 < self.pseudocount < math.inf:
            raise InputError(f"pseudocount {self.pseudocount!r} is no positive number; 0.5 is the default")


def chosen_smoothing(method: str | None, pseudocount: float | None) -> Smoothing:
    """What is asked for by name; None is the usual. Raises InputError for a method or pseudocount that is none."""
    if method is not None and method not in list(SmoothingMethod):
        raise InputError(f"smoothing {method!r} is unknown; expected one of {', '.join(SmoothingMethod)}")
    usual = Smoothing()
    return Smoothing(
        usual.method if method is None else SmoothingMethod(method),
        usual.pseudocount if pseudocount is None else pseudocount,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Masses:
    """Masses p (live) and q (reference) of bins, of any one shape; everything float64.

    `difference`: p - q, more exact than subtracting the two. What several divergences need is computed once.
    """

    live: FloatArray
    reference: FloatArray
    difference: FloatArray

    @cached_property
    def both(self) -> FloatArray:
        """p + q."""
        return self.live + self.reference

    @cached_property
    def lean(self) -> FloatArray:
        """x = (p - q) / (p + q), from -1 (all of it reference) to 1 (all of it live); 0 where p and q are 0."""
        return self.difference / np.where(self.both > 0, self.both, 1.0)

    @cached_property
    def toward_reference(self) -> FloatArray:
        """(q - p) / p, from -1; 0 where p is 0, so it counts with weight p only."""
        return _ratio(-self.difference, self.live)

    @cached_property
    def toward_live(self) -> FloatArray:
        """(p - q) / q, from -1; 0 where q is 0, so it counts with weight q only."""
        return _ratio(self.difference, self.reference)

    @cached_property
    def log_ratio(self) -> FloatArray:
        """ln(p / q) in nats, from the larger side so that nothing cancels; 0 where p or q is 0."""
        excess = np.maximum(self.toward_reference, self.toward_live)
        logs = np.log1p(excess)
        if (excess >= _LARGEST_RATIO).any():
            high, low = np.maximum(self.live, self.reference), np.minimum(self.live, self.reference)
            logs = np.where(excess >= _LARGEST_RATIO, np.log(high) - np.log(np.where(low > 0, low, 1.0)), logs)
        return np.copysign(logs, self.difference)

    @cached_property
    def is_near(self) -> Mask:
        """Where |x| is so small that subtracting would cost more than two digits: there series are taken."""
        return np.abs(self.lean) < _SERIES_BELOW

    @cached_property
    def even_part(self) -> FloatArray:
        """(p - q) ln(p/q) / 2: half of what both KL divergences add; the same when p and q change places."""
        return 0.5 * self.difference * self.log_ratio

    @cached_property
    def odd_part(self) -> FloatArray:
        """(p + q) ln(p/q) / 2 - (p - q), half of how much more KL(P‖Q) adds than KL(Q‖P)."""
        x = self.lean
        square = x * x
        series = x * square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square * (1 / 9))))
        return np.where(self.is_near, self.both * series, 0.5 * self.both * self.log_ratio - self.difference)

    @cached_property
    def log_larger(self) -> FloatArray:
        """ln(1 + |x|): the logarithm of the larger of p and q over their mean."""
        return np.log1p(np.abs(self.lean))

    @cached_property
    def roots(self) -> tuple[FloatArray, FloatArray]:
        """sqrt p and sqrt q."""
        return np.sqrt(self.live), np.sqrt(self.reference)

    @cached_property
    def root_difference(self) -> FloatArray:
        """sqrt p - sqrt q, as exact as `difference`."""
        total = self.roots[0] + self.roots[1]
        return self.difference / np.where(total > 0, total, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair(Masses):
    """Live and reference distributions of F features over at most K bins.

    The masses are (F, K) and sum to 1 in each row; 0 in dropped and padded bins. `live_rows`, `reference_rows`: (F,).
    `bins`: (F,), the bins left, K of the formulas.

    What noise is made of (see `noise`): `expected` (F, K), the share of the live rows that a bin has without drift;
    `pseudo_rows` (F, K), what smoothing adds to its live count, `added_rows` (F,) their sum. `live_noise`,
    `reference_noise` (F,): the variance of one degree of freedom without drift, w^2/n and w^2/m for `anchored`.
    `is_expected` (F, K): the bins of the sums. `is_uncertain` (F,): one of them has too few reference rows.
    """

    live_rows: FloatArray
    reference_rows: FloatArray
    bins: FloatArray
    expected: FloatArray
    pseudo_rows: FloatArray
    added_rows: FloatArray
    live_noise: FloatArray
    reference_noise: FloatArray
    is_expected: Mask
    is_uncertain: Mask

    def of(self, features: Sequence[int]) -> "Pair":
        """These features only."""
        return Pair(**{field.name: getattr(self, field.name)[features] for field in fields(self)})


def smooth(live: NDArray[Any], reference: NDArray[Any], smoothing: Smoothing, present: Mask | None = None) -> Pair:
    """Both sides as distributions.

    `live`, `reference`: (F, K) counts, zero or more. `present`: (F, K), False in bins that only pad a shorter
    feature (their counts must be 0); None where all bins are real. Every feature needs a row on each side: InputError.
    """
    c, b = np.asarray(live, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    n, m = c.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True)
    if not (n.all() and m.all()):
        raise InputError("a histogram without rows is no distribution: both sides need at least one row")
    real = np.ones(c.shape, dtype=np.bool_) if present is None else present
    match smoothing.method:
        case SmoothingMethod.ANCHORED:
            return _anchored((c, n), (b, m), real & ((c > 0) | (b > 0)), smoothing.pseudocount)
        case SmoothingMethod.ADDITIVE:
            return _additive((c, n), (b, m), real, smoothing.pseudocount)
        case SmoothingMethod.NONE:
            return _additive((c, n), (b, m), real, 0.0)


def probabilities(live: FloatArray, reference: FloatArray) -> Pair:
    """Plain probabilities (F, K) as they are, for exact values; no rows, so no noise and no interval."""
    features = live.shape[0]
    endless, nothing = np.full(features, np.inf), np.zeros(features)
    return Pair(
        live=live,
        reference=reference,
        difference=live - reference,
        live_rows=endless,
        reference_rows=endless,
        bins=np.full(features, float(live.shape[1])),
        expected=reference,
        pseudo_rows=np.zeros(live.shape),
        added_rows=nothing,
        live_noise=nothing,
        reference_noise=nothing,
        is_expected=np.zeros(live.shape, dtype=np.bool_),
        is_uncertain=nothing > 0,
    )


def _anchored(live: Side, reference: Side, kept: Mask, a: float) -> Pair:
    (c, n), (b, m) = live, reference
    bins = kept.sum(axis=1, keepdims=True).astype(np.float64)
    s = a * bins
    v = b + a * kept
    q = v / (m + s)
    return Pair(
        live=(c + s * q) / (n + s),
        reference=q,
        difference=_determinant(c, n, v, m + s) / ((n + s) * (m + s)),
        live_rows=n[:, 0],
        reference_rows=m[:, 0],
        bins=bins[:, 0],
        expected=np.where(b > 0, q, 0.0),
        pseudo_rows=s * q,
        added_rows=s[:, 0],
        live_noise=(n / (n + s) ** 2)[:, 0],
        reference_noise=((n / (n + s)) ** 2 / m)[:, 0],
        is_expected=b > 0,
        is_uncertain=_is_thin(b),
    )


def _additive(live: Side, reference: Side, kept: Mask, a: float) -> Pair:
    (c, n), (b, m) = live, reference
    bins = kept.sum(axis=1, keepdims=True).astype(np.float64)
    u, v = c + a * kept, b + a * kept
    x, y = n + a * bins, m + a * bins
    return Pair(
        live=u / x,
        reference=v / y,
        difference=_determinant(u, x, v, y) / (x * y),
        live_rows=n[:, 0],
        reference_rows=m[:, 0],
        bins=bins[:, 0],
        expected=b / m,
        pseudo_rows=np.where(kept, a, 0.0),
        added_rows=(x - n)[:, 0],
        live_noise=(n / x**2)[:, 0],
        reference_noise=(m / y**2)[:, 0],
        is_expected=kept,
        is_uncertain=_is_thin(b),
    )


def _is_thin(counts: FloatArray) -> Mask:
    """Whether a bin that has rows has too few of them to know its share by."""
    return np.asarray(((counts > 0) & (counts < FEWEST_TO_KNOW)).any(axis=1))


def _determinant(u: FloatArray, x: FloatArray, v: FloatArray, y: FloatArray) -> FloatArray:
    """u y - v x without cancellation: both products with their rounding errors."""
    first, first_error = _product(u, y)
    second, second_error = _product(v, x)
    return (first - second) + (first_error - second_error)


def _product(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """a b as a rounded product and its error; their sum is exact (Dekker's algorithm)."""
    product = a * b
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _halves(a: FloatArray) -> tuple[FloatArray, FloatArray]:
    scaled = _SPLITTER * a
    high = scaled - (scaled - a)
    return high, a - high


def _ratio(difference: FloatArray, weights: FloatArray) -> FloatArray:
    """difference / weights; 0 where the weight is 0, and no larger than a float64 can carry on with."""
    with np.errstate(over="ignore"):
        return np.minimum(difference / np.where(weights > 0, weights, np.inf), _LARGEST_RATIO)


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
    def invalid_rows(self) -> int:
        """Rows whose values are none of the column's kind; a category can be anything."""
        return 0 if isinstance(self.spec, CategoricalBins) else int(self.counts[self.spec.invalid])

    @property
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
