"""A simulated fleet: features with a season and a wobble, rows by the hour, and drifts of a stated size; all seeded.

20 features of 12 bins, 28 days of history and 28 of test. The log-probabilities of a feature move along a few smooth
directions: 70 % have a daily and weekly season whose amplitude is that of the regime times a lognormal(0.6), all of
them wobble by an AR(1) process with Student t innovations of 5 degrees of freedom. Traffic is nine times as high at its
peak as at its lowest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

FEATURES, BINS = 20, 12
DAYS = 28
HOURS = DAYS * 24
SEASONAL = 0.7  # of the features
BUSIEST = 9.0  # times the rows of the quietest hour

Array = NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Regime:
    """`rows`: an hour on average. `season`, `wobble`: amplitudes in log-probability. `memory`: of the wobble, an hour.

    `is_smooth`: sines; else stretches of hours and single hours of its own, by weekday and weekend: no sine fits.
    """

    rows: int
    season: float = 0.0
    wobble: float = 0.0
    memory: float = 0.7
    is_smooth: bool = True


REGIMES = {
    "independent, 60 rows an hour": Regime(rows=60),
    "independent, 1,000": Regime(rows=1_000),
    "independent, 20,000": Regime(rows=20_000),
    "mild wobble": Regime(rows=1_000, wobble=0.08),
    "slow wobble": Regime(rows=1_000, wobble=0.1, memory=0.97),
    "season, 300": Regime(rows=300, season=0.25, wobble=0.08),
    "season, 1,000": Regime(rows=1_000, season=0.25, wobble=0.08),
    "season, 20,000": Regime(rows=20_000, season=0.25, wobble=0.08),
    "strong season": Regime(rows=1_000, season=0.6, wobble=0.15),
    "a season that no sine fits": Regime(rows=1_000, season=0.25, wobble=0.08, is_smooth=False),
}


def probabilities(random: Random, regime: Regime, hours: int = 2 * HOURS, features: int = FEATURES) -> Array:
    """(features, hours, bins), each row summing to 1."""
    time = np.arange(hours)
    logs = np.repeat(np.log(random.dirichlet(np.full(BINS, 4.0), features))[:, None, :], hours, axis=1)
    for feature in logs:
        if regime.season and random.random() < SEASONAL:
            amplitude = regime.season * random.lognormal(0.0, 0.6)
            feature += amplitude * (_sines(random, time) if regime.is_smooth else _boxes(random, time))
        for _ in range(2 if regime.wobble else 0):
            wobble = _autoregression(random, regime.memory, hours)
            feature += regime.wobble / np.sqrt(2.0) * wobble[:, None] * _direction(random)
    shares = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def rows(random: Random, regime: Regime, hours: int = 2 * HOURS) -> NDArray[np.int64]:
    """Rows of each hour."""
    profile = BUSIEST ** (0.5 * np.sin(2 * np.pi * (np.arange(24) - 9) / 24))
    return np.maximum(1, random.poisson(regime.rows * np.resize(profile / profile.mean(), hours)))


def counts(random: Random, shares: Array, rows_of: NDArray[np.int64]) -> Array:
    """(features, hours, bins)."""
    return np.stack([random.multinomial(rows_of, feature) for feature in shares]).astype(np.float64)


def _direction(random: Random) -> Array:
    """A tilt, a curve and a little of everything, of unit root mean square."""
    x = np.linspace(-1, 1, BINS)
    direction = 1.3 * random.normal() * x + 1.5 * random.normal() * (x * x - 1 / 3) + 0.35 * random.normal(size=BINS)
    direction -= direction.mean()
    return np.asarray(direction / np.sqrt((direction**2).mean()))


def _sines(random: Random, time: NDArray[np.int64]) -> Array:
    waves = [np.sin(2 * np.pi * (time / period + random.random())) for period in (24, 12, 168)]
    weekend = (time // 24) % 7 >= 5
    terms = (waves[0], 0.4 * waves[1], 0.5 * waves[2] + 0.5 * weekend)
    return np.sum([term[:, None] * _direction(random) for term in terms], axis=0)


def _boxes(random: Random, time: NDArray[np.int64]) -> Array:
    opens, closes = sorted(random.choice(24, 2, replace=False))
    hour, weekend = time % 24, (time // 24) % 7 >= 5
    is_open = 2.0 * ((hour >= opens) & (hour < closes)) - 1.0
    terms = (is_open, 0.7 * is_open * weekend, 2.0 * (hour == closes))
    return np.sum([term[:, None] * _direction(random) for term in terms], axis=0)


def _autoregression(random: Random, memory: float, hours: int) -> Array:
    steps = random.standard_t(5, hours) * np.sqrt(3 / 5 * (1 - memory**2))
    values, value = np.empty(hours), random.normal()
    for hour, step in enumerate(steps):
        values[hour] = value = memory * value + step
    return values


def drift(random: Random, usual: Array, kind: str, nats: float) -> Callable[[Array], Array]:
    """A change of shares (..., bins) by which the usual ones move so many nats: a `shift`, a `spike` or a `loss`.

    A shift tilts all bins one way; a spike gives one bin more, whichever; a loss takes from one of the three largest.
    """
    way, place = random.choice([-1.0, 1.0]), random.integers(BINS)
    largest = np.argsort(-usual)[random.integers(3)]

    def moved(shares: Array, size: float) -> Array:
        if kind == "spike":
            part = 1.0 - np.exp(-size)
            return (1.0 - part) * shares + part * np.eye(BINS)[place]
        weights = np.exp(size * way * np.linspace(-1, 1, BINS))
        if kind == "loss":
            weights = np.where(np.arange(BINS) == largest, np.exp(-size), 1.0)
        tilted = shares * weights
        return np.asarray(tilted / tilted.sum(axis=-1, keepdims=True))

    def divergence(size: float) -> float:
        changed = moved(usual, size)
        return float((changed * np.log(changed / usual)).sum())

    most = next((size for size in 2.0 ** np.arange(-8.0, 6.0) if divergence(size) > nats), None)
    if most is None:
        raise ValueError(f"no {kind} moves these shares {nats} nats")
    size = brentq(lambda size: divergence(size) - nats, 0.0, most)
    return lambda shares: moved(shares, size)
