"""Levels that keep a stated budget of false alarms, found on a monitor's own history.

Scores of windows (`surprise`) become alarms above a level. It is set so that a history like this one gives as many
false episodes as are asked for: the largest surprise of all series of the monitor, window by window, has peaks; how
often and how far they rise above their 95 % quantile u tells the height that is passed once in so many evaluations,

    level = u + sg (1 - x) (R^x - 1) / x,     sg the mean excess of the peaks over u, R their rate over the asked one

the tail of a generalised Pareto distribution of shape x = 0.1 (Pickands, Annals of Statistics 3, 1975), whose mean is
kept; windows of a week have few peaks, so there the peaks of all series are pooled and x = 0.3.

Old incidents are left out of the history first (`cleaning`).

Windows end with each pane: an hour, or whatever divides their length. Arrays are (series, windows). Nothing raises; a
history too short for a fit gives no levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drift_monitor.core.cleaning import PastIncident, clusters, gap_of, quantiles, search
from drift_monitor.core.distribution import FloatArray, Mask, Smoothing, smooth
from drift_monitor.core.divergence import Metric
from drift_monitor.core.noise import estimates
from drift_monitor.core.surprise import DAY, Fit, PaneHistory, Windows, cross_scores, fit, season

LENGTHS = (1, 6, 24, 168)  # hours
MATERIALITY = 0.005  # nats: no alarm where even the upper end of the divergence is smaller
MANY_SHARE = 0.2  # of the budget of a length, for "many move a little"
_SHAPES = {168: 0.3}
_SHAPE = 0.1


def budget_level(scores: FloatArray, rate: float, gap: int) -> tuple[float, float]:
    """u and the level that scores (T,) of a whole fleet pass `rate` times an evaluation."""
    usual = float(np.quantile(scores, 0.95))
    heights = [scores[top] - usual for *_, top in clusters(scores, usual, gap)]
    return usual, _level(usual, heights, len(scores), rate, _SHAPE)


def pooled_level(scores: FloatArray, usable: Mask, rate: float, windows: Windows) -> tuple[float, float]:
    """The same for scores (S, T) of which the fleet's maximum has too few peaks: those of all series, pooled."""
    usual = float(np.median(quantiles(scores, usable, 0.97)))
    heights = [
        row[top] - usual
        for row in np.where(usable, scores, -np.inf)
        for *_, top in clusters(row, usual, gap_of(windows))
    ]
    return usual, _level(usual, heights, scores.shape[1], rate, _SHAPES[windows.length])


def _level(usual: float, heights: Sequence[float], windows: int, rate: float, shape: float) -> float:
    ratio = len(heights) / windows / rate
    if ratio <= 1.0:
        return usual
    return float(usual + np.mean(heights) * (1.0 - shape) * (ratio**shape - 1.0) / shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class LengthCalibration:
    """One window length: a fit a kind of series, and the levels of their maximum and of "many move a little"."""

    length: int
    days: float
    fits: Sequence[Fit]
    usual: float
    level: float
    many_usual: float
    many_level: float

    def residuals(self, windows: Sequence[Windows]) -> list[FloatArray]:
        """What is left of the moves without their season, (S, T, K) a kind of series."""
        return [
            known.residuals(each, season(each.ends, self.length, self.days))
            for known, each in zip(self.fits, windows, strict=True)
        ]

    def surprises(self, windows: Sequence[Windows], residuals: Sequence[FloatArray]) -> list[FloatArray]:
        """The surprise of each window, (S, T) a kind of series."""
        return [
            np.where(each.rows > 0, known.surprises(known.distances(left, each.noise)), 0.0)
            for known, each, left in zip(self.fits, windows, residuals, strict=True)
        ]


def _goes_on(day: FloatArray, latest: FloatArray) -> Mask:
    """Whether the last hours (S, T, K) still go the way of the day that they end, at least half as far."""
    return np.asarray(np.einsum("stk,stk->st", day, latest) >= 0.5 * np.einsum("stk,stk->st", day, day))


def many_move(surprises: FloatArray, level: float) -> FloatArray:
    """How far the upper half of the features stands together, (T,) from (S, T).

    None counts for more than the level at which it alarms by itself: else this would be one feature's surprise again.
    """
    half = max(1, (len(surprises) + 1) // 2)
    return np.asarray(np.sort(np.minimum(surprises, level), axis=0)[-half:].mean(axis=0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Surprises:
    """How unusual windows are against the levels of their lengths: arrays of one shape, such as (series, windows).

    Of several lengths (in hours) the one counts that is furthest above its level. `over`: the parts of the way from the
    usual to the level that it has gone, 1 at the level.
    """

    surprise: FloatArray
    level: FloatArray
    length: FloatArray
    over: FloatArray

    @property
    def times_its_level(self) -> FloatArray:
        """Above 1 where it is an alarm, and only there."""
        return np.asarray(self.surprise / np.maximum(self.level, 1e-9))

    def of(self, series: int | slice) -> "Surprises":
        """Some series only."""
        return Surprises(
            surprise=self.surprise[series], level=self.level[series], length=self.length[series], over=self.over[series]
        )

    @classmethod
    def furthest(cls, found: Sequence["Surprises"]) -> "Surprises":
        """Of several, place by place, that with the largest `over`."""
        chosen = np.argmax(np.stack([each.over for each in found]), axis=0)[None]
        names = ("surprise", "level", "length", "over")
        return cls(
            **{
                name: np.take_along_axis(np.stack([getattr(each, name) for each in found]), chosen, axis=0)[0]
                for name in names
            }
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What a monitor's alarms are judged by. A kind of series each: `references` (S, K), `bins` (S,), `incidents`."""

    lengths: Sequence[LengthCalibration]
    references: Sequence[FloatArray]
    bins: Sequence[FloatArray]
    incidents: Sequence[Sequence[PastIncident]]
    left_out: Sequence[Mask]

    def judge(self, counts: Mapping[int, Sequence[FloatArray]], ends: FloatArray) -> tuple[list[Surprises], Surprises]:
        """The windows that end at these hours, (T,): of each kind of series (S, T), and of many that move (T,).

        `counts`: by length, a kind each, (S, T, K). Two things are held at their level and alarm no more. What can't
        matter: no divergence that it may stand for reaches `MATERIALITY`. What is over: the last six hours of a day do
        not go on with what it shows; a window of a day would else tell of an incident for a day after its end.
        """
        judged: list[list[Surprises]] = [[] for _ in self.bins]
        many: list[Surprises] = []
        latest: list[FloatArray] = []
        for known in self.lengths:
            kinds = [
                Windows(
                    ends=ends,
                    length=known.length,
                    panes=known.length,
                    counts=each,
                    reference=reference,
                    bins=bins,
                    usable=each.sum(axis=-1) > 0,
                )
                for each, reference, bins in zip(counts[known.length], self.references, self.bins, strict=True)
            ]
            residuals = known.residuals(kinds)
            found = known.surprises(kinds, residuals)
            goes_on = [np.ones(surprises.shape, dtype=np.bool_) for surprises in found]
            if known.length == DAY and latest:
                goes_on = [_goes_on(day, hours) for day, hours in zip(residuals, latest, strict=True)]
            latest = residuals
            for kind, surprises in enumerate(found):
                over = (surprises - known.usual) / max(known.level - known.usual, 1e-9)
                over = np.where(goes_on[kind], over, np.minimum(over, 1.0))
                series, places = np.nonzero(over > 1.0)
                is_small = ~self._is_material(kind, series, kinds[kind].counts[series, places])
                over[series[is_small], places[is_small]] = 1.0
                judged[kind].append(_compared(surprises, known.level, known.length, over))
            together = many_move(found[0], known.level)
            over = (together - known.many_usual) / max(known.many_level - known.many_usual, 1e-9)
            over = np.where(2 * goes_on[0].sum(axis=0) >= len(found[0]), over, np.minimum(over, 1.0))
            for place in np.nonzero(over > 1.0)[0]:
                features = kinds[0].counts[:, place]
                moved = np.nonzero(features.sum(axis=-1) > 0)[0]
                if not self._is_material(0, moved, features[moved]).any():
                    over[place] = 1.0
            many.append(_compared(together, known.many_level, known.length, over))
        return [Surprises.furthest(each) for each in judged], Surprises.furthest(many)

    def _is_material(self, kind: int, series: NDArray[np.intp], counts: FloatArray) -> Mask:
        """Whether the upper end of either KL divergence of windows (N, K) of these series (N,) reaches what matters."""
        if not series.size:
            return np.zeros(0, dtype=np.bool_)
        found = estimates(smooth(counts, self.references[kind][series], Smoothing()))
        both = (found[metric].high for metric in (Metric.KL_LIVE_REFERENCE, Metric.KL_REFERENCE_LIVE))
        return np.asarray(np.maximum(*both) >= MATERIALITY)


def _compared(surprise: FloatArray, level: float, length: int, over: FloatArray) -> Surprises:
    """With what is held at its level brought down to it."""
    held = np.where(over > 1.0, surprise, np.minimum(surprise, level))
    return Surprises(
        surprise=held, level=np.full(held.shape, level), length=np.full(held.shape, float(length)), over=over
    )


def calibrate(
    histories: Sequence[PaneHistory], *, episodes_per_hour: float, lengths: Sequence[int] = LENGTHS
) -> Calibration:
    """Fits and levels from the histories of a monitor's kinds of series, its features first."""
    searched = [search(history) for history in histories]
    clean = [replace(history, left_out=out) for history, (out, _) in zip(histories, searched, strict=True)]
    hours, pane = histories[0].hours, histories[0].pane
    fitting = [length for length in lengths if length % pane == 0 and _is_enough(hours, length)]
    found = []
    for length in fitting:
        rate = episodes_per_hour * pane / len(fitting)
        windows = [history.windows(length) for history in clean]
        regressors = season(windows[0].ends, length, histories[0].days)
        scores = [np.where(each.usable, cross_scores(each, regressors), -np.inf) for each in windows]
        together = np.concatenate(scores)
        seen = np.isfinite(together).any(axis=0)
        if length in _SHAPES:
            usual, level = pooled_level(together, np.isfinite(together), rate * (1 - MANY_SHARE), windows[0])
        else:
            usual, level = budget_level(together[:, seen].max(axis=0), rate * (1 - MANY_SHARE), gap_of(windows[0]))
        many = many_move(np.maximum(scores[0][:, seen], 0.0), level)
        many_usual, many_level = budget_level(many, rate * MANY_SHARE, gap_of(windows[0]))
        found.append(
            LengthCalibration(
                length=length,
                days=histories[0].days,
                fits=[fit(each, regressors, each.usable) for each in windows],
                usual=usual,
                level=level,
                many_usual=many_usual,
                many_level=many_level,
            )
        )
    return Calibration(
        lengths=found,
        references=[history.reference for history in histories],
        bins=[history.bins for history in histories],
        incidents=[incidents for _, incidents in searched],
        left_out=[out for out, _ in searched],
    )


def _is_enough(hours: int, length: int) -> bool:
    """Whether leaving a week out, and what shares rows with it, leaves two weeks of windows to fit on."""
    return hours - length >= (35 * 24 - 168 if length == 168 else 13 * DAY)
