"""Finish: the one transaction in which a window, or a batch of them, takes effect: all of it or nothing.

    confirm the claims ── panes ── measurements ── episodes ── outbox ── alert rows ── runs to revise

Each claim's token is checked before anything is written; whoever lost the lease writes nothing. Alert states are read
under a lock in the same transaction, so two evaluations of a monitor can't both advance from the same state. Where
the answer to the commit is lost, the run is looked up before anybody believes it failed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from drift_monitor.alerting import episodes, rules
from drift_monitor.alerting.rules import EvaluationResult, Observations, Transitions, Window
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import INACTIVE, AlertState, Change
from drift_monitor.core.schedule import Span
from drift_monitor.errors import StoreUnavailable
from drift_monitor.evaluation.planning import planned_run
from drift_monitor.evaluation.read import PaneTable
from drift_monitor.evaluation.reference import reference_spans, window_of
from drift_monitor.store import alerts as alert_store
from drift_monitor.store import leases, measurements, runs
from drift_monitor.store import panes as pane_store
from drift_monitor.store.alerts import AlertKey, AlertRecord, AlertRow
from drift_monitor.store.connection import Transaction
from drift_monitor.store.leases import Claim, RunResult
from drift_monitor.store.runs import Run, Trigger
from drift_monitor.telemetry.logs import Step


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
    transitions: Transitions = field(default_factory=dict)
    rewritten: Mapping[str, Sequence[AlertRecord]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Committed:
    """The outcomes that took effect, and for how many seconds others could not write to the store meanwhile."""

    outcomes: Sequence[EvaluationResult]
    seconds: float


def commit(
    services: Services,
    monitor: MonitorConfig,
    claims: Sequence[Claim],
    outcomes: Sequence[EvaluationResult],
    table: PaneTable,
    *,
    notify_past: bool,
) -> Committed:
    """Write the outcomes of windows, oldest first, once and together.

    All, unless a feature with a sliding reference begins or ends to drift: later windows are then compared with other
    panes. None, where another process has changed the panes meanwhile. Raises LeaseLost or StoreError with nothing
    written.
    """

    began = services.clock.monotonic()

    def finish(conn: Transaction) -> int:
        nonlocal began
        began = services.clock.monotonic()
        rows = alert_store.lock(conn, monitor.name)
        if table.is_outdated(conn, monitor):
            return 0
        updates = _judge_in_order(conn, monitor, claims, outcomes, rows)
        judged = list(zip(claims, outcomes, updates, strict=False))
        leases.confirm_all(conn, [(claim, _result(outcome, update)) for claim, outcome, update in judged])
        changed = pane_store.save(conn, monitor.name, table.fresh_counts, table.fresh_rows)
        measurements.save(conn, [found for _, outcome, _ in judged for found in outcome.watched.measurements])
        _record(services, conn, monitor, judged, rows, notify_past=notify_past)
        for run_id, states in ((id, states) for update in updates for id, states in update.rewritten.items()):
            runs.rewrite_alert_states(conn, run_id, [record.to_json() for record in states])
        runs.plan(conn, _revisions(services, conn, monitor, outcomes[0], changed))
        services.observe_step(Step.FINISH_BEFORE_COMMIT, monitor.name)
        return len(judged)

    try:
        done = services.store.transact(finish)
    except StoreUnavailable:
        with services.store.read() as conn:
            done = sum(leases.already_done(conn, claim) for claim in claims)
        if not done:
            raise
    return Committed(outcomes=outcomes[:done], seconds=services.clock.monotonic() - began)


def _record(
    services: Services,
    conn: Transaction,
    monitor: MonitorConfig,
    judged: Sequence[tuple[Claim, EvaluationResult, AlertUpdate]],
    rows: Mapping[AlertKey, AlertRow],
    *,
    notify_past: bool,
) -> None:
    """Episodes and notifications of these windows, in order, and alert rows as the last of them leaves them."""
    after = dict(rows)
    for position, (claim, outcome, update) in enumerate(judged, start=1):
        if update.how is UpdateKind.SHOW:
            continue
        steps = update.transitions
        if position < len(judged):  # only what changes an alert: its row is written again by a later window
            states = {key: row.alert for key, row in after.items()}
            steps = {
                key: step
                for key, step in steps.items()
                if step.change is not Change.NONE or step.state != states.get(key, INACTIVE)
            }
        # The windows of a backfill, also of one that was interrupted, are of the past.
        notify = notify_past or claim.trigger is not Trigger.BACKFILL
        written = episodes.record(services, conn, monitor, outcome, after, steps, notify=notify)
        after |= {row.key: row for row in written}
    alert_store.save(conn, [row for key, row in after.items() if row is not rows.get(key)])


def _judge_in_order(
    conn: Transaction,
    monitor: MonitorConfig,
    claims: Sequence[Claim],
    outcomes: Sequence[EvaluationResult],
    rows: Mapping[AlertKey, AlertRow],
) -> list[AlertUpdate]:
    """What each window, one after the other, does to the alerts; of the first ones, where later ones have to wait."""
    updates: list[AlertUpdate] = []
    states = {key: row.alert for key, row in rows.items()}
    last = max((row.last_window for row in rows.values()), default=None)
    past = Past(conn, monitor, outcomes)
    for claim, outcome in zip(claims, outcomes, strict=True):
        window = Window(
            at=outcome.window.end,
            revision=outcome.revision,
            observations=rules.observe(monitor.rules, outcome.watched),
        )
        if last is None or window.at > last:
            steps = rules.advance_all(monitor.rules, states, window)
            update = AlertUpdate(
                how=UpdateKind.ADVANCE,
                records=rules.records(window.observations, steps),
                transitions={**steps, **rules.removed(states, window.observations)},
            )
            states |= {key: step.state for key, step in update.transitions.items()}
            last = window.at if update.transitions else last
        elif claim.trigger is not Trigger.REVISION:
            update = _shown(monitor, past.states_before(window.at), window)
        elif updates:
            break  # a replay goes over the windows before it as they are stored
        else:
            return [_replayed(conn, monitor, states, window)]
        updates.append(update)
        past.add(window.at, update.records)
        if _moves_reference(monitor, outcome, update):
            break
    return updates


class Past:
    """The states that a window starts from: those after the last done one before it, in the store or in the batch."""

    def __init__(self, conn: Transaction, monitor: MonitorConfig, outcomes: Sequence[EvaluationResult]) -> None:
        self._conn = conn
        self._monitor = monitor.name
        self._range = (outcomes[0].window.end, outcomes[-1].window.end)
        self._added: tuple[datetime, Sequence[AlertRecord]] | None = None

    def add(self, at: datetime, records: Sequence[AlertRecord]) -> None:
        self._added = (at, records)

    def states_before(self, at: datetime) -> Mapping[AlertKey, AlertState]:
        if self._added is None or any(self._added[0] < end < at for end in self._done):
            return alert_store.states_before(self._conn, self._monitor, at)
        return {record.key: record.alert for record in self._added[1] if record.alert != INACTIVE}

    @cached_property
    def _done(self) -> Sequence[datetime]:
        """Windows between those of the batch that another process or an earlier command has done."""
        return [
            end for end, window in runs.latest_of(self._conn, self._monitor, *self._range).items() if window.is_done
        ]


def _shown(monitor: MonitorConfig, before: Mapping[AlertKey, AlertState], window: Window) -> AlertUpdate:
    """Later windows are not looked at, or the past would cost the more the later it is filled in."""
    steps = rules.advance_all(monitor.rules, before, window)
    return AlertUpdate(how=UpdateKind.SHOW, records=rules.records(window.observations, steps))


def _replayed(
    conn: Transaction, monitor: MonitorConfig, present: Mapping[AlertKey, AlertState], window: Window
) -> AlertUpdate:
    before = alert_store.states_before(conn, monitor.name, window.at)
    later = runs.done_after(conn, monitor.name, window.at)
    windows = [window, *(_window(run) for run in later)]
    rounds = rules.replay_all(monitor.rules, before, windows)
    return AlertUpdate(
        how=UpdateKind.REPLAY,
        records=rules.records(window.observations, rounds[0]),
        transitions=rules.revised(present, rounds),
        rewritten={
            run.id: rules.records(after.observations, transitions)
            for run, after, transitions in zip(later, windows[1:], rounds[1:], strict=True)
        },
    )


def _window(run: Run) -> Window:
    stored = [AlertRecord.from_json(document) for document in run.alert_states]
    observations: Observations = {record.key: record.observation for record in stored}
    return Window(at=run.key.window_end, revision=run.key.revision, observations=observations)


def _moves_reference(monitor: MonitorConfig, outcome: EvaluationResult, update: AlertUpdate) -> bool:
    """Whether an episode of a feature began or ended, and references leave out the panes of episodes."""
    if not reference_spans(monitor, outcome.window):
        return False
    edges = (Change.FIRED, Change.RESOLVED)
    return any(key.feature and step.change in edges for key, step in update.transitions.items())


def _result(outcome: EvaluationResult, update: AlertUpdate) -> RunResult:
    return RunResult(
        rows_read=outcome.rows_read,
        newest=outcome.newest,
        result={"live_rows": outcome.rows},
        alert_states=[record.to_json() for record in update.records],
    )


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
        planned_run(monitor, run.key.window_end, now, Trigger.REVISION, revises=run.key)
        for run in used
        if run.key.window_end < outcome.window.end and _uses(monitor, run, changed)
    ]


def _uses(monitor: MonitorConfig, run: Run, changed: frozenset[Span]) -> bool:
    window = window_of(monitor, run.key.window_end)
    spans = (window, *reference_spans(monitor, window))
    return any(span.start <= one.start and one.end <= span.end for span in spans for one in changed)
