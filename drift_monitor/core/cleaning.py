"""Old incidents in a history: hours that are no example of what is usual, found so that they can be left out.

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

Arrays are (series, windows).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from drift_monitor.core.distribution import FloatArray, Mask
from drift_monitor.core.surprise import DAY, WEEK, PaneHistory, Windows, cross_scores, fit, folds, season

_EXPONENTIAL = math.log10(math.e)  # the mean of a surprise whose tail is a true probability
_QUIET = 0.8  # of the windows are taken for quiet while old incidents are searched
_GAPS = {1: 6, 6: 6, 24: 24, 168: 168}  # so many hours without a score above u end a cluster of a length
_SEARCH = {24: 20.0, 6: 80.0}  # how many sg a peak of an old incident lies above u
_MOST_LEFT_OUT = 0.3  # of a series' hours


@dataclass(frozen=True)
class PastIncident:
    """Panes [first, last) of a series, counted from the history's start, that were no example; `height` in sg.

    `is_state`: so many panes are like that that they are kept, and a person must say which state is normal.
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
        usual = float(np.median(quantiles(scores[moving], usable[moving], _QUIET)))
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
    return np.asarray(taken & (values <= quantiles(values, taken, _QUIET)[:, None]))


def quantiles(values: FloatArray, taken: Mask, share: float) -> FloatArray:
    """Of the taken values of each series, (S,), one that occurs; where none is taken, infinity."""
    ordered = np.sort(np.where(taken, values, np.inf), axis=1)
    places = np.minimum((share * taken.sum(axis=1)).astype(np.intp), values.shape[1] - 1)
    return np.asarray(np.take_along_axis(ordered, places[:, None], axis=1)[:, 0])


def search(history: PaneHistory) -> tuple[Mask, list[PastIncident]]:
    """The hours that are no example, (S, T), those given included, and the incidents they belong to."""
    found: list[PastIncident] = []
    left_out = history.left_out.copy()
    yardsticks: dict[int, Yardstick] = {}
    changed = np.arange(len(history.counts))
    for _ in range(2):
        again = replace(history, left_out=left_out).of(changed)
        incidents = []
        for length in _SEARCH:
            if length % again.pane or again.hours < 2 * length:
                continue
            windows = again.windows(length)
            regressors = season(windows.ends, length, history.days)
            scores = (
                _concentrated_scores(windows, regressors) if length == DAY else cross_scores(windows, regressors, WEEK)
            )
            scores = np.where(windows.usable, scores, -np.inf)
            yardstick = yardsticks.setdefault(length, Yardstick.of(scores, windows.usable, gap_of(windows)))
            incidents += [replace(each, series=int(changed[each.series])) for each in _past(scores, windows, yardstick)]
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


def gap_of(windows: Windows) -> int:
    """Windows without a score above u that end a cluster."""
    return _GAPS[windows.length] * windows.panes // windows.length


def _past(scores: FloatArray, of: Windows, yardstick: Yardstick) -> Iterator[PastIncident]:
    """Stretches of panes in scores (S, T) of windows; window t holds the panes [t, t + panes)."""
    length = of.panes
    limit = yardstick.usual + 4.0 * yardstick.excess
    for series, row in enumerate(scores):
        for first, last, top in clusters(row, yardstick.usual, gap_of(of)):
            height = (row[top] - yardstick.usual) / yardstick.excess
            if height <= _SEARCH[of.length]:
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
