"""Alertmanager's API v2: what fires now, told again and again, to every replica.

Alertmanager keeps alerts in memory only and forgets them when it restarts, so it is not told of changes: it is told the
present state every minute, as Prometheus does. A firing alert carries its original start and an end some minutes ahead,
which each repetition moves on; if this service dies, the alert ends by itself. A resolved alert carries its real end.

Replicas are told independently and at the same time. A post that failed needs no queue: the next one repairs it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from drift_monitor.config.outbound import ANYWHERE, OutboundConfig
from drift_monitor.core.times import rfc3339
from drift_monitor.errors import DeliveryError
from drift_monitor.notify import wording
from drift_monitor.notify.http import DEADLINE, Poster
from drift_monitor.notify.outbound import Resolver

RESEND = timedelta(minutes=1)
# Alertmanager asks its clients for at least five minutes; Prometheus sends four times its own interval.
HOLDS = max(4 * RESEND, timedelta(minutes=5))
_BATCH = 64  # alerts in one post, as Prometheus sends them


class AlertmanagerSender:
    """Posts the state of alerts to all replicas of one Alertmanager."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout: timedelta = DEADLINE,
        resolver: Resolver | None = None,
        outbound: OutboundConfig = ANYWHERE,
    ) -> None:
        addresses = [f"{url.rstrip('/')}/api/v2/alerts" for url in urls]
        self._posters = [Poster(url, timeout=timeout, resolver=resolver, outbound=outbound) for url in addresses]

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Tell all replicas of a notification's alerts; raises the first failure once all were told."""
        for failure in self.push(body["alerts"], at):
            if failure is not None:
                raise failure

    def push(self, alerts: Sequence[Mapping[str, Any]], at: datetime) -> tuple[DeliveryError | None, ...]:
        """Tell every replica how these alerts stand; one answer a replica, None where it took all of them."""
        posted = [postable(alert, at) for alert in alerts]
        with ThreadPoolExecutor(len(self._posters), thread_name_prefix="alertmanager") as pool:
            return tuple(pool.map(lambda poster: _tell(poster, posted, at), self._posters))


def _tell(poster: Poster, posted: Sequence[Mapping[str, Any]], at: datetime) -> DeliveryError | None:
    failure: DeliveryError | None = None
    for start in range(0, len(posted), _BATCH):
        try:
            poster.post(posted[start : start + _BATCH], at)
        except DeliveryError as error:
            failure = error
            if error.retryable:
                break  # it is away; another batch would only wait as long again
    return failure


def postable(alert: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """One alert as API v2 takes it."""
    ends = rfc3339(at + HOLDS) if wording.is_firing(alert) else alert["endsAt"]
    posted = {
        "labels": alert["labels"],
        "annotations": alert["annotations"],
        "startsAt": alert["startsAt"],
        "endsAt": ends,
    }
    url = alert.get("generatorURL")
    return {**posted, "generatorURL": url} if url else posted
