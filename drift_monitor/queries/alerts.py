"""Alerts, episodes, silences and notifications, for the HTTP interface and the commands, and as the JSON they give.

What fires now and what people said of it; what fired; what was sent. Lists come newest first, a page at a time: `after`
is where the page before ended, as it said itself. In JSON, names are those of the database views where there is one,
and they only grow. Times are RFC 3339 in UTC; what does not exist is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from drift_monitor.alerting.annotations import drift_labels, self_labels
from drift_monitor.alerting.episodes import former_rule
from drift_monitor.config.schema import Config, MonitorConfig
from drift_monitor.core.alerting import AlertPhase
from drift_monitor.core.rules import Severity
from drift_monitor.core.times import clean_number, rfc3339
from drift_monitor.errors import UnknownId
from drift_monitor.queries.evaluations import JsonObject
from drift_monitor.store import acknowledgements, alerts, outbox, silences
from drift_monitor.store.acknowledgements import Acknowledgement
from drift_monitor.store.alerts import AlertRow, Episode, EpisodeFilter, EpisodePlace
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.outbox import NotificationFilter, NotificationState, StoredNotification, Try
from drift_monitor.store.silences import Silence, SilencePlace, SilenceState

TRIES_SHOWN: Final = 10  # of one notification, the last ones: a day of retries has hundreds

Place = TypeVar("Place")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Place]):
    """Some documents of a list, and where the next page begins; None where this was the last."""

    documents: Sequence[JsonObject]
    next: Place | None


@dataclass(frozen=True, kw_only=True)
class Handling:
    """What people said of an alert: the silences that cover it, and its acknowledgement."""

    labels: Mapping[str, str]
    silenced_by: Sequence[Silence] = ()
    acknowledged: Acknowledgement | None = None


@dataclass(frozen=True, kw_only=True)
class ActiveAlert:
    """One alert that is pending or firing, as its row or (about the monitor itself) as its open episode."""

    of: AlertRow | Episode
    handling: Handling

    @property
    def is_firing(self) -> bool:
        """An open episode is nothing else."""
        return isinstance(self.of, Episode) or self.of.alert.phase is AlertPhase.FIRING

    @property
    def since(self) -> datetime:
        """The end of the window of the first breach."""
        return self.of.opened_window if isinstance(self.of, Episode) else self.of.alert.since or self.of.last_window

    @property
    def fired_at(self) -> datetime:
        return self.of.opened_window if isinstance(self.of, Episode) else self.of.alert.fired_at or self.of.last_window

    @property
    def document(self) -> JsonObject:
        """`id` is that of the episode, None while pending; an alert about the monitor has no value or threshold."""
        alert, row = self.of, None if isinstance(self.of, Episode) else self.of
        return {
            "id": alert.id if isinstance(alert, Episode) else alert.episode_id,
            "monitor": alert.monitor,
            **alert.key._asdict(),
            "metric": alert.metric,
            "severity": alert.severity,
            "state": (row.alert.phase if row else AlertPhase.FIRING).value,
            "value": clean_number(row.alert.value) if row else None,
            "threshold": row.threshold if row else None,
            "since": rfc3339(self.since),
            "fired_at": rfc3339(self.fired_at) if self.is_firing else None,
            "silenced_by": [silence.id for silence in self.handling.silenced_by],
            "acknowledged": acknowledgement_document(self.handling.acknowledged),
            "labels": dict(self.handling.labels),
        }


def read_alerts(config: Config, store: Store, *, monitor: str | None = None) -> list[JsonObject]:
    """Every alert of the configured monitors that is pending or firing: firing first, then critical first."""
    with store.read() as conn:
        return [alert.document for alert in active_alerts(conn, config, monitor=monitor)]


def active_alerts(conn: Transaction, config: Config, *, monitor: str | None = None) -> list[ActiveAlert]:
    """The alerts of `read_alerts`, as values."""
    return active_alerts_of(conn, config.monitors, alerts.active(conn, monitor), alerts.open_episodes(conn, monitor))


def active_alerts_of(
    conn: Transaction, monitors: Iterable[MonitorConfig], rows: Iterable[AlertRow], opened: Iterable[Episode]
) -> list[ActiveAlert]:
    """The same for what was read already: active alert rows and open episodes, those of other monitors left out."""
    configured = {monitor.name: monitor for monitor in monitors}
    active = [row for row in rows if row.monitor in configured]
    of_rows = {row.episode_id for row in active}
    about_monitors = [episode for episode in opened if episode.monitor in configured and episode.id not in of_rows]
    active_silences, acknowledged = silences.active(conn), acknowledgements.of_open_episodes(conn)

    def with_handling(alert: AlertRow | Episode, id: str | None) -> ActiveAlert:
        labels = labels_of(configured[alert.monitor], alert)
        covering = [silence for silence in active_silences if silence.covers(labels)]
        handling = Handling(labels=labels, silenced_by=covering, acknowledged=acknowledged.get(id or ""))
        return ActiveAlert(of=alert, handling=handling)

    found = [
        *(with_handling(row, row.episode_id) for row in active),
        *(with_handling(episode, episode.id) for episode in about_monitors),
    ]
    return sorted(
        found,
        key=lambda alert: (not alert.is_firing, -Severity(alert.of.severity).rank, alert.of.monitor, alert.of.key),
    )


def labels_of(monitor: MonitorConfig, alert: AlertRow | Episode) -> dict[str, str]:
    """The labels that notifications of this alert carry, which silences are held against."""
    if isinstance(alert, Episode):  # about the monitor itself: its rule is its name
        return self_labels(monitor, alert.key.rule)
    rules = {rule.id: rule for rule in monitor.rules}
    rule = rules.get(alert.key.rule) or former_rule(alert, alert.threshold)
    return drift_labels(monitor, alert.key.feature, alert.key.segment, rule)


def read_episodes(
    store: Store, asked: EpisodeFilter, *, limit: int, after: EpisodePlace | None = None
) -> Page[EpisodePlace]:
    """Episodes with their acknowledgements, those that opened last first."""
    with store.read() as conn:
        # One more than is shown says whether there is a next page; the same in the lists below.
        episodes = alerts.episode_page(conn, asked, limit=limit + 1, after=after)
        shown = episodes[:limit]
        acknowledged = acknowledgements.of_episodes(conn, [episode.id for episode in shown])
    return Page(
        documents=[episode_document(episode, acknowledged.get(episode.id)) for episode in shown],
        next=shown[-1].place if len(episodes) > limit else None,
    )


def read_episode(store: Store, id: str) -> JsonObject:
    """One episode; raises UnknownId."""
    with store.read() as conn:
        episode = alerts.find_episode(conn, id)
        if episode is None:
            raise UnknownId(f"no alert that fired has the id {id!r}; the list of episodes shows them")
        return episode_document(episode, acknowledgements.of_episodes(conn, [id]).get(id))


def read_notifications(store: Store, asked: NotificationFilter, *, limit: int, after: int | None = None) -> Page[int]:
    """Notifications with their last tries, the newest first."""
    with store.read() as conn:
        stored = outbox.page(conn, asked, limit=limit + 1, before=after)
        shown = stored[:limit]
        tries = outbox.last_tries(conn, [row.notification.id for row in shown], TRIES_SHOWN)
    return Page(
        documents=[notification_document(row, tries.get(row.notification.id, ())) for row in shown],
        next=shown[-1].seq if len(stored) > limit else None,
    )


def read_silences(
    store: Store, state: SilenceState | None, *, limit: int, after: SilencePlace | None = None
) -> Page[SilencePlace]:
    """Silences in this state, or those that hold or will hold; those that were made last first."""
    with store.read() as conn:
        now = store.now(conn)
        states = {state} if state else {SilenceState.PENDING, SilenceState.ACTIVE}
        listed = silences.page(conn, states, limit=limit + 1, after=after)
    shown = listed[:limit]
    return Page(
        documents=[silence_document(silence, silence.state(now)) for silence in shown],
        next=shown[-1].place if len(listed) > limit else None,
    )


def read_silence(store: Store, id: str) -> tuple[Silence, SilenceState]:
    """One silence and its present state; raises UnknownId."""
    with store.read() as conn:
        silence = silences.find(conn, id)
        if silence is None:
            raise UnknownId(f"no silence has the id {id!r}; the list of silences shows them")
        return silence, silence.state(store.now(conn))


def episode_document(episode: Episode, acknowledged: Acknowledgement | None) -> JsonObject:
    """A row of `drift_episodes`, when it was closed, and its acknowledgement."""
    return {
        "id": episode.id,
        "monitor": episode.monitor,
        **episode.key._asdict(),
        "metric": episode.metric,
        "severity": episode.severity,
        "opened_window": rfc3339(episode.opened_window),
        "closed_window": _time(episode.closed_window),
        "closed_at": _time(episode.closed_at),
        "close_reason": episode.close_reason,
        "peak_value": clean_number(episode.peak_value),
        "acknowledged": acknowledgement_document(acknowledged),
    }


def acknowledgement_document(acknowledged: Acknowledgement | None) -> JsonObject | None:
    """Who acknowledged an alert, when, and what they said."""
    if acknowledged is None:
        return None
    return {"at": rfc3339(acknowledged.at), "author": acknowledged.author, "comment": acknowledged.comment}


def silence_document(silence: Silence, state: SilenceState) -> JsonObject:
    """A silence and its present state; matchers as Alertmanager's API writes them."""
    return {
        "id": silence.id,
        "matchers": [matcher.to_json() for matcher in silence.matchers],
        "starts_at": rfc3339(silence.starts_at),
        "ends_at": rfc3339(silence.ends_at),
        "author": silence.author,
        "comment": silence.comment,
        "state": state.value,
        "created_at": rfc3339(silence.created_at),
    }


def notification_document(stored: StoredNotification, tries: Sequence[Try]) -> JsonObject:
    """A notification, how its delivery goes, and the tries to send it, last one last."""
    notification = stored.notification
    is_waiting = notification.state is NotificationState.PENDING
    return {
        "id": notification.id,
        "monitor": notification.monitor,
        "receiver": notification.receiver,
        "integration": notification.integration,
        "window_end": rfc3339(notification.window_end),
        "revision": notification.revision,
        "part": notification.part,
        "status": notification.body.get("status"),
        "alerts": [
            {"status": alert["status"], "labels": alert["labels"]} for alert in notification.body.get("alerts", ())
        ],
        "state": notification.state.value,
        "reason": notification.reason,
        "attempts": stored.attempts,
        "created_at": rfc3339(stored.created_at),
        "next_at": rfc3339(stored.next_at) if is_waiting else None,
        "sent_at": _time(stored.sent_at),
        "last_error": stored.last_error,
        "tries": [
            {
                "attempt": attempt.attempt,
                "at": rfc3339(attempt.at),
                "outcome": attempt.outcome.value,
                "status_code": attempt.status_code,
                "error": attempt.error,
            }
            for attempt in tries
        ],
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
