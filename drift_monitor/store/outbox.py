"""The outbox: notifications written in the transaction that changed the alerts, sent afterwards, at least once.

    add ──> pending ──claim──> (leased) ──settle──> sent | pending again later | dead
            suppressed                              kept, never sent: a backfill's, or a silenced one

Order holds for each (monitor, receiver): while one waits for its next try, later ones of the same monitor wait behind
it. A sender that dies between POST and settle leaves its lease to end; the same notification is sent again with the
same id, and the receiver can tell. Each try leaves a delivery row, also one that was settled too late.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from drift_monitor.store.columns import insert_new
from drift_monitor.store.connection import now
from drift_monitor.store.schema import delivery, outbox


class NotificationState(StrEnum):
    """Where a notification is."""

    PENDING = "pending"  # to be sent, or sent without an answer yet
    SENT = "sent"
    DEAD = "dead"  # given up
    SUPPRESSED = "suppressed"  # kept for the record, never to be sent


class DeliveryOutcome(StrEnum):
    """How one try ended."""

    SENT = "sent"
    RETRY = "retry"  # again after a delay
    DEAD = "dead"  # never again


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One message to one receiver; `id` is derived from what it is about, and stays the same in every try.

    `reason`: why it is suppressed.
    """

    id: str
    monitor: str
    receiver: str
    integration: str
    window_end: datetime
    revision: int
    part: int
    body: Mapping[str, Any]
    state: NotificationState = NotificationState.PENDING
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ClaimedNotification:
    """The right to send one notification now. `attempt` counts from 1."""

    notification: Notification
    owner: str
    token: int
    attempt: int
    created_at: datetime
    claimed_at: datetime
    lease_until: datetime


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One try: how it ended, and after how long the next one comes where there is one."""

    outcome: DeliveryOutcome
    status_code: int | None = None
    error: str | None = None
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What waits for one receiver."""

    receiver: str
    integration: str
    length: int
    oldest: datetime | None


@dataclass(frozen=True, kw_only=True)
class StoredNotification:
    """A notification and how its delivery went; `seq` counts up in the order of writing."""

    seq: int
    notification: Notification
    attempts: int
    created_at: datetime
    next_at: datetime
    sent_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, kw_only=True)
class NotificationFilter:
    """Which notifications are meant."""

    monitor: str | None = None
    receiver: str | None = None
    state: NotificationState | None = None


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try to send a notification, as it went."""

    attempt: int
    at: datetime
    outcome: DeliveryOutcome
    status_code: int | None
    error: str | None


def add(connection: Connection, notifications: Sequence[Notification]) -> int:
    """Put notifications into the outbox, in this order; how many were not there yet."""
    moment = now(connection)
    rows = [
        {
            "id": one.id,
            "monitor": one.monitor,
            "receiver": one.receiver,
            "integration": one.integration,
            "window_end": one.window_end,
            "revision": one.revision,
            "part": one.part,
            "body": one.body,
            "state": one.state.value,
            "reason": one.reason,
            "attempts": 0,
            "token": 0,
            "next_at": moment,
            "created_at": moment,
        }
        for one in notifications
    ]
    return insert_new(connection, outbox, rows)


def claim(
    connection: Connection,
    owner: str,
    ttl: timedelta,
    *,
    receivers: Collection[str] | None = None,
    monitors: Collection[str] | None = None,
) -> ClaimedNotification | None:
    """The next notification that may be sent (to the receivers named, of the monitors named, or any), or None."""
    moment = now(connection)
    conditions = [
        outbox.c.state == NotificationState.PENDING.value,
        outbox.c.next_at <= moment,
        or_(outbox.c.lease_until.is_(None), outbox.c.lease_until < moment),
        ~_one_waits_before(),
    ]
    if receivers is not None:
        conditions.append(outbox.c.receiver.in_(receivers))
    if monitors is not None:
        conditions.append(outbox.c.monitor.in_(monitors))
    first = (
        select(outbox.c.seq)
        .where(and_(*conditions))
        .order_by(outbox.c.next_at, outbox.c.seq)
        .limit(1)
        .with_for_update(skip_locked=True)
        .correlate(None)
        .scalar_subquery()
    )
    row = connection.execute(
        update(outbox)
        .where(outbox.c.seq == first)
        .values(
            owner=owner,
            token=outbox.c.token + 1,
            attempts=outbox.c.attempts + 1,
            lease_until=moment + ttl,
        )
        .returning(outbox)
    ).one_or_none()
    if row is None:
        return None
    return ClaimedNotification(
        notification=_notification(row),
        owner=owner,
        token=row.token,
        attempt=row.attempts,
        created_at=row.created_at,
        claimed_at=moment,
        lease_until=row.lease_until,
    )


def settle(connection: Connection, claimed: ClaimedNotification, result: Delivery) -> bool:
    """Write how the try ended; False where the lease had passed on: another sender settles it."""
    moment = now(connection)
    attempt = {
        "outbox_id": claimed.notification.id,
        "attempt": claimed.attempt,
        "at": moment,
        "outcome": result.outcome.value,
        "status_code": result.status_code,
        "error": result.error,
    }
    insert_new(connection, delivery, [attempt])
    values: dict[str, Any] = {"lease_until": None, "last_error": result.error}
    match result.outcome:
        case DeliveryOutcome.SENT:
            values |= {"state": NotificationState.SENT.value, "sent_at": moment}
        case DeliveryOutcome.DEAD:
            values |= {"state": NotificationState.DEAD.value}
        case DeliveryOutcome.RETRY:
            values |= {"next_at": moment + result.delay}
    return connection.execute(update(outbox).where(_is_held(claimed)).values(**values)).rowcount == 1


def withhold(connection: Connection, claimed: ClaimedNotification, reason: str) -> None:
    """Keep a claimed notification back for good: it has become pointless."""
    values = {"lease_until": None, "state": NotificationState.SUPPRESSED.value, "reason": reason}
    connection.execute(update(outbox).where(_is_held(claimed)).values(**values))


def release(connection: Connection, claimed: ClaimedNotification) -> bool:
    """Give an unsent notification back at once: shutting down. False where the lease had passed on."""
    values = {"lease_until": None, "attempts": outbox.c.attempts - 1}
    return connection.execute(update(outbox).where(_is_held(claimed)).values(**values)).rowcount == 1


def queues(connection: Connection) -> tuple[Queue, ...]:
    """How many notifications wait for each receiver, and since when."""
    rows = connection.execute(
        select(outbox.c.receiver, outbox.c.integration, func.count(), func.min(outbox.c.created_at))
        .where(outbox.c.state == NotificationState.PENDING.value)
        .group_by(outbox.c.receiver, outbox.c.integration)
        .order_by(outbox.c.receiver)
    )
    return tuple(
        Queue(receiver=receiver, integration=integration, length=length, oldest=oldest)
        for receiver, integration, length, oldest in rows
    )


REFUSED_TRIES, REFUSED_FOR = 3, timedelta(minutes=5)  # a restart of a receiver is none that accepts nothing


@dataclass(frozen=True, kw_only=True)
class Refusing:
    """A receiver that has accepted nothing since some tries began to fail."""

    receiver: str
    tries: int
    since: datetime
    last_error: str


def refusing(connection: Connection) -> tuple[Refusing, ...]:
    """Receivers that accept nothing any more: all their tries of a day have failed, some of them minutes ago."""
    moment = now(connection)
    since = moment - timedelta(days=1)
    tries = select(outbox.c.receiver, delivery).join(outbox, outbox.c.id == delivery.c.outbox_id)
    recent = tries.where(delivery.c.at >= since).subquery()
    accepted = (
        select(recent.c.receiver, func.max(recent.c.at).label("at"))
        .where(recent.c.outcome == DeliveryOutcome.SENT.value)
        .group_by(recent.c.receiver)
        .subquery()
    )
    failed = (
        select(recent.c.receiver, recent.c.at, recent.c.error)
        .outerjoin(accepted, accepted.c.receiver == recent.c.receiver)
        .where(or_(accepted.c.at.is_(None), recent.c.at > accepted.c.at))
        .order_by(recent.c.at)
    )
    found: dict[str, Refusing] = {}
    for receiver, at, error in connection.execute(failed):
        before = found.get(receiver)
        found[receiver] = Refusing(
            receiver=receiver,
            tries=before.tries + 1 if before else 1,
            since=before.since if before else at,
            last_error=error or "",
        )
    return tuple(of for of in found.values() if of.tries >= REFUSED_TRIES and moment - of.since >= REFUSED_FOR)


def states(connection: Connection) -> Mapping[tuple[str, NotificationState], int]:
    """How many notifications there are, by receiver and state."""
    rows = connection.execute(
        select(outbox.c.receiver, outbox.c.state, func.count()).group_by(outbox.c.receiver, outbox.c.state)
    )
    return {(receiver, NotificationState(state)): count for receiver, state, count in rows}


def page(
    connection: Connection, asked: NotificationFilter, *, limit: int, before: int | None = None
) -> tuple[StoredNotification, ...]:
    """Some of these notifications, newest first, those written before the one of this number."""
    statement = select(outbox).order_by(outbox.c.seq.desc()).limit(limit)
    state = None if asked.state is None else asked.state.value
    wanted = ((outbox.c.monitor, asked.monitor), (outbox.c.receiver, asked.receiver), (outbox.c.state, state))
    for column, value in wanted:
        if value is not None:
            statement = statement.where(column == value)
    if before is not None:
        statement = statement.where(outbox.c.seq < before)
    return tuple(
        StoredNotification(
            seq=row.seq,
            notification=_notification(row),
            attempts=row.attempts,
            created_at=row.created_at,
            next_at=row.next_at,
            sent_at=row.sent_at,
            last_error=row.last_error,
        )
        for row in connection.execute(statement)
    )


def last_tries(connection: Connection, ids: Collection[str], count: int) -> Mapping[str, Sequence[Try]]:
    """The last tries of these notifications, at most so many of each, first one first."""
    rows = connection.execute(
        select(delivery)
        .join(outbox, outbox.c.id == delivery.c.outbox_id)
        .where(delivery.c.outbox_id.in_(ids), delivery.c.attempt > outbox.c.attempts - count)
        .order_by(delivery.c.outbox_id, delivery.c.attempt)
    )
    found: dict[str, list[Try]] = {}
    for row in rows:
        one = Try(
            attempt=row.attempt,
            at=row.at,
            outcome=DeliveryOutcome(row.outcome),
            status_code=row.status_code,
            error=row.error,
        )
        found.setdefault(row.outbox_id, []).append(one)
    return found


def _one_waits_before() -> ColumnElement[bool]:
    """Order: an earlier notification of the same monitor to the same receiver has not ended yet."""
    earlier = outbox.alias("earlier")
    return (
        select(earlier.c.seq)
        .where(
            earlier.c.monitor == outbox.c.monitor,
            earlier.c.receiver == outbox.c.receiver,
            earlier.c.seq < outbox.c.seq,
            earlier.c.state == NotificationState.PENDING.value,
        )
        .exists()
    )


def _is_held(claimed: ClaimedNotification) -> Any:
    return and_(
        outbox.c.id == claimed.notification.id,
        outbox.c.token == claimed.token,
        outbox.c.state == NotificationState.PENDING.value,
    )


def _notification(row: Any) -> Notification:
    return Notification(
        id=row.id,
        monitor=row.monitor,
        receiver=row.receiver,
        integration=row.integration,
        window_end=row.window_end,
        revision=row.revision,
        part=row.part,
        body=row.body,
        state=NotificationState(row.state),
        reason=row.reason,
    )
