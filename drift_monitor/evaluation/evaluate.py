"""From claimed windows to a committed result: one as it comes due, or many of the past together.

    reference ──► read missing panes ──► merge, smooth, compare ──► observe ──► commit once

A source that fails leaves nothing behind: the window stays due with a backoff, health turns to error and every alert
stays as it was. The result, the alert states it leads to and the messages about them are one transaction that begins
with the claim's token: whoever lost the lease writes nothing.

From histograms to measurements and observations: no I/O, no clock.

A measurement is `ok` only where both sides have rows enough. `insufficient_data` keeps its counts but has no
divergence; `no_data` has no values at all; `failed` says why. None of the three ever reads as zero drift.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from drift_monitor.alerting.rules import NOT_JUDGED, EvaluationResult, Watched, measured_monitor
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.comparison import Comparison, compare_histograms
from drift_monitor.core.distribution import Histogram, SmoothingMethod
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FailureReason, FeatureError
from drift_monitor.evaluation.calibration import calibration_for, judged, lookback
from drift_monitor.evaluation.commit import Committed, commit
from drift_monitor.evaluation.read import PaneTable, RunningTotals, read_panes
from drift_monitor.evaluation.reference import Reference, ensure_reference, reference_spans, window_of
from drift_monitor.store import alerts as alert_store
from drift_monitor.store.calibrations import StoredCalibration
from drift_monitor.store.leases import Claim
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.runs import RunKey
from drift_monitor.telemetry.logs import Step

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
        live_counts=tuple(live.counts.tolist()) if live else None,
        reference_counts=tuple(reference.counts.tolist()) if reference else None,
        compared_bins=compared_bins,
        failure=sides.failure,
        error=sides.error,
        **_ratios(status, live, reference),
        **_divergences(comparison),
    )


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
        "uncertain": comparison.is_uncertain,
        "direction": comparison.direction,
        "contribution_live_reference": tuple(comparison.contributions[LIVE_REFERENCE].tolist()),
        "contribution_reference_live": tuple(comparison.contributions[REFERENCE_LIVE].tolist()),
    }


NO_CALIBRATIONS: Mapping[datetime, StoredCalibration | None] = {}
HALF = 0.5  # of a sliding reference's range has to be covered before it is compared with


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All that some windows of a monitor are computed from: frozen references, and sums of panes that slide.

    `drifting_since`: per feature, since when a sliding reference leaves its panes out.
    """

    reference: Reference
    table: PaneTable
    totals: RunningTotals
    drifting_since: Mapping[str, datetime]


def evaluate(services: Services, monitor: MonitorConfig, claim: Claim, *, notify_past: bool) -> EvaluationResult:
    """Evaluate the claimed window and commit; raises SourceError, StoreError or LeaseLost with nothing written."""
    window = window_of(monitor, claim.key.window_end)
    revise = monitor.revise if claim.key.revision == 0 else 0
    reference = ensure_reference(services, monitor, window)
    calibration_for(services, monitor, reference, window.end)  # first: it reads a long history piece by piece
    gathered = gather(services, monitor, reference, [window], revise=revise)
    committed = evaluate_together(services, monitor, [claim], gathered, notify_past=notify_past)
    return committed.outcomes[0]


def evaluate_together(
    services: Services, monitor: MonitorConfig, claims: Sequence[Claim], gathered: Gathered, *, notify_past: bool
) -> Committed:
    """Evaluate claimed windows, oldest first, and commit them at once: all, or those that `commit` takes."""
    if reference_spans(monitor, window_of(monitor, claims[0].key.window_end)):
        with services.store.read() as conn:
            episodes = alert_store.open_episodes(conn, monitor.name)
        # Per feature, the window in which its oldest open episode began.
        since: dict[str, datetime] = {}
        for episode in episodes:
            feature = episode.key.feature
            since[feature] = min(episode.opened_window, since.get(feature, episode.opened_window))
        gathered = replace(gathered, drifting_since=since)
    paths = [f"{monitor.name}/{claim.key.window_end.isoformat()}/{claim.key.revision}" for claim in claims]
    for path in paths:
        services.observe_step(Step.PANES_READ, path)
    known = {
        claim.key.window_end: calibration_for(services, monitor, gathered.reference, claim.key.window_end)
        for claim in claims
    }
    outcomes = compute(monitor, gathered, [claim.key for claim in claims], known)
    for path in paths:
        services.observe_step(Step.COMPUTE_DONE, path)
    committed = commit(services, monitor, claims, outcomes, gathered.table, notify_past=notify_past)
    for path in paths[: len(committed.outcomes)]:
        services.observe_step(Step.FINISH_AFTER_COMMIT, path)
    return committed


def gather(
    services: Services, monitor: MonitorConfig, reference: Reference, windows: Sequence[Span], *, revise: int = 0
) -> Gathered:
    """Every pane that these windows and their references need, read where it is not stored; nothing is written."""
    seen = {pane for window in windows for pane in (*lookback(monitor, window.end), *monitor.grid.panes(window))}
    live = sorted(seen, key=lambda pane: pane.start)
    sliding = [
        pane for window in windows for span in reference_spans(monitor, window) for pane in monitor.grid.panes(span)
    ]
    table = read_panes(
        services,
        monitor,
        reference,
        live=tuple(live),
        sliding=tuple(dict.fromkeys(sliding)),
        revise=revise,
    )
    used = Span(min(pane.start for pane in (*live, *sliding)), max(pane.end for pane in live))
    sizes = {name: feature.spec.size for name, feature in reference.features.items()}
    return Gathered(
        reference=reference,
        table=table,
        totals=RunningTotals(table, monitor.grid.panes(used), sizes),
        drifting_since={},
    )


def compute(
    monitor: MonitorConfig,
    gathered: Gathered,
    keys: Sequence[RunKey],
    known: Mapping[datetime, StoredCalibration | None] = NO_CALIBRATIONS,
) -> list[EvaluationResult]:
    """Merge, smooth, compare, and judge by the calibration of each window's end: no I/O."""
    reference, totals = gathered.reference, gathered.totals
    names = (*reference.features, *reference.failed, *reference.waiting)
    windows = [window_of(monitor, key.window_end) for key in keys]
    sides = [
        WindowSides(
            window=window,
            revision=key.revision,
            rows=totals.rows(window),
            features=[_sides(monitor, gathered, name, window) for name in names],
        )
        for key, window in zip(keys, windows, strict=True)
    ]
    specs = {feature.spec.id: feature.spec for feature in reference.features.values()}
    results = []
    for compared, measurements in zip(sides, measure(monitor, sides), strict=True):
        end = compared.window.end
        newest, surprise = totals.newest(end), NOT_JUDGED
        if (calibration := known.get(end)) is not None:
            measurements, surprise = judged(calibration, reference, totals, monitor.grid, measurements, end)
        own = measured_monitor(compared.rows, newest, end + monitor.settle, surprise)
        results.append(
            EvaluationResult(
                window=compared.window,
                revision=compared.revision,
                rows=compared.rows,
                rows_read=gathered.table.rows_read if len(keys) == 1 else 0,
                newest=newest,
                watched=Watched(measurements=measurements, monitor=own),
                specs=specs,
            )
        )
    return results


def _sides(monitor: MonitorConfig, gathered: Gathered, name: str, window: Span) -> Sides:
    reference, table, totals = gathered.reference, gathered.table, gathered.totals
    if name in reference.failed:
        return _failed(name, reference.failed[name])
    if name in reference.waiting:
        return Sides(feature=name, waiting_rows=reference.waiting[name])
    feature = reference.features[name]
    live = totals.counts(name, [window])
    spans = reference_spans(monitor, window)
    if live is None and name in table.failed:
        return _failed(name, table.failed[name])
    histogram = None if live is None else Histogram(feature.spec, live)
    if not spans:
        return _valid(Sides(feature=name, live=histogram, reference=feature.counts))
    # Panes outside open episodes; covered from the first pane that has rows on.
    since = gathered.drifting_since.get(name)
    kept = spans if since is None else totals.before(spans, since)
    merged = totals.counts(name, kept)
    if merged is None and name in table.failed:
        return _failed(name, table.failed[name])
    return _valid(
        Sides(
            feature=name,
            live=histogram,
            reference=None if merged is None else Histogram(feature.spec, merged),
            covered=(totals.panes(kept) - totals.empty_panes(kept)) / totals.panes(spans) >= HALF,
        )
    )


def _valid(sides: Sides) -> Sides:
    """A reference in which most values are none of the feature's kind says nothing: its bins never saw a value."""
    found = sides.reference
    if found is None or found.invalid_rows <= HALF * (found.rows - found.missing_rows):
        return sides
    kind = found.spec.kind.value
    text = (
        f"feature {sides.feature!r}: {found.invalid_rows:,} of {found.rows:,} rows of its reference are no {kind} "
        "values; set another `kind`, or an `expression` that makes such values of them"
    )
    return replace(sides, failure=FailureReason.INVALID_VALUES.value, error=text)


def _failed(name: str, error: FeatureError) -> Sides:
    return Sides(feature=name, failure=error.reason.value, error=str(error))
