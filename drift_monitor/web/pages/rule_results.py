"""What each rule of a feature made of one window: state, number, threshold, and the reason in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor import words
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import INACTIVE, AlertPhase, advance
from drift_monitor.core.rules import Comparand, Rule, Severity
from drift_monitor.store.alerts import AlertRecord, AlertRow
from drift_monitor.store.measurements import Measurement
from drift_monitor.web.pages.plots import factor
from drift_monitor.web.pages.verdict import Unit

_COMPARANDS = {
    Comparand.LOWER_BOUND: "lower bound",
    Comparand.CORRECTED: "without the noise floor",
    Comparand.VALUE: "value",
}


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One rule after one window, as text."""

    rule: str
    metric: str
    condition: str
    state: str
    severity: str
    compared: str
    since: datetime | None
    reason: str


def judgements(
    monitor: MonitorConfig, one: Measurement | None, active: Sequence[AlertRow], unit: Unit
) -> list[Judgement]:
    """One a rule that watches features, in the order of the configuration."""
    if one is None:
        return []
    records = {record.key.rule: record for record in map(AlertRecord.from_json, one.alert_states)}
    rows = {row.key.rule: row for row in active if row.last_window == one.window_end}
    return [
        _judgement(rule, records.get(rule.id), rows.get(rule.id), one, unit)
        for rule in monitor.rules
        if not rule.metric.is_of_monitor
    ]


def worst_firing(judged: Sequence[Judgement]) -> str:
    """The gravest severity that fired after the window; empty where none did."""
    firing = [Severity(one.severity) for one in judged if one.state == AlertPhase.FIRING.value]
    return max(firing, key=lambda severity: severity.rank).value if firing else ""


def _judgement(rule: Rule, record: AlertRecord | None, row: AlertRow | None, one: Measurement, unit: Unit) -> Judgement:
    observed = record.observation.value if record else None
    scale = factor(rule.metric, unit)
    return Judgement(
        rule=rule.id,
        metric=rule.metric.label,
        condition=_condition(rule, unit),
        state=record.alert.phase.value if record else "unknown",
        severity=rule.severity.value,
        compared=words.amount(rule.metric, None if observed is None else scale * observed),
        since=record.alert.since if record else None,
        reason=_reason(rule, record, row, one),
    )


def _condition(rule: Rule, unit: Unit) -> str:
    on = f"{_COMPARANDS[rule.on]} " if rule.metric.is_divergence else ""
    if rule.on is Comparand.LOWER_BOUND and rule.below is not None and rule.metric.is_divergence:
        on = "upper bound "
    windows = f" for {rule.for_windows} windows" if rule.for_windows > 1 else ""
    return f"{on}{rule.side} {words.threshold(rule, factor(rule.metric, unit))}{windows}"


def _reason(rule: Rule, record: AlertRecord | None, row: AlertRow | None, one: Measurement) -> str:
    """As the state machine put it; for windows of the past, what the rule saw there."""
    if row is not None and row.reason:
        return row.reason
    if record is None:
        return "this rule has not judged this window"
    return advance(INACTIVE, record.observation, rule, one.window_end, one.revision).reason
