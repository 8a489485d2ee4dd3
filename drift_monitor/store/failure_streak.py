"""Trouble: the evaluations of a monitor that have failed since its last success."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from drift_monitor.core.rules import Health
from drift_monitor.store.runs import UNFINISHED, RunState, Trigger, last_done
from drift_monitor.store.schema import run


@dataclass(frozen=True, kw_only=True)
class FailureStreak:
    """Evaluations that fail: since the first one began, with those that came due behind it meanwhile."""

    since: datetime
    failures: int
    error: str


def find(connection: Connection, monitor: str) -> FailureStreak | None:
    """What has gone wrong since the last evaluation that succeeded; None where nothing has."""
    last = last_done(connection, monitor)
    failing = select(run.c.started_at, run.c.planned_at, run.c.error).where(
        run.c.monitor == monitor, run.c.health == Health.ERROR.value, run.c.state.in_((*UNFINISHED, RunState.FAILED))
    )
    if last is not None and last.finished_at is not None:
        failing = failing.where(or_(run.c.finished_at.is_(None), run.c.finished_at > last.finished_at))
    failed = connection.execute(failing.order_by(run.c.window_end, run.c.revision)).all()
    if not failed:
        return None
    since = min(one.started_at or one.planned_at for one in failed)
    return FailureStreak(
        since=since,
        failures=len(failed) + _waiting(connection, monitor, since),
        error=failed[-1].error or "it left no message.",
    )


def _waiting(connection: Connection, monitor: str, since: datetime) -> int:
    """Scheduled windows that came due meanwhile and could not be tried."""
    return connection.execute(
        select(func.count()).where(
            run.c.monitor == monitor,
            run.c.state == RunState.DUE.value,
            run.c.health == Health.UNKNOWN.value,
            run.c.trigger == Trigger.SCHEDULE.value,
            run.c.planned_at > since,
        )
    ).scalar_one()
