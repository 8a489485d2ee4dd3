"""Alerts about the monitors themselves: `MonitorFailing` and `MonitorStale`, severity warning, to the same receivers.

    MonitorFailing   three evaluations in a row failed or could not start behind one that fails, or one hour of it;
                     over with the next evaluation that succeeds
    MonitorStale     the last success is older than three intervals, though nothing failed: nobody evaluates

Each is an episode of its own and no drift alert: neither raises nor resolves one. The open episode is the whole state.
A monitor that fails is not called stale as well. Time in which nobody watched (the daemon was stopped, the machine
slept) makes nothing stale.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from drift_monitor.alerting.dispatch import AlertEvent, Context, dispatch
from drift_monitor.alerting.labels import SelfAlert, dashboard_url, monitor_url, runbook_url, self_labels
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.rules import Severity
from drift_monitor.core.schedule import interval
from drift_monitor.core.times import format_duration
from drift_monitor.notify.message import Alert, AlertStatus, fingerprint
from drift_monitor.store import alerts, failure_streak, monitors, runs
from drift_monitor.store.alerts import AlertKey, Episode
from drift_monitor.store.connection import Transaction
from drift_monitor.store.failure_streak import FailureStreak
from drift_monitor.words import minute

RECOVERED = "recovered"
FAILURES = 3
LONGEST_TROUBLE = timedelta(hours=1)
STALE_INTERVALS = 3


@dataclass(frozen=True, kw_only=True)
class Condition:
    """An ailment, and what a person should know of it."""

    ailment: SelfAlert
    summary: str
    description: str


def check_monitors(services: Services, watching_since: datetime) -> None:
    """One round: open and close these episodes, and tell. Only what changed takes a write."""
    for monitor in services.config.monitors:
        with services.store.read() as conn:
            is_settled = _changes(services, conn, monitor, watching_since) == ((), ())
        if not is_settled:
            services.store.transact(partial(_write, services, monitor, watching_since))


def firing_events(services: Services, conn: Transaction, monitor: MonitorConfig) -> Sequence[AlertEvent]:
    """The episodes of this kind that are open, as receivers are told now."""
    found = {one.ailment: one for one in _examine(services, conn, monitor, None)}
    return [
        AlertEvent(episode_id=one.id, alert=_alert(services, monitor, one, found.get(SelfAlert(one.key.rule))))
        for one in _open(conn, monitor)
    ]


def _write(services: Services, monitor: MonitorConfig, watching_since: datetime, conn: Transaction) -> None:
    monitors.lock(conn, monitor.name)
    now = services.store.now(conn)
    began, ended = _changes(services, conn, monitor, watching_since)
    news = []
    for finding in began:
        episode = Episode(
            monitor=monitor.name,
            key=AlertKey("", "", finding.ailment.value),
            metric=finding.ailment.metric,
            severity=Severity.WARNING.value,
            opened_window=now,
            opened_revision=0,
        )
        if alerts.open_episode(conn, episode):
            news.append(AlertEvent(episode_id=episode.id, alert=_alert(services, monitor, episode, finding)))
    for episode in ended:
        alerts.close_episode(conn, episode.id, window=now, reason=RECOVERED)
        news.append(AlertEvent(episode_id=episode.id, alert=_over(services, monitor, episode, now)))
    dispatch(services, conn, Context(monitor=monitor.name, window_end=now), monitor.receivers, news)


def _changes(
    services: Services, conn: Transaction, monitor: MonitorConfig, watching_since: datetime
) -> tuple[tuple[Condition, ...], tuple[Episode, ...]]:
    """What began and what is over."""
    found = {one.ailment: one for one in _examine(services, conn, monitor, watching_since)}
    opened = {SelfAlert(one.key.rule): one for one in _open(conn, monitor)}
    told = {SelfAlert.FAILING} if SelfAlert.FAILING in found else set(found)
    return (
        tuple(found[ailment] for ailment in sorted(told - opened.keys())),
        tuple(opened[ailment] for ailment in sorted(opened.keys() - found.keys())),
    )


def _open(conn: Transaction, monitor: MonitorConfig) -> Sequence[Episode]:
    names = {one.value for one in SelfAlert}
    return [one for one in alerts.open_episodes(conn, monitor.name) if one.key.rule in names and not one.key.feature]


def _examine(
    services: Services, conn: Transaction, monitor: MonitorConfig, watching_since: datetime | None
) -> Sequence[Condition]:
    now = services.store.now(conn)
    found = []
    trouble = failure_streak.find(conn, monitor.name)
    if trouble is not None and (trouble.failures >= FAILURES or now - trouble.since >= LONGEST_TROUBLE):
        found.append(_failing(monitor, trouble))
    last = runs.last_done(conn, monitor.name)
    success = last.finished_at if last else None
    configured = monitors.enabled_at(conn, monitor.name)
    heard = max((one for one in (success, configured, watching_since) if one), default=now)
    if now - heard > STALE_INTERVALS * interval(monitor.schedule):
        found.append(_stale(monitor, success))
    return found


def _failing(monitor: MonitorConfig, trouble: FailureStreak) -> Condition:
    return Condition(
        ailment=SelfAlert.FAILING,
        summary=f"{monitor.name}: its evaluations fail",
        description=(
            f"No evaluation has succeeded since {minute(trouble.since)} UTC, when the first one failed; "
            f"{trouble.failures} in a row. The last error: {trouble.error} "
            "Drift alerts stay as they are meanwhile: they neither fire nor resolve."
        ),
    )


def _stale(monitor: MonitorConfig, success: datetime | None) -> Condition:
    heard = f"last succeeded at {minute(success)} UTC" if success else "has never succeeded"
    return Condition(
        ailment=SelfAlert.STALE,
        summary=f"{monitor.name}: nothing was evaluated for more than {STALE_INTERVALS} intervals",
        description=(
            f"An evaluation {heard}; one is due every {format_duration(interval(monitor.schedule))}. "
            "Look whether the service has workers to spare and whether it logs errors."
        ),
    )


def _alert(services: Services, monitor: MonitorConfig, episode: Episode, finding: Condition | None) -> Alert:
    """The alert that fires; without a finding (it is about to end) it says only its name."""
    page = monitor_url(services.external_url, monitor.name)
    texts = {
        "summary": finding.summary if finding else f"{monitor.name}: {episode.key.rule}",
        "description": finding.description if finding else "",
        "dashboard_url": dashboard_url(monitor.grafana_url or "", monitor.name, "") or page,
        "runbook_url": runbook_url(services.external_url, episode.key.rule),
        **monitor.annotations,
    }
    return Alert(
        status=AlertStatus.FIRING,
        labels=self_labels(monitor, episode.key.rule),
        annotations={name: text for name, text in texts.items() if text},
        starts_at=episode.opened_window,
        fingerprint=fingerprint(monitor=monitor.name, feature="", segment="", rule=episode.key.rule),
        generator_url=page,
    )


def _over(services: Services, monitor: MonitorConfig, episode: Episode, at: datetime) -> Alert:
    text = f"{monitor.name}: its evaluations succeed again"
    fired = _alert(services, monitor, episode, None)
    annotations = {**fired.annotations, "summary": text, "description": f"{text}, since {minute(at)} UTC."}
    return replace(fired, status=AlertStatus.RESOLVED, annotations=annotations, ends_at=at)
