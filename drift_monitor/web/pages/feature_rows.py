"""Features as rows of a table, the worst first: those that fire, then by their nearness to a threshold."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from drift_monitor import words
from drift_monitor.alerting.rules import measured_feature
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import AlertPhase
from drift_monitor.core.rules import Rule, Severity
from drift_monitor.core.schedule import interval
from drift_monitor.queries.status import Status, feature_series, unmeasured
from drift_monitor.store.alerts import AlertRow
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.status import Range, Series
from drift_monitor.web.charts.sparkline import sparkline
from drift_monitor.web.pages import phrases
from drift_monitor.web.pages.nearness import Level, feature_rules, levels, telling

TREND_WINDOWS = 96  # of a sparkline: four days of hours, three months of days
_LONGEST_TREND = timedelta(days=400)


@dataclass(frozen=True, kw_only=True)
class FeatureRow:
    """One feature. `state` is a severity while an alert fires, else pending, unmeasured, unknown or quiet."""

    series: Series
    state: str
    state_text: str
    level: Level | None  # the one to show
    share: float  # of its threshold, of the rule nearest to it
    measurement: Measurement | None  # the last good one
    measured_at: datetime | None
    reason: str = ""  # why the latest evaluation gave no value

    @property
    def rank(self) -> tuple[int, float, str]:
        return (-_RANKS.index(self.state), -self.share, self.series.feature)

    @property
    def direction(self) -> str:
        direction = self.measurement.direction if self.measurement else None
        return words.DIRECTION_NAMES[direction] if direction else "–"


_RANKS = ("quiet", "unknown", "unmeasured", "pending", *(severity.value for severity in Severity))
_TEXTS = {"quiet": "quiet", "unknown": "no value yet", "unmeasured": "not measured", "pending": "pending"}


def feature_rows(monitor: MonitorConfig, standing: Status) -> list[FeatureRow]:
    """All features of a monitor, the worst first."""
    active = active_alerts(standing.active)
    rules = feature_rules(monitor.rules)
    found = [_row(series, standing, active.get(series, ()), rules) for series in feature_series(monitor, standing)]
    return sorted(found, key=lambda row: row.rank)


def active_alerts(rows: Iterable[AlertRow]) -> dict[Series, list[AlertRow]]:
    """Pending and firing alerts by what they are about; the monitor's own have the feature ""."""
    found: dict[Series, list[AlertRow]] = {}
    for row in rows:
        found.setdefault(Series(row.monitor, row.key.feature, row.key.segment), []).append(row)
    return found


def worst_severity(rows: Iterable[AlertRow]) -> Severity | None:
    """The gravest severity that fires."""
    firing = [Severity(row.severity) for row in rows if row.alert.phase is AlertPhase.FIRING]
    return max(firing, key=lambda severity: severity.rank, default=None)


def _row(series: Series, standing: Status, active: Sequence[AlertRow], rules: Sequence[Rule]) -> FeatureRow:
    good = standing.good.get(series)
    reason = unmeasured(series, standing)
    severity = worst_severity(active)
    if severity is not None:
        state = severity.value
    elif active:
        state = "pending"
    elif reason is not None:
        state = "unmeasured"
    else:
        state = "quiet" if good else "unknown"
    found = levels(rules, good.measurement) if good else []
    return FeatureRow(
        series=series,
        state=state,
        state_text=_TEXTS.get(state, state),
        level=telling(found),
        share=found[0].share if found else 0.0,
        measurement=good.measurement if good else None,
        measured_at=good.finished_at if good else None,
        reason=phrases.UNMEASURED_TEXTS[reason] if reason else "",
    )


def trend_stretch(monitor: MonitorConfig, standing: Status, features: Iterable[str]) -> Range | None:
    """The history that sparklines need; None before the first success."""
    done = standing.done.get(monitor.name)
    if done is None:
        return None
    until = done.key.window_end
    length = min(TREND_WINDOWS * interval(monitor.schedule), _LONGEST_TREND)
    return Range(monitor=monitor.name, since=until - length, until=until, features=tuple(features))


def trend(row: FeatureRow, histories: Mapping[Series, Sequence[Measurement]]) -> Markup:
    """The sparkline of the metric that is nearest to its threshold."""
    history = histories.get(row.series, ())[-TREND_WINDOWS:]
    if row.level is None or not history:
        return Markup("")
    rule = row.level.rule
    values = [measured_feature(one).values[rule.metric].value for one in history]
    known = [value for value in values if value is not None]
    title = (
        f"{rule.metric.label} over {len(values)} windows: "
        f"at most {words.amount(rule.metric, max(known, default=None))}, "
        f"now {words.amount(rule.metric, values[-1])}, threshold {words.threshold(rule)}"
    )
    finite = [None if value is None or math.isnan(value) else value for value in values]
    return sparkline(finite, title=title, threshold=rule.threshold, is_root=rule.metric.is_divergence)
