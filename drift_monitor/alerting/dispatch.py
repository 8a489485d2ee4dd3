"""Dispatch: which receiver is notified of which alert event, and what is kept back and why.

A beginning is kept back by a silence, or because a backfill found it: its alerts are of the past. An end is sent to the
receivers that were sent the beginning, and to no other; the notification log knows them. What is kept back is written,
too, as `suppressed` with the reason, so that nothing is missing from the record.

Alertmanager receives state instead of notifications: `alertmanager_sync` sends it, from the same notification log.

One delivery: claim an outbox row, send it outside any transaction, settle it; and when to try again.

A crash between sending and settling sends it again with the same id: at least once, and the receiver can tell. Order
holds for each monitor and receiver. A refusal for good and a day without success are `dead`, counted and shown: those
behind have their turn, and what still fires is told again later, rendered anew (`repeat`).

A failed delivery waits with full jitter: the ceiling doubles from 2 s to 5 min, and the wait is drawn between 1 s and
the ceiling, so that many notifications that failed together don't come back together. A receiver that says `Retry-
After` is given that time, up to an hour.
"""

import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus

from drift_monitor.alerting.services import Services
from drift_monitor.alerting.silences import covering
from drift_monitor.config.receivers import ReceiverConfig
from drift_monitor.errors import DeliveryError, DeliveryFailure
from drift_monitor.notify.message import Alert, AlertStatus, NotificationKey, alert_document, messages
from drift_monitor.store import notification_log, outbox, silences
from drift_monitor.store.connection import Transaction
from drift_monitor.store.connection import now as store_now
from drift_monitor.store.notification_log import LogEntry, LogState
from drift_monitor.store.outbox import ClaimedNotification, Delivery, DeliveryOutcome, Notification, NotificationState
from drift_monitor.store.silences import Silence
from drift_monitor.telemetry.logs import ERROR, INFO, WARN, Step, log, log_failure

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
        told: Mapping[str, str] = {}
        if not receiver.is_told_the_state:
            # In the transaction of what caused the events: no state without its message, no message without its state.
            notifications = _notifications(services, context, receiver, decisions)
            outbox.add(conn, notifications)
            told = {
                alert["fingerprint"]: notification.id
                for notification in notifications
                if notification.state is NotificationState.PENDING
                for alert in notification.body["alerts"]
            }
        for event in events:
            if not event.is_beginning and event.alert.fingerprint in told:
                notification_log.end_told(conn, event.episode_id, name, told[event.alert.fingerprint])
        begun = [
            LogEntry(
                episode_id=decision.event.episode_id,
                receiver=name,
                state=decision.state,
                at=now,
                alert=alert_document(decision.event.alert),
                notification=told.get(decision.event.alert.fingerprint),
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
        was_refused = entry is not None and entry.is_refused and entry.delivered_at is None
        if entry is not None and entry.state is LogState.SENT and not was_refused:
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


_logger = logging.getLogger(__name__)

SEND_LEASE = timedelta(seconds=60)  # longer than the total deadline of a sender, so that nobody else sends meanwhile
MIN_DELAY = timedelta(seconds=1)
MAX_DELAY = timedelta(minutes=5)  # a receiver that is back is found within minutes
MAX_RETRY_AFTER = timedelta(hours=1)  # whatever a receiver asks for: it must not park a page for a day
MAX_AGE = timedelta(hours=24)  # nobody is helped by yesterday's page
MAX_BROKEN_ATTEMPTS = 3  # at one that fails by an error of our own: the same message makes the same error again


def deliver_next(
    services: Services,
    *,
    receivers: Collection[str] | None = None,
    monitors: Collection[str] | None = None,
    lease: timedelta = SEND_LEASE,
) -> bool:
    """Send the next notification that may be sent (to the receivers, of the monitors named); False if there is none."""
    # Of those that there are: a reload may have taken one away since it was named.
    names = tuple(name for name in services.senders if receivers is None or name in receivers)
    claimed = services.store.transact(partial(_claim, services, lease, names, monitors))
    if claimed is None:
        return False
    services.observe_step(Step.SEND_CLAIMED, claimed.notification.id)
    result = _send(services, claimed)
    services.observe_step(Step.SEND_POSTED, claimed.notification.id)
    services.store.transact(partial(_settle, claimed, result))
    services.observe_step(Step.SEND_SETTLED, claimed.notification.id)
    return True


def _claim(
    services: Services,
    lease: timedelta,
    receivers: Collection[str],
    monitors: Collection[str] | None,
    conn: Transaction,
) -> ClaimedNotification | None:
    """The next one that is still owed: of ends, that is where the receiver has accepted a beginning."""
    while claimed := outbox.claim(conn, services.owner, lease, receivers=receivers, monitors=monitors):
        notification = claimed.notification
        tells_ends = notification.body.get("status") == AlertStatus.RESOLVED
        if not tells_ends or notification_log.is_owed(conn, notification, claimed.claimed_at):
            return claimed
        outbox.withhold(conn, claimed, BEGINNING_NOT_SENT)
    return None


def _settle(claimed: ClaimedNotification, result: Delivery, conn: Transaction) -> None:
    if not outbox.settle(conn, claimed, result) or result.outcome is DeliveryOutcome.RETRY:
        return
    accepted = result.outcome is DeliveryOutcome.SENT
    if accepted or result.status_code != HTTPStatus.GONE:  # who is gone is told nothing again
        notification_log.settled(conn, claimed.notification, store_now(conn), accepted=accepted)


def _send(services: Services, claimed: ClaimedNotification) -> Delivery:
    notification = claimed.notification
    receiver, integration = notification.receiver, notification.integration
    services.telemetry.notification_attempted(receiver, integration)
    nouns = {
        "monitor": notification.monitor,
        "receiver": receiver,
        "notification": notification.id,
        "attempt": claimed.attempt,
    }
    try:
        services.senders[receiver].send(notification.id, notification.body, services.clock.now())
    except DeliveryError as error:
        services.telemetry.notification_failed(receiver, integration, error.reason)
        now = services.clock.now()
        again = next_attempt(
            claimed.attempt,
            created_at=claimed.created_at,
            at=now,
            retry_after=error.retry_after,
            draw=random.random,
        )
        if not error.retryable or again is None:
            result = Delivery(outcome=DeliveryOutcome.DEAD, status_code=error.status_code, error=str(error))
        else:
            result = Delivery(
                outcome=DeliveryOutcome.RETRY, status_code=error.status_code, error=str(error), delay=again - now
            )
        if result.outcome is DeliveryOutcome.DEAD:
            services.telemetry.notification_dropped(receiver, integration)
        log(_logger, WARN, "notification_not_accepted", f"{error}; {result.outcome.value}.", **nouns)
        return result
    except Exception as error:  # noqa: BLE001 our own mistake with this one: those behind it have their turn
        services.telemetry.notification_failed(receiver, integration, DeliveryFailure.INVALID.value)
        log_failure(_logger, ERROR, "notification_broken", "A notification could not be made or sent.", error, **nouns)
        said = f"{type(error).__name__}: {error}"
        if claimed.attempt < MAX_BROKEN_ATTEMPTS:
            return Delivery(outcome=DeliveryOutcome.RETRY, error=said, delay=delay(claimed.attempt, random.random))
        services.telemetry.notification_dropped(receiver, integration)
        return Delivery(outcome=DeliveryOutcome.DEAD, error=said)
    log(_logger, INFO, "notification_sent", "A notification was accepted.", **nouns)
    return Delivery(outcome=DeliveryOutcome.SENT)


def next_attempt(
    attempt: int, *, created_at: datetime, at: datetime, retry_after: float | None, draw: Callable[[], float]
) -> datetime | None:
    """The moment of the next try after a failure at `at`, or None: too old by then, give it up."""
    asked = timedelta(seconds=min(max(retry_after or 0.0, 0.0), MAX_RETRY_AFTER.total_seconds()))
    moment = at + max(delay(attempt, draw), asked)
    return moment if moment < created_at + MAX_AGE else None


def delay(attempt: int, draw: Callable[[], float]) -> timedelta:
    """The wait after the `attempt`-th failure (from 1); `draw` gives a number in [0, 1)."""
    doublings = min(max(attempt, 1), 16)  # far above the ceiling, and no huge powers
    ceiling = min(MAX_DELAY, MIN_DELAY * (1 << doublings))
    return MIN_DELAY + (ceiling - MIN_DELAY) * draw()
