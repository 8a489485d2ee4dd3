"""`/monitors/{monitor}`: its features over time, the evaluations with their reasons, and the episodes.

Query: `search` shows the features whose name contains that text, `page` counts from 1. Features come worst first, a
page at a time; only what is on the page is read and drawn, so the cost does not grow with the features of a monitor.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from drift_monitor import words
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.rules import Rule
from drift_monitor.core.schedule import interval
from drift_monitor.core.times import format_duration
from drift_monitor.errors import InputError
from drift_monitor.queries.status import Readable, Status, read_status
from drift_monitor.store import alerts, runs
from drift_monitor.store.alerts import Episode
from drift_monitor.store.calibrations import CalibrationState
from drift_monitor.store.runs import RunFilter
from drift_monitor.store.status import Range, Series, WindowValues, windows
from drift_monitor.web.charts.heatmap import Cell, Row, heatmap, is_linked
from drift_monitor.web.pages.active import MOST_SHOWN, read_firing
from drift_monitor.web.pages.rendering import Links, links_of, query_text, render
from drift_monitor.web.pages.rows import FeatureRow, Level, feature_rules, levels, monitor_row, trend
from drift_monitor.web.phrases import dataset_text, instant_text, iso_text, reference_text

PAGE_SIZE: Final = 50  # features: a table one still reads, and a heatmap of two screens
MOST_RUNS: Final = 20
MOST_EPISODES: Final = 30
_LONGEST_SEARCH: Final = 200  # characters; names of columns are shorter in every database
_WINDOWS: Final = 168  # of the heatmap: a week of hours, half a year of days
_COLUMNS: Final = 84  # two windows share one


@dataclass(frozen=True, kw_only=True)
class FeaturePage:
    """Which part of the features is shown: `rows` of the `found` ones whose name contains `search`."""

    rows: Sequence[FeatureRow]
    search: str
    found: int
    number: int
    count: int  # of pages, at least one

    @property
    def first(self) -> int:
        """The place of the first row among those found, from 1."""
        return (self.number - 1) * PAGE_SIZE + 1

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    @property
    def neighbours(self) -> Sequence[int]:
        """Numbers of the pages to link to: both ends and those around this one; 0 stands for what is left out."""
        near = range(max(1, self.number - 2), min(self.count, self.number + 2) + 1)
        before = [] if near[0] == 1 else [1] if near[0] == 2 else [1, 0]
        after = [] if near[-1] == self.count else [self.count] if near[-1] == self.count - 1 else [0, self.count]
        return [*before, *near, *after]

    def address(self, number: int) -> str:
        """Another page of the same features."""
        return query_text({"search": self.search or None, "page": str(number)})


def show_monitor(request: Request, services: Readable, monitor: MonitorConfig) -> Response:
    """The page; raises InputError where its query can't be read."""
    at = services.clock.now()
    with services.store.read() as conn:
        status = read_status(conn, [monitor])
        row = monitor_row(monitor, status, at)
        page = _page(request.query_params, row.features)
        firing = read_firing(conn, [monitor], status)
        evaluations = runs.history(conn, RunFilter(monitor=monitor.name), limit=MOST_RUNS)
        episodes = alerts.episodes(conn, monitor=monitor.name, limit=MOST_EPISODES)
        histories: Mapping[Series, Sequence[WindowValues]] = {}
        drawn: Markup | None = None
        if row.window_end is not None:
            chart = _Heatmap(monitor, row.window_end, links_of(request))
            names = {shown.series.feature for shown in page.rows}
            names |= {feature.series.feature for feature in firing[:MOST_SHOWN]}
            stretch = Range(monitor=monitor.name, since=chart.start, until=chart.until, features=names)
            histories = windows(conn, [stretch], {rule.metric for rule in feature_rules(monitor.rules)})
            recent = alerts.episodes(conn, monitor=monitor.name, features=names, since=chart.start)
            drawn = chart.draw(page.rows, histories, recent) if page.rows else None
    schedule = monitor.cron or f"every {format_duration(interval(monitor.schedule))}"
    return render(
        request,
        "monitor.html",
        at=at,
        row=row,
        page=page,
        firing=firing,
        most_firing=MOST_SHOWN,
        heatmap=drawn,
        trends={feature.series: trend(feature, histories) for feature in row.features if feature.series in histories},
        evaluations=evaluations,
        episodes=episodes,
        facts={
            "Rows of": dataset_text(monitor.table),
            "Source": monitor.source,
            "Compared with": reference_text(monitor.reference),
            "Evaluated": schedule,
            "Window": f"{format_duration(monitor.window)}, in panes of {format_duration(monitor.pane)}",
            "Rows needed": words.count(monitor.min_rows),
            **_budget(monitor, status),
        },
    )


def _budget(monitor: MonitorConfig, status: Status) -> Mapping[str, str]:
    """How many false alarms the monitor allows, and on which history its levels rest."""
    rule = monitor.surprise_rule
    if rule is None:
        return {}
    state, history = status.calibrated.get(monitor.name, (CalibrationState.LEARNING, None))
    if history is None:
        said = "no level yet"
    elif state is CalibrationState.LEARNING:
        said = f"no level yet: {(history.end - history.start).days} days of history, 14 are needed"
    else:
        said = f"levels from {words.span(history.start, history.end)}"
    return {"False alarms": f"{words.budget_text(rule)}; {said}"}


def _page(query: Mapping[str, str], features: Sequence[FeatureRow]) -> FeaturePage:
    search, number = query.get("search", "").strip(), query.get("page", "1")
    if len(search) > _LONGEST_SEARCH:
        raise InputError(f"The query's search has {len(search)} characters; write at most {_LONGEST_SEARCH}.")
    # Not `\d`, which takes digits of all scripts, and with an end: int() of a megabyte takes its time.
    if not re.fullmatch(r"[0-9]{1,6}", number):
        raise InputError(f"The query's page is {words.shorten(repr(number), 60)}; write a whole number from 1 on.")
    wanted = search.casefold()
    found = [row for row in features if wanted in row.series.feature.casefold()] if wanted else features
    count = max(1, ceil(len(found) / PAGE_SIZE))
    if not 1 <= int(number) <= count:
        known = "there is only page 1" if count == 1 else f"there are pages 1 to {count}"
        raise InputError(f"The query's page is {int(number)}, but {known}.")
    start = (int(number) - 1) * PAGE_SIZE
    rows = found[start : start + PAGE_SIZE]
    return FeaturePage(rows=rows, search=search, found=len(found), number=int(number), count=count)


@dataclass(frozen=True)
class _Heatmap:
    """Features over equal stretches of time that end at `until`: how near each came to its thresholds."""

    monitor: MonitorConfig
    until: datetime
    links: Links

    @property
    def column(self) -> timedelta:
        return interval(self.monitor.schedule) * ceil(_WINDOWS / _COLUMNS)

    @property
    def start(self) -> datetime:
        return self.until - _COLUMNS * self.column

    def draw(
        self, shown: Sequence[FeatureRow], histories: Mapping[Series, Sequence[WindowValues]], recent: Sequence[Episode]
    ) -> Markup:
        """The chart of these features, from the windows and episodes of that time."""
        episodes: dict[str, list[Episode]] = {}
        for episode in recent:
            episodes.setdefault(episode.key.feature, []).append(episode)
        rules = feature_rules(self.monitor.rules)
        rows = [
            Row(
                name=series.feature,
                href=self.links.feature(series.monitor, series.feature),
                cells=self._cells(series, histories.get(series, ()), episodes.get(series.feature, ()), rules),
            )
            for series in (row.series for row in shown)
        ]
        title = f"How near each feature of {self.monitor.name} came to its alert thresholds, over time"
        return heatmap(rows, start=self.start, end=self.until, title=title)

    def _cells(
        self, series: Series, history: Sequence[WindowValues], episodes: Sequence[Episode], rules: Sequence[Rule]
    ) -> list[Cell]:
        """A cell for each column that has windows: that of the worst of them."""
        worst: dict[int, tuple[float, WindowValues, Level | None]] = {}
        column, begin = self.column, self.start
        for window in history:
            # A window belongs to the column that begins before its end.
            position = _COLUMNS - 1 - int((self.until - window.end) / column)
            level = next(iter(levels(rules, window.measured)), None)
            share = -1.0 if level is None else level.share
            if position not in worst or share >= worst[position][0]:
                worst[position] = (share, window, level)
        cells = []
        for position, (_, window, level) in sorted(worst.items()):
            start = begin + position * column
            end = start + column
            cell = Cell(
                start=start,
                end=end,
                note="",
                level=level.share if level else None,
                is_firing=any(
                    episode.opened_window <= end and (episode.closed_window is None or episode.closed_window > end)
                    for episode in episodes
                ),
            )
            if is_linked(cell.level):  # most cells are calm, and texts for them would be half of the cost
                href = self.links.feature(series.monitor, series.feature, window_end=iso_text(window.end))
                cell = replace(cell, note=_note(series.feature, window, level), href=href)
            cells.append(cell)
        return cells


def _note(feature: str, window: WindowValues, level: Level | None) -> str:
    if level is None:
        said = f"not measured ({window.measured.status.value.replace('_', ' ')})"
    else:
        metric = level.rule.metric
        said = f"{metric.label} {words.amount(metric, level.compared)} against {words.threshold(level.rule)}"
    return f"{feature}, window to {instant_text(window.end)}: {said}"
