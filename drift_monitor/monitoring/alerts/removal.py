"""A monitor leaves the configuration: its episodes end for that reason, and whoever knew of them is told.

The configuration knows nothing of it any more; what receivers were told says whose alerts they were.
"""

from drift_monitor.monitoring.alerts.standing import over
from drift_monitor.monitoring.alerts.telling import News, Occasion, tell
from drift_monitor.monitoring.services import Services
from drift_monitor.store import alerts, monitors, tellings
from drift_monitor.store.connection import Transaction

REMOVED = "removed"
REASON = "the monitor was removed from the configuration"


def close_removed(services: Services, conn: Transaction, monitor: str) -> None:
    """End all that is open of a monitor, and tell the receivers that are still configured."""
    monitors.lock(conn, monitor)
    now = services.store.now(conn)
    ended = alerts.close_episodes(conn, monitor, window=now, reason=REMOVED)
    told = tellings.of_episodes(conn, [one.id for one in ended])
    beginnings = {one.episode_id: one.alert for one in told}
    news = [News(episode_id=id, alert=over(alert, now, REASON)) for id, alert in beginnings.items()]
    configured = {receiver.name for receiver in services.config.receivers}
    receivers = sorted({one.receiver for one in told} & configured)
    tell(services, conn, Occasion(monitor=monitor, window_end=now), receivers, news)
