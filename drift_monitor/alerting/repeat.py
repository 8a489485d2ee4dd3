"""Repeats: send again what still fires, by interval, and send what a silence had kept back.

    repeat      the receiver's `repeat_interval` has passed since the last time, and nobody has acknowledged the alert
    at last     its silence has ended, or the receiver was added to the monitor while the alert fired

What a silence covers is not repeated. When a receiver was last notified is in the store, so a restart neither hastens
nor forgets a repeat, and replicas don't double it: they take turns on the lock of the monitor's row.
"""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial

from drift_monitor.alerting.dispatch import Context, dispatch
from drift_monitor.alerting.episodes import firing_events
from drift_monitor.alerting.services import Services
from drift_monitor.alerting.silences import covering
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.store import acknowledgements, alerts, monitors, notification_log, runs, silences
from drift_monitor.store.connection import Transaction
from drift_monitor.store.notification_log import LogState
from drift_monitor.telemetry.logs import apart

_logger = logging.getLogger(__name__)


def repeat_due(services: Services) -> None:
    """One round over all monitors with open episodes. Only where something is due is anything locked or written."""
    with services.store.read() as conn:
        now = services.store.now(conn)
        drifting = {episode.monitor for episode in alerts.open_episodes(conn)}
        due = [
            monitor
            for monitor in services.config.monitors
            if monitor.name in drifting and any(_due_episodes(services, conn, monitor, now).values())
        ]
    for monitor in due:
        with apart(_logger, "The alerts of a monitor could not be told again.", monitor=monitor.name):
            services.store.transact(partial(_repeat, services, monitor))


def _repeat(services: Services, monitor: MonitorConfig, conn: Transaction) -> None:
    alerts.lock(conn, monitor.name)  # no evaluation may write an end beside what is sent here
    monitors.lock(conn, monitor.name)  # and no other replica may repeat the same
    now = services.store.now(conn)
    last, active_silences = runs.last_done(conn, monitor.name), silences.active(conn)
    context = Context(
        monitor=monitor.name,
        window_end=last.key.window_end if last else now,
        revision=last.key.revision if last else 0,
        repeated_at=now,
    )
    events = [
        event
        for event in firing_events(services, conn, monitor)
        if covering(active_silences, event.alert.labels) is None
    ]
    for receiver, episodes in _due_episodes(services, conn, monitor, now).items():
        dispatch(services, conn, context, [receiver], [event for event in events if event.episode_id in episodes])


def _due_episodes(
    services: Services, conn: Transaction, monitor: MonitorConfig, now: datetime
) -> Mapping[str, Collection[str]]:
    """The open episodes that each receiver is to be notified of (again), whatever is silenced."""
    opened = [episode.id for episode in alerts.open_episodes(conn, monitor.name)]
    acknowledged = acknowledgements.of_episodes(conn, opened)
    entries = notification_log.of_open_episodes(conn, monitor.name)
    entry_of = {(entry.episode_id, entry.receiver): entry for entry in entries}

    def is_due(episode: str, receiver: str) -> bool:
        entry = entry_of.get((episode, receiver))
        if entry is None or entry.state is LogState.SILENCED:
            return True  # never sent: no interval has to pass, and an acknowledgement is of something known
        if entry.state is LogState.WITHHELD or episode in acknowledged:
            return False
        interval = services.config.receiver(receiver).repeat_interval
        return interval is not None and now - entry.at >= interval

    return {receiver: {episode for episode in opened if is_due(episode, receiver)} for receiver in monitor.receivers}
