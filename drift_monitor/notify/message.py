"""Notifications as the outbox holds them: version 4 of the Alertmanager webhook and more, with ids that never change.

A notification is one (monitor, window_end, revision, receiver) with all its transitions. Where a receiver takes at most
`max_alerts` alerts, it is split into parts, each a notification of its own with its own id; nothing is cut off, so
`truncatedAlerts` is always 0. The id depends on nothing but those names: a notification planned twice or sent twice is
the same one, and a receiver can tell.

What is stored is that body, and beside each alert the bins that moved most. Each kind of receiver renders it when it
sends: a webhook gets version 4 and nothing else, chat and mail also show the bins.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from drift_monitor.core.times import clean_text, rfc3339
from drift_monitor.errors import InputError

VERSION = "4"
# What Alertmanager sends as the end of an alert that goes on: Go's zero time.
NO_END = "0001-01-01T00:00:00Z"
_NAMESPACE = uuid.UUID("6f3a3c26-3f0e-5b0e-9a51-0d1c6f6f2f10")  # drawn once; never changes
_FINGERPRINT_LENGTH = 16  # as long as Alertmanager's


class AlertStatus(StrEnum):
    """What an event says of an alert."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class BinShare:
    """How one bin moved: its share of the live and of the reference rows, and what it adds to the divergence."""

    label: str
    live_share: float
    reference_share: float
    contribution: float


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One event of one alert, as it is sent. `starts_at` is the window_end at which it fired."""

    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    fingerprint: str
    generator_url: str = ""
    bins: Sequence[BinShare] = ()


@dataclass(frozen=True, kw_only=True)
class NotificationKey:
    """What a notification is about; its ids are a function of this and the part.

    `repeated_at` tells apart what is sent again of the same window: a repeat, or what a silence had kept back.
    """

    monitor: str
    window_end: datetime
    revision: int
    receiver: str
    repeated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Message:
    """One part of a notification, ready for the outbox."""

    id: str
    part: int
    body: Mapping[str, Any]


def fingerprint(*, monitor: str, feature: str, segment: str, rule: str) -> str:
    """The identity of an alert as 16 hex digits, the same in each transition whatever its labels say today."""
    name = json.dumps([monitor, feature, segment, rule])
    return hashlib.sha256(name.encode()).hexdigest()[:_FINGERPRINT_LENGTH]


def notification_id(key: NotificationKey, part: int) -> str:
    """uuid5 over the JSON array of (monitor, window_end, revision, receiver, part); never of joined text."""
    name = [key.monitor, rfc3339(key.window_end), key.revision, key.receiver, part]
    if key.repeated_at is not None:
        name.append(rfc3339(key.repeated_at))
    return str(uuid.uuid5(_NAMESPACE, json.dumps(name)))


def messages(
    key: NotificationKey,
    alerts: Sequence[Alert],
    *,
    max_alerts: int,
    external_url: str,
    send_resolved: bool,
    first_part: int = 0,
) -> tuple[Message, ...]:
    """The notification in parts of at most `max_alerts` (0: all in one); none if nothing is left to say.

    Firing alerts come first. The parts depend on the order of `alerts` only, so plan them from a stable order.
    """
    if max_alerts < 0:
        raise InputError(f"max_alerts is {max_alerts}, must be 0 (no limit) or more")
    sent = [alert for alert in alerts if send_resolved or alert.status is AlertStatus.FIRING]
    sent.sort(key=lambda alert: alert.status is AlertStatus.RESOLVED)
    size = max_alerts or len(sent) or 1
    parts = [sent[start : start + size] for start in range(0, len(sent), size)]
    return tuple(
        Message(
            id=notification_id(key, part),
            part=part,
            body=document(alerts, monitor=key.monitor, receiver=key.receiver, external_url=external_url),
        )
        for part, alerts in enumerate(parts, first_part)
    )


def document(alerts: Sequence[Alert], *, monitor: str, receiver: str, external_url: str) -> dict[str, Any]:
    """What the outbox holds of these alerts of one monitor: JSON values only, all text storable and sendable."""
    if not alerts:
        raise InputError("a notification needs at least one alert")
    firing = any(alert.status is AlertStatus.FIRING for alert in alerts)
    name = clean_text(monitor)
    return {
        "version": VERSION,
        "groupKey": f"{{}}:{{monitor={json.dumps(name, ensure_ascii=False)}}}",
        "truncatedAlerts": 0,
        "status": AlertStatus.FIRING.value if firing else AlertStatus.RESOLVED.value,
        "receiver": clean_text(receiver),
        "groupLabels": {"monitor": name},
        "commonLabels": _common([_texts(alert.labels) for alert in alerts]),
        "commonAnnotations": _common([_texts(alert.annotations) for alert in alerts]),
        "externalURL": clean_text(external_url),
        "alerts": [alert_document(alert) for alert in alerts],
    }


def version_4(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored document without what version 4 does not have; the order of its keys stays, so do the bytes."""
    alerts = [{name: value for name, value in alert.items() if name != "bins"} for alert in stored.get("alerts", ())]
    return {**stored, "alerts": alerts}


def alert_document(alert: Alert) -> dict[str, Any]:
    """One alert as a notification holds it."""
    bins = [
        {
            "label": clean_text(share.label),
            "live_share": share.live_share,
            "reference_share": share.reference_share,
            "contribution": share.contribution,
        }
        for share in alert.bins
    ]
    return {
        "status": alert.status.value,
        "labels": _texts(alert.labels),
        "annotations": _texts(alert.annotations),
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": NO_END if alert.ends_at is None else rfc3339(alert.ends_at),
        "generatorURL": clean_text(alert.generator_url),
        "fingerprint": alert.fingerprint,
        **({"bins": bins} if bins else {}),
    }


def alert_from(document: Mapping[str, Any]) -> Alert:
    """The alert that was written as this document."""
    is_over = document["endsAt"] != NO_END
    return Alert(
        status=AlertStatus(document["status"]),
        labels=document["labels"],
        annotations=document["annotations"],
        starts_at=datetime.fromisoformat(document["startsAt"]),
        ends_at=datetime.fromisoformat(document["endsAt"]) if is_over else None,
        fingerprint=document["fingerprint"],
        generator_url=document["generatorURL"],
        bins=tuple(BinShare(**share) for share in document.get("bins", ())),
    )


def _texts(pairs: Mapping[str, str]) -> dict[str, str]:
    # Alertmanager drops labels without a value; so do we, and its receivers see what they know.
    return {clean_text(name): clean_text(value) for name, value in sorted(pairs.items()) if value}


def _common(sets: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = sets
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
