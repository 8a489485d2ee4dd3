"""What one window says of a feature: a sentence on the measurement, and what each rule made of it.

Which way it moved, how much, and how sure that is; then state, number, threshold and reason of each rule, in words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from drift_monitor import words
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import INACTIVE, AlertPhase, advance
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Metric
from drift_monitor.core.noise import visible
from drift_monitor.core.rules import Comparand, MeasurementStatus, Severity
from drift_monitor.store.alerts import AlertRecord, AlertRow
from drift_monitor.store.measurements import Measurement


class Unit(StrEnum):
    """How divergences are shown; they are stored in nats."""

    NATS = "nats"
    BITS = "bits"

    @property
    def per_nat(self) -> float:
        return 1.0 if self is Unit.NATS else 1.0 / math.log(2.0)

    def factor(self, metric: Metric) -> float:
        """What a stored value of a metric is multiplied with to be shown."""
        return self.per_nat if metric.unit == "nats" else 1.0


@dataclass(frozen=True)
class Headline:
    """A few words, and the sentence with the numbers."""

    headline: str
    sentence: str


_HEADLINES = {
    Direction.NEW: "New values: live rows lie where the reference had hardly any.",
    Direction.LOST: "Lost values: what the reference had is missing from the live rows.",
    Direction.RESHAPED: "Reshaped: frequencies moved both ways, neither new nor lost values prevail.",
    Direction.NONE: "No drift beyond sampling noise.",
}


def verdict(measurement: Measurement, unit: Unit) -> Headline:
    """What this measurement says."""
    live, reference = words.count(measurement.live_rows), words.count(measurement.reference_rows)
    rows = f"{live} live rows against {reference} reference rows"
    match measurement.status:
        case MeasurementStatus.OK:
            direction = measurement.direction or Direction.NONE
            # The divergence that is large comes first.
            order = [Metric.KL_LIVE_REFERENCE, Metric.KL_REFERENCE_LIVE]
            first, second = reversed(order) if direction is Direction.LOST else order
            floor = measurement.estimate(first).noise_floor
            noise = ""
            if floor is not None:
                least = visible(floor, measurement.compared_bins or 1)
                noise = (
                    f"; sampling alone gives about {words.number(unit.per_nat * floor)}, "
                    f"and from {words.number(unit.per_nat * least)} on drift would show"
                )
            said = (
                f"{first.label} is {_estimate(measurement, first, unit)}, "
                f"{second.label} {_estimate(measurement, second, unit)}{noise}. {rows}."
            )
            if measurement.surprise is not None:
                judged = (measurement.surprise, measurement.level, measurement.surprise_window)
                said = f"{said} For this feature: {words.surprise_text(*judged)}."
            if measurement.uncertain:
                said = f"{said} {words.UNCERTAIN}"
            return Headline(_HEADLINES[direction], said)
        case MeasurementStatus.INSUFFICIENT_DATA:
            return Headline("Not measured: too few rows to compare.", f"{rows}; alerts stay as they were.")
        case MeasurementStatus.NO_DATA:
            return Headline("Not measured: one side has no rows.", f"{rows}; alerts stay as they were.")
        case MeasurementStatus.FAILED:
            reason = measurement.error or "The reason is not known."
            return Headline("Not measured: the feature could not be read.", reason)


def _estimate(measurement: Measurement, metric: Metric, unit: Unit) -> str:
    value, low, high, *_ = measurement.estimate(metric).scaled(unit.factor(metric))
    if value is None:
        return "not known"
    text = f"{words.number(value)} {unit.value}"
    if low is None or high is None:
        return text
    return f"{text} (95 % interval without the noise: {words.number(low)} to {words.number(high)})"


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """One rule after one window, as text."""

    metric: str
    condition: str
    state: str
    severity: str
    compared: str
    since: datetime | None
    reason: str


def rule_results(
    monitor: MonitorConfig, measurement: Measurement, active: Sequence[AlertRow], unit: Unit
) -> list[RuleResult]:
    """A result for each rule that watches features, in the order of the configuration."""
    records = {record.key.rule: record for record in map(AlertRecord.from_json, measurement.alert_states)}
    rows = {row.key.rule: row for row in active if row.last_window == measurement.window_end}
    results = []
    for rule in monitor.rules:
        if rule.metric.is_of_monitor:
            continue
        record, row = records.get(rule.id), rows.get(rule.id)
        observed = record.observation.value if record else None
        if row is not None and row.reason:
            reason = row.reason  # as the state machine put it
        elif record is None:
            reason = "this rule has not judged this window"
        else:  # of windows of the past, what the rule saw there
            end, revision = measurement.window_end, measurement.revision
            reason = advance(INACTIVE, record.observation, rule, end, revision).reason
        factor = unit.factor(rule.metric)
        comparand = ""
        if rule.metric.is_divergence:
            names = {
                Comparand.LOWER_BOUND: "lower bound " if rule.above is not None else "upper bound ",
                Comparand.CORRECTED: "without the noise floor ",
                Comparand.VALUE: "value ",
            }
            comparand = names[rule.on]
        windows = f" for {rule.for_windows} windows" if rule.for_windows > 1 else ""
        results.append(
            RuleResult(
                metric=rule.metric.label,
                condition=f"{comparand}{rule.side} {words.threshold(rule, factor)}{windows}",
                state=record.alert.phase.value if record else "unknown",
                severity=rule.severity.value,
                compared=words.amount(rule.metric, None if observed is None else factor * observed),
                since=record.alert.since if record else None,
                reason=reason,
            )
        )
    return results


def worst_firing(results: Sequence[RuleResult]) -> str:
    """The highest severity that fired after the window; empty where none did."""
    firing = [Severity(result.severity) for result in results if result.state == AlertPhase.FIRING.value]
    return max(firing, key=lambda severity: severity.rank).value if firing else ""
