"""How unusual a window is for its feature: fitted on the feature's own history, many features at once.

A divergence says how far a window is from its reference. Real features wobble and have a rhythm, so that far is not
unusual for one and alarming for another. Here a window is scored by how far it lies in directions in which its feature
does *not* usually move. Per window, with p and q smoothed as everywhere (`anchored`, the window's own rows taken out of
a reference that holds them):

    h   = 2 (sqrt p - sqrt q), one number a bin       of variance nu = w^2 (1/n + 1/m) each when nothing moves
    C   = h - X B                                     less its season, a ridge regression on the time of the window
    S   = mean(C C') - mean(nu) I                     how the feature wobbles beyond sampling, shrunk toward a multiple
                                                      of I by g = (K-1) / (N + K-1), N the independent windows
    T   = sum_j (v_j . C)^2 / (nu + lambda_j)         over eigenpairs of S: large where it seldom goes
    R   = T / mean(T), shape k = 1 / var(R), at most (K-1)/2

The surprise is -log10 of the upper tail at R of a gamma distribution of shape k and mean 1. It is a score: its level is
found on the history itself (`calibration`), and it is no probability.

A fit must not have seen what it scores: `cross_scores` scores each half week of the history by a fit on the rest,
without the windows that share rows with it.

Sources: the square-root transform of multinomial counts is Freeman and Tukey's (Annals of Mathematical Statistics 21,
1950); shrinking a covariance matrix is Ledoit and Wolf's (Journal of Multivariate Analysis 88, 2004); matching two
moments by a gamma is Satterthwaite's (Biometrics Bulletin 2, 1946).

Arrays are (series, windows) or (series, windows, bins), float64; series of fewer bins are padded with bins that never
have rows. Nothing here raises.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammaln

from drift_monitor.core.distribution import FloatArray, Mask

DAY, WEEK = 24.0, 168.0  # hours
_HARMONICS = {DAY: (24.0, 12.0, 8.0), WEEK: (168.0, 84.0)}  # periods of the terms of a day and of a week
_PSEUDOCOUNT = 0.5
_RIDGE = 2.0  # windows of no season that each term starts from
_FIRST_WEEKEND_HOUR = 5 * 24  # of a week that begins on Monday
_MONDAY = 4 * 24  # hours from the epoch, a Thursday, to the first Monday


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Windows of one length of several series that end at the same hours.

    `ends`: (T,), hours since the epoch, ascending. `length`: hours, which are so many `panes`. `counts`: (S, T, K).
    `reference`: (S, K) or, where a window's own rows are taken out, (S, T, K). `bins`: (S,), bins of a series that are
    real. `usable`: (S, T).
    """

    ends: FloatArray
    length: int
    panes: int
    counts: FloatArray
    reference: FloatArray
    bins: FloatArray
    usable: Mask

    @cached_property
    def rows(self) -> FloatArray:
        """(S, T)."""
        return np.asarray(self.counts.sum(axis=-1))

    @cached_property
    def _smoothed(self) -> tuple[FloatArray, FloatArray]:
        b = self.reference if self.reference.ndim == 3 else self.reference[:, None, :]
        real = np.arange(self.counts.shape[-1]) < self.bins[:, None, None]
        s = _PSEUDOCOUNT * self.bins[:, None]
        n, m = self.rows, b.sum(axis=-1)
        q = (b + _PSEUDOCOUNT * real) / (m + s)[..., None]
        p = (self.counts + s[..., None] * q) / (n + s)[..., None]
        noise = n / (n + s) ** 2 + (n / (n + s)) ** 2 / np.maximum(m, 1.0)
        return 2.0 * (np.sqrt(p) - np.sqrt(q)), np.maximum(noise, 1e-300)

    @property
    def moves(self) -> FloatArray:
        """h, (S, T, K)."""
        return self._smoothed[0]

    @property
    def noise(self) -> FloatArray:
        """nu, (S, T)."""
        return self._smoothed[1]

    def of(self, series: NDArray[np.intp]) -> "Windows":
        """These series only."""
        return Windows(
            ends=self.ends,
            length=self.length,
            panes=self.panes,
            counts=self.counts[series],
            reference=self.reference[series],
            bins=self.bins[series],
            usable=self.usable[series],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PaneHistory:
    """Counts a pane of series with like bins, such as all features of a monitor: (S, T, K), aligned and without gaps.

    `start`: the hour from the epoch at which the first pane begins, `pane`: its hours. `reference`: (S, K).
    `is_reference`: (T,), the panes that are the reference's own. `bins`: (S,), real bins. `left_out`: (S, T), panes
    that are known to be no example.
    """

    start: float
    counts: FloatArray
    reference: FloatArray
    bins: FloatArray
    is_reference: Mask
    left_out: Mask
    pane: int = 1

    @property
    def hours(self) -> int:
        return int(self.counts.shape[1]) * self.pane

    @property
    def days(self) -> float:
        return self.hours / DAY

    def windows(self, length: int) -> Windows:
        """All windows of this length, a pane apart; unusable where they have no rows or touch what is left out."""
        panes = length // self.pane
        counts = _moving_sum(self.counts, panes)
        reference = self.reference
        if self.is_reference.any():
            own = _moving_sum(self.counts * self.is_reference[:, None], panes)
            reference = np.maximum(self.reference[:, None, :] - own, 0.0)
        touched = _moving_sum(self.left_out[..., None].astype(np.float64), panes)[..., 0]
        return Windows(
            ends=self.start + self.pane * np.arange(panes, self.counts.shape[1] + 1.0),
            length=length,
            panes=panes,
            counts=counts,
            reference=reference,
            bins=self.bins,
            usable=(counts.sum(axis=-1) > 0) & (touched == 0),
        )

    def of(self, series: NDArray[np.intp]) -> "PaneHistory":
        """These series only."""
        return replace(
            self,
            counts=self.counts[series],
            reference=self.reference[series],
            bins=self.bins[series],
            left_out=self.left_out[series],
        )


def _moving_sum(panes: FloatArray, length: int) -> FloatArray:
    """Sums over each `length` neighbours of axis 1."""
    sums = np.zeros((panes.shape[0], panes.shape[1] + 1, panes.shape[2]))
    np.cumsum(panes, axis=1, out=sums[:, 1:])
    return np.asarray(sums[:, length:] - sums[:, :-length])


def season(ends: FloatArray, length: int, days: float) -> FloatArray:
    """The regressors of windows, (T, P): each is the mean over the window's hours of what its hours have.

    A constant, the harmonics of a day from 14 days of history on, and those of a week, the weekend and a day of its own
    for the weekend from 21 on.
    """
    hours = ends[:, None] - 1.0 - np.arange(length)[None, :]
    columns = [np.ones(ends.size)]
    if days >= 14:
        columns += [wave for period in _HARMONICS[DAY] for wave in _waves(hours, period)]
    if days >= 21:
        is_weekend = (hours - _MONDAY) % WEEK >= _FIRST_WEEKEND_HOUR
        columns += [wave for period in _HARMONICS[WEEK] for wave in _waves(hours, period)]
        columns += [is_weekend.mean(axis=1), *_waves(hours, DAY, is_weekend)]
    return np.stack(columns, axis=1)


def _waves(hours: FloatArray, period: float, where: Mask | None = None) -> Iterator[FloatArray]:
    angle = 2.0 * np.pi * hours / period
    for wave in (np.sin(angle), np.cos(angle)):
        yield (wave if where is None else wave * where).mean(axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """What series usually do: `season` (S, P, K), `spreads` (S, K) along `axes` (S, K, K), `mean` and `shape` (S,)."""

    season: FloatArray
    spreads: FloatArray
    axes: FloatArray
    mean: FloatArray
    shape: FloatArray

    def residuals(self, windows: Windows, regressors: FloatArray) -> FloatArray:
        """C, (S, T, K): what is left of the moves without their season."""
        return windows.moves - regressors @ self.season

    def distances(self, residuals: FloatArray, noise: FloatArray) -> FloatArray:
        """T, (S, T)."""
        along = residuals @ self.axes
        along *= along
        along /= noise[..., None] + self.spreads[:, None, :]
        return np.asarray(along.sum(axis=-1))

    def surprises(self, distances: FloatArray) -> FloatArray:
        """-log10 of the tail, (S, T)."""
        return tail(self.shape[:, None], distances / self.mean[:, None])


def tail(shape: FloatArray, ratio: FloatArray) -> FloatArray:
    """-log10 P(G > ratio) of a gamma distribution of this shape and mean 1, by its asymptote where floats end."""
    x = shape * ratio
    upper = gammaincc(shape, x)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(upper)
        far = (shape - 1.0) * np.log(x) - x - gammaln(shape) + np.log1p((shape - 1.0) / x)
    return np.asarray(np.where(upper > 1e-290, logs, far) / -np.log(10.0))


def fit(windows: Windows, regressors: FloatArray, taken: Mask) -> Fit:
    """Fit on the windows that are taken, (S, T)."""
    moves, noise = windows.moves, windows.noise
    weights = taken.astype(np.float64)
    number = np.maximum(weights.sum(axis=1), 1.0)
    products = (regressors[:, :, None] * regressors[:, None, :]).reshape(len(regressors), -1)
    terms = regressors.shape[1]
    penalty = np.diag(np.where(np.arange(terms) > 0, _RIDGE * windows.panes, 1e-9))
    gram = (weights @ products).reshape(-1, terms, terms) + penalty
    seasons = np.linalg.solve(gram, regressors.T @ (weights[..., None] * moves))
    residuals = moves - regressors @ seasons
    dimensions = np.maximum(windows.bins - 1.0, 1.0)
    spread = (weights[..., None] * residuals).transpose(0, 2, 1) @ residuals / number[:, None, None]
    diagonal = np.arange(spread.shape[1])
    usual_noise = (weights * noise).sum(axis=1) / number
    spread[:, diagonal, diagonal] -= usual_noise[:, None] * (diagonal < windows.bins[:, None])
    independent = number / max(windows.panes, 2)
    shrink = dimensions / (independent + dimensions)
    level = np.trace(spread, axis1=1, axis2=2) / dimensions
    spread *= (1.0 - shrink)[:, None, None]
    spread[:, diagonal, diagonal] += (shrink * level)[:, None]
    values, axes = np.linalg.eigh(spread)
    found = Fit(season=seasons, spreads=np.maximum(values, 0.0), axes=axes, mean=dimensions, shape=dimensions)
    distances = found.distances(residuals, noise)
    mean = (weights * distances).sum(axis=1) / number
    # Where a bin never had rows, nothing ever moved: what moves is then held against sampling noise alone.
    mean = np.where(windows.bins > 2, np.maximum(mean, 0.1 * dimensions), np.maximum(mean, 1.0))
    variance = (weights * (distances / mean[:, None] - 1.0) ** 2).sum(axis=1) / number
    shape = np.minimum(1.0 / np.maximum(variance, 1e-9), 0.5 * dimensions)
    return Fit(season=seasons, spreads=found.spreads, axes=axes, mean=mean, shape=shape)


def folds(windows: Windows, hours: float) -> Iterator[tuple[Mask, Mask]]:
    """Stretches of the windows' ends, (T,), the last one at their end, and the windows that share no hour with it."""
    stretch = np.floor((windows.ends - windows.ends[-1] - 1e-9) / hours)
    for each in np.unique(stretch):
        held = stretch == each
        first, last = windows.ends[held][0], windows.ends[held][-1]
        apart = (windows.ends <= first - windows.length) | (windows.ends >= last + windows.length)
        yield held, apart


def cross_scores(windows: Windows, regressors: FloatArray, hours: float = WEEK / 2) -> FloatArray:
    """The surprise of each window, (S, T), by fits that share no row with it.

    Half a week is held out at a time: of what is then left, four weeks lose an eighth, so that these fits are nearly
    as sure of themselves as the one on the whole history that later windows are scored by.
    """
    scores = np.zeros(windows.usable.shape)
    for held, apart in folds(windows, hours):
        known = fit(windows, regressors, windows.usable & apart)
        residuals = windows.moves[:, held] - regressors[held] @ known.season
        scores[:, held] = known.surprises(known.distances(residuals, windows.noise[:, held]))
    return scores
