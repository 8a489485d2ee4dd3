"""Repeats: send again what still fires, by interval, and send what a silence had kept back.

    repeat      the receiver's `repeat_interval` has passed since the last time, and nobody has acknowledged the alert
    at last     its silence has ended, or the receiver was added to the monitor while the alert fired
    refused     the receiver refused the last message about it: after 5 min, and twice as long each time, up to 6 h; the
                end of an alert whose beginning was accepted likewise, for a day

What a silence covers is not repeated. When a receiver was last notified is in the store, so a restart neither hastens
nor forgets a repeat, and replicas don't double it: they take turns on the lock of the monitor's row.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from drift_monitor.alerting.annotations import SelfAlert
from drift_monitor.alerting.dispatch import MAX_AGE, AlertEvent, Context, dispatch
from drift_monitor.alerting.episodes import firing_events, resolved_alert
from drift_monitor.alerting.services import Services
from drift_monitor.alerting.silences import covering
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.store import acknowledgements, alerts, monitors, notification_log, runs, silences
from drift_monitor.store.connection import Transaction
from drift_monitor.store.notification_log import LogEntry, LogState
from drift_monitor.telemetry.logs import apart

_logger = logging.getLogger(__name__)
# After a refusal; doubled from the one to the other.
FIRST_RETELL, LAST_RETELL = timedelta(minutes=5), timedelta(hours=6)


def repeat_due(services: Services) -> None:
    """One round over all monitors. Only where something is due is anything locked or written."""
    with services.store.read() as conn:
        now = services.store.now(conn)
        drifting = {episode.monitor for episode in alerts.open_episodes(conn)}
        refused = {entry.alert["labels"].get("monitor") for entry, _ in _refused_ends(services, conn, now)}
        due = [
            monitor
            for monitor in services.config.monitors
            if monitor.name in refused
            or (monitor.name in drifting and any(_due_episodes(services, conn, monitor, now).values()))
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
    firing = {event.alert.fingerprint for event in events}
    for entry, at in _refused_ends(services, conn, now):
        alert = resolved_alert(entry.alert, at, "it has ended")
        if alert.labels.get("monitor") == monitor.name and alert.fingerprint not in firing:
            ended = AlertEvent(episode_id=entry.episode_id, alert=alert)
            dispatch(services, conn, replace(context, window_end=at), [entry.receiver], [ended])


def _due_episodes(
    services: Services, conn: Transaction, monitor: MonitorConfig, now: datetime
) -> Mapping[str, Collection[str]]:
    """The open episodes that each receiver is to be notified of (again), whatever is silenced."""
    episodes = alerts.open_episodes(conn, monitor.name)
    opened = [episode.id for episode in episodes]
    about_receivers = {episode.id for episode in episodes if episode.key.rule == SelfAlert.RECEIVER}
    acknowledged = acknowledgements.of_episodes(conn, opened)
    entries = notification_log.of_open_episodes(conn, monitor.name)
    entry_of = {(entry.episode_id, entry.receiver): entry for entry in entries}

    def is_due(episode: str, receiver: str) -> bool:
        entry = entry_of.get((episode, receiver))
        if entry is None and episode in about_receivers:
            return False  # it goes to others than the receiver that it is about
        if entry is None or entry.state is LogState.SILENCED:
            return True  # never sent: no interval has to pass, and an acknowledgement is of something known
        if _is_refused(entry, now):
            return True
        if entry.state is LogState.WITHHELD or episode in acknowledged:
            return False
        interval = services.config.receiver(receiver).repeat_interval
        return interval is not None and now - entry.at >= interval

    return {receiver: {episode for episode in opened if is_due(episode, receiver)} for receiver in monitor.receivers}


def _refused_ends(services: Services, conn: Transaction, now: datetime) -> Sequence[tuple[LogEntry, datetime]]:
    """The ends that a receiver has refused, though it had accepted the beginning; a day long."""
    ended = notification_log.ended_since(conn, now - MAX_AGE, list(services.senders))
    return [(entry, at) for entry, at in ended if entry.delivered_at and _is_refused(entry, now)]


def _is_refused(entry: LogEntry, now: datetime) -> bool:
    """Whether the last message was refused long enough ago for another one."""
    if not entry.is_refused or not entry.refusals:
        return False
    doublings = min(entry.refusals - 1, 10)  # far above the longest pause, and no huge powers
    return now - entry.at >= min(FIRST_RETELL * (1 << doublings), LAST_RETELL)
