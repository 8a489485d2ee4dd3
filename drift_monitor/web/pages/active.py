"""What fires, a feature a row: since when, how much against what, which way, and the bins that did it.

What people said of alerts that fire, as a page shows it: silenced until when, or looked after by whom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from drift_monitor import words
from drift_monitor.alerting.annotations import BinShare, top_bins
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.rules import Rule, Severity
from drift_monitor.queries.alerts import ActiveAlert, Handling, active_alerts_of
from drift_monitor.queries.status import Status
from drift_monitor.store import alerts, references, status
from drift_monitor.store.alerts import AlertRow, Episode
from drift_monitor.store.connection import Transaction
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.status import Series
from drift_monitor.web.pages import phrases


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


def handling_notes(said: Sequence[tuple[str, Handling]]) -> Sequence[HandlingNote]:
    """Remarks on some alerts by their rules, each once; of several silences the one that ends last."""
    found: dict[HandlingNote, list[str]] = {}
    for rule, handling in said:
        for remark in _remarks(handling):
            found.setdefault(remark, []).append(rule)
    return [
        remark if len(rules) == len(said) else replace(remark, of=", ".join(rules)) for remark, rules in found.items()
    ]


def _remarks(handling: Handling) -> Iterator[HandlingNote]:
    for silence in handling.silenced_by[:1]:
        yield HandlingNote(author=silence.author, comment=silence.comment, until=silence.ends_at)
    if handling.acknowledged is not None:
        yield HandlingNote(author=handling.acknowledged.author, comment=handling.acknowledged.comment)


MOST_WITH_BINS = 40  # features whose histograms one page reads


@dataclass(frozen=True, kw_only=True)
class FiringRule:
    """One alert as a person reads it: metric, value, interval, side and threshold, all as text.

    An alert about the monitor itself has a sentence for its metric and nothing to compare.
    """

    rule: str
    metric: str
    severity: str
    value: str = ""
    interval: str = ""
    side: str = ""
    threshold: str = ""
    peak: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class FiringFeature:
    """All alerts that fire for one feature; `feature` is "" for those of the monitor itself."""

    series: Series
    severity: str
    since: datetime
    fired_at: datetime
    rules: Sequence[FiringRule]
    direction: str
    bins: Sequence[BinShare]
    handling_notes: Sequence[HandlingNote]
    is_silenced: bool  # all of them
    is_acknowledged: bool


def read_firing(conn: Transaction, monitors: Sequence[MonitorConfig], standing: Status) -> list[FiringFeature]:
    """What fires in these monitors, the gravest first, then the newest."""
    by_name = {monitor.name: monitor for monitor in monitors}
    firing: dict[Series, list[ActiveAlert]] = {}
    for one in active_alerts_of(conn, monitors, standing.active, alerts.open_episodes(conn)):
        if one.is_firing:
            firing.setdefault(Series(one.of.monitor, one.of.key.feature, one.of.key.segment), []).append(one)
    measured = {series: standing.good[series].measurement for series in firing if series in standing.good}
    bins = _top_bins(conn, [measured[series] for series in list(measured)[:MOST_WITH_BINS]])
    found = [
        _feature(by_name[series.monitor], series, those, measured.get(series), bins.get(series, ()))
        for series, those in firing.items()
    ]
    return sorted(found, key=_order)


def _order(one: FiringFeature) -> tuple[int, float, Series]:
    order = ("critical", "warning", "info")
    return (order.index(one.severity), -one.since.timestamp(), one.series)


def _top_bins(conn: Transaction, wanted: Sequence[Measurement]) -> dict[Series, Sequence[BinShare]]:
    counted = status.counted(conn, wanted)
    specs = references.specs(conn, {one.bin_spec for one in counted.values() if one.bin_spec})
    return {
        series: top_bins(specs[one.bin_spec], one)
        for series, one in counted.items()
        if one.bin_spec in specs and one.contribution_live_reference
    }


def _feature(
    monitor: MonitorConfig,
    series: Series,
    firing: Sequence[ActiveAlert],
    measurement: Measurement | None,
    bins: Sequence[BinShare],
) -> FiringFeature:
    configured = {rule.id: rule for rule in monitor.rules}
    direction = measurement.direction if measurement else None
    is_drift = any(rule.metric.is_divergence for one in firing if (rule := configured.get(one.of.key.rule)))
    rules = [_rule(one.of, configured.get(one.of.key.rule), measurement) for one in firing]
    return FiringFeature(
        series=series,
        severity=max((Severity(one.of.severity) for one in firing), key=lambda severity: severity.rank).value,
        since=min(one.since for one in firing),
        fired_at=min(one.fired_at for one in firing),
        rules=rules,
        direction=words.DIRECTION_NAMES[direction] if direction and is_drift else "",
        bins=bins,
        handling_notes=handling_notes([(one.of.key.rule, one.handling) for one in firing]),
        is_silenced=all(one.handling.silenced_by for one in firing),
        is_acknowledged=all(one.handling.acknowledged for one in firing),
    )


def _rule(row: AlertRow | Episode, rule: Rule | None, measurement: Measurement | None) -> FiringRule:
    if isinstance(row, Episode):
        said = phrases.AILMENT_TEXTS.get(row.key.rule, row.key.rule)
        return FiringRule(rule=row.key.rule, metric=said, severity=row.severity)
    if rule is None:
        return FiringRule(
            rule=row.key.rule,
            metric=row.metric,
            severity=row.severity,
            value=words.number(row.alert.value),
            interval="",
            side="against",
            threshold=f"{row.threshold:g}",
            peak=words.number(row.alert.peak),
            reason="its rule is no longer configured; it resolves with the next evaluation",
        )
    value, interval = row.alert.value, ""
    if rule.metric.is_divergence and measurement is not None:
        value, low, high, _ = measurement.estimate(rule.metric)
        if low is not None and high is not None:
            interval = f"{words.number(low)} to {words.number(high)}"
    return FiringRule(
        rule=rule.id,
        metric=rule.metric.label,
        severity=row.severity,
        value=words.amount(rule.metric, value),
        interval=interval,
        side=rule.side,
        threshold=words.threshold(rule),
        peak=words.amount(rule.metric, row.alert.peak),
        reason=row.reason or "",
    )
