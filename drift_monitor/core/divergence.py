"""How far two distributions are apart, and the list of all that a rule can watch.

With P live and Q the reference over the same bins, R = (P + Q) / 2 and the natural logarithm:

    KL(P‖Q)     sum p ln(p/q)         0 ln 0 = 0; infinite where p > 0 = q; 0 only for P = Q; not symmetric
    PSI         KL(P‖Q) + KL(Q‖P) = sum (p - q) ln(p/q)              (also: Jeffreys divergence)
    JS          (KL(P‖R) + KL(Q‖R)) / 2                               0 .. ln 2
    Hellinger   sqrt( sum (sqrt p - sqrt q)^2 / 2 )                   0 .. 1, no unit

Direction is meaning. KL(live‖reference) is large where live has mass that the reference hardly had: somewhere new.
KL(reference‖live) is large where reference mass has gone: something lost. Neither alone, nor their sum, says both.

A divergence is one entry of `Metric`: its name, its term per bin, the gradient of its variance, and what people and
Prometheus call it. Everything else asks the entry: estimates, columns and views of the store, gauges, checks of rules.
A new one needs its entry here and a migration for its columns.

Never negative, and exact to 1e-12
----------------------------------
Summing p ln(p/q) adds numbers of both signs that cancel. Where two distributions differ by 1e-9 the terms are near
1e-9 and their sum near 1e-18: rounding alone returns -2e-17 where 4e-18 is right. Since sum p = sum q, p - q can be
taken off each bin, and every term is non-negative; a bin with p = 0 adds q. With x = (p - q) / (p + q) and
L = ln(p/q) = 2 artanh x = 2 (x + x^3/3 + x^5/5 ...)

    KL(P‖Q)     p L - (p - q)  =  (p + q) (x L + (L - 2 x)) / 2
    KL(Q‖P)     (p - q) - q L  =  (p + q) (x L - (L - 2 x)) / 2
    PSI         (p - q) L
    JS          (p + q) (x L + ln(1 - x^2)) / 4

The two parts x L and L - 2 x are of different order, so adding them cancels nothing; for small |x| the second comes
from its series. For JS, x L + ln(1 - x^2) = x^2 (1 + x^2/6 + x^4/15 ...) there, 2 ln(1 + |x|) - |L| (1 - |x|)
elsewhere; it is always finite. Hellinger takes (p - q)^2 / (sqrt p + sqrt q)^2 for (sqrt p - sqrt q)^2.

Contributions stay p ln(p/q): of both signs, 0 in dropped bins, and their sum is the divergence. They say which bin
made it; the total does not come from them.

Sources: Kullback and Leibler, "On Information and Sufficiency", Annals of Mathematical Statistics 22 (1951); Kullback,
"Information Theory and Statistics" (1959), whose table 2.1 is among the tests; Lin, "Divergence measures based on
the Shannon entropy", IEEE Transactions on Information Theory 37 (1991), for JS and its bound.

Terms take `distribution.Masses` of any shape; totals take a `distribution.Pair` of F features and K bins and are
(F,). None of them raises: what can't be compared does not become a Pair.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final, NamedTuple, Self

import numpy as np

from drift_monitor.core.distribution import FloatArray, Masses, Pair

_NEAR = 2.0**-20  # a step from P = Q: small enough for the curvature, large enough for the term not to vanish

Gradients = tuple[FloatArray, FloatArray]


class Scope(StrEnum):
    """Whose number a metric is."""

    FEATURE = "feature"
    MONITOR = "monitor"


class Largest(NamedTuple):
    """The value that a metric can never exceed, and how people write it."""

    value: float
    text: str


_ENDLESS = Largest(math.inf, "")


class Gauge(NamedTuple):
    """The metric family of Prometheus in which a divergence is shown, and which of its series it is."""

    family: str
    text: str
    direction: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class MetricInfo:
    """What is to be known of a metric. `unit` is "" for a pure number or a count."""

    label: str
    unit: str = ""
    scope: Scope = Scope.FEATURE
    largest: Largest = _ENDLESS


@dataclass(frozen=True, kw_only=True, eq=False)
class Divergence(MetricInfo):
    """One divergence. Its value is the sum of its terms, or the root of it.

    `term`: what each bin adds, from 0, of the shape of the masses; the noise floor and the null variance follow from
    it. `gradient`: derivatives of the sum by p and by q, less the constant they have at P = Q, so that nothing large
    cancels in the variance. `is_root`: the root is published; noise is additive on the sum, so floor and interval are
    made there. `gauge`: None is not shown at /metrics.
    """

    term: Callable[[Masses], FloatArray]
    gradient: Callable[[Masses], Gradients]
    is_root: bool
    gauge: Gauge | None = None

    def total(self, pair: Pair) -> FloatArray:
        """The sum over the bins, (F,): the scale on which noise is additive."""
        total: FloatArray = self.term(pair).sum(axis=1)
        return np.minimum(total, self.largest.value)

    def published(self, totals: FloatArray) -> FloatArray:
        """What people see of sums."""
        return np.sqrt(totals) if self.is_root else totals

    @cached_property
    def curvature(self) -> float:
        """f in f (p - q)^2 / 2q, what a bin adds near P = Q: 1 for both KL, whose multiple the noise then is."""
        step = np.array([_NEAR, -_NEAR])
        terms = self.term(Masses(live=1.0 + step, reference=np.ones(2), difference=step))
        return round(float(terms.sum()) / _NEAR**2, 9)  # exact but for the fourth order, near 1e-12


def _js(masses: Masses) -> FloatArray:
    x = np.abs(masses.lean)
    square = x * x
    series = square * (1.0 + square * (1 / 6 + square * (1 / 15 + square * (1 / 28))))
    far = 2.0 * masses.log_larger - np.abs(masses.log_ratio) * (1.0 - x)
    return 0.25 * masses.both * np.where(masses.is_near, series, far)


def _js_gradient(masses: Masses) -> Gradients:
    # ln(p/r) / 2 and ln(q/r) / 2: the larger side is ln(1 + |x|), the other follows from their ratio
    larger = 0.5 * masses.log_larger
    smaller = larger - 0.5 * np.abs(masses.log_ratio)
    is_live = masses.difference > 0
    return np.where(is_live, larger, smaller), np.where(is_live, smaller, larger)


def _hellinger_gradient(masses: Masses) -> Gradients:
    # (1 - sqrt(q/p)) / 2 = (sqrt p - sqrt q) / (2 sqrt p); where a side is 0 its value counts with weight 0
    step, (p, q) = 0.5 * masses.root_difference, masses.roots
    return step / np.where(p > 0, p, np.inf), -step / np.where(q > 0, q, np.inf)


_LAST_GOOD = "from the last good evaluation"
_KL_GAUGE = Gauge(
    "drift_kl_divergence_nats",
    f"Kullback-Leibler divergence in nats {_LAST_GOOD}; live_reference is D(live||reference), large for new values.",
)
_SHARE = Largest(1.0, "1: it is a share")


class Metric(StrEnum):
    """Every metric a rule can watch: the one list of them, divergences first. What its entry says are attributes."""

    info: MetricInfo
    label: str
    unit: str
    largest: Largest
    is_divergence: bool
    is_of_monitor: bool

    KL_LIVE_REFERENCE = (
        "kl_live_reference",
        Divergence(
            is_root=False,
            label="KL(live‖reference)",
            unit="nats",
            term=lambda m: np.where((m.live > 0) & (m.reference == 0), np.inf, m.even_part + m.odd_part),
            gradient=lambda m: (m.log_ratio, m.toward_live),
            gauge=_KL_GAUGE._replace(direction="live_reference"),
        ),
    )
    KL_REFERENCE_LIVE = (
        "kl_reference_live",
        Divergence(
            is_root=False,
            label="KL(reference‖live)",
            unit="nats",
            term=lambda m: np.where((m.reference > 0) & (m.live == 0), np.inf, m.even_part - m.odd_part),
            gradient=lambda m: (m.toward_reference, m.log_ratio),
            gauge=_KL_GAUGE._replace(direction="reference_live"),
        ),
    )
    PSI = (
        "psi",
        Divergence(
            is_root=False,
            label="PSI",
            term=lambda m: np.where((m.live > 0) != (m.reference > 0), np.inf, 2.0 * m.even_part),
            gradient=lambda m: (m.log_ratio - m.toward_reference, m.log_ratio + m.toward_live),
            gauge=Gauge("drift_population_stability_index", f"Population stability index {_LAST_GOOD}."),
        ),
    )
    JS = (
        "js",
        Divergence(
            is_root=False,
            label="JS",
            unit="nats",
            largest=Largest(math.log(2.0), "ln 2 = 0.693"),
            term=_js,
            gradient=_js_gradient,
            gauge=Gauge("drift_js_divergence_nats", f"Jensen-Shannon divergence in nats (0 to 0.6931) {_LAST_GOOD}."),
        ),
    )
    HELLINGER = (
        "hellinger",
        Divergence(
            label="Hellinger",
            largest=Largest(1.0, "1"),
            term=lambda m: 0.5 * m.root_difference * m.root_difference,
            gradient=_hellinger_gradient,
            is_root=True,
        ),
    )
    MISSING_RATIO = "missing_ratio", MetricInfo(label="missing values", largest=_SHARE)
    UNSEEN_RATIO = "unseen_ratio", MetricInfo(label="unseen values", largest=_SHARE)
    SURPRISE = "surprise", MetricInfo(label="surprise over its level", scope=Scope.MONITOR)
    ROWS = "rows", MetricInfo(label="rows", scope=Scope.MONITOR)
    FRESHNESS = "freshness", MetricInfo(label="age of the newest row", unit="s", scope=Scope.MONITOR)

    def __new__(cls, value: str, info: MetricInfo) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.info, member.label, member.unit, member.largest = info, info.label, info.unit, info.largest
        member.is_divergence, member.is_of_monitor = isinstance(info, Divergence), info.scope is Scope.MONITOR
        return member

    @property
    def noise_floor(self) -> str:
        """What the noise floor of a divergence is called beside it: that of KL(live‖reference) has the plain name."""
        return "noise_floor" if self is Metric.KL_LIVE_REFERENCE else f"noise_floor_{self.value}"


DIVERGENCES: Final[Mapping[Metric, Divergence]] = {
    metric: metric.info for metric in Metric if isinstance(metric.info, Divergence)
}


class Estimate(NamedTuple):
    """One number of a window: a value and, of a divergence, its 95 % interval, its value less its noise floor, and
    that floor.

    None: could not be had; an infinite divergence has no interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    corrected: float | None = None
    noise_floor: float | None = None

    def scaled(self, factor: float) -> "Estimate":
        """The same in another unit."""
        return Estimate(*(None if number is None else factor * number for number in self))


class Value:
    """An attribute of `Values` that gives the value of the divergence of its name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, holder: "Values", owner: type) -> float:
        value = holder.estimates[Metric[self.name.upper()]].value
        return math.nan if value is None else value


class Values:
    """What holds estimates of all divergences gives their values by name as well: `comparison.psi`."""

    __slots__ = ()
    estimates: Mapping[Metric, Estimate]

    kl_live_reference = Value()
    kl_reference_live = Value()
    psi = Value()
    js = Value()
    hellinger = Value()


def contributions_live_reference(pair: Pair) -> FloatArray:
    """p ln(p/q) a bin in nats, (F, K): what each bin adds to KL(live‖reference); infinite where p > 0 = q."""
    parts = pair.live * pair.log_ratio
    return np.where((pair.live > 0) & (pair.reference == 0), np.inf, parts)


def contributions_reference_live(pair: Pair) -> FloatArray:
    """q ln(q/p) a bin in nats, (F, K): what each bin adds to KL(reference‖live); infinite where q > 0 = p."""
    parts = -pair.reference * pair.log_ratio
    return np.where((pair.reference > 0) & (pair.live == 0), np.inf, parts)
