"""The notification log: which receiver knows of which episode, so that an end is sent to those who know of the start.

    sent       the receiver was notified that the alert fires (or will be: it is in the outbox); `at`: when it was last
    silenced   kept back by a silence; sent once the silence has ended, if the alert still fires
    withheld   not sent and never to be: a backfill's, for it is of the past

The alert stands beside it as it was written for the receiver: its end carries the same labels and fingerprint, also
where the configuration has changed or the monitor is gone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Connection, Row, Select, func, or_, select, update

from drift_monitor.store.columns import insertion
from drift_monitor.store.outbox import Notification, NotificationState
from drift_monitor.store.schema import episode, notification_log, outbox


class LogState(StrEnum):
    """What a receiver knows of an episode."""

    SENT = "sent"
    SILENCED = "silenced"
    WITHHELD = "withheld"


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One receiver and one episode. `alert` is the firing alert as notifications write it.

    `notification`: the message that told it last. `delivered_at`: when one about it was first accepted. `refusals`: how
    many were refused since one was accepted; `is_refused`: the last one is among them.
    """

    episode_id: str
    receiver: str
    state: LogState
    at: datetime
    alert: Mapping[str, Any]
    notification: str | None = None
    delivered_at: datetime | None = None
    refusals: int = 0
    is_refused: bool = False


def save(connection: Connection, entries: Sequence[LogEntry]) -> None:
    """Write what receivers know now, over what they knew before."""
    if not entries:
        return
    statement = insertion(connection.dialect.name, notification_log)
    changed = {name: statement.excluded[name] for name in ("state", "at", "alert", "notification")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["episode_id", "receiver"], set_=changed).returning(
            notification_log.c.episode_id  # rows of one statement: SQLAlchemy gathers them where something comes back
        ),
        [
            {
                "episode_id": entry.episode_id,
                "receiver": entry.receiver,
                "state": entry.state.value,
                "at": entry.at,
                "alert": entry.alert,
                "notification": entry.notification,
            }
            for entry in entries
        ],
    )


def end_told(connection: Connection, episode: str, receiver: str, notification: str) -> None:
    """Write which message tells the end of an episode."""
    connection.execute(
        update(notification_log)
        .where(notification_log.c.episode_id == episode, notification_log.c.receiver == receiver)
        .values(notification=notification)
    )


def settled(connection: Connection, message: Notification, at: datetime, *, accepted: bool) -> None:
    """Write what became of a message about all episodes that it tells of."""
    accepts = {"delivered_at": func.coalesce(notification_log.c.delivered_at, at), "refusals": 0}
    refuses = {"refusals": notification_log.c.refusals + 1, "at": at}
    for entry in _told_by(connection, message, at):
        connection.execute(
            update(notification_log)
            .where(notification_log.c.episode_id == entry.episode_id, notification_log.c.receiver == entry.receiver)
            .values(**(accepts if accepted else refuses))
        )


def is_owed(connection: Connection, message: Notification, at: datetime) -> bool:
    """Whether a message of ends is about any beginning that was accepted; of what is not known, it is."""
    entries = _told_by(connection, message, at)
    return not entries or any(entry.delivered_at is not None for entry in entries)


def _told_by(connection: Connection, message: Notification, at: datetime) -> list[LogEntry]:
    """The entries of the alerts in a message. By what it says: a later message may have taken its place in an entry."""
    told = {(alert["fingerprint"], alert["startsAt"]) for alert in message.body.get("alerts", ())}
    recent = or_(episode.c.closed_window.is_(None), episode.c.closed_at >= at - timedelta(days=2))
    entries = _entries().join(episode, notification_log.c.episode_id == episode.c.id)
    found = _read(
        connection,
        entries.where(episode.c.monitor == message.monitor, notification_log.c.receiver == message.receiver, recent),
    )
    return [entry for entry in found if (entry.alert.get("fingerprint"), entry.alert.get("startsAt")) in told]


def of_episodes(connection: Connection, ids: Collection[str]) -> tuple[LogEntry, ...]:
    """What receivers know of these episodes."""
    return _read(connection, _entries().where(notification_log.c.episode_id.in_(ids)))


def of_open_episodes(connection: Connection, monitor: str) -> tuple[LogEntry, ...]:
    """What receivers know of a monitor's open episodes."""
    entries = _entries().join(episode, notification_log.c.episode_id == episode.c.id)
    return _read(connection, entries.where(episode.c.monitor == monitor, episode.c.closed_window.is_(None)))


def ended_since(
    connection: Connection, moment: datetime, receivers: Collection[str]
) -> tuple[tuple[LogEntry, datetime], ...]:
    """What was sent to these receivers of episodes that ended at or after `moment`, each with its last window's end."""
    ended = (
        _entries(episode.c.closed_window)
        .join(episode, notification_log.c.episode_id == episode.c.id)
        .where(
            episode.c.closed_at >= moment,
            notification_log.c.receiver.in_(receivers),
            notification_log.c.state == LogState.SENT.value,
        )
        .order_by(episode.c.closed_at.desc(), notification_log.c.episode_id, notification_log.c.receiver)
    )
    return tuple((_entry(row), row.closed_window) for row in connection.execute(ended))


def last_change(connection: Connection) -> tuple[datetime | None, datetime | None]:
    """When a receiver was notified last, and when an episode ended last: with equal answers nothing happened since."""
    sent = select(func.max(notification_log.c.at)).scalar_subquery()
    ended = select(func.max(episode.c.closed_at)).scalar_subquery()
    row = connection.execute(select(sent, ended)).one()
    return row[0], row[1]


def _entries(*more: Column[Any]) -> Select[Any]:
    refused = func.coalesce(outbox.c.state, "") == NotificationState.DEAD.value
    log = notification_log.outerjoin(outbox, outbox.c.id == notification_log.c.notification)
    return select(notification_log, refused.label("is_refused"), *more).select_from(log)


def _read(connection: Connection, statement: Select[Any]) -> tuple[LogEntry, ...]:
    rows = connection.execute(statement.order_by(notification_log.c.episode_id, notification_log.c.receiver))
    return tuple(_entry(row) for row in rows)


def _entry(row: Row[Any]) -> LogEntry:
    return LogEntry(
        episode_id=row.episode_id,
        receiver=row.receiver,
        state=LogState(row.state),
        at=row.at,
        alert=row.alert,
        notification=row.notification,
        delivered_at=row.delivered_at,
        refusals=row.refusals,
        is_refused=bool(row.is_refused),
    )
