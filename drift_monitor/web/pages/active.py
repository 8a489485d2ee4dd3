"""What fires, a feature a row: since when, how much against what, which way, and the bins that did it.

And what people said of alerts that fire: silenced until when, or acknowledged by whom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from drift_monitor import words
from drift_monitor.alerting.annotations import BinShare, top_bins
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.rules import Rule, Severity
from drift_monitor.queries.alerts import ActiveAlert, active_alerts_of
from drift_monitor.queries.status import Status
from drift_monitor.store import alerts, references
from drift_monitor.store.alerts import Episode
from drift_monitor.store.connection import Transaction
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.status import Series, counted
from drift_monitor.web.phrases import SELF_ALERT_TEXTS

MOST_SHOWN: Final = 40  # features in the table of a page; each reads its histogram and history


@dataclass(frozen=True, kw_only=True)
class HandlingNote:
    """One silence or acknowledgement; `of` names the rules it is about where it is not about all of them."""

    author: str
    comment: str
    until: datetime | None = None  # a silence's end
    of: str = ""

    @property
    def state(self) -> str:
        return "acknowledged" if self.until is None else "silenced"


def handling_notes(firing: Sequence[ActiveAlert]) -> Sequence[HandlingNote]:
    """Silences and acknowledgements of these alerts, each once."""
    rules: dict[HandlingNote, list[str]] = {}
    for alert in firing:
        notes = [
            HandlingNote(author=silence.author, comment=silence.comment, until=silence.ends_at)
            for silence in alert.handling.silenced_by[:1]  # of several the one that ends last
        ]
        if (said := alert.handling.acknowledged) is not None:
            notes.append(HandlingNote(author=said.author, comment=said.comment))
        for note in notes:
            rules.setdefault(note, []).append(alert.of.key.rule)
    return [note if len(names) == len(firing) else replace(note, of=", ".join(names)) for note, names in rules.items()]


@dataclass(frozen=True, kw_only=True)
class FiringRule:
    """One alert as text: the metric's value now with its interval, which side of which threshold.

    An alert about the monitor itself has only a sentence as its metric and nothing to compare.
    """

    metric: str
    value: str = ""
    interval: str = ""
    side: str = ""
    threshold: str = ""


@dataclass(frozen=True, kw_only=True)
class FiringFeature:
    """All alerts that fire for one feature; `feature` is "" for those of the monitor itself."""

    series: Series
    alerts: Sequence[ActiveAlert]
    configured: Mapping[str, Rule]
    measurement: Measurement | None = None
    bins: Sequence[BinShare]
    surprising: Sequence[Series] = ()  # of a monitor whose surprise alarms: its features above their level

    @property
    def severity(self) -> Severity:
        return max((Severity(alert.of.severity) for alert in self.alerts), key=lambda severity: severity.rank)

    @property
    def since(self) -> datetime:
        return min(alert.since for alert in self.alerts)

    @property
    def is_silenced(self) -> bool:
        """Whether all of them are."""
        return all(alert.handling.silenced_by for alert in self.alerts)

    @property
    def is_acknowledged(self) -> bool:
        return all(alert.handling.acknowledged for alert in self.alerts)

    @property
    def rules(self) -> Sequence[FiringRule]:
        return [_firing_rule(alert, self.configured.get(alert.of.key.rule), self.measurement) for alert in self.alerts]

    @property
    def direction(self) -> str:
        rules = (self.configured.get(alert.of.key.rule) for alert in self.alerts)
        direction = self.measurement.direction if self.measurement else None
        if direction is None or not any(rule.metric.is_divergence for rule in rules if rule):
            return ""
        return words.DIRECTION_NAMES[direction]

    @property
    def handling_notes(self) -> Sequence[HandlingNote]:
        return handling_notes(self.alerts)


def read_firing(conn: Transaction, monitors: Sequence[MonitorConfig], status: Status) -> list[FiringFeature]:
    """What fires in these monitors: critical first, then the newest. Only the first have their measurement and bins."""
    by_series: dict[Series, list[ActiveAlert]] = {}
    for alert in active_alerts_of(conn, monitors, status.active, alerts.open_episodes(conn)):
        if alert.is_firing:
            series = Series(alert.of.monitor, alert.of.key.feature, alert.of.key.segment)
            by_series.setdefault(series, []).append(alert)
    configured = {monitor.name: {rule.id: rule for rule in monitor.rules} for monitor in monitors}
    firing = [
        FiringFeature(series=series, alerts=found, configured=configured[series.monitor], bins=())
        for series, found in by_series.items()
    ]
    firing.sort(key=lambda feature: (-feature.severity.rank, -feature.since.timestamp(), feature.series))
    shown = [feature.series for feature in firing[:MOST_SHOWN]]
    measured = {series: status.good[series].measurement for series in shown if series in status.good}
    whole = counted(conn, list(measured.values()))
    specs = references.specs(conn, {found.bin_spec for found in whole.values() if found.bin_spec})
    bins = {
        series: top_bins(specs[found.bin_spec], found)
        for series, found in whole.items()
        if found.bin_spec in specs and found.contribution_live_reference
    }
    return [
        replace(
            feature,
            measurement=measured.get(feature.series),
            bins=bins.get(feature.series, ()),
            surprising=() if feature.series.feature else _surprising(status, feature.series.monitor),
        )
        for feature in firing
    ]


def _surprising(status: Status, monitor: str) -> Sequence[Series]:
    """The features of a monitor that are above their level now, most surprising first."""
    times = {
        series: found.measurement.times_its_level or 0.0
        for series, found in status.latest.items()
        if series.monitor == monitor
    }
    return sorted((series for series in times if times[series] > 1), key=lambda series: -times[series])


def _firing_rule(alert: ActiveAlert, rule: Rule | None, measurement: Measurement | None) -> FiringRule:
    row = alert.of
    if isinstance(row, Episode):
        return FiringRule(metric=SELF_ALERT_TEXTS.get(row.key.rule, row.key.rule))
    if rule is None:  # it is no longer configured, and resolves with the next evaluation
        text = words.number(row.alert.value)
        return FiringRule(metric=row.metric, value=text, side="against", threshold=f"{row.threshold:g}")
    value, interval = row.alert.value, ""
    if rule.metric.is_divergence and measurement is not None:
        value, low, high, *_ = measurement.estimate(rule.metric)
        if low is not None and high is not None:
            interval = f"{words.number(low)} to {words.number(high)}"
    return FiringRule(
        metric=rule.metric.label,
        value=words.amount(rule.metric, value),
        interval=interval,
        side=f"{words.held(rule)} {rule.side}".strip(),
        threshold=words.threshold(rule),
    )
