"""What an alert says: labels that identify it, and texts and numbers for the person who is paged.

Texts are fixed; a monitor adds its own labels and annotations. Numbers travel as annotations, so that a change of a
value never makes another alert of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.config.model import MonitorConfig
from drift_monitor.core.alerting import AlertState, Metric, Rule
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.comparison import Direction
from drift_monitor.monitoring.links import feature_url, monitor_url
from drift_monitor.notify.message import Alert, AlertStatus, fingerprint
from drift_monitor.notify.message import BinShare as BinShare
from drift_monitor.store.measurements import Measurement

TOP_BINS = 3  # as many as a person reads in a page
SHOWN_BINS = 8  # as many as a message draws bars of

DIRECTION_SENTENCES = {
    Direction.NEW: "Live values appear where the reference had hardly any (new mass).",
    Direction.LOST: "Values the reference had have gone from the live data (lost mass).",
    Direction.RESHAPED: "Frequencies moved both ways: some values have become more common, others less (reshaped).",
    Direction.NONE: "Neither direction of the divergence stands clear of sampling noise.",
}


@dataclass(frozen=True, kw_only=True)
class Subject:
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


def announce(subject: Subject, status: AlertStatus, at: datetime, external_url: str) -> Alert:
    """The alert as it is sent; `at` is the end of the window that changed it."""
    labels = alert_labels(subject)
    link = (
        feature_url(external_url, subject.monitor.name, subject.feature)
        if subject.feature
        else monitor_url(external_url, subject.monitor.name)
    )
    annotations = {
        "summary": summary(subject, status),
        "description": description(subject, status),
        "dashboard_url": link,
        **_numbers(subject),
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
        generator_url=link,
        bins=_moved(subject, status),
    )


def alert_labels(subject: Subject) -> dict[str, str]:
    """Labels that identify the alert; the monitor's own labels never replace ours."""
    own = {
        "alertname": "DataDrift",
        "monitor": subject.monitor.name,
        "feature": subject.feature,
        "segment": subject.segment,
        "metric": subject.rule.metric.value,
        "rule": subject.rule.id,
        "severity": subject.rule.severity.value,
    }
    return {**subject.monitor.labels, **{name: value for name, value in own.items() if value}}


def summary(subject: Subject, status: AlertStatus) -> str:
    """One line: what, how much, against what."""
    whose = f"{subject.feature} of {subject.monitor.name}" if subject.feature else subject.monitor.name
    metric = subject.rule.metric
    if status is AlertStatus.RESOLVED:
        return f"{whose}: {metric.value} is quiet again ({subject.reason})"
    verb = "drifted" if metric.is_divergence else "needs a look"
    return f"{whose} {verb}: {metric.value} {_value(subject)} {_side(subject.rule)} {subject.rule.threshold:g}"


def description(subject: Subject, status: AlertStatus) -> str:
    """A few sentences: the reason of the change, the direction, and the bins that did it."""
    measurement = subject.measurement
    sentences = [f"{subject.reason}."]
    if measurement is not None and status is AlertStatus.FIRING and subject.rule.metric.is_divergence:
        sentences.append(DIRECTION_SENTENCES[measurement.direction or Direction.NONE])
        if subject.spec is not None and measurement.live_counts is not None:
            sentences.append(_bins_sentence(subject.spec, measurement))
    if measurement is not None:
        sentences.append(
            f"Window {measurement.window_start:%Y-%m-%d %H:%M} to {measurement.window_end:%Y-%m-%d %H:%M} UTC, "
            f"{measurement.live_rows} live rows against {measurement.reference_rows} reference rows."
        )
    return " ".join(sentence for sentence in sentences if sentence)


def top_bins(spec: BinSpec, measurement: Measurement, count: int = TOP_BINS) -> Sequence[BinShare]:
    """The bins that add most to the divergence of both directions together, largest first."""
    live, reference = measurement.live_counts, measurement.reference_counts
    forward, backward = measurement.contribution_live_reference, measurement.contribution_reference_live
    if live is None or reference is None or forward is None or backward is None:
        return ()
    live_rows, reference_rows = max(1, sum(live)), max(1, sum(reference))
    shares = [
        BinShare(
            label=one.label,
            live_share=a / live_rows,
            reference_share=b / reference_rows,
            contribution=f + r,
        )
        for one, a, b, f, r in zip(spec.bins, live, reference, forward, backward, strict=True)
    ]
    shares.sort(key=lambda share: -share.contribution)
    return [share for share in shares[:count] if share.contribution > 0]


def _moved(subject: Subject, status: AlertStatus) -> Sequence[BinShare]:
    """The bins that a message about drift draws."""
    told = status is AlertStatus.FIRING and subject.rule.metric.is_divergence
    if not told or subject.spec is None or subject.measurement is None:
        return ()
    return top_bins(subject.spec, subject.measurement, SHOWN_BINS)


def _bins_sentence(spec: BinSpec, measurement: Measurement) -> str:
    moved = [
        f"{share.label} {_percent(share.reference_share)} → {_percent(share.live_share)}"
        for share in top_bins(spec, measurement)
    ]
    return f"Bins that moved most (reference → live): {'; '.join(moved)}." if moved else ""


def _numbers(subject: Subject) -> Mapping[str, str]:
    """Value, interval, floor, threshold and rows of this window, as text: annotations are strings."""
    numbers: dict[str, str] = {"threshold": f"{subject.rule.threshold:g}"}
    measurement = subject.measurement
    if measurement is None:
        return numbers | _given(value=subject.state.value)
    numbers |= {"live_rows": str(measurement.live_rows), "reference_rows": str(measurement.reference_rows)}
    match subject.rule.metric:
        case Metric.MISSING_RATIO:
            return numbers | _given(value=measurement.live_missing_ratio)
        case Metric.UNSEEN_RATIO:
            return numbers | _given(value=measurement.live_unseen_ratio)
        case divergence:
            value, low, high = measurement.estimate(divergence)
            numbers["direction"] = (measurement.direction or Direction.NONE).value
            floor = measurement.noise_floor
            return numbers | _given(value=value, interval_low=low, interval_high=high, noise_floor=floor)


def _given(**values: float | None) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in values.items() if value is not None}


def _value(subject: Subject) -> str:
    metric, measurement = subject.rule.metric, subject.measurement
    if measurement is not None and metric.is_divergence:
        value, low, high = measurement.estimate(metric)
        if value is not None and low is not None and high is not None:
            return f"{value:.3g} (95 % {low:.3g} to {high:.3g})"
    value = subject.state.value
    if value is None:
        return "unknown"
    return f"{value:.0f} s" if metric is Metric.FRESHNESS else f"{value:.4g}"


def _side(rule: Rule) -> str:
    return "above" if rule.above is not None else "below"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
