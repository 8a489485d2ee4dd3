"""How the alerts of a monitor stand now, as receivers are told: those that fire, and those that are over.

A monitor leaves the configuration: its episodes end for that reason, and whoever knew of them is told.

The configuration knows nothing of it any more; what receivers were told says whose alerts they were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from drift_monitor.alerting import self_monitoring
from drift_monitor.alerting.annotations import AlertContext, render_alert
from drift_monitor.alerting.dispatch import AlertEvent, Context, dispatch
from drift_monitor.alerting.episodes import former_rule
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.notify.message import Alert, AlertStatus, alert_from
from drift_monitor.store import alerts, measurements, monitors, notification_log, references
from drift_monitor.store import alerts as alert_store
from drift_monitor.store.alerts import AlertRow
from drift_monitor.store.connection import Transaction


def firing_events(services: Services, conn: Transaction, monitor: MonitorConfig) -> Sequence[AlertEvent]:
    """What fires for this monitor, with the latest numbers: alerts of its rules, and those about itself."""
    return (*_of_rules(services, conn, monitor), *self_monitoring.firing_events(services, conn, monitor))


def resolved_alert(told: Mapping[str, Any], at: datetime, reason: str) -> Alert:
    """The end of an alert, from what a receiver was told of its beginning: the same labels and fingerprint."""
    alert = alert_from(told)
    whose = " of ".join(alert.labels[name] for name in ("feature", "monitor") if name in alert.labels)
    annotations = {
        **{name: text for name, text in alert.annotations.items() if name.endswith("_url")},
        "summary": f"{whose}: {alert.labels.get('metric', alert.labels['alertname'])} is over ({reason})",
        "description": f"The alert has ended: {reason}.",
    }
    return replace(alert, status=AlertStatus.RESOLVED, annotations=annotations, ends_at=at, bins=())


def _of_rules(services: Services, conn: Transaction, monitor: MonitorConfig) -> Sequence[AlertEvent]:
    rows = alert_store.firing(conn, monitor.name)
    if not rows:
        return ()
    latest = {(one.feature, one.segment): one for one in measurements.latest(conn, monitor.name)}
    specs = references.specs(conn, {one.bin_spec for one in latest.values() if one.bin_spec})
    rules = {rule.id: rule for rule in monitor.rules}

    def subject(row: AlertRow) -> AlertContext:
        measurement = latest.get((row.key.feature, row.key.segment))
        return AlertContext(
            monitor=monitor,
            feature=row.key.feature,
            segment=row.key.segment,
            rule=rules.get(row.key.rule) or former_rule(row, row.threshold),
            state=row.alert,
            started_at=row.alert.fired_at or row.last_window,
            measurement=measurement,
            spec=specs.get(measurement.bin_spec) if measurement and measurement.bin_spec else None,
            reason=row.reason or "",
        )

    return [
        AlertEvent(
            episode_id=row.episode_id,
            alert=render_alert(subject(row), AlertStatus.FIRING, row.last_window, services.external_url),
        )
        for row in rows
        if row.episode_id is not None
    ]


REMOVED = "removed"
REASON = "the monitor was removed from the configuration"


def close_removed(services: Services, conn: Transaction, monitor: str) -> None:
    """End all that is open of a monitor, and tell the receivers that are still configured."""
    monitors.lock(conn, monitor)
    now = services.store.now(conn)
    ended = alerts.close_episodes(conn, monitor, window=now, reason=REMOVED)
    told = notification_log.of_episodes(conn, [one.id for one in ended])
    beginnings = {one.episode_id: one.alert for one in told}
    news = [AlertEvent(episode_id=id, alert=resolved_alert(alert, now, REASON)) for id, alert in beginnings.items()]
    configured = {receiver.name for receiver in services.config.receivers}
    receivers = sorted({one.receiver for one in told} & configured)
    dispatch(services, conn, Context(monitor=monitor, window_end=now), receivers, news)
