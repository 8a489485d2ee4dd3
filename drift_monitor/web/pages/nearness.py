"""How near a feature is to its alerts: the number each rule compares, as a share of its threshold.

1 is the threshold, so features with different rules can be put in one order and one heatmap. The number is the one
the rule compares (by default the lower bound of a divergence), never the raw value: noise must not look like drift.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drift_monitor.alerting.rules import measured_feature
from drift_monitor.config.schema import DEFAULT_RULES
from drift_monitor.core.rules import Observation, Rule, judge
from drift_monitor.store.measurements import Measurement

CALM = 0.5  # of a threshold; below it nothing is near


@dataclass(frozen=True, kw_only=True)
class Level:
    """One rule on one measurement. `share` is 1 at the threshold; `compared` the number held against it."""

    rule: Rule
    share: float
    compared: float


def feature_rules(rules: Iterable[Rule]) -> Sequence[Rule]:
    """The rules that watch features; where there are none, the usual ones rank features all the same."""
    return tuple(rule for rule in rules if not rule.metric.is_of_monitor) or DEFAULT_RULES


def levels(rules: Iterable[Rule], one: Measurement) -> list[Level]:
    """One level a rule that has a number, the nearest to its threshold (or furthest beyond it) first."""
    measured = measured_feature(one)
    judged = [(rule, judge(rule, measured)) for rule in rules]
    found = [
        Level(rule=rule, share=_share(rule, seen), compared=seen.value)
        for rule, seen in judged
        if seen.value is not None
    ]
    return sorted(found, key=lambda level: (-level.share, -level.rule.severity.rank))


def telling(found: Sequence[Level]) -> Level | None:
    """The level to show of a feature: the worst, or while all is calm a divergence, which says more than a ratio."""
    worst = next(iter(found), None)
    if worst is None or worst.share >= CALM:
        return worst
    return next((one for one in found if one.rule.metric.is_divergence), worst)


def level(rules: Iterable[Rule], one: Measurement) -> Level | None:
    """The worst level of a measurement; None where it has no number."""
    return next(iter(levels(rules, one)), None)


def _share(rule: Rule, seen: Observation) -> float:
    value, threshold = seen.value, rule.threshold
    if value is None:
        return 0.0
    one, other = (value, threshold) if rule.above is not None else (threshold, value)
    if other > 0:
        return max(one, 0.0) / other
    return math.inf if rule.is_breached_by(value) else 0.0
