"""One evaluation, from a claimed window to a committed result.

    reference ──► read missing panes ──► merge, smooth, compare ──► observe ──► commit once

A source that fails leaves nothing behind: the window stays due with a backoff, health turns to error and every alert
stays as it was. The result, the alert states it leads to and the messages about them are one transaction that begins
with the claim's token: whoever lost the lease writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.alerting.rules import EvaluationResult, Watched, measured_monitor
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.panes import Span
from drift_monitor.evaluation.commit import commit
from drift_monitor.evaluation.measure import Sides, measure, newest_of
from drift_monitor.evaluation.read import PaneTable, read_panes
from drift_monitor.evaluation.reference import Reference, ensure_reference, reference_spans, window_of
from drift_monitor.store import alerts as alert_store
from drift_monitor.store.leases import Claim
from drift_monitor.telemetry.steps import Step

HALF = 0.5  # of a sliding reference's range has to be covered before it is compared with


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All that a window is computed from. `sliding` are the panes of a sliding reference, empty for a fixed one."""

    window: Span
    revision: int
    reference: Reference
    table: PaneTable
    live: Sequence[Span]
    sliding: Sequence[Span]
    drifting_since: Mapping[str, datetime]


@dataclass(frozen=True, kw_only=True)
class ReferencePanes:
    """The panes a feature's sliding reference is made of, and whether they cover enough of its range."""

    spans: Sequence[Span]
    covered: bool


def evaluate(services: Services, monitor: MonitorConfig, claim: Claim, *, notify: bool = True) -> EvaluationResult:
    """Evaluate the claimed window and commit; raises SourceError, StoreError or LeaseLost with nothing written."""
    path = f"{monitor.name}/{claim.key.window_end.isoformat()}/{claim.key.revision}"
    gathered = gather(services, monitor, claim)
    services.observe_step(Step.PANES_READ, path)
    outcome = compute(monitor, gathered)
    services.observe_step(Step.COMPUTE_DONE, path)
    commit(services, monitor, claim, outcome, notify=notify)
    services.observe_step(Step.FINISH_AFTER_COMMIT, path)
    return outcome


def gather(services: Services, monitor: MonitorConfig, claim: Claim) -> Gathered:
    """The reference and every pane of the window, read where they are not stored; nothing is written but references."""
    window = window_of(monitor, claim.key.window_end)
    reference = ensure_reference(services, monitor, window)
    live = monitor.grid.panes(window)
    sliding = [pane for span in reference_spans(monitor, window) for pane in monitor.grid.panes(span)]
    revise = monitor.revise if claim.key.revision == 0 else 0
    return Gathered(
        window=window,
        revision=claim.key.revision,
        reference=reference,
        table=read_panes(services, monitor, reference, live=live, sliding=sliding, revise=revise),
        live=live,
        sliding=sliding,
        drifting_since=_drifting_since(services, monitor) if sliding else {},
    )


def compute(monitor: MonitorConfig, gathered: Gathered) -> EvaluationResult:
    """Merge, smooth, compare: no I/O."""
    table, reference, window = gathered.table, gathered.reference, gathered.window
    rows = sum(table.rows.get(pane, 0) for pane in gathered.live)
    names = (*reference.features, *reference.failed, *reference.waiting)
    measurements = measure(monitor, window, gathered.revision, rows, [_sides(name, gathered) for name in names])
    newest = newest_of((*table.newest.values(), table.newest_before))
    return EvaluationResult(
        window=window,
        revision=gathered.revision,
        rows=rows,
        rows_read=table.rows_read,
        newest=newest,
        watched=Watched(measurements=measurements, monitor=measured_monitor(rows, newest, window.end + monitor.settle)),
        pane_counts=tuple(table.fresh_counts),
        pane_rows=tuple(table.fresh_rows),
        specs={one.spec.id: one.spec for one in reference.features.values()},
    )


def _drifting_since(services: Services, monitor: MonitorConfig) -> dict[str, datetime]:
    """Per feature, the window in which its oldest open episode began."""
    with services.store.read() as conn:
        episodes = alert_store.open_episodes(conn, monitor.name)
    since: dict[str, datetime] = {}
    for episode in episodes:
        feature = episode.key.feature
        since[feature] = min(episode.opened_window, since.get(feature, episode.opened_window))
    return since


def _usable(table: PaneTable, sliding: Sequence[Span], drifting_since: datetime | None) -> ReferencePanes:
    """Reference panes outside open episodes; covered from the first pane that has rows on."""
    kept = [pane for pane in sliding if drifting_since is None or pane.end < drifting_since]
    first = next((position for position, pane in enumerate(kept) if table.rows.get(pane, 0) > 0), len(kept))
    return ReferencePanes(spans=kept, covered=(len(kept) - first) / len(sliding) >= HALF)


def _sides(feature: str, gathered: Gathered) -> Sides:
    reference, table = gathered.reference, gathered.table
    error = reference.failed.get(feature) or table.failed.get(feature)
    if error is not None:
        return Sides(feature=feature, failure=error.reason.value, error=str(error))
    if feature in reference.waiting:
        return Sides(feature=feature, waiting_rows=reference.waiting[feature])
    one = reference.features[feature]
    live = table.merged(feature, one.spec, gathered.live)
    if not gathered.sliding:
        return Sides(feature=feature, live=live, reference=one.counts)
    panes = _usable(table, gathered.sliding, gathered.drifting_since.get(feature))
    merged = table.merged(feature, one.spec, panes.spans)
    return Sides(feature=feature, live=live, reference=merged, covered=panes.covered)
