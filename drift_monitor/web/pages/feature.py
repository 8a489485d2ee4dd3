"""`/monitors/{monitor}/features/{feature}`: one window's bins, the history around it, and what the rules made of it.

Query: `window_end` selects a window (by default the last that was measured), `days` the length of the history,
`units=bits` shows divergences in bits.
"""

from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.comparison import Direction
from drift_monitor.core.rules import Health
from drift_monitor.queries.alerts import active_alerts_of
from drift_monitor.queries.status import Readable, why_unmeasured
from drift_monitor.store.status import Series
from drift_monitor.web.charts.bins import BinBar, bins_chart
from drift_monitor.web.pages import phrases
from drift_monitor.web.pages.active import handling_notes
from drift_monitor.web.pages.feature_reading import DAYS, FeatureReading, read_feature, read_query
from drift_monitor.web.pages.feature_rows import worst_severity
from drift_monitor.web.pages.plots import address, bin_bars, plots
from drift_monitor.web.pages.rendering import render
from drift_monitor.web.pages.rule_results import judgements, worst_firing
from drift_monitor.web.pages.verdict import verdict


def show_feature(request: Request, services: Readable, monitor: MonitorConfig, feature: str) -> Response | None:
    """The page; None where neither configuration nor store knows the feature, or that window of it."""
    at = services.clock.now()
    asked = read_query(request.query_params, monitor)
    with services.store.read() as conn:
        reading = read_feature(conn, Series(monitor.name, feature), asked, at)
        firing = [one for one in active_alerts_of(conn, [monitor], reading.active, ()) if one.is_firing]
    is_missing = asked.window_end is not None and reading.selected is None
    if is_missing or not (reading.latest or _is_configured(monitor, feature)):
        return None
    bars = bin_bars(reading, asked.unit)
    judged = judgements(monitor, reading.selected, reading.active, asked.unit)
    severity = worst_severity(reading.active)
    return render(
        request,
        "feature.html",
        at=at,
        monitor=monitor,
        feature=feature,
        asked=asked,
        reading=reading,
        severity=severity.value if severity else "",
        handling_notes=handling_notes([(one.of.key.rule, one.handling) for one in firing]),
        trouble=_trouble(reading),
        verdict=verdict(reading.selected, asked.unit) if reading.selected else None,
        bars=bars,
        top_bars=_moved(bars, reading),
        bins_chart=bins_chart(bars, title=_bins_title(feature, reading), unit=asked.unit.value) if bars else None,
        judgements=judged,
        then=worst_firing(judged),
        plots=plots(monitor, feature, reading, asked),
        day_choices=DAYS,
        address=partial(address, asked),
    )


def _is_configured(monitor: MonitorConfig, feature: str) -> bool:
    return monitor.features != "all" and any(one.name == feature for one in monitor.features)


def _trouble(reading: FeatureReading) -> str:
    """Why the newest values are not there; empty where they are."""
    if reading.tried is not None and reading.tried.health is Health.ERROR:
        return f"The last evaluation failed: {reading.tried.error or reading.tried.error_code}."
    if reading.latest is None:
        return "It has not been measured yet."
    reason = why_unmeasured(reading.latest)
    if reason is None:
        return ""
    said = f" {reading.latest.error}" if reading.latest.error else ""
    return f"The last evaluation gave no value: {phrases.UNMEASURED_TEXTS[reason]}.{said}"


def _moved(bars: Sequence[BinBar], reading: FeatureReading) -> list[BinBar]:
    """The bins that moved most; none where all of it may be noise."""
    if reading.selected is None or reading.selected.direction in (None, Direction.NONE):
        return []
    return sorted((bar for bar in bars if bar.is_top), key=lambda bar: -bar.live_reference - bar.reference_live)


def _bins_title(feature: str, reading: FeatureReading) -> str:
    window = phrases.instant_text(reading.selected.window_end) if reading.selected else ""
    return f"Shares of live and reference rows of {feature} by bin, window to {window}"
