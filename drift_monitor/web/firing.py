"""What fires, a feature a row: since when, how much against what, which way, and the bins that did it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.config.model import MonitorConfig
from drift_monitor.core.alerting import AlertPhase, Rule
from drift_monitor.monitoring.announcement import BinShare, top_bins
from drift_monitor.store import references, standings
from drift_monitor.store.alerts import AlertRow
from drift_monitor.store.connection import Transaction
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.standings import Series
from drift_monitor.web import phrases
from drift_monitor.web.history import Standings
from drift_monitor.web.listing import active_alerts, worst_severity

MOST_WITH_BINS = 40  # features whose histograms one page reads


@dataclass(frozen=True, kw_only=True)
class FiringRule:
    """One alert as a person reads it: metric, value, interval, side and threshold, all as text."""

    rule: str
    metric: str
    severity: str
    value: str
    interval: str
    side: str
    threshold: str
    peak: str
    reason: str


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


def read_firing(conn: Transaction, monitors: Iterable[MonitorConfig], standing: Standings) -> list[FiringFeature]:
    """What fires in these monitors, the gravest first, then the newest."""
    by_name = {monitor.name: monitor for monitor in monitors}
    alerts = {
        series: [row for row in rows if row.alert.phase is AlertPhase.FIRING]
        for series, rows in active_alerts(standing.active).items()
        if series.monitor in by_name
    }
    measured = {series: standing.good[series].measurement for series in alerts if series in standing.good}
    bins = _top_bins(conn, [measured[series] for series in list(measured)[:MOST_WITH_BINS]])
    found = [
        _feature(by_name[series.monitor], series, rows, measured.get(series), bins.get(series, ()))
        for series, rows in alerts.items()
        if rows
    ]
    return sorted(found, key=_order)


def _order(one: FiringFeature) -> tuple[int, float, Series]:
    order = ("critical", "warning", "info")
    return (order.index(one.severity), -one.since.timestamp(), one.series)


def _top_bins(conn: Transaction, wanted: Sequence[Measurement]) -> dict[Series, Sequence[BinShare]]:
    counted = standings.counted(conn, wanted)
    specs = references.specs(conn, {one.bin_spec for one in counted.values() if one.bin_spec})
    return {
        series: top_bins(specs[one.bin_spec], one)
        for series, one in counted.items()
        if one.bin_spec in specs and one.contribution_live_reference
    }


def _feature(
    monitor: MonitorConfig,
    series: Series,
    rows: Sequence[AlertRow],
    measurement: Measurement | None,
    bins: Sequence[BinShare],
) -> FiringFeature:
    rules = {rule.id: rule for rule in monitor.rules}
    severity = worst_severity(rows)
    direction = measurement.direction if measurement else None
    is_drift = any(rule.metric.is_divergence for row in rows if (rule := rules.get(row.key.rule)))
    return FiringFeature(
        series=series,
        severity=severity.value if severity else "info",
        since=min(row.alert.since or row.last_window for row in rows),
        fired_at=min(row.alert.fired_at or row.last_window for row in rows),
        rules=[_rule(row, rules.get(row.key.rule), measurement) for row in rows],
        direction=phrases.DIRECTION_NAMES[direction] if direction and is_drift else "",
        bins=bins,
    )


def _rule(row: AlertRow, rule: Rule | None, measurement: Measurement | None) -> FiringRule:
    if rule is None:
        return FiringRule(
            rule=row.key.rule,
            metric=row.metric,
            severity=row.severity,
            value=phrases.number_text(row.alert.value),
            interval="",
            side="against",
            threshold=f"{row.threshold:g}",
            peak=phrases.number_text(row.alert.peak),
            reason="its rule is no longer configured; it resolves with the next evaluation",
        )
    value, interval = row.alert.value, ""
    if rule.metric.is_divergence and measurement is not None:
        value, low, high = measurement.estimate(rule.metric)
        if low is not None and high is not None:
            interval = f"{phrases.number_text(low)} to {phrases.number_text(high)}"
    return FiringRule(
        rule=rule.id,
        metric=phrases.METRIC_NAMES[rule.metric],
        severity=row.severity,
        value=phrases.metric_text(rule.metric, value),
        interval=interval,
        side=rule.side,
        threshold=phrases.threshold_text(rule),
        peak=phrases.metric_text(rule.metric, row.alert.peak),
        reason=row.reason or "",
    )
