"""Alerts, episodes, silences and notifications as the JSON that the HTTP interface and `--format json` give.

Names are those of the database views where there is one, and they only grow. Times are RFC 3339 in UTC; what does not
exist is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.core.clean import clean_number
from drift_monitor.core.times import rfc3339
from drift_monitor.queries.evaluations import JsonObject
from drift_monitor.store.acknowledgements import Acknowledgement
from drift_monitor.store.alerts import AlertRow, Episode
from drift_monitor.store.outbox import NotificationState, StoredNotification, Try
from drift_monitor.store.silences import Silence, SilenceState


@dataclass(frozen=True, kw_only=True)
class Handling:
    """What people said of an alert: the silences that cover it, and who looks after it."""

    labels: Mapping[str, str]
    silenced_by: Sequence[Silence] = ()
    acknowledged: Acknowledgement | None = None

    def to_json(self) -> JsonObject:
        return {
            "silenced_by": [one.id for one in self.silenced_by],
            "acknowledged": acknowledgement_document(self.acknowledged),
            "labels": dict(self.labels),
        }


def alert_document(row: AlertRow, handling: Handling) -> JsonObject:
    """An alert that is pending or firing; `id` is that of its episode, None while it is pending."""
    return {
        "id": row.episode_id,
        "monitor": row.monitor,
        **row.key._asdict(),
        "metric": row.metric,
        "severity": row.severity,
        "state": row.alert.phase.value,
        "value": clean_number(row.alert.value),
        "threshold": row.threshold,
        "since": _time(row.alert.since),
        "fired_at": _time(row.alert.fired_at),
        **handling.to_json(),
    }


def self_alert_document(episode: Episode, handling: Handling) -> JsonObject:
    """An alert about a monitor itself, which is its open episode and nothing else: it has no value or threshold."""
    return {
        "id": episode.id,
        "monitor": episode.monitor,
        **episode.key._asdict(),
        "metric": episode.metric,
        "severity": episode.severity,
        "state": "firing",
        "value": None,
        "threshold": None,
        "since": rfc3339(episode.opened_window),
        "fired_at": rfc3339(episode.opened_window),
        **handling.to_json(),
    }


def episode_document(episode: Episode, acknowledged: Acknowledgement | None) -> JsonObject:
    """A row of `drift_episodes`, when it was closed, and who looked after it."""
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
    """Who looks after an alert, since when, and what they said."""
    if acknowledged is None:
        return None
    return {"at": rfc3339(acknowledged.at), "author": acknowledged.author, "comment": acknowledged.comment}


def silence_document(silence: Silence, state: SilenceState) -> JsonObject:
    """A silence and how it stands; matchers as Alertmanager's API writes them."""
    return {
        "id": silence.id,
        "matchers": [one.to_json() for one in silence.matchers],
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
    told = notification.body.get("alerts", ())
    return {
        "id": notification.id,
        "monitor": notification.monitor,
        "receiver": notification.receiver,
        "integration": notification.integration,
        "window_end": rfc3339(notification.window_end),
        "revision": notification.revision,
        "part": notification.part,
        "status": notification.body.get("status"),
        "alerts": [{"status": one["status"], "labels": one["labels"]} for one in told],
        "state": notification.state.value,
        "reason": notification.reason,
        "attempts": stored.attempts,
        "created_at": rfc3339(stored.created_at),
        "next_at": rfc3339(stored.next_at) if is_waiting else None,
        "sent_at": _time(stored.sent_at),
        "last_error": stored.last_error,
        "tries": [_try_document(one) for one in tries],
    }


def _try_document(one: Try) -> JsonObject:
    return {
        "attempt": one.attempt,
        "at": rfc3339(one.at),
        "outcome": one.outcome.value,
        "status_code": one.status_code,
        "error": one.error,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
