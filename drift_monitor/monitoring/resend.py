"""Tell every Alertmanager how all alerts stand: those that fire, and those that ended lately.

Everything is read from the store: what fires from the alert rows, with the start they remember, and what ended from
the episodes. So a restart changes nothing, and any replica of this service may tell: Alertmanager takes equal labels
for the same alert. Alerts that ended are told for 15 minutes after the evaluation that ended them. Should all that be
missed, the end that was last told for a firing alert comes by itself.

    alert rows (firing) ──┐
    episodes (closed)   ──┴─► announce ──► document ──► every replica of every Alertmanager
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from drift_monitor.config.model import MonitorConfig
from drift_monitor.core.alerting import INACTIVE, Rule
from drift_monitor.monitoring.announcement import Subject, announce
from drift_monitor.monitoring.episodes import former_rule
from drift_monitor.monitoring.services import Services
from drift_monitor.notify.alertmanager import AlertmanagerSender
from drift_monitor.notify.message import Alert, AlertStatus, document
from drift_monitor.store import alerts as alert_store
from drift_monitor.store import measurements, references, runs
from drift_monitor.store.alerts import AlertRow, Episode
from drift_monitor.store.connection import Transaction
from drift_monitor.telemetry.logs import WARN, log

_logger = logging.getLogger(__name__)

TOLD_AFTER_END = timedelta(minutes=15)  # as long as Prometheus repeats that an alert is over


def resend(services: Services) -> None:
    """One round: every receiver that is an Alertmanager hears of the monitors that name it."""
    senders = {name: one for name, one in services.senders.items() if isinstance(one, AlertmanagerSender)}
    if not senders:
        return
    told = [one for one in services.config.monitors if senders.keys() & set(one.receivers)]
    with services.store.read() as conn:
        stand = {monitor.name: _standing(services, conn, monitor) for monitor in told}
    for name, sender in senders.items():
        alerts = [alert for monitor in told if name in monitor.receivers for alert in stand[monitor.name]]
        if alerts:
            _tell(services, name, sender, alerts)


def _tell(services: Services, receiver: str, sender: AlertmanagerSender, alerts: Sequence[Mapping[str, Any]]) -> None:
    integration = services.config.receiver(receiver).integration
    for failure in sender.push(alerts, services.clock.now()):
        services.telemetry.notification_attempted(receiver, integration)
        if failure is not None:
            services.telemetry.notification_failed(receiver, integration, failure.reason)
            log(_logger, WARN, "alertmanager_not_told", f"{failure}; told again in a minute.", receiver=receiver)


def _standing(services: Services, conn: Transaction, monitor: MonitorConfig) -> Sequence[Mapping[str, Any]]:
    """The monitor's alerts as notifications write them."""
    rows = alert_store.firing(conn, monitor.name)
    firing = {row.key for row in rows}
    ended = [one for one in _ended(services, conn, monitor) if one.key not in firing]
    found = [
        *_firing(services, conn, monitor, rows),
        *(_resolved(services, monitor, one) for one in ended),
    ]
    if not found:
        return ()
    alerts: Sequence[Mapping[str, Any]] = document(found, monitor=monitor.name, receiver="")["alerts"]
    return alerts


def _firing(services: Services, conn: Transaction, monitor: MonitorConfig, rows: Sequence[AlertRow]) -> Sequence[Alert]:
    if not rows:
        return ()
    latest = {(one.feature, one.segment): one for one in measurements.latest(conn, monitor.name)}
    specs = references.specs(conn, {one.bin_spec for one in latest.values() if one.bin_spec})
    told = []
    for row in rows:
        measurement = latest.get((row.key.feature, row.key.segment))
        subject = Subject(
            monitor=monitor,
            feature=row.key.feature,
            segment=row.key.segment,
            rule=_rule(monitor, row, row.threshold),
            state=row.alert,
            started_at=row.alert.fired_at or row.last_window,
            measurement=measurement,
            spec=specs.get(measurement.bin_spec) if measurement and measurement.bin_spec else None,
            reason=row.reason or "",
        )
        told.append(announce(subject, AlertStatus.FIRING, row.last_window, services.external_url))
    return told


def _ended(services: Services, conn: Transaction, monitor: MonitorConfig) -> Sequence[Episode]:
    """The last episode of each alert, if an evaluation of these minutes may have ended it."""
    last = runs.last_done(conn, monitor.name)
    if last is None or last.finished_at is None or last.finished_at < services.store.now(conn) - TOLD_AFTER_END:
        return ()
    since = last.key.window_end - monitor.window_length  # windows that were caught up with end earlier
    newest: dict[Any, Episode] = {}
    for one in alert_store.episodes(conn, monitor=monitor.name, since=since):
        newest.setdefault(one.key, one)
    return [one for one in newest.values() if one.closed_window is not None]


def _resolved(services: Services, monitor: MonitorConfig, episode: Episode) -> Alert:
    subject = Subject(
        monitor=monitor,
        feature=episode.key.feature,
        segment=episode.key.segment,
        rule=_rule(monitor, episode, 0.0),
        state=INACTIVE,
        started_at=episode.opened_window,
        measurement=None,
        spec=None,
        reason=episode.close_reason or "",
    )
    end = episode.closed_window or episode.opened_window
    return announce(subject, AlertStatus.RESOLVED, end, services.external_url)


def _rule(monitor: MonitorConfig, of: AlertRow | Episode, threshold: float) -> Rule:
    rules = {rule.id: rule for rule in monitor.rules}
    return rules.get(of.key.rule) or former_rule(of, threshold)
