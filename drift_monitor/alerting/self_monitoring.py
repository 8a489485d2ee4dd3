"""Self-monitoring: alerts about the monitors and their receivers, severity warning, to the same receivers.

    MonitorFailing   three evaluations in a row failed or could not start behind one that fails, or one hour of it;
                     over with the next evaluation that succeeds
    MonitorStale     the last success is older than three intervals, though nothing failed: nobody evaluates
    ReceiverFailing  a receiver has accepted none of its last tries for minutes; told to all others by the first
                     monitor that names it; over with the next message that it accepts

Each is an episode of its own and no drift alert: neither raises nor resolves one. The open episode is the whole state.
A monitor that fails is not called stale as well. Time in which nobody watched (the daemon was stopped, the machine
slept) makes nothing stale.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from drift_monitor.alerting.annotations import SelfAlert, dashboard_url, monitor_url, runbook_url, self_labels
from drift_monitor.alerting.dispatch import AlertEvent, Context, dispatch
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.rules import Severity
from drift_monitor.core.schedule import interval
from drift_monitor.core.times import format_duration
from drift_monitor.notify.message import Alert, AlertStatus, fingerprint
from drift_monitor.store import alerts, monitors, notification_log, outbox, runs
from drift_monitor.store.alerts import AlertKey, Episode
from drift_monitor.store.connection import Transaction
from drift_monitor.telemetry.logs import apart
from drift_monitor.words import minute

_logger = logging.getLogger(__name__)
RECOVERED = "recovered"
FAILURES = 3  # one failed evaluation is retried, and mostly succeeds: it pages nobody
LONGEST_STREAK = timedelta(hours=1)  # a monitor that runs daily would need three days for three failures
STALE_INTERVALS = 3  # one may be late and the next one catch up


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is wrong with a monitor, and what a person should know of it."""

    kind: SelfAlert
    summary: str
    description: str


def check_monitors(services: Services, watching_since: datetime) -> None:
    """One round: open and close episodes, and dispatch. Only a monitor for which something changed takes a write."""
    for monitor in services.config.monitors:
        with apart(_logger, "Whether a monitor is evaluated could not be checked.", monitor=monitor.name):
            with services.store.read() as conn:
                is_settled = _changes(services, conn, monitor, watching_since) == ((), ())
            if not is_settled:
                services.store.transact(partial(_write, services, monitor, watching_since))


def firing_events(services: Services, conn: Transaction, monitor: MonitorConfig) -> Sequence[AlertEvent]:
    """The open episodes of this kind, with what is known now."""
    conditions = {condition.kind: condition for condition in _examine(services, conn, monitor, None)}
    return [
        AlertEvent(
            episode_id=episode.id,
            alert=_alert(services, monitor, episode, conditions.get(SelfAlert(episode.key.rule))),
        )
        for episode in _open_episodes(conn, monitor)
    ]


def _write(services: Services, monitor: MonitorConfig, watching_since: datetime, conn: Transaction) -> None:
    monitors.lock(conn, monitor.name)  # replicas check the same monitors: what the other has opened is seen here
    now = services.store.now(conn)
    began, ended = _changes(services, conn, monitor, watching_since)
    events = []
    for condition in began:
        episode = Episode(
            monitor=monitor.name,
            key=AlertKey("", "", condition.kind.value),
            metric=condition.kind.metric,
            severity=Severity.WARNING.value,
            opened_window=now,
            opened_revision=0,
        )
        if alerts.open_episode(conn, episode):
            events.append(AlertEvent(episode_id=episode.id, alert=_alert(services, monitor, episode, condition)))
    for episode in ended:
        alerts.close_episode(conn, episode.id, window=now, reason=RECOVERED)
        of_receiver = episode.key.rule == SelfAlert.RECEIVER
        text = f"{monitor.name}: {'its receiver accepts messages' if of_receiver else 'its evaluations succeed'} again"
        fired = _alert(services, monitor, episode, None)
        annotations = {**fired.annotations, "summary": text, "description": f"{text}, since {minute(now)} UTC."}
        alert = replace(fired, status=AlertStatus.RESOLVED, annotations=annotations, ends_at=now)
        events.append(AlertEvent(episode_id=episode.id, alert=alert))
    context = Context(monitor=monitor.name, window_end=now, revision=0)
    about_receivers = {event.episode_id for event in events if event.alert.labels["alertname"] == SelfAlert.RECEIVER}
    own = [event for event in events if event.episode_id not in about_receivers]
    dispatch(services, conn, context, monitor.receivers, own)
    for event in events:
        if event.episode_id in about_receivers:
            dispatch(services, conn, replace(context, repeated_at=now), _others(services, conn, event), [event])


def _changes(
    services: Services, conn: Transaction, monitor: MonitorConfig, watching_since: datetime
) -> tuple[tuple[Condition, ...], tuple[Episode, ...]]:
    """What began and what is over."""
    conditions = {condition.kind: condition for condition in _examine(services, conn, monitor, watching_since)}
    opened = {SelfAlert(episode.key.rule): episode for episode in _open_episodes(conn, monitor)}
    # Who fails can't succeed: that it is stale, too, would page twice for one cause.
    beginning = set(conditions) - ({SelfAlert.STALE} if SelfAlert.FAILING in conditions else set())
    return (
        tuple(conditions[kind] for kind in sorted(beginning - opened.keys())),
        tuple(opened[kind] for kind in sorted(opened.keys() - conditions.keys())),
    )


def _open_episodes(conn: Transaction, monitor: MonitorConfig) -> Sequence[Episode]:
    kinds = {kind.value for kind in SelfAlert}
    opened = alerts.open_episodes(conn, monitor.name)
    # A rule of the user's may have such a name; its alerts are of features.
    return [episode for episode in opened if episode.key.rule in kinds and not episode.key.feature]


def _examine(
    services: Services, conn: Transaction, monitor: MonitorConfig, watching_since: datetime | None
) -> Sequence[Condition]:
    now = services.store.now(conn)
    conditions = []
    streak = monitors.failure_streak(conn, monitor.name)
    if streak is not None and (streak.failures >= FAILURES or now - streak.since >= LONGEST_STREAK):
        description = (
            f"No evaluation has succeeded since {minute(streak.since)} UTC, when the first one failed; "
            f"{streak.failures} in a row. The last error: {streak.error} "
            "Drift alerts stay as they are meanwhile: they neither fire nor resolve."
        )
        summary = f"{monitor.name}: its evaluations fail"
        conditions.append(Condition(kind=SelfAlert.FAILING, summary=summary, description=description))
    # The first monitor that names a receiver tells of it, and not each.
    own = [name for name in monitor.receivers if _first_naming(services, name) == monitor.name]
    refusing = [found for found in outbox.refusing(conn) if found.receiver in own] if own else []
    if refusing:
        names = ", ".join(found.receiver for found in refusing)
        description = " ".join(
            f"{found.receiver} has accepted none of {found.tries} tries since {minute(found.since)} UTC. "
            f"The last error: {found.last_error}."
            for found in refusing
        )
        summary = f"Receiver {names} accepts no message"
        conditions.append(Condition(kind=SelfAlert.RECEIVER, summary=summary, description=description))
    last = runs.last_done(conn, monitor.name)
    success = last.finished_at if last else None
    signs = (success, monitors.enabled_at(conn, monitor.name), watching_since)
    if now - max((sign for sign in signs if sign), default=now) > STALE_INTERVALS * interval(monitor.schedule):
        heard = f"last succeeded at {minute(success)} UTC" if success else "has never succeeded"
        description = (
            f"An evaluation {heard}; one is due every {format_duration(interval(monitor.schedule))}. "
            "Look whether the service has workers to spare and whether it logs errors."
        )
        summary = f"{monitor.name}: nothing was evaluated for more than {STALE_INTERVALS} intervals"
        conditions.append(Condition(kind=SelfAlert.STALE, summary=summary, description=description))
    return conditions


def _others(services: Services, conn: Transaction, event: AlertEvent) -> Sequence[str]:
    """Who is told that a receiver fails: all that don't; and of its end those who know."""
    if event.is_beginning:
        failing = {found.receiver for found in outbox.refusing(conn)}
        return [receiver.name for receiver in services.config.receivers if receiver.name not in failing]
    entries = notification_log.of_episodes(conn, [event.episode_id])
    return [entry.receiver for entry in entries if entry.receiver in services.senders]


def _first_naming(services: Services, receiver: str) -> str | None:
    return next((monitor.name for monitor in services.config.monitors if receiver in monitor.receivers), None)


def _alert(services: Services, monitor: MonitorConfig, episode: Episode, condition: Condition | None) -> Alert:
    """The alert that fires; without a condition (it is about to end) it says only its name."""
    page = monitor_url(services.external_url, monitor.name)
    annotations = {
        "summary": condition.summary if condition else f"{monitor.name}: {episode.key.rule}",
        "description": condition.description if condition else "",
        "dashboard_url": dashboard_url(monitor.grafana_url or "", monitor.name, "") or page,
        "runbook_url": runbook_url(services.external_url, episode.key.rule),
        **monitor.annotations,
    }
    return Alert(
        status=AlertStatus.FIRING,
        labels=self_labels(monitor, episode.key.rule),
        annotations={name: text for name, text in annotations.items() if text},
        starts_at=episode.opened_window,
        fingerprint=fingerprint(monitor=monitor.name, feature="", segment="", rule=episode.key.rule),
        generator_url=page,
    )
