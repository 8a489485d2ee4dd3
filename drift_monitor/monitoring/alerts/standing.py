"""How the alerts of a monitor stand now, as receivers are told: those that fire, and those that are over."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from drift_monitor.config.model import MonitorConfig
from drift_monitor.monitoring.alerts import wellbeing
from drift_monitor.monitoring.alerts.announcement import Subject, announce
from drift_monitor.monitoring.alerts.episodes import former_rule
from drift_monitor.monitoring.alerts.telling import News
from drift_monitor.monitoring.services import Services
from drift_monitor.notify.message import Alert, AlertStatus, alert_from
from drift_monitor.store import alerts as alert_store
from drift_monitor.store import measurements, references
from drift_monitor.store.alerts import AlertRow
from drift_monitor.store.connection import Transaction


def firing_news(services: Services, conn: Transaction, monitor: MonitorConfig) -> Sequence[News]:
    """What fires for this monitor, with the latest numbers: alerts of its rules, and those about itself."""
    return (*_of_rules(services, conn, monitor), *wellbeing.firing_news(services, conn, monitor))


def over(told: Mapping[str, Any], at: datetime, reason: str) -> Alert:
    """The end of an alert, from what a receiver was told of its beginning: the same labels and fingerprint."""
    alert = alert_from(told)
    whose = " of ".join(alert.labels[name] for name in ("feature", "monitor") if name in alert.labels)
    annotations = {
        **{name: text for name, text in alert.annotations.items() if name.endswith("_url")},
        "summary": f"{whose}: {alert.labels.get('metric', alert.labels['alertname'])} is over ({reason})",
        "description": f"The alert has ended: {reason}.",
    }
    return replace(alert, status=AlertStatus.RESOLVED, annotations=annotations, ends_at=at, bins=())


def _of_rules(services: Services, conn: Transaction, monitor: MonitorConfig) -> Sequence[News]:
    rows = alert_store.firing(conn, monitor.name)
    if not rows:
        return ()
    latest = {(one.feature, one.segment): one for one in measurements.latest(conn, monitor.name)}
    specs = references.specs(conn, {one.bin_spec for one in latest.values() if one.bin_spec})
    rules = {rule.id: rule for rule in monitor.rules}

    def subject(row: AlertRow) -> Subject:
        measurement = latest.get((row.key.feature, row.key.segment))
        return Subject(
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
        News(
            episode_id=row.episode_id,
            alert=announce(subject(row), AlertStatus.FIRING, row.last_window, services.external_url),
        )
        for row in rows
        if row.episode_id is not None
    ]
