"""Tell again, or at last, what still fires: repeats by interval, and what a silence had kept back.

    repeat      a receiver with `repeat_interval` was told that long ago, and nobody has acknowledged the alert
    at last     its silence has ended, or the receiver came to the monitor while the alert fired

What a silence covers is not repeated. The moment of the last telling is in the store, so a restart neither hastens
nor forgets a repeat, and replicas don't double it: they take turns on the monitor's row.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from drift_monitor.alerting.active import firing_events
from drift_monitor.alerting.dispatch import AlertEvent, Context, dispatch
from drift_monitor.alerting.services import Services
from drift_monitor.alerting.silences import covering
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.store import acknowledgements, alerts, monitors, notification_log, runs, silences
from drift_monitor.store.connection import Transaction
from drift_monitor.store.notification_log import LogEntry, LogState


def repeat_due(services: Services) -> None:
    """One round over all monitors with open episodes. Only where something is due is anything locked or written."""
    for monitor in _with_something_due(services):
        services.store.transact(partial(_remind, services, monitor))


def _with_something_due(services: Services) -> Sequence[MonitorConfig]:
    with services.store.read() as conn:
        now = services.store.now(conn)
        drifting = {one.monitor for one in alerts.open_episodes(conn)}
        return [
            monitor
            for monitor in services.config.monitors
            if monitor.name in drifting and any(_due(services, conn, monitor, now).values())
        ]


def _remind(services: Services, monitor: MonitorConfig, conn: Transaction) -> None:
    alerts.lock(conn, monitor.name)  # no end may be written beside what is told here
    monitors.lock(conn, monitor.name)
    now = services.store.now(conn)
    due = _due(services, conn, monitor, now)
    firing = _audible(conn, firing_events(services, conn, monitor))
    occasion = _occasion(conn, monitor, now)
    for receiver, episodes in due.items():
        dispatch(services, conn, occasion, [receiver], [one for one in firing if one.episode_id in episodes])


def _due(services: Services, conn: Transaction, monitor: MonitorConfig, now: datetime) -> Mapping[str, Collection[str]]:
    """The open episodes that each receiver is to hear of (again), whatever is silenced."""
    opened = [one.id for one in alerts.open_episodes(conn, monitor.name)]
    acknowledged = acknowledgements.of_episodes(conn, opened)
    known = {(one.episode_id, one.receiver): one for one in notification_log.of_open_episodes(conn, monitor.name)}

    def is_due(episode: str, receiver: str) -> bool:
        interval = None if episode in acknowledged else services.config.receiver(receiver).repeat_interval
        return _is_due(known.get((episode, receiver)), interval, now)

    return {receiver: {one for one in opened if is_due(one, receiver)} for receiver in monitor.receivers}


def _audible(conn: Transaction, firing: Sequence[AlertEvent]) -> Sequence[AlertEvent]:
    """What no silence covers."""
    silenced = silences.active(conn)
    return [one for one in firing if covering(silenced, one.alert.labels) is None]


def _is_due(known: LogEntry | None, interval: timedelta | None, now: datetime) -> bool:
    """Whether a receiver is to hear of an alert (again); `interval` None: it is not repeated."""
    if known is None:
        return True
    match known.state:
        case LogState.SILENCED:
            return True
        case LogState.WITHHELD:
            return False
        case LogState.TOLD:
            return interval is not None and now - known.at >= interval


def _occasion(conn: Transaction, monitor: MonitorConfig, now: datetime) -> Context:
    last = runs.last_done(conn, monitor.name)
    if last is None:
        return Context(monitor=monitor.name, window_end=now, repeated_at=now)
    return Context(monitor=monitor.name, window_end=last.key.window_end, revision=last.key.revision, repeated_at=now)
