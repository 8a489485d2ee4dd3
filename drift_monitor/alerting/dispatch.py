"""Tell receivers that alerts began or ended: what goes into the outbox, and what is kept back and why.

An alert that begins is kept back by a silence, or by a backfill, whose alerts are of the past. An end is told to the
receivers that were told of the beginning, and to no other. What is kept back is written, too, as `suppressed` with the
reason, so that nothing is lost from the record.

Receivers that are told the state (Alertmanager) get no notification; they hear it from `resend`, which asks the same
tellings.
"""

from collections.abc import Mapping, Sequence
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
BEGINNING_UNTOLD = "its beginning was not told"


@dataclass(frozen=True, kw_only=True)
class AlertEvent:
    """One alert that began or ended, and the episode that did."""

    episode_id: str
    alert: Alert

    @property
    def is_beginning(self) -> bool:
        return self.alert.status is AlertStatus.FIRING


@dataclass(frozen=True, kw_only=True)
class Context:
    """What brought the news: an evaluation, or (`repeated_at`) the time that has passed since."""

    monitor: str
    window_end: datetime
    revision: int = 0
    repeated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """News for one receiver, with the reason why it is kept back, if it is."""

    news: AlertEvent
    reason: str | None
    state: LogState


def dispatch(
    services: Services,
    conn: Transaction,
    occasion: Context,
    receivers: Sequence[str],
    news: Sequence[AlertEvent],
    *,
    is_past: bool = False,
) -> None:
    """Write the news for each of these receivers; with `is_past`, what begins is kept back."""
    if not news:
        return
    silenced = silences.active(conn)
    known = _known(conn, news)
    for name in receivers:
        receiver = services.config.receiver(name)
        told = [_told(receiver, one, known.get((one.episode_id, name)), silenced, is_past=is_past) for one in news]
        if not receiver.is_told_the_state:
            outbox.add(conn, _notifications(services, occasion, receiver, told))
        _remember(conn, services.store.now(conn), name, told)


def _known(conn: Transaction, news: Sequence[AlertEvent]) -> Mapping[tuple[str, str], LogEntry]:
    found = notification_log.of_episodes(conn, [one.episode_id for one in news])
    return {(one.episode_id, one.receiver): one for one in found}


def _told(
    receiver: ReceiverConfig, news: AlertEvent, known: LogEntry | None, silenced: Sequence[Silence], *, is_past: bool
) -> Decision:
    if not news.is_beginning:
        if known is not None and known.state is LogState.TOLD:
            return Decision(news=news, reason=None, state=LogState.TOLD)
        return Decision(news=news, reason=BEGINNING_UNTOLD, state=LogState.WITHHELD)
    silence = covering(silenced, news.alert.labels)
    if silence is not None:
        return Decision(news=news, reason=f"silence {silence.id}", state=LogState.SILENCED)
    # How things stand is no matter of the past: it is told to whoever is told the state.
    if is_past and not receiver.is_told_the_state:
        return Decision(news=news, reason=BACKFILL, state=LogState.WITHHELD)
    return Decision(news=news, reason=None, state=LogState.TOLD)


def _notifications(
    services: Services, occasion: Context, receiver: ReceiverConfig, told: Sequence[Decision]
) -> list[Notification]:
    """First what is to be sent, then what is kept back, by reason."""
    key = NotificationKey(
        monitor=occasion.monitor,
        window_end=occasion.window_end,
        revision=occasion.revision,
        receiver=receiver.name,
        repeated_at=occasion.repeated_at,
    )
    reasons = sorted({one.reason for one in told}, key=lambda reason: reason or "")
    made: list[Notification] = []
    for reason in reasons:
        parts = messages(
            key,
            [one.news.alert for one in told if one.reason == reason],
            max_alerts=receiver.kind.max_alerts,
            external_url=services.external_url,
            send_resolved=receiver.kind.send_resolved,
            first_part=len(made),
        )
        made += [
            Notification(
                id=message.id,
                monitor=occasion.monitor,
                receiver=receiver.name,
                integration=receiver.integration,
                window_end=occasion.window_end,
                revision=occasion.revision,
                part=message.part,
                body=message.body,
                state=NotificationState.PENDING if reason is None else NotificationState.SUPPRESSED,
                reason=reason,
            )
            for message in parts
        ]
    return made


def _remember(conn: Transaction, moment: datetime, receiver: str, told: Sequence[Decision]) -> None:
    begun = [
        LogEntry(
            episode_id=one.news.episode_id,
            receiver=receiver,
            state=one.state,
            at=moment,
            alert=alert_document(one.news.alert),
        )
        for one in told
        if one.news.is_beginning
    ]
    notification_log.save(conn, begun)
