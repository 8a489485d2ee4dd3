"""Retention: what is older than its limit goes, in bounded batches, each a short transaction.

Never deleted: anything an open episode rests on, panes inside a current reference's range, current references, and
the newest done run of a monitor with whatever comes after it, from which planning and alert states go on. Bin specs,
series and configurations stay: they are few, shared, and make old exports readable.

On a full disk SQLite can't delete either, so limits have to be met before: run this often.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, or_, select, tuple_

from drift_monitor.store.connection import Store
from drift_monitor.store.outbox import NotificationState
from drift_monitor.store.runs import UNFINISHED, RunState
from drift_monitor.store.schema import (
    alert,
    audit,
    calibration,
    episode,
    measurement,
    outbox,
    pane,
    pane_rows,
    pane_series,
    reference,
    run,
    silence,
)

BATCH_ROWS: Final = 1000  # of one table in one transaction: short enough to hold up nobody


@dataclass(frozen=True, kw_only=True)
class RetentionLimits:
    """Panes that ended, and everything else that happened, before these moments is to go."""

    panes_before: datetime
    measurements_before: datetime


def purge(store: Store, limits: RetentionLimits, *, keep_going: Callable[[], bool] = lambda: True) -> int:
    """Delete all that is over its limit, batch by batch, while `keep_going`; how many rows went."""
    total = 0
    while keep_going():
        deleted = store.transact(lambda connection: purge_batch(connection, limits))
        total += deleted
        if not deleted:
            break
    if total:
        store.checkpoint()
    return total


def purge_batch(connection: Connection, limits: RetentionLimits, batch: int = BATCH_ROWS) -> int:
    """Delete at most `batch` rows of each table; how many went. Measurements go before the runs they point to."""
    old = limits.measurements_before
    return sum(
        _delete(connection, table, condition, batch)
        for table, condition in (
            (pane, _old_panes(limits.panes_before)),
            (pane_rows, _old_pane_rows(limits.panes_before)),
            (measurement, and_(measurement.c.window_end < old, ~_in_open_episode(measurement))),
            (run, _old_runs(old)),
            (outbox, and_(outbox.c.created_at < old, outbox.c.state != NotificationState.PENDING.value)),
            (episode, and_(episode.c.closed_window < old, ~exists().where(alert.c.episode_id == episode.c.id))),
            (silence, silence.c.ends_at < old),
            (audit, audit.c.at < old),
            (calibration, calibration.c.history_to < old),
            (reference, and_(reference.c.built_at < old, _is_replaced(reference))),
        )
    )


def _delete(connection: Connection, table: Table, condition: ColumnElement[bool], batch: int) -> int:
    keys = list(table.primary_key)
    doomed = select(*keys).where(condition).limit(batch).correlate(None)
    return connection.execute(delete(table).where(tuple_(*keys).in_(doomed))).rowcount


def _old_panes(before: datetime) -> ColumnElement[bool]:
    kept_for = select(pane_series.c.id).where(pane_series.c.id == pane.c.series)
    drifting = kept_for.where(
        episode.c.monitor == pane_series.c.monitor,
        or_(episode.c.feature == pane_series.c.feature, episode.c.feature == ""),
        episode.c.closed_window.is_(None),
    )
    compared = kept_for.where(
        reference.c.monitor == pane_series.c.monitor,
        reference.c.feature == pane_series.c.feature,
        reference.c.segment == pane_series.c.segment,
        _spans(pane),
        ~_is_replaced(reference),
    )
    # By series, whose panes lie in order of their starts: there is no other index.
    return and_(
        pane.c.series.in_(select(pane_series.c.id)),
        pane.c.pane_start < before,
        pane.c.pane_end < before,
        ~drifting.exists(),
        ~compared.exists(),
    )


def _old_pane_rows(before: datetime) -> ColumnElement[bool]:
    drifting = exists().where(episode.c.monitor == pane_rows.c.monitor, episode.c.closed_window.is_(None))
    compared = exists().where(reference.c.monitor == pane_rows.c.monitor, _spans(pane_rows), ~_is_replaced(reference))
    return and_(pane_rows.c.pane_end < before, ~drifting, ~compared)


def _old_runs(before: datetime) -> ColumnElement[bool]:
    later = run.alias("later")
    return and_(
        run.c.window_end < before,
        run.c.state.not_in(UNFINISHED),
        ~_in_open_episode(run),
        ~exists().where(
            measurement.c.monitor == run.c.monitor,
            measurement.c.window_end == run.c.window_end,
            measurement.c.revision == run.c.revision,
        ),
        exists().where(
            later.c.monitor == run.c.monitor,
            later.c.window_end > run.c.window_end,
            later.c.state == RunState.DONE.value,
        ),
    )


def _in_open_episode(table: Table) -> ColumnElement[bool]:
    """Whether an open episode of the monitor covers this window; its opening window is the first."""
    return exists().where(
        episode.c.monitor == table.c.monitor,
        episode.c.closed_window.is_(None),
        episode.c.opened_window <= table.c.window_end,
    )


def _spans(table: Table) -> ColumnElement[bool]:
    return and_(reference.c.span_start <= table.c.pane_start, reference.c.span_end >= table.c.pane_end)


def _is_replaced(table: Any) -> ColumnElement[bool]:
    newer = reference.alias("newer")
    return exists().where(
        newer.c.monitor == table.c.monitor,
        newer.c.feature == table.c.feature,
        newer.c.segment == table.c.segment,
        newer.c.built_at > table.c.built_at,
    )
