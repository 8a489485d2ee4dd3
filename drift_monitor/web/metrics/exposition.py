"""A snapshot as the text of metrics: pure, bounded, and unable to fail on what a user's table holds.

Values that are not finite are left out, label values are cleaned, equal label sets (two names that clean to the same
text) are written once. A budget bounds the series: the outbox and the monitors come first, then the features, worst
first, each whole or not at all; what is left out is counted. A feature that fires an alert is always among the worst,
so the budget does not resolve it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drift_monitor.core.divergence import Metric
from drift_monitor.web.metrics import families
from drift_monitor.web.metrics.encoding import encode, series_text
from drift_monitor.web.metrics.families import Family
from drift_monitor.web.metrics.snapshot import (
    FeatureSnapshot,
    MonitorSnapshot,
    QueueSnapshot,
    RuleSnapshot,
    Snapshot,
    only,
    without_stale,
)

DEFAULT_MAX_SERIES = 10_000
# A PSI of 0.25 is the usual line of "large"; it ranks features that have no rule.
_PSI_WITHOUT_RULE = 0.25


@dataclass(frozen=True, kw_only=True)
class Exposition:
    """The families as text (see `encoding`), how many series they hold and how many the budget left out."""

    text: str
    series: int
    dropped: int


# Series as text, with their values. Texts and numbers in a dictionary cost the garbage collector nothing; an object for
# each series was a third of the time of a large scrape.
_Block = dict[str, float]


def expose(
    snapshot: Snapshot, at: datetime, *, max_series: int = DEFAULT_MAX_SERIES, monitors: frozenset[str] | None = None
) -> Exposition:
    """What may be shown of the snapshot at `at`, of all monitors or of those named."""
    shown = without_stale(snapshot if monitors is None else only(snapshot, monitors), at)
    kept: _Block = {}
    dropped = 0
    full = False
    for block in _blocks(shown):
        fresh = {series: value for series, value in block.items() if series not in kept}
        full = full or len(kept) + len(fresh) > max_series
        if full:
            dropped += len(fresh)
        else:
            kept.update(fresh)
    return Exposition(text=encode(kept), series=len(kept), dropped=dropped)


def _blocks(snapshot: Snapshot) -> Iterator[_Block]:
    """Series that are kept or left out together, the most important first."""
    yield _queue_series(snapshot.queues)
    for monitor in snapshot.monitors:
        yield _monitor_series(monitor)
    ranked: list[tuple[tuple[bool, float, str, str, str], _Block]] = []
    for monitor in snapshot.monitors:
        rules = _rules_by_feature(monitor.rules)
        for feature in _features(monitor):
            own = rules.get((feature.feature, feature.segment), [])
            firing, badness = _badness(feature, own)
            rank = (not firing, -badness, monitor.monitor, feature.feature, feature.segment)
            ranked.append((rank, _feature_series(monitor.monitor, feature, own)))
    ranked.sort(key=lambda entry: entry[0])
    for _, block in ranked:
        yield block


def _features(monitor: MonitorSnapshot) -> tuple[FeatureSnapshot, ...]:
    """The features, and those only rules know: an alert fires on although its feature has no measurement."""
    known = {(feature.feature, feature.segment) for feature in monitor.features}
    others = dict.fromkeys(
        (rule.feature, rule.segment)
        for rule in monitor.rules
        if rule.feature and (rule.feature, rule.segment) not in known
    )
    return (*monitor.features, *(FeatureSnapshot(feature=name, segment=segment) for name, segment in others))


def _rules_by_feature(rules: Sequence[RuleSnapshot]) -> dict[tuple[str, str], list[RuleSnapshot]]:
    # Firing first: of two rules with the same metric and severity, the firing one is the alert that is shown.
    found: dict[tuple[str, str], list[RuleSnapshot]] = {}
    for rule in sorted(rules, key=lambda rule: not rule.firing):
        found.setdefault((rule.feature, rule.segment), []).append(rule)
    return found


def _badness(feature: FeatureSnapshot, rules: Sequence[RuleSnapshot]) -> tuple[bool, float]:
    """Whether it fires, and the largest value-to-threshold ratio; without a usable rule, PSI against 0.25."""
    values: dict[str, float | None] = {metric.value: value for metric, value in feature.divergences.items()} | {
        Metric.MISSING_RATIO.value: feature.live_missing_ratio,
        Metric.UNSEEN_RATIO.value: feature.live_unseen_ratio,
    }
    ratios = [
        value / rule.threshold
        for rule in rules
        if rule.is_upper and rule.threshold > 0 and (value := values.get(rule.metric)) is not None
    ]
    if not ratios and (psi := feature.divergences.get(Metric.PSI)) is not None:
        ratios = [psi / _PSI_WITHOUT_RULE]
    worst = max((ratio for ratio in ratios if not math.isnan(ratio)), default=0.0)
    return any(rule.firing for rule in rules), worst


def _feature_series(monitor: str, feature: FeatureSnapshot, rules: Sequence[RuleSnapshot]) -> _Block:
    block: _Block = {}
    names = (monitor, feature.feature, feature.segment)
    for metric, (family, direction) in families.DIVERGENCES.items():
        _some(block, family, (*names, *direction), feature.divergences.get(metric))
    _some(block, families.NOISE_FLOOR, (*names, "live_reference"), feature.noise_floor)
    _some(block, families.NOISE_FLOOR, (*names, "reference_live"), feature.noise_floor)
    _some(block, families.LIVE_MISSING, names, feature.live_missing_ratio)
    _some(block, families.REFERENCE_MISSING, names, feature.reference_missing_ratio)
    _some(block, families.LIVE_UNSEEN, names, feature.live_unseen_ratio)
    if feature.unmeasured is not None:
        _some(block, families.UNMEASURED, (*names, feature.unmeasured), 1.0)
    _rule_series(block, monitor, rules)
    return block


def _rule_series(block: _Block, monitor: str, rules: Iterable[RuleSnapshot]) -> None:
    for rule in rules:
        labels = (monitor, rule.feature, rule.segment, rule.metric, rule.severity)
        _some(block, families.THRESHOLD, labels, rule.threshold)
        _some(block, families.ALERT_ACTIVE, labels, float(rule.firing))


def _monitor_series(monitor: MonitorSnapshot) -> _Block:
    block: _Block = {}
    name = (monitor.monitor,)
    _some(block, families.INFO, (monitor.monitor, monitor.source, monitor.table, monitor.reference), 1.0)
    _some(block, families.INTERVAL, name, monitor.interval.total_seconds())
    _some(block, families.LAST_RUN_OK, name, monitor.last_run_successful)
    _moment(block, families.LAST_RUN, name, monitor.last_run_at)
    _moment(block, families.LAST_SUCCESS, name, monitor.last_success_at)
    _moment(block, families.NEXT_RUN, name, monitor.next_run_at)
    _some(block, families.LAST_DURATION, name, _seconds(monitor.last_duration))
    _moment(block, families.NEWEST_RECORD, name, monitor.newest_record_at)
    _moment(block, families.WINDOW_END, name, monitor.window_end)
    _moment(block, families.REFERENCE_BUILT, name, monitor.reference_built_at)
    for rows in monitor.rows:
        _some(block, families.LIVE_ROWS, (monitor.monitor, rows.segment), rows.live_rows)
        _some(block, families.REFERENCE_ROWS, (monitor.monitor, rows.segment), rows.reference_rows)
    own = [rule for rule in monitor.rules if not rule.feature]
    _rule_series(block, monitor.monitor, sorted(own, key=lambda rule: not rule.firing))
    return block


def _queue_series(queues: Iterable[QueueSnapshot]) -> _Block:
    block: _Block = {}
    for queue in queues:
        labels = (queue.receiver, queue.integration)
        _some(block, families.QUEUE_LENGTH, labels, queue.length)
        _moment(block, families.QUEUE_OLDEST, labels, queue.oldest_at)
    return block


def _some(block: _Block, family: Family, labels: tuple[str, ...], value: float | None) -> None:
    """The value, where there is one that can be shown; of equal series the first stays."""
    if value is not None and math.isfinite(value):
        block.setdefault(series_text(family, labels), float(value))


def _moment(block: _Block, family: Family, labels: tuple[str, ...], at: datetime | None) -> None:
    _some(block, family, labels, None if at is None else at.timestamp())


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
