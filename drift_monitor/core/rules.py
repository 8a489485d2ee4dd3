"""Rules: a metric, a threshold, and the verdict on what was measured in one window.

`above` means strictly above, `below` strictly below: a value equal to the threshold is quiet. A divergence is compared
by its lower 95 % bound unless the rule says otherwise, so that sampling noise alone never fires. For a `below` rule the
careful side is the other one: `lower_bound` compares the *upper* bound there. An infinite divergence (possible only
without smoothing) has no interval; it stands above every threshold and below none. Ratios, rows and freshness are
plain numbers without `on`.

`MeasurementStatus` says what became of a measurement, `Health` how the last evaluation of a monitor went. Neither is
an alert state, and neither ever reads as calm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.errors import InputError


class MeasurementStatus(StrEnum):
    """Whether one feature could be measured in one evaluation."""

    OK = "ok"  # both sides have rows enough: every value is there
    INSUFFICIENT_DATA = "insufficient_data"  # counted, but too few rows or too little of the reference to compare
    NO_DATA = "no_data"  # no live rows or no reference rows: nothing to say
    FAILED = "failed"  # the feature could not be read


class Health(StrEnum):
    """How the last evaluation of a monitor went."""

    UNKNOWN = "unknown"  # never evaluated
    OK = "ok"  # read, computed and stored
    ERROR = "error"  # the source or the store failed; alert states stay as they were


class Comparand(StrEnum):
    """Which number of a divergence is held against the threshold."""

    LOWER_BOUND = "lower_bound"  # the careful end of the 95 % interval: lower for `above`, upper for `below`
    CORRECTED = "corrected"  # less the noise floor
    VALUE = "value"  # as computed


class Severity(StrEnum):
    """How much it matters, least first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return tuple(Severity).index(self)


SURPRISE_LEVEL = 1.0  # a rule on surprise compares it as a multiple of its level ...
SURPRISE_ENDS = 0.5  # ... and ends where it has gone less than half the way from the usual to the level
LEAST_BUDGET = timedelta(days=365)


@dataclass(frozen=True)
class Budget:
    """How many false alarms are put up with: `count` in each `period`."""

    count: int
    period: timedelta

    @property
    def per_hour(self) -> float:
        return self.count / (self.period / timedelta(hours=1))

    def shared_by(self, monitors: int) -> "Budget":
        """One monitor's part, at least one a year."""
        own = self.period / self.count
        return Budget(1, timedelta(hours=round(min(own * monitors, max(LEAST_BUDGET, own)) / timedelta(hours=1))))


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a metric breaches, for how many windows, and how long it keeps firing. One of `above` and `below`.

    `false_alarms`: the budget that a rule on surprise keeps; its threshold is the level that the budget leads to.
    `ends_at`: the part of the way from the usual to that level below which it ends at once, whatever `keep_firing_for`.
    """

    id: str
    metric: Metric
    above: float | None = None
    below: float | None = None
    on: Comparand = Comparand.LOWER_BOUND
    for_windows: int = 1
    keep_firing_for: int = 0
    severity: Severity = Severity.WARNING
    ends_at: float = -math.inf
    false_alarms: Budget | None = None

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise InputError(f"rule {self.id!r} needs one threshold: either above or below")
        if not math.isfinite(self.threshold):
            raise InputError(f"rule {self.id!r} has the threshold {self.threshold}; expected a finite number")
        if self.for_windows < 1:
            raise InputError(f"rule {self.id!r} has for: {self.for_windows}; expected one window or more")
        if self.keep_firing_for < 0:
            raise InputError(f"rule {self.id!r} has keep_firing_for: {self.keep_firing_for}; expected zero or more")

    @property
    def threshold(self) -> float:
        threshold = self.above if self.above is not None else self.below
        return math.nan if threshold is None else threshold

    @property
    def side(self) -> str:
        """Where a breach lies: "above" or "below" the threshold."""
        return "above" if self.above is not None else "below"

    def is_breached_by(self, value: float) -> bool:
        """Strictly beyond the threshold; a value equal to it is quiet."""
        return value > self.threshold if self.above is not None else value < self.threshold

    def worse(self, value: float, other: float | None) -> float:
        """Which of two values lies further on the breaching side."""
        if other is None:
            return value
        return max(value, other) if self.above is not None else min(value, other)


@dataclass(frozen=True)
class Measured:
    """What the rules of one feature (or of the monitor) are judged on in one window."""

    status: MeasurementStatus
    values: Mapping[Metric, Estimate]


class Verdict(StrEnum):
    """What a rule saw in one window."""

    BREACH = "breach"
    QUIET = "quiet"
    CALM = "calm"  # quiet, and so far from the threshold that a firing alert ends at once
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Observation:
    """A verdict with the number it rests on; an unknown one, and only that, has no number and says why in `cause`."""

    verdict: Verdict
    value: float | None
    cause: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if (self.verdict is Verdict.UNKNOWN) != (self.value is None) or self.value != self.value:
            raise InputError(f"a verdict of {self.verdict.value} can't rest on the value {self.value}")


def judge(rule: Rule, measured: Measured) -> Observation:
    """What `rule` saw in a window: breach, quiet, or unknown with its cause."""
    if not rule.metric.is_of_monitor and measured.status is not MeasurementStatus.OK:
        return Observation(Verdict.UNKNOWN, None, cause=measured.status.value)
    value = held_value(rule, measured.values.get(rule.metric))
    if value is None or math.isnan(value):
        return Observation(Verdict.UNKNOWN, None, cause="no value")
    if rule.is_breached_by(value):
        return Observation(Verdict.BREACH, value)
    way = measured.values[rule.metric].corrected
    is_calm = rule.metric is Metric.SURPRISE and way is not None and way < rule.ends_at
    return Observation(Verdict.CALM if is_calm else Verdict.QUIET, value)


def held_value(rule: Rule, estimate: Estimate | None) -> float | None:
    """The number held against the threshold, None where it can't be had."""
    if estimate is None or estimate.value is None:
        return None
    if not rule.metric.is_divergence or math.isinf(estimate.value):
        return estimate.value
    match rule.on:
        case Comparand.LOWER_BOUND:
            return estimate.low if rule.above is not None else estimate.high
        case Comparand.CORRECTED:
            return estimate.corrected
        case Comparand.VALUE:
            return estimate.value
