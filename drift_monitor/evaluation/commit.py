"""Finish: the one transaction in which a window takes effect, all of it or nothing.

    confirm the claim ── panes ── measurements ── alert rows ── episodes ── outbox ── runs to revise

The claim's token is checked before anything is written; whoever lost the lease writes nothing. Alert states are read
under a lock in the same transaction, so two evaluations of a monitor can't both advance from the same state. Where
the answer to the commit is lost, the run is looked up before anybody believes it failed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from drift_monitor.alerting import episodes, rules
from drift_monitor.alerting.rules import EvaluationResult, Observations, Transitions, Window
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import AlertState
from drift_monitor.core.panes import Span
from drift_monitor.errors import StoreUnavailable
from drift_monitor.evaluation.planning import planned_run
from drift_monitor.evaluation.reference import reference_spans, window_of
from drift_monitor.store import alerts as alert_store
from drift_monitor.store import leases, measurements, runs
from drift_monitor.store import panes as pane_store
from drift_monitor.store.alerts import AlertKey, AlertRecord, AlertRow
from drift_monitor.store.connection import Transaction
from drift_monitor.store.leases import Claim, RunResult
from drift_monitor.store.runs import Run, Trigger
from drift_monitor.telemetry.steps import Step


class UpdateKind(StrEnum):
    """How a window bears on the alerts."""

    ADVANCE = "advance"  # the newest window so far: the next step
    REPLAY = "replay"  # a revision of an earlier window: the past again, up to now
    SHOW = "show"  # an earlier window evaluated late: its verdict is kept, the present stays


@dataclass(frozen=True, kw_only=True)
class AlertUpdate:
    """The verdicts of this window and what they change now; `rewritten` are later windows' states after a replay."""

    how: UpdateKind
    records: Sequence[AlertRecord]
    transitions: Transitions
    rewritten: Mapping[str, Sequence[AlertRecord]]


def commit(
    services: Services, monitor: MonitorConfig, claim: Claim, outcome: EvaluationResult, *, notify: bool = True
) -> None:
    """Write the outcome once; raises LeaseLost with nothing written, or StoreError."""

    def finish(conn: Transaction) -> None:
        rows = alert_store.lock(conn, monitor.name)
        judged = _judge(conn, monitor, claim, outcome, rows)
        leases.confirm(conn, claim, _result(outcome, judged))
        changed = pane_store.save(conn, monitor.name, outcome.pane_counts, outcome.pane_rows)
        measurements.save(conn, [_with_alerts(one, judged.records) for one in outcome.watched.measurements])
        if judged.how is not UpdateKind.SHOW:
            episodes.record(services, conn, monitor, outcome, rows, judged.transitions, notify=notify)
        for run_id, states in judged.rewritten.items():
            runs.rewrite_alert_states(conn, run_id, [one.to_json() for one in states])
        runs.plan(conn, _revisions(services, conn, monitor, outcome, changed))
        services.observe_step(Step.FINISH_BEFORE_COMMIT, monitor.name)

    try:
        services.store.transact(finish)
    except StoreUnavailable:
        if not _was_committed(services, claim):
            raise


def _was_committed(services: Services, claim: Claim) -> bool:
    with services.store.read() as conn:
        return leases.already_done(conn, claim)


def _judge(
    conn: Transaction,
    monitor: MonitorConfig,
    claim: Claim,
    outcome: EvaluationResult,
    rows: Mapping[AlertKey, AlertRow],
) -> AlertUpdate:
    present = {key: row.alert for key, row in rows.items()}
    window = Window(
        at=outcome.window.end,
        revision=outcome.revision,
        observations=rules.observe(monitor.rules, outcome.watched),
    )
    last = max((row.last_window for row in rows.values()), default=None)
    if last is None or window.at > last:
        return _advanced(monitor, present, window)
    return _replayed(conn, monitor, claim, present, window)


def _advanced(monitor: MonitorConfig, present: Mapping[AlertKey, AlertState], window: Window) -> AlertUpdate:
    steps = rules.advance_all(monitor.rules, present, window)
    return AlertUpdate(
        how=UpdateKind.ADVANCE,
        records=rules.records(window.observations, steps),
        transitions={**steps, **rules.removed(present, window.observations)},
        rewritten={},
    )


def _replayed(
    conn: Transaction,
    monitor: MonitorConfig,
    claim: Claim,
    present: Mapping[AlertKey, AlertState],
    window: Window,
) -> AlertUpdate:
    before = alert_store.states_before(conn, monitor.name, window.at)
    later = runs.done_after(conn, monitor.name, window.at)
    windows = [window, *(_window(run) for run in later)]
    rounds = rules.replay_all(monitor.rules, before, windows)
    records = rules.records(window.observations, rounds[0])
    if claim.trigger is not Trigger.REVISION:
        return AlertUpdate(how=UpdateKind.SHOW, records=records, transitions={}, rewritten={})
    rewritten = {
        run.id: rules.records(one.observations, transitions)
        for run, one, transitions in zip(later, windows[1:], rounds[1:], strict=True)
    }
    return AlertUpdate(
        how=UpdateKind.REPLAY,
        records=records,
        transitions=rules.revised(present, rounds),
        rewritten=rewritten,
    )


def _window(run: Run) -> Window:
    stored = [AlertRecord.from_json(one) for one in run.alert_states]
    observations: Observations = {one.key: one.observation for one in stored}
    return Window(at=run.key.window_end, revision=run.key.revision, observations=observations)


def _result(outcome: EvaluationResult, judged: AlertUpdate) -> RunResult:
    return RunResult(
        rows_read=outcome.rows_read,
        newest=outcome.newest,
        result={"live_rows": outcome.rows},
        alert_states=[one.to_json() for one in judged.records],
    )


def _with_alerts(measurement: measurements.Measurement, records: Sequence[AlertRecord]) -> measurements.Measurement:
    own = [
        one.to_json()
        for one in records
        if (one.key.feature, one.key.segment) == (measurement.feature, measurement.segment)
    ]
    return replace(measurement, alert_states=own)


def _revisions(
    services: Services, conn: Transaction, monitor: MonitorConfig, outcome: EvaluationResult, changed: frozenset[Span]
) -> list[runs.PlannedRun]:
    """Earlier windows that used a pane whose counts late rows have changed."""
    if not changed:
        return []
    now = services.store.now(conn)
    first = min(span.start for span in changed)
    used = runs.windows_using(conn, monitor.name, first, outcome.window.end)
    return [
        planned_run(monitor, run.key.window_end, now, Trigger.REVISION, run.key.revision + 1)
        for run in used
        if run.key.window_end < outcome.window.end and _uses(monitor, run, changed)
    ]


def _uses(monitor: MonitorConfig, run: Run, changed: frozenset[Span]) -> bool:
    window = window_of(monitor, run.key.window_end)
    spans = (window, *reference_spans(monitor, window))
    return any(span.start <= one.start and one.end <= span.end for span in spans for one in changed)
