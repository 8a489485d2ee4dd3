"""Tell every Alertmanager how all alerts stand: those that fire, and those that ended lately.

Everything is read from the store: what fires with the start it remembers, and what ended from what was told of its
beginning. So a restart changes nothing, and any replica of this service may tell: Alertmanager takes equal labels for
the same alert. Alerts that ended are told for 15 minutes, also those of monitors that are gone. Should all that be
missed, the end that was last told for a firing alert comes by itself.

What a silence keeps back is not told; see `telling`.

Tell Alertmanagers how alerts stand: at once where something changed, and otherwise so often that they don't forget.

Whether something changed is read from the store, so a change that another replica or a command made is told, too.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from drift_monitor.alerting.active import firing_events, resolved_alert
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.notify.alertmanager import AlertmanagerSender
from drift_monitor.notify.message import Alert, alert_document
from drift_monitor.store import notification_log
from drift_monitor.store.connection import Transaction
from drift_monitor.store.notification_log import LogState
from drift_monitor.telemetry.logs import WARN, log

_logger = logging.getLogger(__name__)

TOLD_AFTER_END = timedelta(minutes=15)  # as long as Prometheus repeats that an alert is over


def has_alertmanagers(services: Services) -> bool:
    """Whether any receiver is an Alertmanager."""
    return any(isinstance(one, AlertmanagerSender) for one in services.senders.values())


def sync_alertmanagers(services: Services) -> None:
    """One round: every receiver that is an Alertmanager hears of the monitors that name it."""
    senders = {name: one for name, one in services.senders.items() if isinstance(one, AlertmanagerSender)}
    if not senders:
        return
    with services.store.read() as conn:
        stand = _standing(services, conn, senders)
    for name, sender in senders.items():
        if stand[name]:
            _tell(services, name, sender, [alert_document(alert) for alert in stand[name]])


def _standing(services: Services, conn: Transaction, receivers: Collection[str]) -> Mapping[str, Sequence[Alert]]:
    """What each of these receivers is to hear now."""
    stand: dict[str, list[Alert]] = {name: [] for name in receivers}
    for monitor in services.config.monitors:
        if stand.keys() & set(monitor.receivers):
            _add_firing(services, conn, monitor, stand)
    firing = {name: {alert.fingerprint for alert in alerts} for name, alerts in stand.items()}
    recently = services.store.now(conn) - TOLD_AFTER_END
    for one, at in notification_log.ended_since(conn, recently, tuple(receivers)):
        alert = resolved_alert(one.alert, at, "it has ended")
        if alert.fingerprint not in firing[one.receiver]:  # it fires anew, or a later episode was told already
            firing[one.receiver].add(alert.fingerprint)
            stand[one.receiver].append(alert)
    return stand


def _add_firing(
    services: Services, conn: Transaction, monitor: MonitorConfig, stand: Mapping[str, list[Alert]]
) -> None:
    known = {
        (one.receiver, one.episode_id)
        for one in notification_log.of_open_episodes(conn, monitor.name)
        if one.state is LogState.TOLD
    }
    if not known:
        return
    for news in firing_events(services, conn, monitor):
        for name in stand.keys() & set(monitor.receivers):
            if (name, news.episode_id) in known:
                stand[name].append(news.alert)


def _tell(services: Services, receiver: str, sender: AlertmanagerSender, alerts: Sequence[Mapping[str, Any]]) -> None:
    integration = services.config.receiver(receiver).integration
    for failure in sender.push(alerts, services.clock.now()):
        services.telemetry.notification_attempted(receiver, integration)
        if failure is not None:
            services.telemetry.notification_failed(receiver, integration, failure.reason)
            log(_logger, WARN, "alertmanager_not_told", f"{failure}; told again in a minute.", receiver=receiver)


class AlertmanagerSync:
    """Called every tick; `every` is how long it keeps silent while nothing changes."""

    def __init__(self, every: timedelta) -> None:
        self._every = every
        self._last_change: tuple[datetime | None, datetime | None] | None = None
        self._last_round = 0.0

    def tell(self, services: Services) -> None:
        """One tick: a round of all Alertmanagers, where one is due."""
        if not has_alertmanagers(services):
            return
        with services.store.read() as conn:
            change = notification_log.last_change(conn)
        now = services.clock.monotonic()
        if change == self._last_change and now - self._last_round < self._every.total_seconds():
            return
        sync_alertmanagers(services)
        self._last_change, self._last_round = change, now
