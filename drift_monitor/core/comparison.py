"""Compare live with reference: all divergences, their noise and their bins, for one or many features.

`compare_histograms` is what the monitors use, `compare_counts` and `kl_divergence` are for people with arrays in hand.
Features of different sizes are padded to the longest and computed together: a thousand features cost a few
milliseconds.

What of a divergence is sampling noise: noise floor, corrected value, 95 % interval.

Two samples of the same distribution never have the same histogram, so a divergence estimated from counts is above 0
even when nothing drifted. With n live rows, m reference rows and K bins left after smoothing, and without drift, 2 N
KL with N = n m / (n + m) follows a chi-squared distribution of K - 1 degrees of freedom (Wilks; Kullback 1959,
chapter 6). Its mean is the **noise floor**

    E0(KL) = (K-1)/2 e,     e = w^2 (1/n + 1/m)

where w is how much of a window's departure from the reference smoothing lets through:

    anchored   w = n / (n + s), s = a K                       e = n/(n+s)^2 + w^2/m
    additive   each side its own, w_x = x / (x + a K)         e = w_n^2/n + w_m^2/m
    none       w = 1                                          e = 1/n + 1/m

The other divergences are, near P = Q, multiples f of KL, and so are their floors: 2 for PSI, 1/4 for JS and for the
square of the Hellinger distance (`Divergence.curvature`).

The floor is subtracted, since no smoothing removes the bias:  D_c = max(0, D - E0).

The variance of D_c is that of the delta method (first order in the counts) plus the second-order part, which is all
there is when nothing drifted:

    V  = Var_p(g_p)/n + Var_q(g_q)/m + V0,          V0 = f^2 (K-1)/2 e^2,  f the multiple above

    divergence    g_p                 g_q                 (derivatives of D by p and by q; constants don't matter)
    KL(P‖Q)       l                   p/q                 l = ln(p/q)
    KL(Q‖P)       q/p                 l
    PSI           l - q/p             l + p/q
    JS            ln(p/r)/2           ln(q/r)/2           r = (p+q)/2
    Hellinger^2   -sqrt(q/p)/2        -sqrt(p/q)/2

and the interval is D_c -/+ 1.96 sqrt(V), cut at 0. For Hellinger all of it happens on the square; the roots of the
ends are published.

What it promises and what not. In simulations over 10 to 32 bins, even and skewed, the interval held its 95 % from
1,000 rows on; at 50 to 200 rows it misses on the upper side for large drifts, because smoothing shrinks them. The
lower bound held in every cell: it can carry an alarm. It speaks of *sampling* noise only, as if rows were drawn
independently: a feature that wobbles from day to day will stand clear of it without anything being wrong. Floors of
skewed features with few rows a bin are too high rather than too low.

An infinite divergence (smoothing `none`) has no interval: both ends are NaN here, None for users.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drift_monitor.core.distribution import (
    SUM_TOLERANCE,
    Counts,
    FloatArray,
    Histogram,
    Mask,
    Pair,
    Smoothing,
    chosen_smoothing,
    probabilities,
    smooth,
)
from drift_monitor.core.divergence import (
    DIVERGENCES,
    Divergence,
    Estimate,
    Metric,
    Values,
    contributions_live_reference,
    contributions_reference_live,
)
from drift_monitor.errors import InputError

Z95 = 1.96  # standard deviations of a normal that leave 2.5 % on each side


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """One divergence of F features, its value without its noise floor and the 95 % interval; (F,) each, in its unit.

    Where the divergence is infinite, `corrected` is too, and `low` and `high` are NaN.
    """

    value: FloatArray
    corrected: FloatArray
    low: FloatArray
    high: FloatArray

    @cached_property
    def each(self) -> Sequence[Estimate]:
        """One a feature, made together: a number taken from an array by itself costs five times as much."""
        columns = (self.value, self.low, self.high, self.corrected)
        return [
            Estimate(value, corrected=corrected) if math.isinf(value) else Estimate(value, low, high, corrected)
            for value, low, high, corrected in zip(*(column.tolist() for column in columns), strict=True)
        ]


class FeatureEstimates(Mapping[Metric, Estimate]):
    """The estimates of one of the features, made when one of the block is asked for."""

    __slots__ = ("_at", "_columns")

    def __init__(self, columns: Mapping[Metric, Estimates], at: int) -> None:
        self._columns, self._at = columns, at

    def __getitem__(self, metric: Metric) -> Estimate:
        return self._columns[metric].each[self._at]

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return repr(dict(self))


def kl_floor(pair: Pair) -> FloatArray:
    """What either KL divergence is on average when nothing drifted, (F,), nats: what is stored."""
    floor: FloatArray = 0.5 * (pair.bins - 1.0) * pair.noise
    return floor


def noise_floor(divergence: Divergence, kl_floor: float) -> float:
    """The noise floor of a divergence, in its own unit, from that of KL."""
    return float(divergence.published(np.array(divergence.curvature * kl_floor)))


def variance(pair: Pair, divergence: Divergence) -> FloatArray:
    """Variance of the corrected sum of terms, (F,), nats squared."""
    by_live, by_reference = divergence.gradient(pair)
    first_order = (
        _spread(pair.live, by_live) / pair.live_rows + _spread(pair.reference, by_reference) / pair.reference_rows
    )
    return first_order + 0.5 * (pair.bins - 1.0) * (divergence.curvature * pair.noise) ** 2


def estimates(pair: Pair) -> Mapping[Metric, Estimates]:
    """All divergences of the pair, with corrected values and intervals."""
    return {metric: estimated(pair, divergence) for metric, divergence in DIVERGENCES.items()}


def estimated(pair: Pair, divergence: Divergence) -> Estimates:
    """One divergence with corrected values and intervals, made on the scale on which noise is additive."""
    totals = divergence.total(pair)
    corrected = np.maximum(0.0, totals - divergence.curvature * kl_floor(pair))
    reach = Z95 * np.sqrt(variance(pair, divergence))
    center = np.where(np.isfinite(totals), corrected, np.nan)
    return Estimates(
        value=divergence.published(totals),
        corrected=divergence.published(corrected),
        low=divergence.published(np.maximum(0.0, center - reach)),
        high=divergence.published(center + reach),
    )


def _spread(weights: FloatArray, values: FloatArray) -> FloatArray:
    """Variance of `values` under the distribution `weights`, (F,)."""
    weighted = weights * values
    mean: FloatArray = weighted.sum(axis=1)
    square: FloatArray = np.einsum("fk,fk->f", weighted, values)
    return np.maximum(0.0, square - mean * mean)


Interval = tuple[float, float]

_MOST_ROWS = 2**63 - 1  # what a 64-bit row count of a database can hold
_BLOCK = 512  # features computed together: enough to be fast, few enough that their arrays stay in the cache
ONE_SIDED = 2.0  # how many times the other KL divergence one must be to speak of new or lost values


class Direction(StrEnum):
    """Which way a feature moved, from both KL divergences."""

    NEW = "new"  # KL(live‖reference) at least twice the other: mass where the reference hardly had any
    LOST = "lost"  # KL(reference‖live) at least twice the other: mass of the reference that has gone
    RESHAPED = "reshaped"  # clear of noise, neither side outweighs the other
    NONE = "none"  # neither divergence is clear of noise


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Comparison(Values):
    """What live and reference counts of one feature say. Divergences in nats; `hellinger` has no unit.

    `estimates` holds each divergence: its value, uncorrected and infinite only without smoothing, its value without
    the noise floor and its 95 % interval; the value is an attribute, too: `psi`. `noise_floor` is the mean of either
    KL divergence without drift (PSI: twice, JS and squared Hellinger: a quarter). `contributions` has the keys
    `live_reference` and `reference_live`: one number a bin given, 0 in dropped bins.
    """

    live_rows: int
    reference_rows: int
    estimates: Mapping[Metric, Estimate]
    noise_floor: float
    contributions: Mapping[str, FloatArray]
    direction: Direction

    @property
    def interval(self) -> Mapping[str, Interval | None]:
        """The 95 % interval of each divergence without its noise floor; None where it is infinite."""
        return {
            metric.value: None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
            for metric, estimate in self.estimates.items()
        }

    @property
    def corrected(self) -> Mapping[str, float]:
        """Each divergence without its noise floor."""
        return {metric.value: corrected for metric, (*_, corrected) in self.estimates.items() if corrected is not None}


def compare_histograms(
    pairs: Sequence[tuple[Histogram, Histogram]], smoothing: Smoothing | None = None
) -> list[Comparison]:
    """One comparison a (live, reference) pair, in order; `anchored` with 1/2 unless told otherwise.

    Raises InputError where the two sides have different bin specs, or one of them has no rows.
    """
    for live, reference in pairs:
        if live.spec is not reference.spec and live.spec.id != reference.spec.id:
            raise InputError(f"live and reference are binned differently: {live.spec.id} and {reference.spec.id}")
    return _compare([live.counts for live, _ in pairs], [reference.counts for _, reference in pairs], smoothing)


def compare_counts(
    *,
    live: ArrayLike,
    reference: ArrayLike,
    smoothing: str | None = None,
    pseudocount: float | None = None,
) -> Comparison:
    """Compare two rows of counts, bins aligned by position.

    `live`, `reference`: K whole numbers each, zero or more, at least one row a side. `smoothing`: `anchored` (the
    default), `additive` or `none`; `pseudocount`: rows added to a bin, by default 0.5 (see `distribution`). Raises
    ValueError (InputError) on anything that is no such row of counts. Formulas, sources: `divergence`, `significance`.
    """
    chosen = chosen_smoothing(smoothing, pseudocount)
    live_counts, reference_counts = _counts(live, "live"), _counts(reference, "reference")
    _same_length(live_counts, reference_counts)
    return _compare([live_counts], [reference_counts], chosen)[0]


def contributions(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], smoothing: Smoothing
) -> list[Mapping[str, FloatArray]]:
    """What each bin adds to both KL divergences of these (live, reference) counts, as `Comparison` has it."""
    parts: list[Mapping[str, FloatArray]] = []
    for start in range(0, len(pairs), _BLOCK):
        live, reference = (
            [np.asarray(counts) for counts in side] for side in zip(*pairs[start : start + _BLOCK], strict=True)
        )
        live_counts, reference_counts, present = _padded(live, reference)
        parts += _contributions(smooth(live_counts, reference_counts, smoothing, present), live)
    return parts


def kl_divergence(p: ArrayLike, q: ArrayLike, base: float | None = None) -> float:
    """KL(p‖q) of plain probabilities; nats, or the unit of `base` (2: bits). Infinite where p > 0 = q.

    `p`, `q`: K numbers each, zero or more, summing to 1 within 1e-9 (they are not rescaled). Raises ValueError
    (InputError) on anything else, counts included: smooth those with `compare_counts`. Never negative: see
    `divergence` for the sum it takes.
    """
    if base is not None and not 1 < base < math.inf:
        raise InputError(f"base {base!r} is no base of a logarithm here; it must be above 1: 2 for bits, None for nats")
    live, reference = _probabilities(p, "p"), _probabilities(q, "q")
    _same_length(live, reference)
    nats = float(DIVERGENCES[Metric.KL_LIVE_REFERENCE].total(probabilities(live[None, :], reference[None, :]))[0])
    return nats if base is None else nats / math.log(base)


def _compare(live: Sequence[Counts], reference: Sequence[Counts], smoothing: Smoothing | None) -> list[Comparison]:
    chosen = smoothing or Smoothing()
    blocks = (slice(start, start + _BLOCK) for start in range(0, len(live), _BLOCK))
    return [comparison for block in blocks for comparison in _compare_block(live[block], reference[block], chosen)]


def _compare_block(live: Sequence[Counts], reference: Sequence[Counts], smoothing: Smoothing) -> list[Comparison]:
    live_counts, reference_counts, present = _padded(live, reference)
    pair = smooth(live_counts, reference_counts, smoothing, present)
    estimated = estimates(pair)
    columns = zip(
        live_counts.sum(axis=1).tolist(),
        reference_counts.sum(axis=1).tolist(),
        kl_floor(pair).tolist(),
        _directions(estimated),
        _contributions(pair, live),
        strict=True,
    )
    return [
        Comparison(
            live_rows=live_rows,
            reference_rows=reference_rows,
            estimates=FeatureEstimates(estimated, at),
            noise_floor=floor,
            contributions=contributions,
            direction=direction,
        )
        for at, (live_rows, reference_rows, floor, direction, contributions) in enumerate(columns)
    ]


def _contributions(pair: Pair, counts: Sequence[Counts]) -> list[Mapping[str, FloatArray]]:
    """A feature each; without what only pads a shorter one."""
    forward, reverse = contributions_live_reference(pair), contributions_reference_live(pair)
    for contributions in (forward, reverse):
        contributions.setflags(write=False)  # features see their row of it
    return [
        {"live_reference": p[: len(row)], "reference_live": q[: len(row)]}
        for p, q, row in zip(forward, reverse, counts, strict=True)
    ]


def _padded(live: Sequence[Counts], reference: Sequence[Counts]) -> tuple[Counts, Counts, Mask | None]:
    """Both as (F, K) with K the longest row; the mask, where rows differ in length, is True where there is a bin."""
    sizes = [len(counts) for counts in live]
    if min(sizes) == max(sizes):
        return np.stack(live), np.stack(reference), None
    present = np.arange(max(sizes)) < np.array(sizes)[:, None]
    padded = np.zeros((2, *present.shape), dtype=np.int64)
    padded[0, present], padded[1, present] = np.concatenate(live), np.concatenate(reference)
    return padded[0], padded[1], present


def _directions(estimated: Mapping[Metric, Estimates]) -> list[Direction]:
    both = estimated[Metric.KL_LIVE_REFERENCE], estimated[Metric.KL_REFERENCE_LIVE]
    forward, reverse = (estimates.value for estimates in both)
    choices = [
        ((both[0].low == 0) & (both[1].low == 0), Direction.NONE),
        (forward == reverse, Direction.RESHAPED),  # both may be infinite
        (forward >= ONE_SIDED * reverse, Direction.NEW),
        (reverse >= ONE_SIDED * forward, Direction.LOST),
    ]
    members = list(Direction)
    codes = np.select(
        [condition for condition, _ in choices],
        [members.index(direction) for _, direction in choices],
        default=members.index(Direction.RESHAPED),
    )
    return [members[code] for code in codes.tolist()]


def _counts(values: ArrayLike, side: str) -> Counts:
    array = _row_of_numbers(values, side, "counts")
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise InputError(f"{side}: counts must be whole numbers of rows; probabilities go to kl_divergence")
    if (array < 0).any():
        raise InputError(f"{side}: counts must be zero or more, found {array.min()}")
    if sum(int(count) for count in array) > _MOST_ROWS:
        raise InputError(f"{side}: the rows must fit 64 bits, these counts add up to {array.sum():g}")
    if not array.any():
        raise InputError(f"{side}: a histogram without rows can't be compared: all counts are 0")
    return array.astype(np.int64)


def _probabilities(values: ArrayLike, name: str) -> FloatArray:
    array = _row_of_numbers(values, name, "probabilities").astype(np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        raise InputError(f"{name}: probabilities must be finite and zero or more, found {array.tolist()!r}")
    total = math.fsum(array.tolist())
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise InputError(
            f"{name}: probabilities must sum to 1, these sum to {total!r}; for counts of rows use compare_counts"
        )
    return array


def _row_of_numbers(values: ArrayLike, name: str, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: {what} must be a list of numbers: {error}") from None
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
        raise InputError(
            f"{name}: {what} must be a list of numbers, one a bin; found shape {array.shape} of {array.dtype}"
        )
    return array


def _same_length(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.shape != second.shape:
        raise InputError(f"both sides need the same bins: {first.size} on one side and {second.size} on the other")
