"""`/monitors/{monitor}/features/{feature}`: one window's bins, the history around it, and what the rules made of it.

Query: `window_end` selects a window (by default the last that was measured), `days` the length of the history,
`units=bits` shows divergences in bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from drift_monitor import words
from drift_monitor.alerting.annotations import TOP_BINS
from drift_monitor.alerting.rules import measured_feature
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Metric
from drift_monitor.queries.alerts import active_alerts_of
from drift_monitor.queries.status import Readable
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.status import Series
from drift_monitor.web.charts.bins import BinBar, bins_chart
from drift_monitor.web.charts.timeline import Band, Line, Point, Threshold, Timeline, timeline
from drift_monitor.web.pages.active import handling_notes
from drift_monitor.web.pages.feature_reading import DAYS, FeatureQuery, FeatureReading, read_feature, read_query
from drift_monitor.web.pages.rendering import render
from drift_monitor.web.pages.rows import worst_severity
from drift_monitor.web.pages.verdict import Unit, rule_results, verdict, worst_firing
from drift_monitor.web.phrases import instant_text, iso_text

_KL: Final = (Metric.KL_LIVE_REFERENCE, Metric.KL_REFERENCE_LIVE)
_STYLES: Final = {Metric.KL_LIVE_REFERENCE: "forward", Metric.KL_REFERENCE_LIVE: "backward"}


def show_feature(request: Request, services: Readable, monitor: MonitorConfig, feature: str) -> Response | None:
    """The page; None where neither configuration nor store knows the feature, or that window of it."""
    at = services.clock.now()
    query = read_query(request.query_params, monitor)
    with services.store.read() as conn:
        reading = read_feature(conn, Series(monitor.name, feature), query, at)
        firing = [alert for alert in active_alerts_of(conn, [monitor], reading.active, ()) if alert.is_firing]
    selected = reading.selected
    is_configured = monitor.features != "all" and any(known.name == feature for known in monitor.features)
    if (query.window_end is not None and selected is None) or not (reading.latest or is_configured):
        return None
    bars = _bin_bars(selected, reading.spec, query.unit) if selected and reading.spec else []
    # No bin moved most where all of it may be noise.
    has_moved = selected is not None and selected.direction not in (None, Direction.NONE)
    moved = [bar for bar in bars if bar.is_top] if has_moved else []
    results = rule_results(monitor, selected, reading.active, query.unit) if selected else []
    window = instant_text(selected.window_end) if selected else ""
    title = f"Shares of live and reference rows of {feature} by bin, window to {window}"
    return render(
        request,
        "feature.html",
        at=at,
        monitor=monitor,
        feature=feature,
        query=query,
        reading=reading,
        severity=worst_severity(reading.active),
        handling_notes=handling_notes(firing),
        verdict=verdict(selected, query.unit) if selected else None,
        bars=bars,
        top_bars=sorted(moved, key=lambda bar: -bar.live_reference - bar.reference_live),
        bins_chart=bins_chart(bars, title=title, unit=query.unit.value) if bars else None,
        results=results,
        worst_firing=worst_firing(results),
        plots=_plots(monitor, feature, reading, query),
        day_choices=DAYS,
    )


def _bin_bars(measurement: Measurement, spec: BinSpec, unit: Unit) -> list[BinBar]:
    """The bins of a window; empty where it has no counts of both sides."""
    live, reference = measurement.live_counts, measurement.reference_counts
    if live is None or reference is None:
        return []
    # An infinite contribution (no smoothing) is stored as null.
    nothing = (0.0,) * len(spec.bins)
    forward, backward = (
        [unit.per_nat * number if number and math.isfinite(number) else 0.0 for number in contributions]
        for contributions in (
            measurement.contribution_live_reference or nothing,
            measurement.contribution_reference_live or nothing,
        )
    )
    # Those that add most to both divergences together, as in the messages.
    totals = [both + other for both, other in zip(forward, backward, strict=True)]
    top = sorted(range(len(totals)), key=lambda position: -totals[position])[:TOP_BINS]
    live_rows, reference_rows = max(1, sum(live)), max(1, sum(reference))
    return [
        BinBar(
            label=place.label,
            name=words.bin_name(place),
            live=live[position] / live_rows,
            reference=reference[position] / reference_rows,
            live_reference=forward[position],
            reference_live=backward[position],
            is_reserved=place.reserved is not None,
            is_top=position in top and totals[position] > 0,
        )
        for position, place in enumerate(spec.bins)
    ]


@dataclass(frozen=True)
class Plot:
    """One chart and its heading."""

    heading: str
    chart: Markup


def _plots(monitor: MonitorConfig, feature: str, reading: FeatureReading, query: FeatureQuery) -> list[Plot]:
    """Both KL divergences, then one chart for each other metric that a rule watches."""
    if not reading.history:
        return []
    unit = query.unit.value
    plots = [Plot(f"Both KL divergences, {unit}", _chart(_KL, monitor, feature, reading, query))]
    for metric in dict.fromkeys(rule.metric for rule in monitor.rules if not rule.metric.is_of_monitor):
        if metric not in _KL:
            heading = f"{metric.label}, {unit}" if metric.unit == "nats" else metric.label
            plots.append(Plot(heading, _chart((metric,), monitor, feature, reading, query)))
    if any(window.surprise is not None for window in reading.history):
        plots.append(Plot("Surprise, as a multiple of its level", _surprise_chart(feature, reading, query)))
    return plots


def _surprise_chart(feature: str, reading: FeatureReading, query: FeatureQuery) -> Markup:
    points = [
        Point(
            at=window.window_end,
            value=window.times_its_level,
            note=f"{instant_text(window.window_end)}: "
            + words.surprise_text(window.surprise, window.level, window.surprise_window),
            href=query.address(window_end=iso_text(window.window_end)),
        )
        for window in reading.history
    ]
    shown = Timeline(
        title=f"Surprise of {feature} over time, as a multiple of its level",
        start=reading.start,
        end=reading.end,
        lines=[Line(name="surprise", style="single", points=points)],
        thresholds=[Threshold(value=1.0, severity="warning", name="level")],
        bands=[],
        floor=[],
        selected=reading.selected.window_end if reading.selected else None,
        is_root=False,
    )
    return timeline(shown)


def _chart(
    metrics: Sequence[Metric], monitor: MonitorConfig, feature: str, reading: FeatureReading, query: FeatureQuery
) -> Markup:
    unit, names = query.unit, " and ".join(metric.label for metric in metrics)
    # One line a value and severity: rules of both directions often share theirs.
    rules = {(rule.threshold, rule.severity): rule for rule in monitor.rules if rule.metric in metrics}
    floor = [
        Point(at=window.window_end, value=window.estimate(_KL[0]).scaled(unit.per_nat).noise_floor)
        for window in reading.history
        if metrics == _KL
    ]
    shown = Timeline(
        title=f"{names} of {feature} over time",
        start=reading.start,
        end=reading.end,
        lines=[
            Line(
                name=metric.label,
                style=_STYLES.get(metric, "single"),
                points=[_point(metric, window, query) for window in reading.history],
            )
            for metric in metrics
        ],
        thresholds=[
            Threshold(
                value=unit.factor(rule.metric) * rule.threshold,
                severity=rule.severity.value,
                name=f"{rule.severity.value} {words.threshold(rule, unit.factor(rule.metric))}",
            )
            for rule in rules.values()
        ],
        bands=[
            Band(
                start=episode.opened_window,
                end=episode.closed_window,
                severity=episode.severity,
                name=f"{episode.key.rule} fired from {instant_text(episode.opened_window)}"
                + (f" to {instant_text(episode.closed_window)}" if episode.closed_window else ", still firing"),
            )
            for episode in reading.episodes
            if episode.metric in metrics
        ],
        floor=floor,
        selected=reading.selected.window_end if reading.selected else None,
        is_root=metrics[0].is_divergence,
    )
    return timeline(shown)


def _point(metric: Metric, window: Measurement, query: FeatureQuery) -> Point:
    estimate = measured_feature(window).values[metric].scaled(query.unit.factor(metric))
    said = words.amount(metric, estimate.value)
    if estimate.value is None:
        said = window.status.value.replace("_", " ")
    return Point(
        at=window.window_end,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        note=f"{instant_text(window.window_end)}: {metric.label} {said}",
        href=query.address(window_end=iso_text(window.window_end)),
    )
