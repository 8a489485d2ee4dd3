"""How far two distributions are apart: KL both ways, PSI, Jensen-Shannon, Hellinger, in nats.

With P live and Q the reference over the same bins, R = (P + Q) / 2 and the natural logarithm:

    KL(P‖Q)     sum p ln(p/q)         0 ln 0 = 0; infinite where p > 0 = q; 0 only for P = Q; not symmetric
    PSI         KL(P‖Q) + KL(Q‖P) = sum (p - q) ln(p/q)              (also: Jeffreys divergence)
    JS          (KL(P‖R) + KL(Q‖R)) / 2                               0 .. ln 2
    Hellinger   sqrt( sum (sqrt p - sqrt q)^2 / 2 )                   0 .. 1, no unit

Direction is meaning. KL(live‖reference) is large where live has mass that the reference hardly had: somewhere new.
KL(reference‖live) is large where reference mass has gone: something lost. Neither alone, nor their sum, says both.

Never negative, and exact to 1e-12
----------------------------------
Summing p ln(p/q) adds numbers of both signs that cancel. Where two distributions differ by 1e-9 the terms are near
1e-9 and their sum near 1e-18: rounding alone returns -2e-17 where 4e-18 is right. Since sum p = sum q,

    KL(P‖Q) = sum p phi(t),   t = (q - p) / p,   phi(t) = t - ln(1 + t) >= 0

and every term is non-negative. A bin with p = 0 adds q (the limit of p phi). phi itself cancels for small t; below
|t| = 0.02 it is taken from the series of the logarithm in z = t / (2 + t), where ln(1 + t) = 2 (z + z^3/3 + z^5/5 ...)
and t - 2 z = t z, hence

    phi(t) = z (t - 2 z^2 (1/3 + z^2/5 + z^4/7 + ...))

The next term is near 1e-15 of the whole there. JS is the same sum over t/2 on both sides, because (r - p) / p = t / 2;
it is always finite. Hellinger takes (p - q)^2 / (sqrt p + sqrt q)^2 for (sqrt p - sqrt q)^2.

Contributions stay p ln(p/q): of both signs, 0 in dropped bins, and their sum is the divergence. They say which bin
made it; the total does not come from them.

Sources: Kullback and Leibler, "On Information and Sufficiency", Annals of Mathematical Statistics 22 (1951); Kullback,
"Information Theory and Statistics" (1959), whose table 2.1 is among the tests; Lin, "Divergence measures based on
the Shannon entropy", IEEE Transactions on Information Theory 37 (1991), for JS and its bound.

Every function takes a `distribution.Pair` of F features and K bins and returns float64: totals (F,), contributions
(F, K). None of them raises: what can't be compared does not become a Pair.
"""

import math
from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from drift_monitor.core.distribution import FloatArray, Pair

_SERIES_BELOW = 0.02  # |t|: below, t - ln(1+t) by series; above, subtracting loses at most two digits of sixteen


class Divergence(StrEnum):
    """The divergences a measurement holds."""

    KL_LIVE_REFERENCE = "kl_live_reference"
    KL_REFERENCE_LIVE = "kl_reference_live"
    PSI = "psi"
    JS = "js"
    HELLINGER = "hellinger"


def kl_live_reference(pair: Pair) -> FloatArray:
    """KL(live‖reference) in nats, (F,); infinite where live has mass in a bin the reference has none in."""
    p, q = pair.live, pair.reference
    total = np.where(p > 0, _terms(p, pair.toward_reference, -pair.difference, pair.log_ratio), q).sum(axis=1)
    return np.where(((p > 0) & (q == 0)).any(axis=1), np.inf, total)


def kl_reference_live(pair: Pair) -> FloatArray:
    """KL(reference‖live) in nats, (F,); infinite where the reference has mass in a bin live has none in."""
    p, q = pair.live, pair.reference
    total = np.where(q > 0, _terms(q, pair.toward_live, pair.difference, -pair.log_ratio), p).sum(axis=1)
    return np.where(((q > 0) & (p == 0)).any(axis=1), np.inf, total)


def psi(pair: Pair) -> FloatArray:
    """Population stability index in nats, (F,): the sum of both KL divergences."""
    return kl_live_reference(pair) + kl_reference_live(pair)


def js(pair: Pair) -> FloatArray:
    """Jensen-Shannon divergence in nats (not its root, the distance), (F,), 0 .. ln 2."""
    p, q, half = pair.live, pair.reference, 0.5 * pair.difference
    live = np.where(p > 0, _terms(p, 0.5 * pair.toward_reference, -half, pair.log_live_mixture), 0.5 * q)
    reference = np.where(q > 0, _terms(q, 0.5 * pair.toward_live, half, pair.log_reference_mixture), 0.5 * p)
    total: FloatArray = 0.5 * (live + reference).sum(axis=1)
    return np.minimum(total, math.log(2.0))


def squared_hellinger(pair: Pair) -> FloatArray:
    """Square of the Hellinger distance, (F,), 0 .. 1; the scale on which its noise is additive."""
    step = pair.root_difference
    total: FloatArray = 0.5 * (step * step).sum(axis=1)
    return np.minimum(total, 1.0)


def hellinger(pair: Pair) -> FloatArray:
    """Hellinger distance, (F,), 0 .. 1, no unit."""
    return np.sqrt(squared_hellinger(pair))


def divergences(pair: Pair) -> Mapping[Divergence, FloatArray]:
    """All of them, (F,) each, computing what they share once."""
    forward, reverse = kl_live_reference(pair), kl_reference_live(pair)
    return {
        Divergence.KL_LIVE_REFERENCE: forward,
        Divergence.KL_REFERENCE_LIVE: reverse,
        Divergence.PSI: forward + reverse,
        Divergence.JS: js(pair),
        Divergence.HELLINGER: hellinger(pair),
    }


def contributions_live_reference(pair: Pair) -> FloatArray:
    """p ln(p/q) a bin in nats, (F, K): what each bin adds to KL(live‖reference); infinite where p > 0 = q."""
    parts = pair.live * pair.log_ratio
    return np.where((pair.live > 0) & (pair.reference == 0), np.inf, parts)


def contributions_reference_live(pair: Pair) -> FloatArray:
    """q ln(q/p) a bin in nats, (F, K): what each bin adds to KL(reference‖live); infinite where q > 0 = p."""
    parts = -pair.reference * pair.log_ratio
    return np.where((pair.reference > 0) & (pair.live == 0), np.inf, parts)


def _terms(weights: FloatArray, t: FloatArray, weighted_t: FloatArray, logs: FloatArray) -> FloatArray:
    """weights phi(t), where logs = -ln(1 + t); non-negative and without cancellation."""
    z = t / (2.0 + t)
    zz = z * z
    tail = 1 / 3 + zz * (1 / 5 + zz * (1 / 7))
    return np.where(np.abs(t) < _SERIES_BELOW, weights * z * (t - 2.0 * zz * tail), weighted_t + weights * logs)
