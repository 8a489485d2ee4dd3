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

The other divergences are, near P = Q, multiples of KL, and so are their floors: 2 for PSI, 1/4 for JS and for the
square of the Hellinger distance.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from drift_monitor.core.distribution import FloatArray, Pair
from drift_monitor.core.divergence import Divergence

Z95 = 1.96  # standard deviations of a normal that leave 2.5 % on each side

_MULTIPLES: Mapping[Divergence, float] = {
    Divergence.KL_LIVE_REFERENCE: 1.0,
    Divergence.KL_REFERENCE_LIVE: 1.0,
    Divergence.PSI: 2.0,
    Divergence.JS: 0.25,
    Divergence.HELLINGER: 0.25,  # of the square
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """One divergence of F features without its noise floor, and the 95 % interval around it; (F,) each, in its unit.

    Where the divergence is infinite, `corrected` is too, and `low` and `high` are NaN.
    """

    corrected: FloatArray
    low: FloatArray
    high: FloatArray


def noise_floor(pair: Pair, divergence: Divergence = Divergence.KL_LIVE_REFERENCE) -> FloatArray:
    """What the divergence is on average when nothing drifted, (F,), nats; for Hellinger: of its square."""
    return _MULTIPLES[divergence] * 0.5 * (pair.bins - 1.0) * pair.noise


def floor_from_kl(kl_floor: float, divergence: Divergence) -> float:
    """The noise floor of a divergence, in its own unit, from that of KL, which is what is stored."""
    scaled = _MULTIPLES[divergence] * kl_floor
    return math.sqrt(scaled) if divergence is Divergence.HELLINGER else scaled


def variance(pair: Pair, divergence: Divergence) -> FloatArray:
    """Variance of the corrected divergence, (F,), nats squared; for Hellinger: of its square."""
    by_live, by_reference = _GRADIENTS[divergence](pair)
    first_order = (
        _spread(pair.live, by_live) / pair.live_rows + _spread(pair.reference, by_reference) / pair.reference_rows
    )
    return first_order + 0.5 * (pair.bins - 1.0) * (_MULTIPLES[divergence] * pair.noise) ** 2


def estimates(pair: Pair, divergence: Divergence, values: FloatArray) -> Estimates:
    """Corrected values and intervals of `values`, (F,), the uncorrected divergences of this pair."""
    if divergence is Divergence.HELLINGER:
        squared = _estimates(pair, divergence, values**2)
        return Estimates(corrected=np.sqrt(squared.corrected), low=np.sqrt(squared.low), high=np.sqrt(squared.high))
    return _estimates(pair, divergence, values)


def _estimates(pair: Pair, divergence: Divergence, values: FloatArray) -> Estimates:
    corrected = np.maximum(0.0, values - noise_floor(pair, divergence))
    reach = np.where(np.isfinite(values), Z95 * np.sqrt(variance(pair, divergence)), np.nan)
    center = np.where(np.isfinite(values), corrected, np.nan)
    return Estimates(corrected=corrected, low=np.maximum(0.0, center - reach), high=center + reach)


def _spread(weights: FloatArray, values: FloatArray) -> FloatArray:
    """Variance of `values` under the distribution `weights`, (F,)."""
    weighted = weights * values
    mean: FloatArray = weighted.sum(axis=1)
    square: FloatArray = np.einsum("fk,fk->f", weighted, values)
    return np.maximum(0.0, square - mean * mean)


# Gradients less the constant they have at P = Q (p/q - 1 for p/q), so that nothing large cancels in the variance.
def _gradients_live_reference(pair: Pair) -> tuple[FloatArray, FloatArray]:
    return pair.log_ratio, pair.toward_live


def _gradients_reference_live(pair: Pair) -> tuple[FloatArray, FloatArray]:
    return pair.toward_reference, pair.log_ratio


def _gradients_psi(pair: Pair) -> tuple[FloatArray, FloatArray]:
    return pair.log_ratio - pair.toward_reference, pair.log_ratio + pair.toward_live


def _gradients_js(pair: Pair) -> tuple[FloatArray, FloatArray]:
    return 0.5 * pair.log_live_mixture, 0.5 * pair.log_reference_mixture


def _gradients_hellinger(pair: Pair) -> tuple[FloatArray, FloatArray]:
    step = 0.5 * pair.root_difference  # (1 - sqrt(q/p)) / 2 = (sqrt p - sqrt q) / (2 sqrt p)
    return step / _divisor(pair.root_live), -step / _divisor(pair.root_reference)


def _divisor(roots: FloatArray) -> FloatArray:
    """Roots of weights, to divide values by that count with these weights: where it is 0 the value does not count."""
    return np.where(roots > 0, roots, np.inf)


_GRADIENTS: Mapping[Divergence, Callable[[Pair], tuple[FloatArray, FloatArray]]] = {
    Divergence.KL_LIVE_REFERENCE: _gradients_live_reference,
    Divergence.KL_REFERENCE_LIVE: _gradients_reference_live,
    Divergence.PSI: _gradients_psi,
    Divergence.JS: _gradients_js,
    Divergence.HELLINGER: _gradients_hellinger,
}
