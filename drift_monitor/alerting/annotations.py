"""What an alert says: labels that identify it, and texts and numbers for the person who is paged.

Texts are fixed; a monitor adds its own labels and annotations, and its own win where names are the same. Numbers travel
as annotations, so that a change of a value never makes another alert of it.

Labels that identify an alert in notifications, silences and lists, and the addresses that alerts point to.

A monitor's own labels never replace ours. An address is empty where nobody configured where it is served.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote, urlencode

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import AlertState
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Comparand, Rule, Severity
from drift_monitor.core.times import rfc3339
from drift_monitor.notify.message import Alert, AlertStatus, fingerprint
from drift_monitor.notify.message import BinShare as BinShare
from drift_monitor.store.measurements import Measurement
from drift_monitor.words import (
    DIRECTION_SENTENCES,
    UNCERTAIN,
    amount,
    bin_name,
    budget_text,
    count,
    minute,
    number,
    percent,
    span,
    surprise_text,
    threshold,
    with_unit,
)

TOP_BINS = 3  # as many as a person reads in a page
SHOWN_BINS = 8  # as many as a message draws bars of ...
_WORTH_DRAWING = 0.01  # ... and below this share of the whole only where there are less than TOP_BINS


@dataclass(frozen=True, kw_only=True)
class AlertContext:
    """Everything an alert is rendered from: whose it is, what was measured, and its state after the change.

    `measurement` is that of its feature; an alert on surprise is the monitor's, and has `measurements` of all.
    """

    monitor: MonitorConfig
    feature: str
    segment: str
    rule: Rule
    status: AlertStatus
    state: AlertState
    started_at: datetime
    measurement: Measurement | None
    spec: BinSpec | None
    reason: str
    measurements: Sequence[Measurement] = ()

    @property
    def surprising(self) -> Sequence[Measurement]:
        """The features that an alert on surprise is about, most surprising first: those above their level, or where
        many move a little those that move most."""
        if self.rule.metric is not Metric.SURPRISE or not self.is_firing:
            return ()
        judged = [measurement for measurement in self.measurements if measurement.times_its_level is not None]
        judged.sort(key=lambda measurement: -(measurement.times_its_level or 0.0))
        return [measurement for measurement in judged if (measurement.times_its_level or 0.0) > 1] or judged[:TOP_BINS]

    @property
    def name(self) -> str:
        """`amount of orders`; the monitor's name where the whole monitor is meant."""
        name = f"{self.feature} of {self.monitor.name}" if self.feature else self.monitor.name
        return f"{name} ({self.segment})" if self.segment else name

    @property
    def is_firing(self) -> bool:
        return self.status is AlertStatus.FIRING

    @property
    def drift(self) -> Measurement | None:
        """The measurement, where the alert says that a divergence is too large: direction and bins tell how."""
        return self.measurement if self.is_firing and self.rule.metric.is_divergence else None


def render_alert(context: AlertContext, at: datetime, external_url: str) -> Alert:
    """The alert as it is sent; `at` is the end of the window that changed it."""
    monitor, feature = context.monitor, context.feature
    labels = drift_labels(monitor, feature, context.segment, context.rule)
    page = feature_url(external_url, monitor.name, feature) if feature else monitor_url(external_url, monitor.name)
    annotations = {
        "summary": summary(context),
        "description": " ".join(filter(None, _sentences(context))),
        "verdict": monitor.annotations.get("description") or verdict(context),
        "dashboard_url": dashboard_url(monitor.grafana_url or "", monitor.name, feature) or page,
        "runbook_url": runbook_url(external_url, labels["alertname"]),
        **_numbers(context),
        "features": ", ".join(measurement.feature for measurement in context.surprising),
        **monitor.annotations,
    }
    return Alert(
        status=context.status,
        labels=labels,
        annotations={name: text for name, text in annotations.items() if text},
        starts_at=context.started_at,
        ends_at=None if context.is_firing else at,
        fingerprint=fingerprint(monitor=monitor.name, feature=feature, segment=context.segment, rule=context.rule.id),
        generator_url=page,
        bins=_drawn_bins(context),
    )


def summary(context: AlertContext) -> str:
    """One line: what, how much, against what."""
    name, rule, metric = context.name, context.rule, context.rule.metric
    if not context.is_firing:
        return f"{name}: the alert on {metric.label} is over ({context.reason})"
    value = "unknown" if context.state.value is None else _amount(metric, context.state.value)
    if context.drift is not None:
        estimate, low, high, *_ = context.drift.estimate(metric)
        if estimate is not None and low is not None and high is not None:
            value = f"{estimate:.3g} (95 %: {number(low)} to {number(high)})"
    limit = f"{rule.side} {with_unit(metric, threshold(rule))}"
    match metric:
        case Metric.MISSING_RATIO:
            return f"{name}: {value} of its values are missing, {limit}"
        case Metric.UNSEEN_RATIO:
            return f"{name}: {value} of its values are none that the reference had, {limit}"
        case Metric.ROWS:
            return f"{name}: {value} rows in the window, {limit}"
        case Metric.FRESHNESS:
            return f"{name}: the newest row is {value} old, {limit}"
        case Metric.SURPRISE:
            return f"{name} drifted: {_surprise_text(context)}"
        case _:
            verb = "drifted" if rule.above is not None else "stands still"
            return f"{name} {verb}: {metric.label} {value} {limit}"


def _surprise_text(context: AlertContext) -> str:
    """The features that moved, and how far the first of them stands above its level."""
    first, *others = context.surprising or (None,)
    if first is None:
        return f"more surprising than {budget_text(context.rule)} allows"
    if (first.times_its_level or 0.0) <= 1:
        return f"many features moved a little, {first.feature} most"
    names = [first.feature, *(measurement.feature for measurement in others[:2])]
    more = f" and {len(others) - 2} more" if len(others) > 2 else ""
    return f"{', '.join(names)}{more}; surprise {number(first.surprise)}, level {number(first.level)}"


def verdict(context: AlertContext) -> str:
    """Which way it moved, in a sentence; which features did so, where surprise alarms; empty where it is over."""
    if context.surprising:
        return " ".join(map(_surprise_sentence, context.surprising[:TOP_BINS]))
    if context.drift is None or context.drift.direction is None:
        return ""
    return DIRECTION_SENTENCES[context.drift.direction]


def condition(rule: Rule) -> str:
    """What the rule asks for: `lower bound above 0.25 for 2 windows`."""
    if rule.metric is Metric.SURPRISE:
        return budget_text(rule)
    comparand = ""
    if rule.metric.is_divergence:
        bound = "lower bound " if rule.above is not None else "upper bound "
        comparand = {Comparand.VALUE: "value ", Comparand.CORRECTED: "value less noise "}.get(rule.on, bound)
    windows = f" for {rule.for_windows} windows" if rule.for_windows > 1 else ""
    return f"{comparand}{rule.side} {with_unit(rule.metric, threshold(rule))}{windows}"


def _sentences(context: AlertContext) -> Iterator[str]:
    """Direction, bins, how much against noise floor and threshold, since when, on which rows."""
    measurement, drift, metric = context.measurement, context.drift, context.rule.metric
    if (measurement is None or not context.is_firing) and context.reason and not context.surprising:
        yield f"{context.reason[:1].upper()}{context.reason[1:]}."
    if drift is not None:
        yield verdict(context)
        moved = [
            f"{share.label} {percent(share.reference_share)} → {percent(share.live_share)}"
            for share in (top_bins(context.spec, drift) if context.spec is not None else ())
        ]
        if moved:
            yield f"Bins that moved most (reference → live): {'; '.join(moved)}."
        yield _estimate_sentence(metric, drift)
    for moved_most in context.surprising[:SHOWN_BINS]:
        yield _surprise_sentence(moved_most)
    if context.is_firing:
        is_budget = context.rule.metric is Metric.SURPRISE
        yield f"The rule {'allows' if is_budget else 'is ' + metric.label} {condition(context.rule)}."
        if context.state.since is not None:
            yield f"Beyond it since the window that ended {minute(context.state.since)} UTC."
    if measurement is not None:
        live, reference = measurement.live_rows, measurement.reference_rows
        known = live is not None and reference is not None
        rows = f", {count(live)} live rows against {count(reference)} reference rows" if known else ""
        yield f"Window {span(measurement.window_start, measurement.window_end)}{rows}."


def _surprise_sentence(measurement: Measurement) -> str:
    """One feature of an alert on surprise: over which hours, how much, which way."""
    said = surprise_text(measurement.surprise, measurement.level, measurement.surprise_window)
    text = f"{measurement.feature}: {said}"
    value = measurement.value(Metric.KL_LIVE_REFERENCE)
    if value is None or measurement.direction in (None, Direction.NONE):
        return f"{text}."
    return f"{text}; KL(live‖reference) of the window is {number(value)} nats, {measurement.direction}."


def _estimate_sentence(metric: Metric, measurement: Measurement) -> str:
    value, low, high, _, floor = measurement.estimate(metric)
    if value is None:
        return f"{metric.label} is not known."
    text = f"{metric.label} is {_amount(metric, value)}"
    if floor is not None:
        text += f", where sampling alone gives {_amount(metric, floor)}"
    if low is not None and high is not None:
        text += f"; without that noise it lies between {number(low)} and {number(high)} (95 % interval)"
    return f"{text}. {UNCERTAIN}" if measurement.uncertain else f"{text}."


def _numbers(context: AlertContext) -> Mapping[str, str]:
    """Value, interval, floor, threshold, rows and times of this window, as text: annotations are strings."""
    rule, measurement = context.rule, context.measurement
    values: dict[str, float | None] = {"value": context.state.value}
    rows: dict[str, int | None] = {}
    times = {"since": context.state.since if context.is_firing else None}
    texts = {"threshold": f"{rule.threshold:g}", "condition": condition(rule)}
    if measurement is not None:
        rows = {"live_rows": measurement.live_rows, "reference_rows": measurement.reference_rows}
        times |= {"window_start": measurement.window_start, "window_end": measurement.window_end}
        match rule.metric:
            case Metric.MISSING_RATIO:
                values = {"value": measurement.live_missing_ratio}
            case Metric.UNSEEN_RATIO:
                values = {"value": measurement.live_unseen_ratio}
            case divergence:
                value, low, high, _, floor = measurement.estimate(divergence)
                values = {"value": value, "interval_low": low, "interval_high": high, "noise_floor": floor}
                texts["direction"] = measurement.direction.value if measurement.direction else ""
    return {
        **texts,
        # Six digits: enough to compute with, and no noise of binary fractions.
        **{name: f"{value:.6g}" for name, value in values.items() if value is not None},
        **{name: str(count) for name, count in rows.items() if count is not None},
        **{name: rfc3339(at) for name, at in times.items() if at is not None},
    }


def top_bins(spec: BinSpec, measurement: Measurement, count: int = TOP_BINS) -> Sequence[BinShare]:
    """The bins that add most to the divergence of both directions together, largest first."""
    live, reference = measurement.live_counts, measurement.reference_counts
    forward, backward = measurement.contribution_live_reference, measurement.contribution_reference_live
    if live is None or reference is None or forward is None or backward is None:
        return ()
    live_rows, reference_rows = max(1, sum(live)), max(1, sum(reference))
    shares = [
        BinShare(
            label=bin_name(bin),
            live_share=live_count / live_rows,
            reference_share=reference_count / reference_rows,
            contribution=to_live + to_reference,
        )
        for bin, live_count, reference_count, to_live, to_reference in zip(
            spec.bins, live, reference, forward, backward, strict=True
        )
    ]
    shares.sort(key=lambda share: -share.contribution)
    return [share for share in shares[:count] if share.contribution > 0]


def _drawn_bins(context: AlertContext) -> Sequence[BinShare]:
    """The bins that a message about drift draws."""
    if context.drift is None or context.spec is None:
        return ()
    shares = top_bins(context.spec, context.drift, len(context.spec.bins))
    least = _WORTH_DRAWING * sum(share.contribution for share in shares)
    return [share for at, share in enumerate(shares[:SHOWN_BINS]) if at < TOP_BINS or share.contribution >= least]


def _amount(metric: Metric, value: float) -> str:
    return with_unit(metric, amount(metric, value, 4))


DRIFT = "DataDrift"
# Where the dashboards of config/grafana are, whatever Grafana serves them: their uids never change.
_FEATURE_DASHBOARD, _OVERVIEW_DASHBOARD = "drift-feature", "drift-overview"


class SelfAlert(StrEnum):
    """An alert about a monitor itself, or a receiver of it; the value is its rule and its `alertname`."""

    FAILING = "MonitorFailing"
    STALE = "MonitorStale"
    RECEIVER = "ReceiverFailing"

    @property
    def metric(self) -> str:
        return {SelfAlert.FAILING: "failing", SelfAlert.STALE: "stale", SelfAlert.RECEIVER: "receiver"}[self]


def drift_labels(monitor: MonitorConfig, feature: str, segment: str, rule: Rule) -> dict[str, str]:
    """The labels of an alert of one of the monitor's rules; empty ones are left out."""
    own = {
        "alertname": DRIFT,
        "monitor": monitor.name,
        "feature": feature,
        "segment": segment,
        "metric": rule.metric.value,
        "rule": rule.id,
        "severity": rule.severity.value,
    }
    # Alertmanager drops labels without a value; a silence has to see the same set.
    return {**monitor.labels, **{name: value for name, value in own.items() if value}}


def self_labels(monitor: MonitorConfig, alertname: str) -> dict[str, str]:
    """The labels of an alert about the monitor itself."""
    own = {"alertname": alertname, "monitor": monitor.name, "severity": Severity.WARNING.value}
    return {**monitor.labels, **own}


def monitor_url(external_url: str, monitor: str) -> str:
    """The page of a monitor."""
    return f"{external_url.rstrip('/')}/monitors/{quote(monitor, safe='')}" if external_url else ""


def feature_url(external_url: str, monitor: str, feature: str) -> str:
    """The page of one feature."""
    return f"{monitor_url(external_url, monitor)}/features/{quote(feature, safe='')}" if external_url else ""


def runbook_url(external_url: str, alertname: str) -> str:
    """The section about an alert in the runbooks that the service itself serves."""
    return f"{external_url.rstrip('/')}/runbooks#{quote(alertname.lower())}" if external_url else ""


def dashboard_url(grafana_url: str, monitor: str, feature: str) -> str:
    """The dashboard of a feature in Grafana; without a feature the overview of the monitor."""
    if not grafana_url:
        return ""
    variables = {"var-monitor": monitor, **({"var-feature": feature} if feature else {})}
    uid = _FEATURE_DASHBOARD if feature else _OVERVIEW_DASHBOARD
    return f"{grafana_url.rstrip('/')}/d/{uid}?{urlencode(variables)}"
