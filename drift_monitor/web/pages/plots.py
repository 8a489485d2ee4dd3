"""A feature's history and bins as charts: which lines, thresholds, bands and notes they show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from drift_monitor import words
from drift_monitor.alerting.annotations import TOP_BINS
from drift_monitor.alerting.rules import measured_feature
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Rule
from drift_monitor.store.alerts import Episode
from drift_monitor.store.measurements import Measurement
from drift_monitor.web.charts.bins import BinBar
from drift_monitor.web.charts.timeline import Band, Line, Point, Threshold, Timeline, timeline
from drift_monitor.web.pages import phrases
from drift_monitor.web.pages.feature_reading import FeatureQuery, FeatureReading
from drift_monitor.web.pages.rendering import query_text
from drift_monitor.web.pages.verdict import Unit

KL = (Metric.KL_LIVE_REFERENCE, Metric.KL_REFERENCE_LIVE)
_STYLES = {Metric.KL_LIVE_REFERENCE: "forward", Metric.KL_REFERENCE_LIVE: "backward"}


@dataclass(frozen=True)
class Plot:
    """One chart and its heading."""

    heading: str
    chart: Markup


def plots(monitor: MonitorConfig, feature: str, reading: FeatureReading, asked: FeatureQuery) -> list[Plot]:
    """Both divergences, then one chart for each other metric that a rule watches."""
    if not reading.history:
        return []
    watched = dict.fromkeys(rule.metric for rule in monitor.rules if not rule.metric.is_of_monitor)
    others = [metric for metric in watched if metric not in KL]
    unit = asked.unit.value
    found = [Plot(f"Both KL divergences, {unit}", _chart(KL, monitor, feature, reading, asked))]
    for metric in others:
        heading = f"{metric.label}{f', {unit}' if metric.unit == 'nats' else ''}"
        found.append(Plot(heading, _chart((metric,), monitor, feature, reading, asked)))
    return found


def factor(metric: Metric, unit: Unit) -> float:
    """What a stored value of a metric is multiplied with to be shown."""
    return unit.factor if metric.unit == "nats" else 1.0


def _chart(
    metrics: Sequence[Metric], monitor: MonitorConfig, feature: str, reading: FeatureReading, asked: FeatureQuery
) -> Markup:
    rules = [rule for rule in monitor.rules if rule.metric in metrics]
    names = " and ".join(metric.label for metric in metrics)
    is_divergence = metrics[0].is_divergence
    shown = Timeline(
        title=f"{names} of {feature} over time",
        start=reading.start,
        end=reading.end,
        lines=[_line(metric, reading.history, asked) for metric in metrics],
        thresholds=_thresholds(rules, asked.unit),
        bands=[_band(one) for one in reading.episodes if one.metric in metrics],
        floor=_floor(reading.history, asked.unit) if metrics[0] in KL else (),
        selected=reading.selected.window_end if reading.selected else None,
        is_root=is_divergence,
    )
    return timeline(shown)


def _line(metric: Metric, history: Sequence[Measurement], asked: FeatureQuery) -> Line:
    return Line(
        name=metric.label,
        style=_STYLES.get(metric, "single"),
        points=[_point(metric, one, asked) for one in history],
    )


def _point(metric: Metric, one: Measurement, asked: FeatureQuery) -> Point:
    estimate = measured_feature(one).values[metric]
    scale = factor(metric, asked.unit)
    value, low, high = (
        None if number is None else scale * number for number in (estimate.value, estimate.low, estimate.high)
    )
    at = phrases.instant_text(one.window_end)
    said = one.status.value.replace("_", " ") if value is None else words.amount(metric, value)
    return Point(
        at=one.window_end,
        value=value,
        low=low,
        high=high,
        note=f"{at}: {metric.label} {said}",
        href=address(asked, window_end=phrases.iso_text(one.window_end)),
    )


def _thresholds(rules: Sequence[Rule], unit: Unit) -> list[Threshold]:
    """One line a value: rules of both directions often share theirs."""
    lines = {
        (rule.threshold, rule.severity): Threshold(
            value=factor(rule.metric, unit) * rule.threshold,
            severity=rule.severity.value,
            name=f"{rule.severity.value} {words.threshold(rule, factor(rule.metric, unit))}",
        )
        for rule in rules
    }
    return list(lines.values())


def _floor(history: Sequence[Measurement], unit: Unit) -> list[Point]:
    return [
        Point(at=one.window_end, value=None if one.noise_floor is None else unit.factor * one.noise_floor)
        for one in history
    ]


def _band(one: Episode) -> Band:
    closed = f" to {phrases.instant_text(one.closed_window)}" if one.closed_window else ", still firing"
    return Band(
        start=one.opened_window,
        end=one.closed_window,
        severity=one.severity,
        name=f"{one.key.rule} fired from {phrases.instant_text(one.opened_window)}{closed}",
    )


def address(asked: FeatureQuery, **change: str | None) -> str:
    """This page's query with something changed; what has its default is left out."""
    query: dict[str, str | None] = {
        "window_end": phrases.iso_text(asked.window_end) if asked.window_end else None,
        "days": str(asked.days),
        "units": None if asked.unit is Unit.NATS else asked.unit.value,
        **change,
    }
    return query_text(query) or "?"


def bin_bars(reading: FeatureReading, unit: Unit) -> list[BinBar]:
    """The bins of the selected window; empty where it has no counts of both sides."""
    one, spec = reading.selected, reading.spec
    if one is None or spec is None or one.live_counts is None or one.reference_counts is None:
        return []
    size = len(spec.bins)
    forward = [_finite(number) * unit.factor for number in one.contribution_live_reference or (0.0,) * size]
    backward = [_finite(number) * unit.factor for number in one.contribution_reference_live or (0.0,) * size]
    live_rows, reference_rows = max(1, sum(one.live_counts)), max(1, sum(one.reference_counts))
    top = _most(forward, backward)
    return [
        BinBar(
            label=place.label,
            name=words.bin_name(place),
            live=a / live_rows,
            reference=b / reference_rows,
            live_reference=f,
            reference_live=r,
            is_reserved=place.reserved is not None,
            is_top=position in top,
        )
        for position, (place, a, b, f, r) in enumerate(
            zip(spec.bins, one.live_counts, one.reference_counts, forward, backward, strict=True)
        )
    ]


def _most(forward: Sequence[float], backward: Sequence[float]) -> frozenset[int]:
    """The bins that add most to both divergences together, as in the messages."""
    totals = [one + other for one, other in zip(forward, backward, strict=True)]
    ranked = sorted(range(len(totals)), key=lambda position: -totals[position])
    return frozenset(position for position in ranked[:TOP_BINS] if totals[position] > 0)


def _finite(number: float | None) -> float:
    # An infinite contribution (no smoothing) is stored as null.
    return 0.0 if number is None or not math.isfinite(number) else number
