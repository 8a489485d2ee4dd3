"""What a webhook was told of drift: by Alertmanager, or by the daemon itself, whose body has the same form."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.notify.receivers import Receiver


@dataclass(frozen=True, kw_only=True)
class Told:
    """One alert of one post. `id` is that of the daemon's own notifications, else empty."""

    id: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    body: Mapping[str, Any]


def told(hook: Receiver, monitor: str) -> list[Told]:
    """All that it was told of drift in this monitor, in the order in which it came."""
    return [
        _told(alert, body, one.headers.get("webhook-id", ""))
        for one in list(hook.received)
        for body in [json.loads(one.body)]
        for alert in body["alerts"]
        if alert["labels"]["alertname"] == "DataDrift" and alert["labels"]["monitor"] == monitor
    ]


def statuses(hook: Receiver, monitor: str) -> list[str]:
    return [one.status for one in told(hook, monitor)]


def _told(alert: Mapping[str, Any], body: Mapping[str, Any], id: str) -> Told:
    return Told(
        id=id,
        status=alert["status"],
        labels=alert["labels"],
        annotations=alert["annotations"],
        starts_at=datetime.fromisoformat(alert["startsAt"]),
        ends_at=datetime.fromisoformat(alert["endsAt"]),
        body=body,
    )
