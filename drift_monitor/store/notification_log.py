"""Tellings: which receiver knows of which episode, so that an end is told to those who know of the beginning.

    told       the receiver heard that the alert fires (or will: it is in the outbox); `at` is when it was last told
    silenced   kept back by a silence; told once the silence has ended, if the alert still fires
    withheld   not told and never to be: a backfill's, for it is of the past

The alert stands beside it as it was written for the receiver: its end carries the same labels and fingerprint, also
where the configuration has changed or the monitor is gone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select

from drift_monitor.store.schema import episode, telling
from drift_monitor.store.statements import insert


class LogState(StrEnum):
    """What a receiver knows of an episode."""

    TOLD = "told"
    SILENCED = "silenced"
    WITHHELD = "withheld"


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One receiver and one episode. `alert` is the firing alert as notifications write it."""

    episode_id: str
    receiver: str
    state: LogState
    at: datetime
    alert: Mapping[str, Any]


def save(connection: Connection, tellings: Sequence[LogEntry]) -> None:
    """Write what receivers know now, over what they knew before."""
    if not tellings:
        return
    statement = insert(connection, telling)
    changed = {name: statement.excluded[name] for name in ("state", "at", "alert")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["episode_id", "receiver"], set_=changed),
        [
            {
                "episode_id": one.episode_id,
                "receiver": one.receiver,
                "state": one.state.value,
                "at": one.at,
                "alert": one.alert,
            }
            for one in tellings
        ],
    )


def of_episodes(connection: Connection, ids: Collection[str]) -> tuple[LogEntry, ...]:
    """What receivers know of these episodes."""
    return _read(connection, select(telling).where(telling.c.episode_id.in_(ids)))


def of_open_episodes(connection: Connection, monitor: str) -> tuple[LogEntry, ...]:
    """What receivers know of a monitor's open episodes."""
    is_open = and_(episode.c.monitor == monitor, episode.c.closed_window.is_(None))
    return _read(connection, select(telling).join(episode, telling.c.episode_id == episode.c.id).where(is_open))


def ended_since(
    connection: Connection, moment: datetime, receivers: Collection[str]
) -> tuple[tuple[LogEntry, datetime], ...]:
    """What these receivers were told of episodes that ended at or after `moment`, each with its last window's end."""
    ended = (
        select(telling, episode.c.closed_window)
        .join(episode, telling.c.episode_id == episode.c.id)
        .where(
            episode.c.closed_at >= moment,
            telling.c.receiver.in_(receivers),
            telling.c.state == LogState.TOLD.value,
        )
        .order_by(episode.c.closed_at.desc(), telling.c.episode_id, telling.c.receiver)
    )
    return tuple((_telling(row), row.closed_window) for row in connection.execute(ended))


def last_change(connection: Connection) -> tuple[datetime | None, datetime | None]:
    """When something was told last, and when an episode ended last: equal answers mean that nothing happened since."""
    told = select(func.max(telling.c.at)).scalar_subquery()
    ended = select(func.max(episode.c.closed_at)).scalar_subquery()
    row = connection.execute(select(told, ended)).one()
    return row[0], row[1]


def _read(connection: Connection, statement: Select[Any]) -> tuple[LogEntry, ...]:
    rows = connection.execute(statement.order_by(telling.c.episode_id, telling.c.receiver))
    return tuple(_telling(row) for row in rows)


def _telling(row: Row[Any]) -> LogEntry:
    return LogEntry(
        episode_id=row.episode_id,
        receiver=row.receiver,
        state=LogState(row.state),
        at=row.at,
        alert=row.alert,
    )
