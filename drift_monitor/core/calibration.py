"""Levels that keep a stated budget of false alarms, found on a monitor's own history.

Scores of windows (`surprise`) become alarms above a level. It is set so that a history like this one gives as many
false episodes as are asked for: the largest surprise of all series of the monitor, window by window, has peaks; how
often and how far they rise above their 95 % quantile u tells the height that is passed once in so many evaluations,

    level = u + sg (1 - x) (R^x - 1) / x,     sg the mean excess of the peaks over u, R their rate over the asked one

the tail of a generalised Pareto distribution of shape x = 0.1 (Pickands, Annals of Statistics 3, 1975), whose mean is
kept; windows of a week have few peaks, so there the peaks of all series are pooled and x = 0.3.

Nobody's history is clean, and one old incident is enough to raise the level beyond all reach: it goes through the mean
excess. So old incidents are found first, and their hours left out, for their series only:

1.  Scores by week, each by a fit on the others. For windows of a day that fit is concentrated: it keeps the 80 % of the
    windows that moved least, then the 80 % that are nearest to what is left, so that two incidents do not hide each
    other.
2.  One yardstick for all series of a kind: u the median of their 80 % quantiles, sg the median peak excess / ln 2.
3.  A cluster of scores above u is an old incident where its peak exceeds u by 20 sg in windows of a day, by 80 sg in
    windows of 6 hours. Left out are the hours around the peak window of which half of the windows lie above u + 4 sg.
4.  Once more without them. A series that would lose more than 30 % of its hours has two states, and keeps them all: a
    person must say which one is normal.

Everything here is per hour, or per pane where that is longer. Arrays are (series, windows). Nothing raises; a history
too short for a fit gives no levels.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drift_monitor.core.distribution import FloatArray, Mask
from drift_monitor.core.surprise import WEEK, Fit, Windows, cross_scores, fit, folds, season

LENGTHS = (1, 6, 24, 168)  # hours
MANY_SHARE = 0.2  # of the budget of a length, for "many move a little"
_DAY = 24
_SHAPES = {168: 0.3}
_SHAPE = 0.1
_EXPONENTIAL = math.log10(math.e)  # the mean of a surprise whose tail is a true probability
_QUIET = 0.8  # of the windows are taken for quiet while old incidents are searched
_GAPS = {1: 6, 6: 6, 24: 24, 168: 168}  # hours without a score above u end a cluster
_SEARCH = {24: 20.0, 6: 80.0}  # how many sg a peak of an old incident lies above u
_MOST_LEFT_OUT = 0.3  # of a series' hours


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Counts a pane of series with like bins, such as all features of a monitor: (S, T, K), aligned and without gaps.

    `start`: the hour from the epoch at which the first pane begins. `reference`: (S, K). `is_reference`: the panes are
    the reference's own. `bins`: (S,), real bins. `left_out`: (S, T), hours that are known to be no example.
    """

    start: float
    counts: FloatArray
    reference: FloatArray
    bins: FloatArray
    is_reference: Mask
    left_out: Mask

    @property
    def hours(self) -> int:
        return int(self.counts.shape[1])

    @property
    def days(self) -> float:
        return self.hours / _DAY

    def windows(self, length: int) -> Windows:
        """All windows of this length, a pane apart; unusable where they have no rows or touch what is left out."""
        counts = _moving_sum(self.counts, length)
        reference = self.reference
        if self.is_reference.any():
            own = _moving_sum(self.counts * self.is_reference[:, None], length)
            reference = np.maximum(self.reference[:, None, :] - own, 0.0)
        touched = _moving_sum(self.left_out[..., None].astype(np.float64), length)[..., 0]
        return Windows(
            ends=self.start + np.arange(length, self.hours + 1.0),
            length=length,
            counts=counts,
            reference=reference,
            bins=self.bins,
            usable=(counts.sum(axis=-1) > 0) & (touched == 0),
        )

    def of(self, series: NDArray[np.intp]) -> "History":
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


@dataclass(frozen=True)
class PastIncident:
    """Hours [first, last) of a series, counted from the history's start, that were no example; `height` in sg.

    `is_state`: so many hours are like that that they are kept, and a person must say which state is normal.
    """

    series: int
    first: int
    last: int
    height: float
    is_state: bool = False


def clusters(scores: FloatArray, above: float, gap: int) -> Iterator[tuple[int, int, int]]:
    """First, last and highest place of each run of scores (T,) above a value, with less than `gap` places between."""
    places = np.nonzero(scores > above)[0]
    for run in np.split(places, np.nonzero(np.diff(places) > gap)[0] + 1):
        if run.size:
            yield int(run[0]), int(run[-1]), int(run[np.argmax(scores[run])])


@dataclass(frozen=True)
class Yardstick:
    """What the scores of series of one kind usually reach: u, and by how much their peaks exceed it."""

    usual: float
    excess: float

    @classmethod
    def of(cls, scores: FloatArray, usable: Mask, gap: int) -> "Yardstick":
        """From scores (S, T)."""
        moving = (np.where(usable, scores, 0.0) > 0).any(axis=1)
        if not moving.any():
            return cls(0.0, _EXPONENTIAL)
        usual = float(np.median(_quantiles(scores[moving], usable[moving], _QUIET)))
        quiet = np.where(usable, scores, -np.inf)
        heights = [row[top] - usual for row in quiet for *_, top in clusters(row, usual, gap)]
        return cls(usual, max(float(np.median(heights)) / math.log(2.0) if heights else 0.0, _EXPONENTIAL))


def _concentrated_scores(windows: Windows, regressors: FloatArray) -> FloatArray:
    """As `cross_scores`, by fits on the windows that moved least: only to search, for it is too sure of itself."""
    scores = np.zeros(windows.usable.shape)
    for held, apart in folds(windows, WEEK):
        taken = windows.usable & apart
        known = fit(windows, regressors, taken)
        residuals = known.residuals(windows, regressors)
        quiet = _smallest(np.einsum("stk,stk->st", residuals, residuals) / windows.noise, taken)
        known = fit(windows, regressors, quiet)
        near = _smallest(known.distances(known.residuals(windows, regressors), windows.noise), taken)
        known = fit(windows, regressors, near)
        residuals = windows.moves[:, held] - regressors[held] @ known.season
        scores[:, held] = known.surprises(known.distances(residuals, windows.noise[:, held]))
    return scores


def _smallest(values: FloatArray, taken: Mask) -> Mask:
    """The 80 % of the taken windows of each series with the smallest values."""
    return np.asarray(taken & (values <= _quantiles(values, taken, _QUIET)[:, None]))


def _quantiles(values: FloatArray, taken: Mask, share: float) -> FloatArray:
    """Of the taken values of each series, (S,), one that occurs; where none is taken, infinity."""
    ordered = np.sort(np.where(taken, values, np.inf), axis=1)
    places = np.minimum((share * taken.sum(axis=1)).astype(np.intp), values.shape[1] - 1)
    return np.asarray(np.take_along_axis(ordered, places[:, None], axis=1)[:, 0])


def search(history: History) -> tuple[Mask, list[PastIncident]]:
    """The hours that are no example, (S, T), those given included, and the incidents they belong to."""
    found: list[PastIncident] = []
    left_out = history.left_out.copy()
    yardsticks: dict[int, Yardstick] = {}
    changed = np.arange(len(history.counts))
    for _ in range(2):
        again = replace(history, left_out=left_out).of(changed)
        incidents = []
        for length in _SEARCH:
            if again.hours < 2 * length:
                continue
            windows = again.windows(length)
            regressors = season(windows.ends, length, history.days)
            scores = (
                _concentrated_scores(windows, regressors) if length == _DAY else cross_scores(windows, regressors, WEEK)
            )
            scores = np.where(windows.usable, scores, -np.inf)
            yardstick = yardsticks.setdefault(length, Yardstick.of(scores, windows.usable, _GAPS[length]))
            incidents += [replace(each, series=int(changed[each.series])) for each in _past(scores, length, yardstick)]
        for each in incidents:
            left_out[each.series, each.first : each.last] = True
        found += incidents
        changed = np.unique([each.series for each in incidents]).astype(np.intp)
        if not changed.size:
            break
    new = left_out & ~history.left_out
    is_other_state = new.mean(axis=1) > _MOST_LEFT_OUT
    whole = [
        PastIncident(
            series,
            first,
            last + 1,
            max(each.height for each in found if each.series == series and each.first <= last and each.last > first),
            is_state=bool(is_other_state[series]),
        )
        for series, row in enumerate(new)
        for first, last, _ in clusters(row.astype(np.float64), 0.5, 1)
    ]
    left_out[is_other_state] = history.left_out[is_other_state]
    return left_out, whole


def _past(scores: FloatArray, length: int, yardstick: Yardstick) -> Iterator[PastIncident]:
    """Stretches of hours in scores (S, T) of one length; window t holds the hours [t, t + length)."""
    limit = yardstick.usual + 4.0 * yardstick.excess
    for series, row in enumerate(scores):
        for first, last, top in clusters(row, yardstick.usual, _GAPS[length]):
            height = (row[top] - yardstick.usual) / yardstick.excess
            if height <= _SEARCH[length]:
                continue
            over, windows = np.zeros((2, last - first + length))
            for place in range(first, last + 1):
                windows[place - first : place - first + length] += 1
                over[place - first : place - first + length] += row[place] > limit
            is_out = 2 * over >= windows
            is_out[top - first : top - first + length] = True
            # Only what hangs together with the peak: a season fitted to the incident echoes a week before and after.
            for begin, end, _ in clusters(is_out.astype(np.float64), 0.5, 1):
                if begin <= top - first <= end:
                    yield PastIncident(series, first + begin, first + end + 1, float(height))


def budget_level(scores: FloatArray, rate: float, length: int) -> tuple[float, float]:
    """u and the level that scores (T,) of a whole fleet pass `rate` times an evaluation."""
    usual = float(np.quantile(scores, 0.95))
    heights = [scores[top] - usual for *_, top in clusters(scores, usual, _GAPS[length])]
    return usual, _level(usual, heights, len(scores), rate, _SHAPE)


def pooled_level(scores: FloatArray, usable: Mask, rate: float, length: int) -> tuple[float, float]:
    """The same for scores (S, T) of which the fleet's maximum has too few peaks: those of all series, pooled."""
    usual = float(np.median(_quantiles(scores, usable, 0.97)))
    heights = [
        row[top] - usual for row in np.where(usable, scores, -np.inf) for *_, top in clusters(row, usual, _GAPS[length])
    ]
    return usual, _level(usual, heights, scores.shape[1], rate, _SHAPES[length])


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

    def surprises(self, windows: Sequence[Windows]) -> Sequence[FloatArray]:
        """The surprise of each window, (S, T) a kind of series."""
        found = []
        for known, each in zip(self.fits, windows, strict=True):
            regressors = season(each.ends, self.length, self.days)
            scores = known.surprises(known.distances(known.residuals(each, regressors), each.noise))
            found.append(np.where(each.rows > 0, scores, 0.0))
        return found


def many_move(surprises: FloatArray) -> FloatArray:
    """How far the upper half of the features stands together, (T,) from (S, T)."""
    half = max(1, (len(surprises) + 1) // 2)
    return np.asarray(np.sort(surprises, axis=0)[-half:].mean(axis=0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What a monitor's alarms are judged by. `incidents`, `left_out`: a kind of series each."""

    lengths: Sequence[LengthCalibration]
    incidents: Sequence[Sequence[PastIncident]]
    left_out: Sequence[Mask]


def calibrate(
    histories: Sequence[History], *, episodes_per_hour: float, lengths: Sequence[int] = LENGTHS
) -> Calibration:
    """Fits and levels from the histories of a monitor's kinds of series, its features first."""
    searched = [search(history) for history in histories]
    clean = [replace(history, left_out=out) for history, (out, _) in zip(histories, searched, strict=True)]
    fitting = [length for length in lengths if _is_enough(histories[0].hours, length)]
    found = []
    for length in fitting:
        rate = episodes_per_hour / len(fitting)
        windows = [history.windows(length) for history in clean]
        regressors = season(windows[0].ends, length, histories[0].days)
        scores = [np.where(each.usable, cross_scores(each, regressors), -np.inf) for each in windows]
        together = np.concatenate(scores)
        seen = np.isfinite(together).any(axis=0)
        if length in _SHAPES:
            usual, level = pooled_level(together, np.isfinite(together), rate * (1 - MANY_SHARE), length)
        else:
            usual, level = budget_level(together[:, seen].max(axis=0), rate * (1 - MANY_SHARE), length)
        many = many_move(np.maximum(scores[0][:, seen], 0.0))
        many_usual, many_level = budget_level(many, rate * MANY_SHARE, length)
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
        lengths=found, incidents=[incidents for _, incidents in searched], left_out=[out for out, _ in searched]
    )


def _is_enough(hours: int, length: int) -> bool:
    """Whether leaving a week out, and what shares rows with it, leaves two weeks of windows to fit on."""
    return hours - length >= (35 * 24 - 168 if length == 168 else 14 * _DAY - _DAY)
