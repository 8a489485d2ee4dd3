"""Alertmanager sync: send every Alertmanager all alerts that fire and those that ended lately, as Prometheus does.

Everything is read from the store: what fires with the start it remembers, and what ended from what was sent of its
beginning. So a restart changes nothing, and any replica of this service may send: Alertmanager takes equal labels for
the same alert. Ends are sent for 15 minutes, also those of monitors that are gone. Should all of that be missed, the
end time that every firing alert carries closes it.

A round is due at once where something changed, and otherwise so often that Alertmanager does not forget. Whether
something changed is read from the store, too: another replica or a command may have made the change. What a silence
keeps back is not sent; the notification log has the state `silenced` for it.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from drift_monitor.alerting.annotations import SelfAlert
from drift_monitor.alerting.episodes import firing_events, resolved_alert
from drift_monitor.alerting.services import Services
from drift_monitor.notify.alertmanager import AlertmanagerSender
from drift_monitor.notify.message import Alert, alert_document
from drift_monitor.store import notification_log
from drift_monitor.store.notification_log import LogState
from drift_monitor.telemetry.logs import WARN, apart, log

_logger = logging.getLogger(__name__)

SENT_AFTER_END = timedelta(minutes=15)  # as long as Prometheus repeats that an alert is over


class AlertmanagerSync:
    """Called every tick; `every` is the time between rounds while nothing changes."""

    def __init__(self, every: timedelta) -> None:
        self._every = every
        self._last_change: tuple[datetime | None, datetime | None] | None = None
        self._last_round = 0.0

    def tick(self, services: Services) -> None:
        """A round of all Alertmanagers, where one is due."""
        if not _alertmanagers(services):
            return
        with services.store.read() as conn:
            change = notification_log.last_change(conn)
        now = services.clock.monotonic()
        if change == self._last_change and now - self._last_round < self._every.total_seconds():
            return
        sync_alertmanagers(services)
        # The change as it was read before the round: what came during it is found by the next tick.
        self._last_change, self._last_round = change, now


def sync_alertmanagers(services: Services) -> None:
    """One round: every receiver that is an Alertmanager is sent the state of the monitors that name it."""
    senders = _alertmanagers(services)
    if not senders:
        return
    state = _state(services, senders)
    for receiver, sender in senders.items():
        if not state[receiver]:
            continue
        integration = services.config.receiver(receiver).integration
        with apart(_logger, "An Alertmanager could not be told.", receiver=receiver):
            documents = [alert_document(alert) for alert in state[receiver]]
            for failure in sender.push(documents, services.clock.now()):
                services.telemetry.notification_attempted(receiver, integration)
                if failure is not None:
                    services.telemetry.notification_failed(receiver, integration, failure.reason)
                    log(
                        _logger, WARN, "alertmanager_not_told", f"{failure}; told again in a minute.", receiver=receiver
                    )


def _alertmanagers(services: Services) -> Mapping[str, AlertmanagerSender]:
    return {name: sender for name, sender in services.senders.items() if isinstance(sender, AlertmanagerSender)}


def _state(services: Services, receivers: Collection[str]) -> Mapping[str, Sequence[Alert]]:
    """The alerts that each of these receivers is to be sent now; raises StoreError, with nothing half read."""
    state: dict[str, list[Alert]] = {name: [] for name in receivers}
    for monitor in services.config.monitors:
        # Around a transaction of its own: an error of the store is told from one of ours only when it has left that.
        with apart(_logger, "The alerts of a monitor could not be rendered.", monitor=monitor.name):
            with services.store.read() as conn:
                entries = notification_log.of_open_episodes(conn, monitor.name)
                sent = {(entry.receiver, entry.episode_id) for entry in entries if entry.state is LogState.SENT}
                # Rendering reads the measurements: only where some receiver is to be sent them.
                events = list(firing_events(services, conn, monitor)) if sent else []
            for name in state:
                state[name] += [
                    event.alert
                    for event in events
                    if (name, event.episode_id) in sent
                    # What is about a receiver goes to the others, whether the monitor names them or not.
                    and (name in monitor.receivers or event.alert.labels["alertname"] == SelfAlert.RECEIVER)
                ]
    fingerprints = {name: {alert.fingerprint for alert in alerts} for name, alerts in state.items()}
    with services.store.read() as conn:
        ended = notification_log.ended_since(conn, services.store.now(conn) - SENT_AFTER_END, tuple(receivers))
    for entry, at in ended:
        alert = resolved_alert(entry.alert, at, "it has ended")
        # Newest ends come first: where it fires anew or ended again since, this older end is not sent.
        if alert.fingerprint not in fingerprints[entry.receiver]:
            fingerprints[entry.receiver].add(alert.fingerprint)
            state[entry.receiver].append(alert)
    return state
