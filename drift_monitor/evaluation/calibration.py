"""Surprise of a monitor's windows: calibrated on its own last four weeks, and judged against the level that gives.

    stored calibration ── too old, or of other bins ──► panes of 28 days ──► calibrate ──► store
           │
           └──► counts of the last 1, 6, 24 hours ──► surprise of each feature ──► the monitor's rule

A calibration serves for a week, from a day after its history ends: no window of a day is part of the history that it
is judged by. What a feature's rows are
in three ways is a series each: its bins, missing or present, and known or never seen. Hours in which a feature stood
above its level are no part of a later history.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig, content_hash
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.calibration import Surprises, calibrate
from drift_monitor.core.distribution import Counts, FloatArray, Mask
from drift_monitor.core.divergence import Estimate
from drift_monitor.core.rules import SURPRISE_LEVEL, Rule
from drift_monitor.core.schedule import PaneGrid, Span
from drift_monitor.core.surprise import PaneHistory
from drift_monitor.errors import InputError, SourceTimeout
from drift_monitor.evaluation.read import PaneTable, RunningTotals, read_panes
from drift_monitor.evaluation.reference import Reference, dataset_definition, feature_definition
from drift_monitor.store import calibrations, measurements
from drift_monitor.store import panes as pane_store
from drift_monitor.store.calibrations import CalibrationState, PastHours, StoredCalibration
from drift_monitor.store.measurements import Measurement

LENGTHS: Final = (1, 6, 24)  # hours; a week needs a longer history than is read
HISTORY: Final = timedelta(days=28)
LEAST_HISTORY: Final = timedelta(days=14)
GOOD_FOR: Final = {CalibrationState.CALIBRATED: timedelta(days=7), CalibrationState.LEARNING: timedelta(days=1)}
APART: Final = timedelta(days=1)
_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = 1  # of the method: a change makes all calibrations anew
MISSING, NEW = "missing", "never seen"  # the series of a feature beside its bins


def lookback(monitor: MonitorConfig, end: datetime) -> tuple[Span, ...]:
    """The panes before a window's end that its surprise is made of."""
    if monitor.surprise_rule is None:
        return ()
    longest = timedelta(hours=max(LENGTHS))
    return monitor.grid.panes(Span(monitor.grid.shift(end, -(longest // monitor.grid.length)), end))


def calibration_for(
    services: Services, monitor: MonitorConfig, reference: Reference, end: datetime
) -> StoredCalibration | None:
    """What a window that ends then is judged by, made where there is none; None where no rule asks for it.

    Raises SourceError where panes of the history can't be read.
    """
    rule = monitor.surprise_rule
    if rule is None or rule.false_alarms is None or not reference.features:
        return None
    definition = _definition(services, monitor, reference, rule)
    with services.store.read() as conn:
        known = calibrations.latest(conn, monitor.name, before=end - APART)
    if known is not None and known.is_of(definition, _history_end(monitor, end), good_for=GOOD_FOR):
        return known
    return calibrate_now(services, monitor, reference, end)


def calibrate_now(services: Services, monitor: MonitorConfig, reference: Reference, end: datetime) -> StoredCalibration:
    """Calibrate anew for the window that ends then, whatever is stored; raises InputError, SourceError, StoreError."""
    rule = monitor.surprise_rule
    if rule is None or rule.false_alarms is None:
        raise InputError(f"monitor {monitor.name!r} has no budget of false alarms")
    if not reference.features:
        raise InputError(f"monitor {monitor.name!r} has no feature with bins yet; see `drift-monitor evaluate`")
    definition, budget = _definition(services, monitor, reference, rule), rule.false_alarms.per_hour
    made = _calibrate(services, monitor, reference, _history_end(monitor, end), definition, budget)
    services.store.transact(lambda conn: calibrations.save(conn, made))
    return made


def _history_end(monitor: MonitorConfig, end: datetime) -> datetime:
    return monitor.grid.shift(end, -(APART // monitor.grid.length))


def _definition(services: Services, monitor: MonitorConfig, reference: Reference, rule: Rule) -> str:
    features = {
        name: [feature_definition(services.config, monitor, feature.watched), feature.spec.id]
        for name, feature in reference.features.items()
    }
    budget = rule.false_alarms.per_hour if rule.false_alarms else 0.0
    pane = monitor.grid.length.total_seconds()
    dataset = dataset_definition(services.config, monitor)
    return content_hash({"version": _VERSION, "dataset": dataset, "features": features, "budget": budget, "pane": pane})


def _calibrate(
    services: Services,
    monitor: MonitorConfig,
    reference: Reference,
    end: datetime,
    definition: str,
    episodes_per_hour: float,
) -> StoredCalibration:
    grid = monitor.grid
    panes = grid.panes(Span(grid.shift(end, -(HISTORY // grid.length)), end))
    table = _read_history(services, monitor, reference, panes)
    begun = next((at for at, pane in enumerate(panes) if table.rows.get(pane)), len(panes))
    step = _step(grid)
    panes = panes[begun + (len(panes) - begun) % step :]
    learning = StoredCalibration(
        monitor=monitor.name,
        definition=definition,
        state=CalibrationState.LEARNING,
        made_at=services.clock.now(),
        history=Span(panes[0].start if panes else end, end),
        features=tuple(reference.features),
    )
    if len(panes) * grid.length < LEAST_HISTORY:
        return learning
    with services.store.read() as conn:
        known = measurements.above_level(conn, monitor.name, learning.history)
    histories = _histories(reference, table, panes, grid, known)
    fitted = calibrate(histories, episodes_per_hour=episodes_per_hour, lengths=LENGTHS)
    if not fitted.lengths:
        return learning
    incidents = [
        PastHours(
            feature=tuple(reference.features)[each.series % len(reference.features)],
            series=("bins", MISSING, NEW)[kind + each.series // len(reference.features)],
            span=Span(panes[each.first * step].start, panes[min(each.last * step, len(panes)) - 1].end),
            height=each.height,
            is_state=each.is_state,
        )
        for kind, found in enumerate(fitted.incidents)
        for each in found
    ]
    return replace(learning, state=CalibrationState.CALIBRATED, incidents=incidents, fitted=fitted)


def _read_history(services: Services, monitor: MonitorConfig, reference: Reference, panes: Sequence[Span]) -> PaneTable:
    """The counts of these panes, read by one statement, or where that takes too long by halves, down to a day.

    What is read is stored at once, so that nothing of it is read again, whatever comes of the evaluation.
    """
    try:
        table = read_panes(services, monitor, reference, live=panes, revise=0)
    except SourceTimeout:
        if len(panes) * monitor.grid.length <= APART:
            raise
        half = len(panes) // 2
        for part in (panes[:half], panes[half:]):
            _read_history(services, monitor, reference, part)
        table = read_panes(services, monitor, reference, live=panes, revise=0)
    if table.fresh_rows:
        services.store.transact(lambda conn: pane_store.save(conn, monitor.name, table.fresh_counts, table.fresh_rows))
    return table


def _step(grid: PaneGrid) -> int:
    """How many panes are one step of a history: those of an hour where panes are shorter."""
    return max(1, _HOUR // grid.length)


def _histories(
    reference: Reference, table: PaneTable, panes: Sequence[Span], grid: PaneGrid, known: Mapping[str, Sequence[Span]]
) -> list[PaneHistory]:
    """The features' bins, and their two sides: missing or present, never seen or known."""
    specs = [feature.spec for feature in reference.features.values()]
    step = _step(grid)
    steps = len(panes) // step
    wide = max(spec.size for spec in specs)
    counts = np.zeros((len(specs), steps, wide))
    for place, (name, spec) in enumerate(zip(reference.features, specs, strict=True)):
        stored = table.counts.get(name, {})
        for at, pane in enumerate(panes):
            if (found := stored.get(pane)) is not None:
                counts[place, at // step, : spec.size] += found
    starts = np.array([pane.start.timestamp() for pane in panes[::step]])
    left_out: Mask = np.zeros((len(specs), steps), dtype=np.bool_)
    for place, name in enumerate(reference.features):
        for span in known.get(name, ()):
            left_out[place] |= (starts >= span.start.timestamp()) & (starts < span.end.timestamp())

    def history(of: FloatArray, bins: FloatArray, out: Mask) -> PaneHistory:
        return PaneHistory(
            start=(panes[0].start - _EPOCH) / _HOUR,
            pane=max(1, grid.length // _HOUR),
            counts=of,
            reference=of.sum(axis=1),
            is_reference=np.ones(steps, dtype=np.bool_),
            bins=bins,
            left_out=out,
        )

    sizes = np.array([float(spec.size) for spec in specs])
    sides = np.concatenate(_sides(counts, specs))
    return [
        history(counts, sizes, left_out),
        history(sides, np.full(len(sides), 2.0), np.concatenate([left_out, left_out])),
    ]


def _sides(counts: FloatArray, specs: Sequence[BinSpec]) -> tuple[FloatArray, FloatArray]:
    """Missing and present, never seen and known: (S, ..., 2) each, from counts (S, ..., bins)."""
    rows = counts.sum(axis=-1)
    missing = np.stack([each[..., spec.missing] for each, spec in zip(counts, specs, strict=True)])
    new = np.stack([each[..., list(spec.unknown)].sum(axis=-1) for each, spec in zip(counts, specs, strict=True)])
    return np.stack([missing, rows - missing], axis=-1), np.stack([new, rows - new], axis=-1)


def judged(
    known: StoredCalibration,
    reference: Reference,
    totals: RunningTotals,
    grid: PaneGrid,
    found: Sequence[Measurement],
    end: datetime,
) -> tuple[tuple[Measurement, ...], Estimate]:
    """The measurements with their surprise, and the monitor's: how far its most surprising series stands.

    A feature without rows, or that could not be counted, has none; while there is such a feature nothing is known to be
    quiet, so that an alert neither begins nor ends by it.
    """
    fitted = known.fitted
    if fitted is None:
        return tuple(found), Estimate(None)
    specs = [reference.features[name].spec for name in known.features]
    counts: dict[int, Sequence[FloatArray]] = {}
    is_known = np.ones(len(specs), dtype=np.bool_)
    for length in (each.length for each in fitted.lengths):
        span = Span(grid.shift(end, -(timedelta(hours=length) // grid.length)), end)
        features = np.zeros(fitted.references[0].shape)
        for place, (name, spec) in enumerate(zip(known.features, specs, strict=True)):
            live: Counts | None = totals.counts(name, [span])
            if live is not None:
                features[place, : spec.size] = live
        is_known &= (length < max(LENGTHS)) | (features.sum(axis=-1) > 0)
        counts[length] = [features[:, None, :], np.concatenate(_sides(features, specs))[:, None, :]]
    (bins, sides), many = fitted.judge(counts, np.array([(end - _EPOCH) / _HOUR]))
    missing, new = (sides.of(slice(first, first + len(specs))) for first in (0, len(specs)))
    each = Surprises.furthest([bins, missing, new])
    places = {name: place for place, name in enumerate(known.features) if is_known[place]}
    identity = known.id
    with_surprise = tuple(
        replace(
            measurement,
            surprise=float(each.surprise[places[measurement.feature], 0]),
            level=float(each.level[places[measurement.feature], 0]),
            surprise_window=int(each.length[places[measurement.feature], 0]),
            calibration=identity,
        )
        if measurement.feature in places
        else measurement
        for measurement in found
    )
    all_of = Surprises.furthest([many, *(each.of(place) for place in range(len(specs)))])
    if all_of.over[0] <= SURPRISE_LEVEL and not is_known.all():
        return with_surprise, Estimate(None)
    return with_surprise, Estimate(float(all_of.times_its_level[0]), corrected=float(all_of.over[0]))
