"""Alerts as a pure state machine over windows: what a rule saw, what that changes, and why.

A rule watches one metric of one feature (or of the monitor). Each window gives it one observation (`judge`), and
`advance` turns state and observation into the next state with the reason in words. Time is counted in windows, never
on a clock: a restart, a pause or a second replica can neither stretch nor shrink `for` and `keep_firing_for`.

              breach number 1 .. for-1          breach number `for`
    ┌──────────┐ ──────────────────► ┌─────────┐ ──────────────────► ┌────────┐ ──┐ breach, or one of the first
    │ inactive │       pending       │ pending │        fired        │ firing │   │ `keep_firing_for` quiet windows
    └──────────┘ ◄────────────────── └─────────┘                     └────────┘ ◄─┘ in a row: none
      ▲      │          quiet                                          ▲    │
      │      │        cancelled                                        │    │
      │      └───────────── breach, when `for` is 1: fired ────────────┘    │
      └──────────── quiet number `keep_firing_for` + 1 in a row: resolved ──┘

`unknown` is drawn nowhere because it moves nothing: it neither counts nor resets.

**Changes.** `pending`, `fired`, `resolved` and `cancelled` are the edges between two states; `none` is every step that
stays. Only `fired` and `resolved` are told to people; they open and close an episode.

**Failures.** A feature whose measurement is `insufficient_data`, `no_data` or `failed` is `unknown` to all its rules:
our own outage reads neither as drift nor as recovery. `rows` and `freshness` are judged whatever the status, for an
empty table is just what they watch; without any known row the freshness is `unknown`. Windows that were skipped are
not observed at all, which comes to the same.

**Late rows.** A revision of an old window is replayed: the same `advance` from the state stored before that window,
over the latest observation of each window since. Replay and live advance are one function and can't disagree.

**Changed rules.** State belongs to a rule's id. A rule that changes while its alert is pending or firing goes on from
the counts it has; the new threshold and numbers hold from the next window on.

Not promised here: that each window comes once and in order. The store guards that with (window_end, revision).

Sources: Prometheus `rules/alerting.go` for the states, `for` and `keep_firing_for`, counted in time there; the practice
of uptime monitors, learnt the hard way, that one's own outage is no news of the thing watched.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self

from drift_monitor.core.rules import Comparand, Observation, Rule, Verdict
from drift_monitor.errors import InputError


class AlertPhase(StrEnum):
    """Where an alert stands."""

    INACTIVE = "inactive"
    PENDING = "pending"  # breached, but for fewer windows than the rule wants
    FIRING = "firing"


@dataclass(frozen=True, kw_only=True)
class AlertState:
    """Everything `advance` needs to know of the past. States that can't be are refused.

    `breaches`, `quiets`: how many in a row, up to now. `since`: end of the window of the first breach of this run.
    `fired_at`, `fired_revision`: the window in which it fired. `peak`: the value furthest beyond the threshold since
    `since`. `value`: the last known value. An inactive alert remembers nothing.
    """

    phase: AlertPhase = AlertPhase.INACTIVE
    breaches: int = 0
    quiets: int = 0
    since: datetime | None = None
    fired_at: datetime | None = None
    fired_revision: int | None = None
    peak: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        numbers = (self.since, self.peak, self.value)
        fired = (self.fired_at, self.fired_revision)
        match self.phase:
            case AlertPhase.INACTIVE:
                is_possible = self.breaches == self.quiets == 0 and {*numbers, *fired} == {None}
            case AlertPhase.PENDING:
                is_possible = self.breaches > 0 == self.quiets and None not in numbers and {*fired} == {None}
            case AlertPhase.FIRING:
                counted = min(self.breaches, self.quiets) == 0 < max(self.breaches, self.quiets)
                is_possible = counted and None not in numbers + fired
        if not is_possible:
            raise InputError(f"no alert can be in this state: {self!r}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: instants as RFC 3339, an infinite number as text."""
        return {
            "phase": self.phase.value,
            "breaches": self.breaches,
            "quiets": self.quiets,
            "since": _instant_to_json(self.since),
            "fired_at": _instant_to_json(self.fired_at),
            "fired_revision": self.fired_revision,
            "peak": _number_to_json(self.peak),
            "value": _number_to_json(self.value),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            phase=AlertPhase(document["phase"]),
            breaches=document["breaches"],
            quiets=document["quiets"],
            since=_instant_from_json(document["since"]),
            fired_at=_instant_from_json(document["fired_at"]),
            fired_revision=document["fired_revision"],
            peak=_number_from_json(document["peak"]),
            value=_number_from_json(document["value"]),
        )


INACTIVE = AlertState()


class Change(StrEnum):
    """Which edge of the drawing a step took."""

    NONE = "none"
    PENDING = "pending"
    FIRED = "fired"
    RESOLVED = "resolved"
    CANCELLED = "cancelled"  # pending to inactive: nobody was told, nobody need be


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One step: the state after it, what changed, and why, in words for a person."""

    state: AlertState
    change: Change
    reason: str


class ReplayStep(NamedTuple):
    """One window of a replay."""

    at: datetime
    revision: int
    observation: Observation


def advance(state: AlertState, observation: Observation, rule: Rule, at: datetime, revision: int) -> Transition:
    """The next step of an alert. `at`: end of the observed window; `revision`: which reading of it."""
    value = observation.value
    if value is None:
        cause = f" ({observation.cause})" if observation.cause else ""
        reason = f"{rule.metric.value} unknown{cause}: stays {state.phase.value}"
        return Transition(state=state, change=Change.NONE, reason=reason)
    if observation.verdict is Verdict.BREACH:
        after = replace(
            state,
            phase=AlertPhase.PENDING if state.phase is AlertPhase.INACTIVE else state.phase,
            breaches=state.breaches + 1,
            quiets=0,
            since=state.since or at,
            peak=rule.worse(value, state.peak),
            value=value,
        )
        finding = f"{_finding(rule, value)} {rule.side} {_threshold_text(rule.threshold)}"
        if state.phase is AlertPhase.FIRING:
            return Transition(state=after, change=Change.NONE, reason=f"{finding}: still firing")
        reason = f"{finding} for {after.breaches} of {_windows(rule.for_windows)}"
        if after.breaches >= rule.for_windows:
            fired = replace(after, phase=AlertPhase.FIRING, fired_at=at, fired_revision=revision)
            return Transition(state=fired, change=Change.FIRED, reason=reason)
        change = Change.PENDING if state.phase is AlertPhase.INACTIVE else Change.NONE
        return Transition(state=after, change=change, reason=reason)
    finding = f"{_finding(rule, value)} not {rule.side} {_threshold_text(rule.threshold)}"
    if state.phase is AlertPhase.INACTIVE:
        return Transition(state=INACTIVE, change=Change.NONE, reason=finding)
    if state.phase is AlertPhase.PENDING:
        reason = f"{finding} after {state.breaches} of {_windows(rule.for_windows)}"
        return Transition(state=INACTIVE, change=Change.CANCELLED, reason=reason)
    quiets = state.quiets + 1
    reason = f"{finding} for {_windows(quiets)}"
    if quiets > rule.keep_firing_for or observation.verdict is Verdict.CALM:
        return Transition(state=INACTIVE, change=Change.RESOLVED, reason=reason)
    left = rule.keep_firing_for + 1 - quiets
    held = replace(state, breaches=0, quiets=quiets, value=value)
    return Transition(state=held, change=Change.NONE, reason=f"{reason}: keeps firing, resolves after {left} more")


def replay(before: AlertState, steps: Iterable[ReplayStep], rule: Rule) -> list[Transition]:
    """One transition a step, from the state stored before the first of them. Windows must come in order."""
    transitions: list[Transition] = []
    state, last = before, None
    for at, revision, observation in steps:
        if last is not None and at <= last:
            raise InputError(f"windows must be replayed in order: {at.isoformat()} follows {last.isoformat()}")
        transition = advance(state, observation, rule, at, revision)
        transitions.append(transition)
        state, last = transition.state, at
    return transitions


def _finding(rule: Rule, value: float) -> str:
    metric, comparand = rule.metric, ""
    if metric.is_divergence and rule.on is Comparand.CORRECTED:
        comparand = " corrected"
    elif metric.is_divergence and rule.on is Comparand.LOWER_BOUND:
        comparand = " lower bound" if rule.above is not None else " upper bound"
    unit = f" {metric.unit}" if metric.is_of_monitor and metric.unit else ""
    return f"{metric.value}{comparand} {_number_text(value, rule.threshold)}{unit}"


def _number_text(value: float, threshold: float) -> str:
    """Short, but never so short that a value reads like a threshold it differs from."""
    if value == threshold:
        return _threshold_text(threshold)
    short = f"{value:.3g}" if abs(value) < 1000 or math.isinf(value) else f"{value:.0f}"
    texts = (short, f"{value:.6g}", f"{value:.12g}")
    return next((text for text in texts if float(text) != threshold), repr(value))


def _threshold_text(threshold: float) -> str:
    return f"{threshold:.12g}"


def _windows(count: int) -> str:
    return "1 window" if count == 1 else f"{count} windows"


def _instant_to_json(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


def _instant_from_json(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _number_to_json(number: float | None) -> float | str | None:
    return number if number is None or math.isfinite(number) else str(number)


def _number_from_json(number: float | str | None) -> float | None:
    return None if number is None else float(number)
