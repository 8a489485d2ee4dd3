"""What an alert says: labels that identify it, and texts and numbers for the person who is paged.

Texts are fixed; a monitor adds its own labels and annotations, and its own win where names are the same. Numbers travel
as annotations, so that a change of a value never makes another alert of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.alerting.labels import dashboard_url, drift_labels, feature_url, monitor_url, runbook_url
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import AlertState
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.divergence import DIVERGENCES, Metric
from drift_monitor.core.rules import Comparand, Rule
from drift_monitor.core.significance import noise_floor
from drift_monitor.core.times import rfc3339
from drift_monitor.notify.message import Alert, AlertStatus, fingerprint
from drift_monitor.notify.message import BinShare as BinShare
from drift_monitor.store.measurements import Measurement
from drift_monitor.words import (
    DIRECTION_SENTENCES,
    amount,
    bin_name,
    count,
    minute,
    number,
    percent,
    span,
    threshold,
)

TOP_BINS = 3  # as many as a person reads in a page
SHOWN_BINS = 8  # as many as a message draws bars of ...
_WORTH_DRAWING = 0.01  # ... and below this share of the whole only where there are less than TOP_BINS


@dataclass(frozen=True, kw_only=True)
class AlertContext:
    """One alert that changed: whose it is, what was measured, and its state after the change."""

    monitor: MonitorConfig
    feature: str
    segment: str
    rule: Rule
    state: AlertState
    started_at: datetime
    measurement: Measurement | None
    spec: BinSpec | None
    reason: str

    @property
    def name(self) -> str:
        """`amount of orders`; the monitor's name where the whole monitor is meant."""
        whose = f"{self.feature} of {self.monitor.name}" if self.feature else self.monitor.name
        return f"{whose} ({self.segment})" if self.segment else whose


def render_alert(subject: AlertContext, status: AlertStatus, at: datetime, external_url: str) -> Alert:
    """The alert as it is sent; `at` is the end of the window that changed it."""
    labels = drift_labels(subject.monitor, subject.feature, subject.segment, subject.rule)
    page = _page(subject, external_url)
    grafana = dashboard_url(subject.monitor.grafana_url or "", subject.monitor.name, subject.feature)
    annotations = {
        "summary": summary(subject, status),
        "description": description(subject, status),
        "verdict": subject.monitor.annotations.get("description") or verdict(subject, status),
        "dashboard_url": grafana or page,
        "runbook_url": runbook_url(external_url, labels["alertname"]),
        **_numbers(subject),
        **_times(subject, status),
        **subject.monitor.annotations,
    }
    return Alert(
        status=status,
        labels=labels,
        annotations={name: text for name, text in annotations.items() if text},
        starts_at=subject.started_at,
        ends_at=at if status is AlertStatus.RESOLVED else None,
        fingerprint=fingerprint(
            monitor=subject.monitor.name, feature=subject.feature, segment=subject.segment, rule=subject.rule.id
        ),
        generator_url=page,
        bins=_moved(subject, status),
    )


def _page(subject: AlertContext, external_url: str) -> str:
    if not subject.feature:
        return monitor_url(external_url, subject.monitor.name)
    return feature_url(external_url, subject.monitor.name, subject.feature)


def summary(subject: AlertContext, status: AlertStatus) -> str:
    """One line: what, how much, against what."""
    rule = subject.rule
    if status is AlertStatus.RESOLVED:
        return f"{subject.name}: the alert on {rule.metric.label} is over ({subject.reason})"
    limit = f"{rule.side} {_limit(rule)}"
    value = _measured(subject)
    match rule.metric:
        case Metric.MISSING_RATIO:
            return f"{subject.name}: {value} of its values are missing, {limit}"
        case Metric.UNSEEN_RATIO:
            return f"{subject.name}: {value} of its values are none that the reference had, {limit}"
        case Metric.ROWS:
            return f"{subject.name}: {value} rows in the window, {limit}"
        case Metric.FRESHNESS:
            return f"{subject.name}: the newest row is {value} old, {limit}"
        case metric:
            verb = "drifted" if rule.above is not None else "stands still"
            return f"{subject.name} {verb}: {metric.label} {value} {limit}"


def description(subject: AlertContext, status: AlertStatus) -> str:
    """A few sentences: direction, bins, how much against noise floor and threshold, since when, on which rows."""
    return " ".join(filter(None, _sentences(subject, status)))


def verdict(subject: AlertContext, status: AlertStatus) -> str:
    """Which way it moved, in a sentence; empty where that is not what the rule watches, or where it is over."""
    told = status is AlertStatus.FIRING and subject.rule.metric.is_divergence
    if not told or subject.measurement is None or subject.measurement.direction is None:
        return ""
    return DIRECTION_SENTENCES[subject.measurement.direction]


def condition(rule: Rule) -> str:
    """What the rule asks for: `lower bound above 0.25 for 2 windows`."""
    windows = f" for {rule.for_windows} windows" if rule.for_windows > 1 else ""
    return f"{_comparand(rule)}{rule.side} {_limit(rule)}{windows}"


def _sentences(subject: AlertContext, status: AlertStatus) -> Iterator[str]:
    measurement, is_firing = subject.measurement, status is AlertStatus.FIRING
    if not is_firing or measurement is None:
        yield f"{_capital(subject.reason)}." if subject.reason else ""
    elif subject.rule.metric.is_divergence:
        yield verdict(subject, status)
        if subject.spec is not None:
            yield from _bins_sentence(subject.spec, measurement)
        yield _estimate_sentence(subject.rule.metric, measurement)
    if is_firing:
        yield f"The rule is {subject.rule.metric.label} {condition(subject.rule)}."
        if subject.state.since is not None:
            yield f"Beyond it since the window that ended {minute(subject.state.since)} UTC."
    if measurement is not None:
        yield f"Window {span(measurement.window_start, measurement.window_end)}{_rows(measurement)}."


def _rows(measurement: Measurement) -> str:
    live, reference = measurement.live_rows, measurement.reference_rows
    return (
        ""
        if live is None or reference is None
        else f", {count(live)} live rows against {count(reference)} reference rows"
    )


def _estimate_sentence(metric: Metric, measurement: Measurement) -> str:
    value, low, high, _ = measurement.estimate(metric)
    floor = _floor(metric, measurement)
    if value is None:
        return f"{metric.label} is not known."
    said = f"{metric.label} is {_amount(metric, value)}"
    if floor is not None:
        said += f", where sampling alone gives {_amount(metric, floor)}"
    if low is not None and high is not None:
        said += f"; without that noise it lies between {number(low)} and {number(high)} (95 % interval)"
    return f"{said}."


def _bins_sentence(spec: BinSpec, measurement: Measurement) -> Iterator[str]:
    moved = [
        f"{share.label} {percent(share.reference_share)} → {percent(share.live_share)}"
        for share in top_bins(spec, measurement)
    ]
    if moved:
        yield f"Bins that moved most (reference → live): {'; '.join(moved)}."


def top_bins(spec: BinSpec, measurement: Measurement, count: int = TOP_BINS) -> Sequence[BinShare]:
    """The bins that add most to the divergence of both directions together, largest first."""
    live, reference = measurement.live_counts, measurement.reference_counts
    forward, backward = measurement.contribution_live_reference, measurement.contribution_reference_live
    if live is None or reference is None or forward is None or backward is None:
        return ()
    live_rows, reference_rows = max(1, sum(live)), max(1, sum(reference))
    shares = [
        BinShare(
            label=bin_name(one),
            live_share=a / live_rows,
            reference_share=b / reference_rows,
            contribution=f + r,
        )
        for one, a, b, f, r in zip(spec.bins, live, reference, forward, backward, strict=True)
    ]
    shares.sort(key=lambda share: -share.contribution)
    return [share for share in shares[:count] if share.contribution > 0]


def _moved(subject: AlertContext, status: AlertStatus) -> Sequence[BinShare]:
    """The bins that a message about drift draws."""
    told = status is AlertStatus.FIRING and subject.rule.metric.is_divergence
    if not told or subject.spec is None or subject.measurement is None:
        return ()
    shares = top_bins(subject.spec, subject.measurement, len(subject.spec.bins))
    least = _WORTH_DRAWING * sum(share.contribution for share in shares)
    return [share for at, share in enumerate(shares[:SHOWN_BINS]) if at < TOP_BINS or share.contribution >= least]


def _numbers(subject: AlertContext) -> Mapping[str, str]:
    """Value, interval, floor, threshold and rows of this window, as text: annotations are strings."""
    numbers = {"threshold": f"{subject.rule.threshold:g}", "condition": condition(subject.rule)}
    measurement = subject.measurement
    if measurement is None:
        return numbers | _given(value=subject.state.value)
    rows = {"live_rows": measurement.live_rows, "reference_rows": measurement.reference_rows}
    numbers |= {name: str(count) for name, count in rows.items() if count is not None}
    match subject.rule.metric:
        case Metric.MISSING_RATIO:
            return numbers | _given(value=measurement.live_missing_ratio)
        case Metric.UNSEEN_RATIO:
            return numbers | _given(value=measurement.live_unseen_ratio)
        case divergence:
            value, low, high, _ = measurement.estimate(divergence)
            direction = {"direction": measurement.direction.value} if measurement.direction else {}
            floor = _floor(divergence, measurement)
            return numbers | direction | _given(value=value, interval_low=low, interval_high=high, noise_floor=floor)


def _times(subject: AlertContext, status: AlertStatus) -> Mapping[str, str]:
    """Since when the threshold is passed, and the window of the numbers."""
    measurement = subject.measurement
    times = {
        "since": subject.state.since if status is AlertStatus.FIRING else None,
        "window_start": measurement.window_start if measurement else None,
        "window_end": measurement.window_end if measurement else None,
    }
    return {name: rfc3339(at) for name, at in times.items() if at is not None}


def _given(**values: float | None) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in values.items() if value is not None}


def _floor(metric: Metric, measurement: Measurement) -> float | None:
    """What sampling alone gives of this divergence; the measurement holds that of KL."""
    floor = measurement.noise_floor
    return None if floor is None else noise_floor(DIVERGENCES[metric], floor)


def _measured(subject: AlertContext) -> str:
    metric, measurement = subject.rule.metric, subject.measurement
    if measurement is not None and metric.is_divergence:
        value, low, high, _ = measurement.estimate(metric)
        if value is not None and low is not None and high is not None:
            return f"{number(value)} (95 %: {number(low)} to {number(high)})"
    value = subject.state.value
    return "unknown" if value is None else _amount(metric, value)


def _amount(metric: Metric, value: float) -> str:
    return f"{amount(metric, value, 4)}{' nats' if metric.unit == 'nats' else ''}"


def _limit(rule: Rule) -> str:
    return f"{threshold(rule)}{' nats' if rule.metric.unit == 'nats' else ''}"


def _comparand(rule: Rule) -> str:
    if not rule.metric.is_divergence:
        return ""
    match rule.on:
        case Comparand.VALUE:
            return "value "
        case Comparand.CORRECTED:
            return "value less noise "
        case Comparand.LOWER_BOUND:
            return "lower bound " if rule.above is not None else "upper bound "


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
