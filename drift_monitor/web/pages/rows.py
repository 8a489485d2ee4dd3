"""Monitors and their features as rows of tables: how each of them stands now, the worst first.

How near a feature is to its alerts: the number that a rule compares, as a share of its threshold. 1 is the threshold,
so features with different rules can be put in one order and one heatmap. The number is the one the rule compares (by
default the lower bound of a divergence), never the raw value: noise must not look like drift.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from markupsafe import Markup

from drift_monitor import words
from drift_monitor.alerting.rules import measured_feature
from drift_monitor.config.schema import DEFAULT_RULES, MonitorConfig
from drift_monitor.core.alerting import AlertPhase
from drift_monitor.core.rules import Health, Measured, Rule, Severity, judge
from drift_monitor.core.schedule import interval
from drift_monitor.queries.status import Status, feature_series, is_stale, next_run_at, unmeasured
from drift_monitor.store.alerts import AlertRow
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.status import Range, Series, WindowValues
from drift_monitor.web.charts.timeline import sparkline
from drift_monitor.web.phrases import UNMEASURED_TEXTS

TREND_WINDOWS: Final = 96  # of a sparkline: four days of hours, three months of days
_LONGEST_TREND: Final = timedelta(days=400)  # of a monitor that runs once a month
_CALM: Final = 0.5  # of a threshold; below it nothing is near
# From good to bad; the severities of alerts that fire come behind these.
_STATES: Final = {"quiet": "quiet", "unknown": "no value yet", "unmeasured": "not measured", "pending": "pending"}
_RANKS: Final = {state: rank for rank, state in enumerate((*_STATES, *(severity.value for severity in Severity)))}


class Level(NamedTuple):
    """One rule on one measurement. `share` is 1 at the threshold; `compared` the number held against it."""

    rule: Rule
    share: float
    compared: float


def feature_rules(rules: Iterable[Rule]) -> Sequence[Rule]:
    """The rules that watch features, critical first; where there are none, the usual ones rank them all the same."""
    watching = [rule for rule in rules if not rule.metric.is_of_monitor] or DEFAULT_RULES
    return sorted(watching, key=lambda rule: -rule.severity.rank)


def levels(rules: Iterable[Rule], measured: Measured) -> list[Level]:
    """One level a rule that has a number, the nearest to its threshold (or furthest beyond it) first."""
    found = []
    for rule in rules:
        value = judge(rule, measured).value
        if value is not None:
            large, small = (value, rule.threshold) if rule.above is not None else (rule.threshold, value)
            # At a threshold of 0 every value beyond it is infinitely far, and every other one calm.
            share = max(large, 0.0) / small if small > 0 else math.inf if rule.is_breached_by(value) else 0.0
            found.append(Level(rule, share, value))
    found.sort(key=lambda level: -level.share)  # of equal ones the rule that was first
    return found


@dataclass(frozen=True, kw_only=True)
class FeatureRow:
    """One feature. `state` is a severity while an alert fires, else pending, unmeasured, unknown or quiet."""

    series: Series
    state: str
    level: Level | None  # the one to show
    share: float  # of its threshold, of the rule nearest to it
    measurement: Measurement | None  # the last good one
    reason: str = ""  # why the latest evaluation gave no value

    @property
    def rank(self) -> tuple[int, float, str]:
        return (-_RANKS[self.state], -self.share, self.series.feature)

    @property
    def state_text(self) -> str:
        return _STATES.get(self.state, self.state)

    @property
    def direction(self) -> str:
        direction = self.measurement.direction if self.measurement else None
        return words.DIRECTION_NAMES[direction] if direction else words.NOTHING


@dataclass(frozen=True, kw_only=True)
class MonitorRow:
    """One monitor; its features the worst first."""

    monitor: MonitorConfig
    health: str  # ok, stale, failing or waiting
    detail: str
    last_success_at: datetime | None
    next_run_at: datetime | None
    window_end: datetime | None
    live_rows: int | None
    features: Sequence[FeatureRow]

    @property
    def rank(self) -> tuple[tuple[int, float], str]:
        """By its worst feature."""
        return (self.features[0].rank[:2] if self.features else (0, 0.0), self.monitor.name)

    def count(self, state: str) -> int:
        """How many features are in that state."""
        return sum(row.state == state for row in self.features)


def monitor_row(monitor: MonitorConfig, status: Status, at: datetime) -> MonitorRow:
    """The monitor as it stands at `at`."""
    done = status.done.get(monitor.name)
    health, detail = _health(monitor, status, at)
    if done and done.result and done.result.get("live_rows") == 0:
        seen = f"the newest is of {words.minute(done.newest)}" if done.newest else "and no earlier one had any"
        detail = detail or f"The last window has no rows, {seen}: nothing can be compared."
    rules = feature_rules(monitor.rules)
    active: dict[Series, list[AlertRow]] = {}
    for row in status.active:
        if row.monitor == monitor.name:
            active.setdefault(Series(row.monitor, row.key.feature, row.key.segment), []).append(row)
    features = [
        _feature_row(series, status, active.get(series, ()), rules) for series in feature_series(monitor, status)
    ]
    return MonitorRow(
        monitor=monitor,
        health=health,
        detail=detail,
        last_success_at=done.finished_at if done else None,
        next_run_at=next_run_at(monitor, status),
        window_end=done.key.window_end if done else None,
        live_rows=done.result.get("live_rows") if done and done.result else None,
        features=sorted(features, key=lambda row: row.rank),
    )


def _health(monitor: MonitorConfig, status: Status, at: datetime) -> tuple[str, str]:
    """A state and its reason; never read from alert states, which stay as they are while nothing is measured."""
    tried, done = status.tried.get(monitor.name), status.done.get(monitor.name)
    finished = done.finished_at if done else None
    if tried is None:
        return "waiting", "not evaluated yet"
    if tried.health is Health.ERROR:
        since = f"; last success {words.age(at - finished)} ago" if finished else ""
        return "failing", f"{tried.error or tried.error_code or 'the last evaluation failed'}{since}"
    if is_stale(finished, interval(monitor.schedule), at):
        return "stale", "no evaluation for more than three intervals: is the service running?"
    return "ok", ""


def worst_severity(rows: Iterable[AlertRow]) -> Severity | None:
    """The highest severity that fires."""
    firing = [Severity(row.severity) for row in rows if row.alert.phase is AlertPhase.FIRING]
    return max(firing, key=lambda severity: severity.rank, default=None)


def _feature_row(series: Series, status: Status, active: Sequence[AlertRow], rules: Sequence[Rule]) -> FeatureRow:
    good = status.good.get(series)
    reason = unmeasured(series, status)
    severity = worst_severity(active)
    if severity is not None:
        state = severity.value
    elif active:
        state = "pending"
    elif reason is not None:
        state = "unmeasured"
    else:
        state = "quiet" if good else "unknown"
    found = levels(rules, measured_feature(good.measurement)) if good else []
    shown = worst = found[0] if found else None
    if worst and worst.share < _CALM:
        # While all is calm a divergence says more than a ratio of zero.
        shown = next((level for level in found if level.rule.metric.is_divergence), worst)
    return FeatureRow(
        series=series,
        state=state,
        level=shown,
        share=worst.share if worst else 0.0,
        measurement=good.measurement if good else None,
        reason=UNMEASURED_TEXTS[reason] if reason else "",
    )


def trend_range(monitor: MonitorRow, rows: Iterable[FeatureRow]) -> Range | None:
    """The history that sparklines of these features need; None before the first success."""
    if monitor.window_end is None:
        return None
    length = min(TREND_WINDOWS * interval(monitor.monitor.schedule), _LONGEST_TREND)
    return Range(
        monitor=monitor.monitor.name,
        since=monitor.window_end - length,
        until=monitor.window_end,
        features=[row.series.feature for row in rows],
    )


def trend(row: FeatureRow, histories: Mapping[Series, Sequence[WindowValues]]) -> Markup:
    """The sparkline of the metric that is nearest to its threshold."""
    history = histories.get(row.series, ())[-TREND_WINDOWS:]
    if row.level is None or not history:
        return Markup("")
    rule = row.level.rule
    values = [window.measured.values[rule.metric].value for window in history]
    known = [value for value in values if value is not None]
    title = (
        f"{rule.metric.label} over {len(values)} windows: "
        f"at most {words.amount(rule.metric, max(known, default=None))}, "
        f"now {words.amount(rule.metric, values[-1])}, threshold {words.threshold(rule)}"
    )
    drawn = [None if value is None or math.isnan(value) else value for value in values]
    return sparkline(drawn, title=title, threshold=rule.threshold, is_root=rule.metric.is_divergence)
