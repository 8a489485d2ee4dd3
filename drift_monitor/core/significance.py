"""What of a divergence is sampling noise: noise floor, corrected value, 95 % interval.

Two samples of the same distribution never have the same histogram, so a divergence estimated from counts is above 0
even when nothing drifted. With n live rows, m reference rows and K bins left after smoothing, and without drift,
2 N KL with N = n m / (n + m) follows a chi-squared distribution of K - 1 degrees of freedom (Wilks; Kullback 1959,
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from drift_monitor.core.distribution import FloatArray, Pair
from drift_monitor.core.divergence import DIVERGENCES, Divergence, Estimate, Metric

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


class FeatureEstimates(Mapping[Metric, Estimate]):
    """The estimates of one of the features, each made when it is asked for: a block of 512 has 2,560 of them."""

    __slots__ = ("_at", "_columns")

    def __init__(self, columns: Mapping[Metric, Estimates], at: int) -> None:
        self._columns, self._at = columns, at

    def __getitem__(self, metric: Metric) -> Estimate:
        columns, at = self._columns[metric], self._at
        value, corrected = columns.value.item(at), columns.corrected.item(at)
        if math.isinf(value):
            return Estimate(value, corrected=corrected)
        return Estimate(value, columns.low.item(at), columns.high.item(at), corrected)

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
