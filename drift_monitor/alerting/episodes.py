"""Write what an evaluation changed about its alerts: the alert rows, their episodes, and one notification a receiver.

Everything here happens inside the transaction that ends the evaluation. Ids are derived from what they name, so a
repeated commit after a lost answer, or a restored store, makes the same episodes and the same notifications again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from drift_monitor.alerting.annotations import AlertContext, render_alert
from drift_monitor.alerting.dispatch import AlertEvent, Context, dispatch
from drift_monitor.alerting.outcome import EvaluationResult
from drift_monitor.alerting.rules import Transitions
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.alerting import INACTIVE, AlertPhase, AlertState, Change, Transition
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Rule, Severity
from drift_monitor.notify.message import Alert, AlertStatus
from drift_monitor.store import alerts as alert_store
from drift_monitor.store.alerts import AlertKey, AlertRow, Episode
from drift_monitor.store.connection import Transaction
from drift_monitor.words import minute

RECOVERED = "recovered"
REVISED = "revised"  # late rows changed the counts that had made it fire
REMOVED = "removed"  # its feature or rule is no longer configured


@dataclass(frozen=True, kw_only=True)
class AlertChange:
    """One alert's transition in one evaluation, with its row before."""

    key: AlertKey
    rule: Rule
    transition: Transition
    before: AlertRow | None

    @property
    def state_before(self) -> AlertState:
        return self.before.alert if self.before else INACTIVE

    @property
    def open_episode(self) -> str | None:
        """The episode that was open before."""
        return self.before.episode_id if self.before else None

    @property
    def status(self) -> AlertStatus | None:
        """What people are told; None where nothing changed for them."""
        match self.transition.change:
            case Change.FIRED:
                return AlertStatus.FIRING
            case Change.RESOLVED:
                return AlertStatus.RESOLVED
            case _:
                return None


def record(
    services: Services,
    conn: Transaction,
    monitor: MonitorConfig,
    outcome: EvaluationResult,
    rows: Mapping[AlertKey, AlertRow],
    transitions: Transitions,
    *,
    notify: bool,
) -> None:
    """Write alert rows, open and close episodes, and put the notifications into the outbox."""
    rules = {rule.id: rule for rule in monitor.rules}
    turns = [
        AlertChange(
            key=key,
            rule=rules.get(key.rule) or former_rule(rows[key], rows[key].threshold),
            transition=one,
            before=rows.get(key),
        )
        for key, one in sorted(transitions.items())
    ]
    written = [
        _alert_row(conn, monitor, outcome, turn, configured=turn.key.rule in rules and _is_watched(outcome, turn))
        for turn in turns
    ]
    alert_store.save(conn, written)
    news = [
        AlertEvent(episode_id=id, alert=_alert(services, monitor, outcome, turn))
        for turn, row in zip(turns, written, strict=True)
        if turn.status is not None and (id := row.episode_id or turn.open_episode) is not None
    ]
    occasion = Context(monitor=monitor.name, window_end=outcome.window.end, revision=outcome.revision)
    dispatch(services, conn, occasion, monitor.receivers, news, is_past=not notify)


def _is_watched(outcome: EvaluationResult, turn: AlertChange) -> bool:
    """Whether the alert's feature still belongs to the monitor."""
    if turn.rule.metric.is_of_monitor:
        return True
    return any((one.feature, one.segment) == turn.key[:2] for one in outcome.watched.measurements)


def _alert_row(
    conn: Transaction, monitor: MonitorConfig, outcome: EvaluationResult, turn: AlertChange, *, configured: bool
) -> AlertRow:
    """The row after this evaluation, its episode opened, closed or carried on."""
    last_window, last_revision = alert_store.stamp(turn.before, outcome.window.end, outcome.revision)
    return AlertRow(
        monitor=monitor.name,
        key=turn.key,
        metric=turn.rule.metric.value,
        severity=turn.rule.severity.value,
        threshold=turn.rule.threshold,
        alert=turn.transition.state,
        last_window=last_window,
        last_revision=last_revision,
        episode_id=_episode(conn, monitor, outcome, turn, configured=configured),
        reason=turn.transition.reason,
    )


def _episode(
    conn: Transaction, monitor: MonitorConfig, outcome: EvaluationResult, turn: AlertChange, *, configured: bool
) -> str | None:
    """The id of the alert's open episode after this evaluation; None where it is not firing."""
    current = turn.open_episode
    state = turn.transition.state
    match turn.transition.change:
        case Change.FIRED:
            episode = Episode(
                monitor=monitor.name,
                key=turn.key,
                metric=turn.rule.metric.value,
                severity=turn.rule.severity.value,
                opened_window=state.fired_at or outcome.window.end,
                opened_revision=outcome.revision,
                peak_value=state.peak,
            )
            alert_store.open_episode(conn, episode)
            return episode.id
        case Change.RESOLVED:
            if current is not None:
                window = max(outcome.window.end, turn.before.last_window) if turn.before else outcome.window.end
                alert_store.close_episode(conn, current, window=window, reason=_reason(outcome, configured=configured))
            return None
        case _:
            if current is not None and state.peak is not None and state.peak != turn.state_before.peak:
                alert_store.note_peak(conn, current, state.peak)
            return current


def _reason(outcome: EvaluationResult, *, configured: bool) -> str:
    if not configured:
        return REMOVED
    return REVISED if outcome.revision > 0 else RECOVERED


def _alert(services: Services, monitor: MonitorConfig, outcome: EvaluationResult, turn: AlertChange) -> Alert:
    measurement = next(
        (
            one
            for one in outcome.watched.measurements
            if (one.feature, one.segment) == (turn.key.feature, turn.key.segment)
        ),
        None,
    )
    status = turn.status or AlertStatus.RESOLVED
    firing = turn.transition.state if turn.transition.state.phase is AlertPhase.FIRING else turn.state_before
    subject = AlertContext(
        monitor=monitor,
        feature=turn.key.feature,
        segment=turn.key.segment,
        rule=turn.rule,
        state=firing,
        started_at=firing.fired_at or outcome.window.end,
        measurement=measurement,
        spec=outcome.specs.get(measurement.bin_spec) if measurement and measurement.bin_spec else None,
        reason=turn.transition.reason,
    )
    alert = render_alert(subject, status, outcome.window.end, services.external_url)
    return _amended(alert, outcome) if outcome.revision > 0 else alert


def _amended(alert: Alert, outcome: EvaluationResult) -> Alert:
    """The alert with the remark that an earlier verdict is replaced."""
    end = f"{minute(outcome.window.end)} UTC"
    remark = f"Amended: late rows changed the window that ended {end}, and its verdict with it."
    told = alert.annotations.get("description", "")
    return replace(alert, annotations={**alert.annotations, "description": f"{remark} {told}".rstrip()})


def former_rule(of: AlertRow | Episode, threshold: float) -> Rule:
    """A rule that is no longer configured, as far as its alert remembers it."""
    metric = next(one for one in Metric if one.value == of.metric)
    return Rule(id=of.key.rule, metric=metric, above=threshold, severity=Severity(of.severity))
