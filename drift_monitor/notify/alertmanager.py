"""Alertmanager's API v2: the alerts that fire now, sent again and again to every replica.

Alertmanager keeps alerts in memory only and forgets them when it restarts, so it is not sent changes: it is sent the
present state every minute, as Prometheus does. A firing alert carries its original start and an end some minutes ahead,
which each repetition moves on; if this service dies, the alert ends by itself. A resolved alert carries its real end.

Replicas are sent to independently and at the same time. A post that failed needs no queue: the next one repairs it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.config.receivers import AlertmanagerConfig
from drift_monitor.core.times import rfc3339
from drift_monitor.errors import DeliveryError
from drift_monitor.notify import wording
from drift_monitor.notify.http import Poster
from drift_monitor.notify.outbound import Resolver

RESEND = timedelta(minutes=1)
# Alertmanager asks its clients for at least five minutes; Prometheus sends four times its own interval.
HOLDS = max(4 * RESEND, timedelta(minutes=5))
_BATCH = 64  # alerts in one post, as Prometheus sends them


class AlertmanagerSender:
    """Posts the state of alerts to all replicas of one Alertmanager."""

    def __init__(self, config: AlertmanagerConfig, outbound: OutboundConfig, resolver: Resolver | None = None) -> None:
        addresses = [f"{url.get_secret_value().rstrip('/')}/api/v2/alerts" for url in config.urls]
        self._posters = [Poster(address, config.timeout, outbound, resolver) for address in addresses]

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Send a notification's alerts to all replicas; raises the first failure once all were tried."""
        for failure in self.push(body["alerts"], at):
            if failure is not None:
                raise failure

    def push(self, alerts: Sequence[Mapping[str, Any]], at: datetime) -> tuple[DeliveryError | None, ...]:
        """Send the state of these alerts to every replica; one answer a replica, None where it took all of them."""
        posted = [postable(alert, at) for alert in alerts]

        def push_to(replica: Poster) -> DeliveryError | None:
            failure: DeliveryError | None = None
            for start in range(0, len(posted), _BATCH):
                try:
                    replica.post(posted[start : start + _BATCH], at)
                except DeliveryError as error:
                    failure = error
                    if error.retryable:
                        break  # it is away; another batch would only wait as long again
            return failure

        with ThreadPoolExecutor(len(self._posters), thread_name_prefix="alertmanager") as pool:
            return tuple(pool.map(push_to, self._posters))


def postable(alert: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """One alert as API v2 takes it."""
    url = alert.get("generatorURL")
    return {
        "labels": alert["labels"],
        "annotations": alert["annotations"],
        "startsAt": alert["startsAt"],
        "endsAt": rfc3339(at + HOLDS) if wording.is_firing(alert) else alert["endsAt"],
        **({"generatorURL": url} if url else {}),
    }
