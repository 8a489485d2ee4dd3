"""Monitors as the store knows them, and the configurations they ran with, stored once under their hash.

The name is the identity: a renamed monitor is a new one, and the old one is disabled like any that was removed.

Trouble: the evaluations of a monitor that have failed since its last success.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from drift_monitor.core.distribution import Smoothing, SmoothingMethod
from drift_monitor.core.rules import Health
from drift_monitor.store.columns import insert_new, upsert
from drift_monitor.store.connection import now
from drift_monitor.store.runs import UNFINISHED, RunState, Trigger, last_done
from drift_monitor.store.schema import configuration, monitor, run


@dataclass(frozen=True, kw_only=True)
class StoredMonitor:
    """One row of `drift_monitors`. `enabled_at` is the store's: since when it has been configured without a gap."""

    name: str
    source: str
    config_hash: str
    enabled: bool = True
    next_window_end: datetime | None = None
    enabled_at: datetime | None = None


def save(connection: Connection, row: StoredMonitor, document: Mapping[str, Any]) -> None:
    """Write the monitor as it is configured now; `document` is its configuration, without secrets."""
    moment = now(connection)
    insert_new(connection, configuration, [{"hash": row.config_hash, "document": document, "first_seen": moment}])
    goes_on = connection.execute(select(monitor.c.enabled).where(monitor.c.name == row.name)).scalar() is True
    upsert(
        connection,
        monitor,
        {
            "name": row.name,
            "source": row.source,
            "enabled": row.enabled,
            "config_hash": row.config_hash,
            "next_window_end": row.next_window_end,
            "enabled_at": moment,
            "updated_at": moment,
        },
        keep=("enabled_at",) if goes_on else (),
    )


def set_next(connection: Connection, name: str, next_window_end: datetime | None) -> bool:
    """Note which window comes next; False where there is no such monitor."""
    changed = connection.execute(update(monitor).where(monitor.c.name == name).values(next_window_end=next_window_end))
    return changed.rowcount == 1


def lock(connection: Connection, name: str) -> bool:
    """Keep others from telling of this monitor until the transaction ends; False where there is no such monitor."""
    # NO KEY UPDATE: rows that refer to the monitor may still be written meanwhile.
    locked = select(monitor.c.name).where(monitor.c.name == name).with_for_update(key_share=True)
    return connection.execute(locked).one_or_none() is not None


def enabled_at(connection: Connection, name: str) -> datetime | None:
    """Since when the monitor has been configured without a gap; None where it is not."""
    since: datetime | None = connection.execute(
        select(monitor.c.enabled_at).where(monitor.c.name == name, monitor.c.enabled)
    ).scalar()
    return since


def disable_others(connection: Connection, names: Collection[str]) -> tuple[str, ...]:
    """Disable every enabled monitor that is not named; the names of those that were."""
    gone = connection.execute(
        update(monitor)
        .where(monitor.c.enabled, monitor.c.name.not_in(names))
        .values(enabled=False, next_window_end=None, updated_at=now(connection))
        .returning(monitor.c.name)
    )
    return tuple(sorted(gone.scalars()))


def listed(connection: Connection) -> tuple[StoredMonitor, ...]:
    """All monitors by name, disabled ones too."""
    rows = connection.execute(select(monitor).order_by(monitor.c.name))
    return tuple(
        StoredMonitor(
            name=row.name,
            source=row.source,
            config_hash=row.config_hash,
            enabled=row.enabled,
            next_window_end=row.next_window_end,
            enabled_at=row.enabled_at,
        )
        for row in rows
    )


def smoothing_of(connection: Connection, config_hash: str) -> Smoothing | None:
    """How the monitor with this configuration smooths; None where the configuration is not known."""
    settings = (configuration_of(connection, config_hash) or {}).get("smoothing")
    return Smoothing(SmoothingMethod(settings["method"]), settings["pseudocount"]) if settings else None


def configuration_of(connection: Connection, config_hash: str) -> Mapping[str, Any] | None:
    """The configuration with this hash, as it was when it ran."""
    document: Mapping[str, Any] | None = connection.execute(
        select(configuration.c.document).where(configuration.c.hash == config_hash)
    ).scalar()
    return document


@dataclass(frozen=True, kw_only=True)
class FailureStreak:
    """Evaluations that fail: since the first one began, with those that came due behind it meanwhile."""

    since: datetime
    failures: int
    error: str


def failure_streak(connection: Connection, monitor: str) -> FailureStreak | None:
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
        failures=len(failed)
        + connection.execute(
            select(func.count()).where(
                run.c.monitor == monitor,
                run.c.state == RunState.DUE.value,
                run.c.health == Health.UNKNOWN.value,
                run.c.trigger == Trigger.SCHEDULE.value,
                run.c.planned_at > since,
            )
        ).scalar_one(),
        error=failed[-1].error or "it left no message.",
    )
