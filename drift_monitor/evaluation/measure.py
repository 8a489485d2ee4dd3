"""From histograms to measurements and observations: no I/O, no clock.

A measurement is `ok` only where both sides have rows enough. `insufficient_data` keeps its counts but has no
divergence; `no_data` has no values at all; `failed` says why. None of the three ever reads as zero drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.comparison import Comparison, compare_histograms
from drift_monitor.core.distribution import SmoothingMethod
from drift_monitor.core.histogram import Histogram
from drift_monitor.core.panes import Span
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.store.measurements import Measurement

LIVE_REFERENCE, REFERENCE_LIVE = "live_reference", "reference_live"


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The two histograms of one feature, or why there are none.

    `covered` is False where a sliding reference holds less than half of its range; `waiting_rows` counts the
    reference rows where they are still too few to make bins from.
    """

    feature: str
    live: Histogram | None = None
    reference: Histogram | None = None
    covered: bool = True
    waiting_rows: int | None = None
    failure: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class WindowSides:
    """A window with its features in order. `rows`: its live rows, whatever the feature."""

    window: Span
    revision: int
    rows: int
    features: Sequence[Sides]


def measure(monitor: MonitorConfig, windows: Sequence[WindowSides]) -> list[tuple[Measurement, ...]]:
    """One measurement a feature and window. All are compared at once: many cost little more than few."""
    statuses = [[_status(monitor, sides) for sides in window.features] for window in windows]
    pairs = [
        (sides.live, sides.reference) if status is MeasurementStatus.OK and sides.live and sides.reference else None
        for window, found in zip(windows, statuses, strict=True)
        for sides, status in zip(window.features, found, strict=True)
    ]
    compared = iter(compare_histograms([pair for pair in pairs if pair is not None], monitor.smoothing))
    comparisons = iter([None if pair is None else next(compared) for pair in pairs])
    return [
        tuple(
            _measurement(monitor, window, sides, status, next(comparisons))
            for sides, status in zip(window.features, found, strict=True)
        )
        for window, found in zip(windows, statuses, strict=True)
    ]


def _status(monitor: MonitorConfig, sides: Sides) -> MeasurementStatus:
    if sides.failure is not None:
        return MeasurementStatus.FAILED
    if sides.waiting_rows is not None:
        return MeasurementStatus.INSUFFICIENT_DATA if sides.waiting_rows else MeasurementStatus.NO_DATA
    live = sides.live.rows if sides.live else 0
    reference = sides.reference.rows if sides.reference else 0
    if live == 0 or reference == 0:
        return MeasurementStatus.NO_DATA
    if min(live, reference) < monitor.min_rows or not sides.covered:
        return MeasurementStatus.INSUFFICIENT_DATA
    return MeasurementStatus.OK


def _measurement(
    monitor: MonitorConfig,
    window: WindowSides,
    sides: Sides,
    status: MeasurementStatus,
    comparison: Comparison | None,
) -> Measurement:
    live, reference = sides.live, sides.reference
    compared_bins = None
    if comparison is not None and live is not None and reference is not None:
        is_anchored = monitor.smoothing.method is SmoothingMethod.ANCHORED
        compared_bins = int(np.count_nonzero(live.counts + reference.counts)) if is_anchored else live.spec.size
    spec = live.spec if live else reference.spec if reference else None
    return Measurement(
        monitor=monitor.name,
        feature=sides.feature,
        segment="",
        window_start=window.window.start,
        window_end=window.window.end,
        revision=window.revision,
        status=status,
        live_rows=live.rows if live else window.rows,
        reference_rows=reference.rows if reference else sides.waiting_rows or 0,
        bin_spec=spec.id if spec else None,
        live_counts=_counts(live),
        reference_counts=_counts(reference),
        compared_bins=compared_bins,
        failure=sides.failure,
        error=sides.error,
        **_ratios(status, live, reference),
        **_divergences(comparison),
    )


def _counts(histogram: Histogram | None) -> tuple[int, ...] | None:
    return tuple(histogram.counts.tolist()) if histogram else None


def _ratios(status: MeasurementStatus, live: Histogram | None, reference: Histogram | None) -> dict[str, Any]:
    if status in (MeasurementStatus.NO_DATA, MeasurementStatus.FAILED) or live is None or reference is None:
        return {}
    return {
        "live_missing_ratio": live.missing_rows / live.rows,
        "reference_missing_ratio": reference.missing_rows / reference.rows,
        "live_unseen_ratio": live.unknown_rows / live.rows,
    }


def _divergences(comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return {}
    return {
        "estimates": dict(comparison.estimates),
        "noise_floor": comparison.noise_floor,
        "direction": comparison.direction,
        "contribution_live_reference": tuple(comparison.contributions[LIVE_REFERENCE].tolist()),
        "contribution_reference_live": tuple(comparison.contributions[REFERENCE_LIVE].tolist()),
    }
