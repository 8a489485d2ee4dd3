"""From measurements to alert states: what each rule observed, and what that changes.

Pure: states in, transitions out. The caller reads the states and writes the transitions in the transaction that ends
the evaluation.

    measurements ──judge──► observations ──advance──► transitions ──► alert rows, episodes, notifications

A revision of an earlier window is replayed: from the states stored before that window, over the latest observations up
to now. Only where the replay ends elsewhere than the present state does anything change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.core.alerting import INACTIVE, AlertPhase, AlertState, Change, Transition, advance
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import Measured, MeasurementStatus, Observation, Rule, judge
from drift_monitor.core.schedule import Span
from drift_monitor.store.alerts import AlertKey, AlertRecord
from drift_monitor.store.measurements import Measurement

Observations = Mapping[AlertKey, Observation]
States = Mapping[AlertKey, AlertState]
Transitions = Mapping[AlertKey, Transition]
NOT_JUDGED = Estimate(None)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a window's alerts are judged on: every feature's measurement, and the monitor's own numbers."""

    measurements: Sequence[Measurement]
    monitor: Measured


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """One window of a monitor, read and measured, not yet committed.

    `rows` are its live rows, `rows_read` those counted just now.
    """

    window: Span
    revision: int
    rows: int
    rows_read: int
    newest: datetime | None
    watched: Watched
    specs: Mapping[str, BinSpec]


@dataclass(frozen=True, kw_only=True)
class Window:
    """One window as its rules saw it."""

    at: datetime
    revision: int
    observations: Observations


def measured_feature(measurement: Measurement, metrics: Iterable[Metric] = tuple(Metric)) -> Measured:
    """What the rules of a feature are judged on, as far as they ask for it."""
    values = {}
    for metric in metrics:
        if metric.is_divergence:
            values[metric] = measurement.estimate(metric)
        elif metric is Metric.MISSING_RATIO:
            values[metric] = Estimate(measurement.live_missing_ratio)
        elif metric is Metric.UNSEEN_RATIO:
            values[metric] = Estimate(measurement.live_unseen_ratio)
    return Measured(status=measurement.status, values=values)


def measured_monitor(
    rows: int, newest: datetime | None, settled_at: datetime, surprise: Estimate = NOT_JUDGED
) -> Measured:
    """What the rules of the monitor itself are judged on: rows of the window, age of its newest row, its surprise."""
    age = (settled_at - newest).total_seconds() if newest is not None else None
    # Not `now`: an evaluation that catches up sees the age that was.
    values: Mapping[Metric, Estimate] = {
        Metric.ROWS: Estimate(value=float(rows)),
        Metric.FRESHNESS: Estimate(value=age),
        Metric.SURPRISE: surprise,
    }
    return Measured(status=MeasurementStatus.OK, values=values)


def observe(rules: Sequence[Rule], watched: Watched) -> dict[AlertKey, Observation]:
    """What each rule saw of each feature, and of the monitor."""
    asked = {rule.metric for rule in rules}
    features = [
        (measurement.feature, measurement.segment, measured_feature(measurement, asked))
        for measurement in watched.measurements
    ]
    observations: dict[AlertKey, Observation] = {}
    for rule in rules:
        if rule.metric.is_of_monitor:
            observations[AlertKey("", "", rule.id)] = judge(rule, watched.monitor)
            continue
        for feature, segment, measured in features:
            observations[AlertKey(feature, segment, rule.id)] = judge(rule, measured)
    return observations


def advance_all(rules: Sequence[Rule], states: States, window: Window) -> dict[AlertKey, Transition]:
    """One step of every alert that was observed and whose rule is configured."""
    by_id = {rule.id: rule for rule in rules}
    return {
        key: advance(states.get(key, INACTIVE), observation, by_id[key.rule], window.at, window.revision)
        for key, observation in window.observations.items()
        if key.rule in by_id
    }


def removed(states: States, configured: Iterable[AlertKey]) -> dict[AlertKey, Transition]:
    """Alerts whose feature or rule is no longer configured end here."""
    known = set(configured)
    return {
        key: Transition(
            state=INACTIVE,
            change=Change.RESOLVED if state.phase is AlertPhase.FIRING else Change.NONE,
            reason="its feature or rule is no longer configured",
        )
        for key, state in states.items()
        if key not in known and state != INACTIVE
    }


def replay_all(
    rules: Sequence[Rule], before: States, windows: Sequence[Window]
) -> tuple[dict[AlertKey, Transition], ...]:
    """One round of transitions a window, from the states before the first of them."""
    states, rounds = dict(before), []
    for window in windows:
        transitions = advance_all(rules, states, window)
        states.update({key: transition.state for key, transition in transitions.items()})
        rounds.append(transitions)
    return tuple(rounds)


def revised(present: States, rounds: Sequence[Transitions]) -> dict[AlertKey, Transition]:
    """Where the replay ended, as changes of the present: only the difference fires or resolves."""
    ended = {key: transition.state for transitions in rounds for key, transition in transitions.items()}
    changes: dict[AlertKey, Transition] = {}
    for key, state in ended.items():
        was_firing = present.get(key, INACTIVE).phase is AlertPhase.FIRING
        is_firing = state.phase is AlertPhase.FIRING
        # What happened in between is over: people were notified of the present, and hear only how it differs now.
        change = Change.NONE if was_firing == is_firing else Change.FIRED if is_firing else Change.RESOLVED
        reason = "late rows changed the counts of an earlier window"
        changes[key] = Transition(state=state, change=change, reason=reason)
    return changes


def records(observations: Observations, transitions: Transitions) -> tuple[AlertRecord, ...]:
    """Each alert after a window, with what its rule saw."""
    return tuple(
        AlertRecord(key=key, alert=transitions[key].state, observation=observation)
        for key, observation in observations.items()
        if key in transitions
    )
