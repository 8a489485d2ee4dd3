"""Dispatch: which receiver is notified of which alert event, and what is kept back and why.

A beginning is kept back by a silence, or because a backfill found it: its alerts are of the past. An end is sent to the
receivers that were sent the beginning, and to no other; the notification log knows them. What is kept back is written,
too, as `suppressed` with the reason, so that nothing is missing from the record.

Alertmanager receives state instead of notifications: `alertmanager_sync` sends it, from the same notification log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.alerting.services import Services
from drift_monitor.alerting.silences import covering
from drift_monitor.config.receivers import ReceiverConfig
from drift_monitor.notify.message import Alert, AlertStatus, NotificationKey, alert_document, messages
from drift_monitor.store import notification_log, outbox, silences
from drift_monitor.store.connection import Transaction
from drift_monitor.store.notification_log import LogEntry, LogState
from drift_monitor.store.outbox import Notification, NotificationState
from drift_monitor.store.silences import Silence

BACKFILL = "backfill"
BEGINNING_NOT_SENT = "its beginning was not told"


@dataclass(frozen=True, kw_only=True)
class AlertEvent:
    """One alert that began or ended, and its episode."""

    episode_id: str
    alert: Alert

    @property
    def is_beginning(self) -> bool:
        return self.alert.status is AlertStatus.FIRING


@dataclass(frozen=True, kw_only=True)
class Context:
    """What caused the events: an evaluation (`is_past`: of a backfill), or the time since it (`repeated_at`)."""

    monitor: str
    window_end: datetime
    revision: int
    repeated_at: datetime | None = None
    is_past: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of one event for one receiver; with a `reason` it is kept back."""

    event: AlertEvent
    reason: str | None
    state: LogState


def dispatch(
    services: Services, conn: Transaction, context: Context, receivers: Sequence[str], events: Sequence[AlertEvent]
) -> None:
    """Write the notifications of these events for each receiver, and what it was sent into the notification log."""
    if not events:
        return
    active_silences = silences.active(conn)
    entries = notification_log.of_episodes(conn, [event.episode_id for event in events])
    entry_of = {(entry.episode_id, entry.receiver): entry for entry in entries}
    now = services.store.now(conn)  # the database's clock: every replica counts repeats from it
    for name in receivers:
        receiver = services.config.receiver(name)
        decisions = [
            _decide(event, receiver, entry_of.get((event.episode_id, name)), active_silences, is_past=context.is_past)
            for event in events
        ]
        if not receiver.is_told_the_state:
            # In the transaction of what caused the events: no state without its message, no message without its state.
            outbox.add(conn, _notifications(services, context, receiver, decisions))
        begun = [
            LogEntry(
                episode_id=decision.event.episode_id,
                receiver=name,
                state=decision.state,
                at=now,
                alert=alert_document(decision.event.alert),
            )
            for decision in decisions
            if decision.event.is_beginning
        ]
        notification_log.save(conn, begun)


def _decide(
    event: AlertEvent,
    receiver: ReceiverConfig,
    entry: LogEntry | None,
    active_silences: Sequence[Silence],
    *,
    is_past: bool,
) -> Decision:
    if not event.is_beginning:
        if entry is not None and entry.state is LogState.SENT:
            return Decision(event=event, reason=None, state=LogState.SENT)
        return Decision(event=event, reason=BEGINNING_NOT_SENT, state=LogState.WITHHELD)
    silence = covering(active_silences, event.alert.labels)
    if silence is not None:
        return Decision(event=event, reason=f"silence {silence.id}", state=LogState.SILENCED)
    # A receiver of state is sent what is true now, also where a backfill found it.
    if is_past and not receiver.is_told_the_state:
        return Decision(event=event, reason=BACKFILL, state=LogState.WITHHELD)
    return Decision(event=event, reason=None, state=LogState.SENT)


def _notifications(
    services: Services, context: Context, receiver: ReceiverConfig, decisions: Sequence[Decision]
) -> list[Notification]:
    """First what is sent, then what is kept back, by reason: parts are numbered in this order, and ids follow."""
    key = NotificationKey(
        monitor=context.monitor,
        window_end=context.window_end,
        revision=context.revision,
        receiver=receiver.name,
        repeated_at=context.repeated_at,
    )
    notifications: list[Notification] = []
    for reason in sorted({decision.reason for decision in decisions}, key=lambda reason: reason or ""):
        parts = messages(
            key,
            [decision.event.alert for decision in decisions if decision.reason == reason],
            max_alerts=receiver.kind.max_alerts,
            external_url=services.external_url,
            send_resolved=receiver.kind.send_resolved,
            first_part=len(notifications),
        )
        notifications += [
            Notification(
                id=message.id,
                monitor=context.monitor,
                receiver=receiver.name,
                integration=receiver.integration,
                window_end=context.window_end,
                revision=context.revision,
                part=message.part,
                body=message.body,
                state=NotificationState.PENDING if reason is None else NotificationState.SUPPRESSED,
                reason=reason,
            )
            for message in parts
        ]
    return notifications
