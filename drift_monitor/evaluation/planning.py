"""What is due: windows become run rows, decided by the schedule and the store's clock, never by start-up time.

A monitor's first plan is its last settled window only; the past comes by `backfill`. After downtime the missed windows
are caught up oldest first, at most `catch_up` of them; older ones are written as `skipped` with the reason, so that
every window is present once, evaluated or explained.

Tell the store which monitors there are: what runs, histories and views refer to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.alerting.episodes import close_removed
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.schedule import Slot, jitter, last_slot, next_slot, slots
from drift_monitor.errors import MissedReason
from drift_monitor.evaluation.reference import window_of
from drift_monitor.store import leases, monitors, runs
from drift_monitor.store.connection import Transaction
from drift_monitor.store.connection import now as store_now
from drift_monitor.store.monitors import StoredMonitor
from drift_monitor.store.runs import PlannedRun, RunKey, Trigger, WindowState
from drift_monitor.telemetry.logs import Step


def register_monitors(services: Services, *, whole: bool) -> None:
    """Write every configured monitor; with `whole`, this configuration is all there is: others are disabled.

    What still fires for those ends, and is told.
    """

    def work(conn: Transaction) -> None:
        now = services.store.now(conn)
        known = {one.name: one for one in monitors.listed(conn)}
        for monitor in services.config.monitors:
            before = known.get(monitor.name)
            upcoming = next_slot(
                monitor.schedule,
                monitor.grid,
                settle=monitor.settle,
                jitter=jitter(monitor.name, monitor.schedule),
                after=now,
            )
            row = StoredMonitor(
                name=monitor.name,
                source=monitor.source,
                config_hash=monitor.hash,
                enabled=True,
                next_window_end=before.next_window_end if before else upcoming.window_end,
            )
            monitors.save(conn, row, monitor.public())
        if whole:
            for gone in monitors.disable_others(conn, [monitor.name for monitor in services.config.monitors]):
                close_removed(services, conn, gone)

    services.store.transact(work)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a round of planning did, and when the next slot of the monitor is due."""

    planned: int
    skipped: int
    next_due: datetime


def plan_windows(services: Services, monitor: MonitorConfig) -> Planned:
    """Insert the runs that have come due since the last plan; safe to repeat, on any replica."""

    def work(conn: Transaction) -> Planned:
        now = services.store.now(conn)
        last = runs.last_planned(conn, monitor.name)
        due = _due_slots(monitor, last, now)
        kept, missed = due[-monitor.catch_up :], due[: -monitor.catch_up]
        skipped = runs.skip(
            conn,
            [planned_run(monitor, slot.window_end, slot.due, Trigger.SCHEDULE) for slot in missed],
            f"downtime: older than catch_up {monitor.catch_up} windows",
        )
        planned = runs.plan(conn, [planned_run(monitor, slot.window_end, slot.due, Trigger.SCHEDULE) for slot in kept])
        skipped += leases.skip_overdue(
            conn,
            monitor.name,
            keep=monitor.catch_up,
            reason=f"outage: more than catch_up {monitor.catch_up} windows were waiting",
        )
        upcoming = next_slot(
            monitor.schedule,
            monitor.grid,
            settle=monitor.settle,
            jitter=jitter(monitor.name, monitor.schedule),
            after=due[-1].window_end if due else last or now,
        )
        monitors.set_next(conn, monitor.name, upcoming.window_end)
        if planned or skipped:
            services.observe_step(Step.PLAN_BEFORE_COMMIT, monitor.name)
        return Planned(planned=planned, skipped=skipped, next_due=upcoming.due)

    outcome = services.store.transact(work)
    if outcome.planned or outcome.skipped:
        services.observe_step(Step.PLAN_AFTER_COMMIT, monitor.name)
    services.telemetry.runs_missed(monitor.name, MissedReason.DOWNTIME, outcome.skipped)
    return outcome


def plan_asked(
    conn: Transaction, monitor: MonitorConfig, ends: Sequence[datetime], trigger: Trigger
) -> list[RunKey | None]:
    """Plan the runs of windows that somebody asks for, due now; None for each that is done.

    A window that was skipped or given up gets a new revision, so that the record of why stays.
    """
    known = runs.latest_of(conn, monitor.name, ends[0], ends[-1])
    keys = [_open_key(monitor, window_end, known.get(window_end)) for window_end in ends]
    moment = store_now(conn)
    config_hash = monitor.hash
    runs.plan(conn, [_planned(monitor, config_hash, key, moment, trigger) for key in keys if key is not None])
    return keys


def _open_key(monitor: MonitorConfig, window_end: datetime, state: WindowState | None) -> RunKey | None:
    if state is None:
        return RunKey(monitor=monitor.name, window_end=window_end)
    if state.is_done:
        return None
    revision = state.revision if state.state in runs.UNFINISHED else state.revision + 1
    return RunKey(monitor=monitor.name, window_end=window_end, revision=revision)


def planned_run(
    monitor: MonitorConfig, window_end: datetime, due: datetime, trigger: Trigger, *, revises: RunKey | None = None
) -> PlannedRun:
    """One evaluation of this monitor, to be inserted; it may revise one that was."""
    key = RunKey(monitor=monitor.name, window_end=window_end, revision=0 if revises is None else revises.revision + 1)
    return _planned(monitor, monitor.hash, key, due, trigger)


def _planned(monitor: MonitorConfig, config_hash: str, key: RunKey, due: datetime, trigger: Trigger) -> PlannedRun:
    return PlannedRun(
        monitor=monitor.name,
        window_start=window_of(monitor, key.window_end).start,
        window_end=key.window_end,
        next_at=due,
        config_hash=config_hash,
        revision=key.revision,
        trigger=trigger,
    )


def _due_slots(monitor: MonitorConfig, last: datetime | None, now: datetime) -> Sequence[Slot]:
    if last is None:
        first = last_slot(monitor.schedule, monitor.grid, settle=monitor.settle, at=now)
        return [] if first is None else [Slot(first.window_end, now)]
    since = slots(
        monitor.schedule,
        monitor.grid,
        settle=monitor.settle,
        jitter=jitter(monitor.name, monitor.schedule),
        after=last,
        until=now,
    )
    return [slot for slot in since if slot.due <= now]
