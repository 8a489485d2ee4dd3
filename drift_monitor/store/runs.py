"""Runs: one row for each evaluation (monitor, window_end, revision), from planned to finished.

    due ──claim──> running ──confirm──> done
     ^                │ ├───fail──────> failed       our own error, or the fifth crash (see `leases`)
     └───postpone─────┘                              source or store error: the attempt is given back
    skipped                                          missed beyond the catch-up limit, with its reason

Planning is idempotent, so any replica may plan. This module plans and reads; `leases` moves runs along.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select, tuple_, update

from drift_monitor.core.rules import Health
from drift_monitor.store.columns import insert_new, run_id
from drift_monitor.store.connection import now
from drift_monitor.store.schema import monitor as monitor_table
from drift_monitor.store.schema import run


class RunState(StrEnum):
    """Where an evaluation is in its life."""

    DUE = "due"  # planned; claimed once `next_at` has come
    RUNNING = "running"  # claimed; the claim holds until its lease ends
    DONE = "done"  # its measurements are stored
    FAILED = "failed"  # given up
    SKIPPED = "skipped"  # never run, and will not be


class Trigger(StrEnum):
    """Who asked for the evaluation."""

    SCHEDULE = "schedule"
    REVISION = "revision"  # late rows changed a pane it used
    BACKFILL = "backfill"
    MANUAL = "manual"


UNFINISHED = (RunState.DUE, RunState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """Which evaluation."""

    monitor: str
    window_end: datetime
    revision: int = 0


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """An evaluation to be; `next_at` is when it is due."""

    monitor: str
    window_start: datetime
    window_end: datetime
    next_at: datetime
    config_hash: str
    revision: int = 0
    trigger: Trigger = Trigger.SCHEDULE

    @property
    def key(self) -> RunKey:
        return RunKey(monitor=self.monitor, window_end=self.window_end, revision=self.revision)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One stored evaluation. `alert_states`: the monitor's alerts after it, each an `alerts.AlertRecord` as JSON."""

    id: str
    key: RunKey
    window_start: datetime
    state: RunState
    health: Health
    trigger: Trigger
    config_hash: str
    attempts: int
    postponed: int
    owner: str | None
    token: int
    lease_until: datetime | None
    next_at: datetime
    planned_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    rows_read: int | None
    newest: datetime | None
    error_code: str | None
    error: str | None
    reason: str | None
    result: Mapping[str, Any] | None
    alert_states: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class WindowState:
    """A window's latest revision and its state, and whether any revision is done."""

    revision: int
    state: RunState
    is_done: bool


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs a history shows: `since` <= window_end < `until`."""

    monitor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    states: tuple[RunState, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What waits: runs by state, and since when the oldest one that is due has been due."""

    due: int = 0
    running: int = 0
    oldest_due: datetime | None = None


def plan(connection: Connection, planned: Sequence[PlannedRun]) -> int:
    """Insert the runs that are not there yet; how many that were."""
    moment = now(connection)
    return insert_new(connection, run, [_row(one, RunState.DUE, moment) for one in planned])


def skip(connection: Connection, planned: Sequence[PlannedRun], reason: str) -> int:
    """Insert windows that will not be evaluated, with the reason; how many were not there yet."""
    moment = now(connection)
    rows = [_row(one, RunState.SKIPPED, moment) | {"reason": reason, "finished_at": moment} for one in planned]
    return insert_new(connection, run, rows)


def _row(planned: PlannedRun, state: RunState, moment: datetime) -> dict[str, Any]:
    return {
        "monitor": planned.monitor,
        "window_end": planned.window_end,
        "revision": planned.revision,
        "id": run_id(planned.monitor, planned.window_end, planned.revision),
        "window_start": planned.window_start,
        "state": state.value,
        "health": Health.UNKNOWN.value,
        "trigger": planned.trigger.value,
        "config_hash": planned.config_hash,
        "attempts": 0,
        "postponed": 0,
        "token": 0,
        "next_at": planned.next_at,
        "planned_at": moment,
    }


def find(connection: Connection, key: RunKey) -> Run | None:
    """The run with this key."""
    row = connection.execute(select(run).where(has_key(key))).one_or_none()
    return None if row is None else _run(row)


def last_planned(connection: Connection, monitor: str) -> datetime | None:
    """The newest window_end that the schedule or a backfill has planned or skipped; None before the first plan.

    A window asked for by hand may lie off the schedule, so it does not stand for the slots before it.
    """
    newest: datetime | None = connection.execute(
        select(func.max(run.c.window_end)).where(run.c.monitor == monitor, run.c.trigger != Trigger.MANUAL.value)
    ).scalar()
    return newest


def last_done(connection: Connection, monitor: str) -> Run | None:
    """The latest revision of the newest window that is done."""
    return _first(connection, _done(monitor))


def done_before(connection: Connection, monitor: str, window_end: datetime) -> Run | None:
    """The latest revision of the last done window before this one."""
    return _first(connection, _done(monitor).where(run.c.window_end < window_end))


def done_after(connection: Connection, monitor: str, window_end: datetime) -> tuple[Run, ...]:
    """The later windows that are done, each in its latest revision, oldest first."""
    rows = connection.execute(
        _latest_done().where(run.c.monitor == monitor, run.c.window_end > window_end).order_by(run.c.window_end)
    )
    return tuple(_run(row) for row in rows)


def rewrite_alert_states(connection: Connection, run_id: str, states: Sequence[Mapping[str, Any]]) -> bool:
    """Replace the alert states after a done run: late rows changed an earlier window. False where there is none."""
    changed = connection.execute(
        update(run)
        .where(run.c.id == run_id, run.c.state == RunState.DONE.value)
        .values(alert_states=[dict(one) for one in states])
    )
    return changed.rowcount == 1


def latest_revision(connection: Connection, monitor: str, window_end: datetime) -> Run | None:
    """The newest revision of one window, whatever its state."""
    return _first(
        connection,
        select(run).where(run.c.monitor == monitor, run.c.window_end == window_end).order_by(run.c.revision.desc()),
    )


def latest_done_of(connection: Connection, monitor: str, window_end: datetime) -> Run | None:
    """The newest revision of one window that is done."""
    return _first(connection, _done(monitor).where(run.c.window_end == window_end))


def latest_of(connection: Connection, monitor: str, since: datetime, until: datetime) -> Mapping[datetime, WindowState]:
    """How each window with since <= window_end <= until stands that has a run: by its revisions together."""
    rows = connection.execute(
        select(run.c.window_end, run.c.revision, run.c.state)
        .where(run.c.monitor == monitor, run.c.window_end >= since, run.c.window_end <= until)
        .order_by(run.c.window_end, run.c.revision)
    )
    found: dict[datetime, WindowState] = {}
    for row in rows:
        state = RunState(row.state)
        is_done = state is RunState.DONE or (row.window_end in found and found[row.window_end].is_done)
        found[row.window_end] = WindowState(revision=row.revision, state=state, is_done=is_done)
    return found


def windows_using(connection: Connection, monitor: str, start: datetime, end: datetime) -> tuple[Run, ...]:
    """The latest done revision of every window that overlaps [start, end), oldest first."""
    rows = connection.execute(
        _latest_done()
        .where(run.c.monitor == monitor, run.c.window_start < end, run.c.window_end > start)
        .order_by(run.c.window_end)
    )
    return tuple(_run(row) for row in rows)


def latest(connection: Connection) -> Mapping[str, Run]:
    """The run that says how each monitor is, without alert states: the newest window that was tried."""
    rows = connection.execute(newest_of_each(run.alias("tried"), lambda tried: tried.c.health != Health.UNKNOWN.value))
    return {row.monitor: _run(row) for row in rows}


def latest_done(connection: Connection) -> Mapping[str, Run]:
    """The last successful run of each monitor, without alert states: the newest done window, in its latest revision."""
    rows = connection.execute(newest_of_each(run.alias("done"), lambda done: done.c.state == RunState.DONE.value))
    return {row.monitor: _run(row) for row in rows}


# The states of all alerts are by far the largest part of a run, and only the next evaluation needs them.
_SUMMARY = tuple(column for column in run.c if column.name != "alert_states")


def newest_of_each(inner: Any, condition: Callable[[Any], ColumnElement[bool]]) -> Select[Any]:
    """The newest run of each monitor that meets the condition: one index probe a monitor, however long the history."""
    newest = (
        select(inner.c.id)
        .where(inner.c.monitor == monitor_table.c.name, condition(inner))
        .order_by(inner.c.window_end.desc(), inner.c.revision.desc())
        .limit(1)
        .correlate(monitor_table)
        .scalar_subquery()
    )
    return select(*_SUMMARY).join(monitor_table, run.c.id == newest)


def history(
    connection: Connection, which: RunFilter, *, limit: int = 100, before: RunKey | None = None
) -> tuple[Run, ...]:
    """Runs without alert states, newest window first; the next page is `before` the last one of this."""
    statement = select(*_SUMMARY).order_by(run.c.window_end.desc(), run.c.monitor, run.c.revision.desc()).limit(limit)
    if which.monitor is not None:
        statement = statement.where(run.c.monitor == which.monitor)
    if which.since is not None:
        statement = statement.where(run.c.window_end >= which.since)
    if which.until is not None:
        statement = statement.where(run.c.window_end < which.until)
    if which.states:
        statement = statement.where(run.c.state.in_(which.states))
    if before is not None:
        # In the order of the list: older windows, then later monitors, then lower revisions.
        same = run.c.window_end == before.window_end
        statement = statement.where(
            (run.c.window_end < before.window_end)
            | (same & (run.c.monitor > before.monitor))
            | (same & (run.c.monitor == before.monitor) & (run.c.revision < before.revision))
        )
    return tuple(_run(row) for row in connection.execute(statement))


def backlog(connection: Connection) -> Mapping[str, Backlog]:
    """What waits, by monitor."""
    moment = now(connection)
    rows = connection.execute(
        select(
            run.c.monitor,
            func.count().filter(run.c.state == RunState.DUE.value),
            func.count().filter(run.c.state == RunState.RUNNING.value),
            func.min(run.c.next_at).filter(run.c.state == RunState.DUE.value, run.c.next_at <= moment),
        )
        .where(run.c.state.in_(UNFINISHED))
        .group_by(run.c.monitor)
    )
    return {monitor: Backlog(due=due, running=running, oldest_due=oldest) for monitor, due, running, oldest in rows}


def skipped(connection: Connection) -> Mapping[tuple[str, str], int]:
    """How many windows were skipped, by monitor and reason."""
    rows = connection.execute(
        select(run.c.monitor, func.coalesce(run.c.reason, ""), func.count())
        .where(run.c.state == RunState.SKIPPED.value)
        .group_by(run.c.monitor, run.c.reason)
    )
    return {(monitor, reason): count for monitor, reason, count in rows}


def has_key(key: RunKey) -> Any:
    """The condition that picks one run."""
    return and_(run.c.monitor == key.monitor, run.c.window_end == key.window_end, run.c.revision == key.revision)


def _done(monitor: str) -> Select[Any]:
    return (
        select(run)
        .where(run.c.monitor == monitor, run.c.state == RunState.DONE.value)
        .order_by(run.c.window_end.desc(), run.c.revision.desc())
    )


def _latest_done() -> Select[Any]:
    later = run.alias("later")
    newer = (
        select(later.c.id)
        .where(
            tuple_(later.c.monitor, later.c.window_end) == tuple_(run.c.monitor, run.c.window_end),
            later.c.revision > run.c.revision,
            later.c.state == RunState.DONE.value,
        )
        .exists()
    )
    return select(run).where(run.c.state == RunState.DONE.value, ~newer)


def _first(connection: Connection, statement: Select[Any]) -> Run | None:
    row = connection.execute(statement.limit(1)).one_or_none()
    return None if row is None else _run(row)


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        key=RunKey(monitor=row.monitor, window_end=row.window_end, revision=row.revision),
        window_start=row.window_start,
        state=RunState(row.state),
        health=Health(row.health),
        trigger=Trigger(row.trigger),
        config_hash=row.config_hash,
        attempts=row.attempts,
        postponed=row.postponed,
        owner=row.owner,
        token=row.token,
        lease_until=row.lease_until,
        next_at=row.next_at,
        planned_at=row.planned_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        rows_read=row.rows_read,
        newest=row.newest,
        error_code=row.error_code,
        error=row.error,
        reason=row.reason,
        result=row.result,
        alert_states=tuple(row._mapping.get("alert_states") or ()),
    )
