"""Episodes: an alert from firing to resolved, opened and closed here, and rendered as the events that are dispatched.

What an evaluation changed about its alerts is written inside the transaction that ends it: the alert rows, their
episodes, and one notification a receiver. Ids are derived from what they name, so a repeated commit after a lost
answer, or a restored store, makes the same episodes and the same notifications again.

A monitor that leaves the configuration ends its episodes, too. Nothing configured knows of its alerts any more; the
notification log has what receivers were sent, and an end is written from that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from drift_monitor.alerting import self_monitoring
from drift_monitor.alerting.annotations import AlertContext, render_alert
from drift_monitor.alerting.dispatch import AlertEvent, Context, dispatch
from drift_monitor.alerting.rules import EvaluationResult, Transitions
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import INACTIVE, AlertPhase, AlertState, Change, Transition
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Rule, Severity
from drift_monitor.notify.message import Alert, AlertStatus, alert_from
from drift_monitor.store import alerts, measurements, monitors, notification_log, references
from drift_monitor.store.alerts import AlertKey, AlertRow, Episode
from drift_monitor.store.connection import Transaction
from drift_monitor.words import minute

RECOVERED = "recovered"
REVISED = "revised"  # late rows changed the counts that had made it fire
REMOVED = "removed"  # its feature or rule, or the whole monitor, is no longer configured


@dataclass(frozen=True, kw_only=True)
class AlertChange:
    """One alert's transition in one evaluation; `is_configured`: its rule and feature still belong to the monitor."""

    key: AlertKey
    rule: Rule
    transition: Transition
    before: AlertRow | None
    is_configured: bool

    @property
    def state_before(self) -> AlertState:
        return self.before.alert if self.before else INACTIVE

    @property
    def open_episode(self) -> str | None:
        """The episode that was open before."""
        return self.before.episode_id if self.before else None

    @property
    def status(self) -> AlertStatus | None:
        """What receivers are notified of; None where nothing changed for them."""
        statuses = {Change.FIRED: AlertStatus.FIRING, Change.RESOLVED: AlertStatus.RESOLVED}
        return statuses.get(self.transition.change)


def record(
    services: Services,
    conn: Transaction,
    monitor: MonitorConfig,
    result: EvaluationResult,
    rows: Mapping[AlertKey, AlertRow],
    transitions: Transitions,
    *,
    notify: bool,
) -> list[AlertRow]:
    """Open and close episodes, put the notifications into the outbox; the alert rows, which the caller has to save."""
    rules = {rule.id: rule for rule in monitor.rules}
    measured = {(measurement.feature, measurement.segment) for measurement in result.watched.measurements}
    # In the order of keys: parts of notifications and their ids follow from it, also when a commit is repeated.
    changes = [
        AlertChange(
            key=key,
            rule=rules.get(key.rule) or former_rule(rows[key], rows[key].threshold),
            transition=transition,
            before=rows.get(key),
            is_configured=key.rule in rules
            and (rules[key.rule].metric.is_of_monitor or (key.feature, key.segment) in measured),
        )
        for key, transition in sorted(transitions.items())
    ]
    rows_after = [_row_after(conn, monitor, result, change) for change in changes]
    events = [
        AlertEvent(episode_id=id, alert=_alert(services, monitor, result, change, change.status))
        for change, row in zip(changes, rows_after, strict=True)
        if change.status is not None and (id := row.episode_id or change.open_episode) is not None
    ]
    context = Context(monitor=monitor.name, window_end=result.window.end, revision=result.revision, is_past=not notify)
    dispatch(services, conn, context, monitor.receivers, events)
    return rows_after


def _row_after(conn: Transaction, monitor: MonitorConfig, result: EvaluationResult, change: AlertChange) -> AlertRow:
    """The row after this evaluation, its episode opened, closed or carried on."""
    last_window, last_revision = alerts.stamp(change.before, result.window.end, result.revision)
    return AlertRow(
        monitor=monitor.name,
        key=change.key,
        metric=change.rule.metric.value,
        severity=change.rule.severity.value,
        threshold=change.rule.threshold,
        alert=change.transition.state,
        last_window=last_window,
        last_revision=last_revision,
        episode_id=_episode_after(conn, monitor, result, change),
        reason=change.transition.reason,
    )


def _episode_after(
    conn: Transaction, monitor: MonitorConfig, result: EvaluationResult, change: AlertChange
) -> str | None:
    """The id of the alert's open episode after this evaluation; None where it is not firing."""
    current = change.open_episode
    state = change.transition.state
    match change.transition.change:
        case Change.FIRED:
            episode = Episode(
                monitor=monitor.name,
                key=change.key,
                metric=change.rule.metric.value,
                severity=change.rule.severity.value,
                opened_window=state.fired_at or result.window.end,
                opened_revision=result.revision,
                peak_value=state.peak,
            )
            alerts.open_episode(conn, episode)  # where a lost answer hid that it is stored, this is the same one
            return episode.id
        case Change.RESOLVED:
            if current is not None:
                # A revision of an old window ends no episode before the last window in which it fired.
                window = max(result.window.end, change.before.last_window) if change.before else result.window.end
                recovered = REVISED if result.revision > 0 else RECOVERED
                reason = recovered if change.is_configured else REMOVED
                alerts.close_episode(conn, current, window=window, reason=reason)
            return None
        case _:
            if current is not None and state.peak is not None and state.peak != change.state_before.peak:
                alerts.note_peak(conn, current, state.peak)
            return current


def _alert(
    services: Services, monitor: MonitorConfig, result: EvaluationResult, change: AlertChange, status: AlertStatus
) -> Alert:
    key, end = change.key, result.window.end
    of_series = (
        measurement
        for measurement in result.watched.measurements
        if (measurement.feature, measurement.segment) == (key.feature, key.segment)
    )
    measurement = next(of_series, None)
    state = change.transition.state
    firing = state if state.phase is AlertPhase.FIRING else change.state_before
    context = AlertContext(
        monitor=monitor,
        feature=key.feature,
        segment=key.segment,
        rule=change.rule,
        status=status,
        state=firing,
        started_at=firing.fired_at or end,
        measurement=measurement,
        spec=result.specs.get(measurement.bin_spec) if measurement and measurement.bin_spec else None,
        reason=change.transition.reason,
        measurements=result.watched.measurements,
    )
    alert = render_alert(context, end, services.external_url)
    if result.revision == 0:
        return alert
    remark = f"Amended: late rows changed the window that ended {minute(end)} UTC, and its verdict with it."
    description = f"{remark} {alert.annotations.get('description', '')}".rstrip()
    return replace(alert, annotations={**alert.annotations, "description": description})


def firing_events(services: Services, conn: Transaction, monitor: MonitorConfig) -> Sequence[AlertEvent]:
    """What fires for this monitor, with the latest numbers: alerts of its rules, and those about itself."""
    about_itself = self_monitoring.firing_events(services, conn, monitor)
    rows = alerts.firing(conn, monitor.name)
    if not rows:
        return about_itself
    latest = {
        (measurement.feature, measurement.segment): measurement
        for measurement in measurements.latest(conn, monitor.name)
    }
    specs = references.specs(conn, {measurement.bin_spec for measurement in latest.values() if measurement.bin_spec})
    rules = {rule.id: rule for rule in monitor.rules}
    events = []
    for row in rows:
        measurement = latest.get((row.key.feature, row.key.segment))
        context = AlertContext(
            monitor=monitor,
            feature=row.key.feature,
            segment=row.key.segment,
            rule=rules.get(row.key.rule) or former_rule(row, row.threshold),
            status=AlertStatus.FIRING,
            state=row.alert,
            started_at=row.alert.fired_at or row.last_window,
            measurement=measurement,
            spec=specs.get(measurement.bin_spec) if measurement and measurement.bin_spec else None,
            reason=row.reason or "",
            measurements=tuple(latest.values()),
        )
        if row.episode_id is not None:
            alert = render_alert(context, row.last_window, services.external_url)
            events.append(AlertEvent(episode_id=row.episode_id, alert=alert))
    return (*events, *about_itself)


def resolved_alert(sent: Mapping[str, Any], at: datetime, reason: str) -> Alert:
    """The end of an alert, from what a receiver was sent of its beginning: the same labels and fingerprint."""
    alert = alert_from(sent)
    name = " of ".join(alert.labels[label] for label in ("feature", "monitor") if label in alert.labels)
    # Only addresses stay: numbers of the beginning would be read as those of the end.
    annotations = {
        **{name: text for name, text in alert.annotations.items() if name.endswith("_url")},
        "summary": f"{name}: {alert.labels.get('metric', alert.labels['alertname'])} is over ({reason})",
        "description": f"The alert has ended: {reason}.",
    }
    return replace(alert, status=AlertStatus.RESOLVED, annotations=annotations, ends_at=at, bins=())


def close_removed(services: Services, conn: Transaction, monitor: str) -> None:
    """End all that is open of a removed monitor, and notify the receivers that are still configured."""
    monitors.lock(conn, monitor)
    now = services.store.now(conn)
    ended = alerts.close_episodes(conn, monitor, window=now, reason=REMOVED)
    entries = notification_log.of_episodes(conn, [episode.id for episode in ended])
    reason = "the monitor was removed from the configuration"
    # What was sent of a beginning is the same for all receivers: any entry of an episode will do.
    beginnings = {entry.episode_id: entry.alert for entry in entries}
    events = [
        AlertEvent(episode_id=id, alert=resolved_alert(beginning, now, reason)) for id, beginning in beginnings.items()
    ]
    configured = {receiver.name for receiver in services.config.receivers}
    receivers = sorted({entry.receiver for entry in entries} & configured)
    dispatch(services, conn, Context(monitor=monitor, window_end=now, revision=0), receivers, events)


def former_rule(alert: AlertRow | Episode, threshold: float) -> Rule:
    """A rule that is no longer configured, as far as its alert remembers it."""
    metric = next(metric for metric in Metric if metric.value == alert.metric)
    return Rule(id=alert.key.rule, metric=metric, above=threshold, severity=Severity(alert.severity))
