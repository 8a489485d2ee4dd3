"""The heatmap of one monitor: its features, worst first, over about the last week of hours (or half a year of days)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, isfinite

from markupsafe import Markup

from drift_monitor import words
from drift_monitor.core.rules import Rule
from drift_monitor.core.schedule import interval
from drift_monitor.store.alerts import Episode
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.status import Series
from drift_monitor.web.charts.heatmap import Cell, Row, heatmap
from drift_monitor.web.pages import phrases
from drift_monitor.web.pages.health import MonitorRow
from drift_monitor.web.pages.nearness import Level, feature_rules, level
from drift_monitor.web.pages.rendering import Links

Histories = Mapping[Series, Sequence[Measurement]]
MOST_ROWS = 60
_WINDOWS = 168  # a week of hours
_COLUMNS = 84  # two windows share one


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Equal stretches of time that end at `until`."""

    until: datetime
    length: timedelta
    count: int

    @property
    def start(self) -> datetime:
        return self.until - self.count * self.length

    def position(self, window_end: datetime) -> int:
        """Which column a window belongs to: the one that begins before its end."""
        return self.count - 1 - int((self.until - window_end) / self.length)

    def span(self, position: int) -> tuple[datetime, datetime]:
        start = self.start + position * self.length
        return start, start + self.length


def columns_of(row: MonitorRow) -> Columns | None:
    """The time the heatmap shows; None before the first success."""
    if row.window_end is None:
        return None
    length = interval(row.monitor.schedule) * ceil(_WINDOWS / _COLUMNS)
    return Columns(until=row.window_end, length=length, count=_COLUMNS)


def draw_heatmap(
    row: MonitorRow, columns: Columns, histories: Histories, known: Sequence[Episode], links: Links
) -> Markup:
    """The chart, from the measurements and episodes of that time."""
    shown = [feature.series for feature in row.features[:MOST_ROWS]]
    episodes = _by_feature(known)
    rules = feature_rules(row.monitor.rules)
    rows = [
        Row(
            name=series.feature,
            href=links.feature(series.monitor, series.feature),
            cells=_cells(series, histories.get(series, ()), episodes.get(series.feature, ()), rules, columns, links),
        )
        for series in shown
    ]
    title = f"How near each feature of {row.monitor.name} came to its alert thresholds, over time"
    return heatmap(rows, start=columns.start, end=columns.until, title=title)


def _by_feature(episodes: Sequence[Episode]) -> Mapping[str, Sequence[Episode]]:
    found: dict[str, list[Episode]] = {}
    for one in episodes:
        found.setdefault(one.key.feature, []).append(one)
    return found


def _cells(
    series: Series,
    history: Sequence[Measurement],
    episodes: Sequence[Episode],
    rules: Sequence[Rule],
    columns: Columns,
    links: Links,
) -> list[Cell]:
    worst: dict[int, tuple[Measurement, Level | None]] = {}
    for one in history:
        position, found = columns.position(one.window_end), level(rules, one)
        if position not in worst or _share(found) >= _share(worst[position][1]):
            worst[position] = (one, found)
    return [
        _cell(series, one, found, _fires(episodes, columns.span(position)[1]), columns.span(position), links)
        for position, (one, found) in sorted(worst.items())
    ]


def _cell(
    series: Series,
    one: Measurement,
    found: Level | None,
    is_firing: bool,
    span: tuple[datetime, datetime],
    links: Links,
) -> Cell:
    if found is None:
        said = f"not measured ({one.status.value.replace('_', ' ')})"
    else:
        rule = found.rule
        said = f"{rule.metric.label} {words.amount(rule.metric, found.compared)} against {words.threshold(rule)}"
    return Cell(
        start=span[0],
        end=span[1],
        level=found.share if found else None,
        is_firing=is_firing,
        note=f"{series.feature}, window to {phrases.instant_text(one.window_end)}: {said}",
        href=links.feature(series.monitor, series.feature, window_end=phrases.iso_text(one.window_end)),
    )


def _share(found: Level | None) -> float:
    if found is None:
        return -1.0
    return found.share if isfinite(found.share) else 1e300


def _fires(episodes: Sequence[Episode], end: datetime) -> bool:
    return any(one.opened_window <= end and (one.closed_window is None or one.closed_window > end) for one in episodes)
