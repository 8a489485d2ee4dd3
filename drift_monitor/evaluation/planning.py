"""What is due: windows become run rows, decided by the schedule and the store's clock, never by start-up time.

A monitor's first plan is its last settled window only; the past comes by `backfill`. After downtime the missed windows
are caught up oldest first, at most `catch_up` of them; older ones are written as `skipped` with the reason, so that
every window is present once, evaluated or explained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.schedule import Slot, jitter, last_slot, next_slot, slots
from drift_monitor.evaluation.reference import window_of
from drift_monitor.store import leases, monitors, runs
from drift_monitor.store.connection import Transaction
from drift_monitor.store.runs import PlannedRun, RunKey, Trigger
from drift_monitor.telemetry.reasons import MissedReason
from drift_monitor.telemetry.steps import Step


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
        skipped = runs.skip(conn, _runs(monitor, missed), f"downtime: older than catch_up {monitor.catch_up} windows")
        planned = runs.plan(conn, _runs(monitor, kept))
        skipped += leases.skip_overdue(conn, monitor.name, keep=monitor.catch_up, reason=_overdue(monitor))
        upcoming = _upcoming(monitor, due[-1].window_end if due else last or now)
        monitors.set_next(conn, monitor.name, upcoming.window_end)
        if planned or skipped:
            services.observe_step(Step.PLAN_BEFORE_COMMIT, monitor.name)
        return Planned(planned=planned, skipped=skipped, next_due=upcoming.due)

    outcome = services.store.transact(work)
    if outcome.planned or outcome.skipped:
        services.observe_step(Step.PLAN_AFTER_COMMIT, monitor.name)
    services.telemetry.runs_missed(monitor.name, MissedReason.DOWNTIME, outcome.skipped)
    return outcome


def open_key(conn: Transaction, monitor: MonitorConfig, window_end: datetime) -> RunKey | None:
    """Which run stands for a window that somebody asks for; None where the window is done.

    A window that was skipped or given up gets a new revision, so that the record of why stays.
    """
    latest = runs.latest_revision(conn, monitor.name, window_end)
    if latest is None:
        return RunKey(monitor=monitor.name, window_end=window_end)
    if runs.latest_done_of(conn, monitor.name, window_end) is not None:
        return None
    if latest.state in runs.UNFINISHED:
        return latest.key
    return RunKey(monitor=monitor.name, window_end=window_end, revision=latest.key.revision + 1)


def planned_run(
    monitor: MonitorConfig, window_end: datetime, due: datetime, trigger: Trigger, revision: int = 0
) -> PlannedRun:
    """One evaluation of this monitor, to be inserted."""
    window = window_of(monitor, window_end)
    return PlannedRun(
        monitor=monitor.name,
        window_start=window.start,
        window_end=window.end,
        next_at=due,
        config_hash=monitor.hash,
        revision=revision,
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


def _upcoming(monitor: MonitorConfig, after: datetime) -> Slot:
    return next_slot(
        monitor.schedule,
        monitor.grid,
        settle=monitor.settle,
        jitter=jitter(monitor.name, monitor.schedule),
        after=after,
    )


def _runs(monitor: MonitorConfig, due: Sequence[Slot]) -> list[PlannedRun]:
    return [planned_run(monitor, slot.window_end, slot.due, Trigger.SCHEDULE) for slot in due]


def _overdue(monitor: MonitorConfig) -> str:
    return f"outage: more than catch_up {monitor.catch_up} windows were waiting"
