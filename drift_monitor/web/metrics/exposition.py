"""A snapshot as the text of metrics: pure, bounded, and unable to fail on what a user's table holds.

Values that are not finite are left out, label values are cleaned, equal label sets (two names that clean to the same
text) are written once. A budget bounds the series: the outbox and the monitors come first, then the features, worst
first, each whole or not at all; what is left out is counted. A feature that fires an alert is always among the worst,
so the budget does not resolve it.

Written by hand, for results and for the process's own metrics: the lines are the same in the Prometheus text format and
in OpenMetrics, while the client library's encoders make an object and a dictionary for every series and escape each of
its labels again. At 100,000 series that was most of a scrape.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from prometheus_client.core import Metric as ClientMetric
from prometheus_client.utils import floatToGoString

from drift_monitor.core.clean import clean_label
from drift_monitor.core.divergence import Metric
from drift_monitor.web.metrics import families
from drift_monitor.web.metrics.families import FAMILIES, Family
from drift_monitor.web.metrics.snapshot import (
    FeatureSnapshot,
    MonitorSnapshot,
    QueueSnapshot,
    RuleSnapshot,
    Snapshot,
    without_stale,
)

DEFAULT_MAX_SERIES: Final = 10_000
# A PSI of 0.25 is the usual line of "large"; it ranks features that have no rule.
_PSI_WITHOUT_RULE: Final = 0.25
# Names of monitors and features recur in every series; this many different ones need not be cleaned anew.
_REMEMBERED: Final = 65_536
_PLACES: Final = {family.name: place for place, family in enumerate(FAMILIES)}

Line = tuple[int, str]
"""The place of a family in `FAMILIES`, and one of its series with its value."""


@dataclass(frozen=True, kw_only=True)
class Exposition:
    """The families as text, how many series they hold and how many the budget left out."""

    text: str
    series: int
    dropped: int


def expose(
    snapshot: Snapshot, at: datetime, *, max_series: int = DEFAULT_MAX_SERIES, monitors: frozenset[str] | None = None
) -> Exposition:
    """What may be shown of the snapshot at `at`, of all monitors or of those named."""
    shown = without_stale(snapshot, at)
    chosen = [monitor for monitor in shown.monitors if monitors is None or monitor.monitor in monitors]
    texts: list[list[str]] = [[] for _ in FAMILIES]
    written: dict[str, list[Line]] = {}
    kept = dropped = 0
    is_full = False
    for subject, block in _blocks(chosen, shown.queues):
        fresh = block
        if subject in written:  # two names that clean to the same text: only there a series can come twice
            known = {_series_of(line) for line in written[subject]}
            fresh = [line for line in block if _series_of(line) not in known]
        is_full = is_full or kept + len(fresh) > max_series
        if is_full:
            dropped += len(fresh)
            continue
        written[subject] = [*written[subject], *fresh] if subject in written else fresh
        kept += len(fresh)
        for place, text in fresh:
            texts[place].append(text)
    heads = (f"# HELP {family.name} {family.text}\n# TYPE {family.name} gauge\n" for family in FAMILIES)
    text = "".join(head + "".join(lines) for head, lines in zip(heads, texts, strict=True) if lines)
    return Exposition(text=text, series=kept, dropped=dropped)


def _blocks(monitors: Sequence[MonitorSnapshot], queues: Sequence[QueueSnapshot]) -> Iterator[tuple[str, list[Line]]]:
    """Series that are kept or left out together, with the labels they share, the most important first."""
    lines: list[Line] = []
    for queue in queues:
        labels = f'receiver="{_clean(queue.receiver)}",integration="{_clean(queue.integration)}"'
        lines += _line(families.QUEUE_LENGTH, labels, queue.length)
        lines += _line(families.QUEUE_OLDEST, labels, queue.oldest_at)
    yield "", _unique(lines)
    for monitor in monitors:
        yield _subject(monitor.monitor, "", ""), _unique(_monitor_lines(monitor))
    ranked = []
    for monitor in monitors:
        rules: dict[tuple[str, str], list[RuleSnapshot]] = {}
        # Firing first: of two rules with the same metric and severity, the firing one is the alert that is shown.
        for rule in sorted(monitor.rules, key=lambda rule: not rule.firing):
            rules.setdefault((rule.feature, rule.segment), []).append(rule)
        # An alert fires on although its feature has no measurement: such features only rules know.
        known = {(feature.feature, feature.segment) for feature in monitor.features}
        others = [FeatureSnapshot(feature=name, segment=segment) for name, segment in rules if name]
        for feature in (*monitor.features, *(one for one in others if (one.feature, one.segment) not in known)):
            own = rules.get((feature.feature, feature.segment), [])
            is_firing = any(rule.firing for rule in own)
            rank = (not is_firing, -_badness(feature, own), monitor.monitor, feature.feature, feature.segment)
            ranked.append((rank, feature, own))
    ranked.sort(key=lambda entry: entry[0])
    for (_, _, name, _, _), feature, own in ranked:
        subject = _subject(name, feature.feature, feature.segment)
        yield subject, _feature_lines(subject, feature, own)


def _badness(feature: FeatureSnapshot, rules: Sequence[RuleSnapshot]) -> float:
    """The largest value-to-threshold ratio; without a usable rule, PSI against 0.25."""
    values: dict[str, float | None] = dict(feature.divergences.items())  # a Metric is equal to its value
    values[Metric.MISSING_RATIO] = feature.live_missing_ratio
    values[Metric.UNSEEN_RATIO] = feature.live_unseen_ratio
    ratios = [
        value / rule.threshold
        for rule in rules
        if rule.is_upper and rule.threshold > 0 and (value := values.get(rule.metric)) is not None
    ]
    if not ratios and (psi := feature.divergences.get(Metric.PSI)) is not None:
        ratios = [psi / _PSI_WITHOUT_RULE]
    return max((ratio for ratio in ratios if not math.isnan(ratio)), default=0.0)


# Where each value of a feature is written: the place of its family, and what stands before and after the labels.
_FEATURE_PARTS: Final = [
    (_PLACES[family.name], f"{family.name}{{", f',direction="{direction}"}} ' if direction else "} ")
    for family, direction in (
        *families.DIVERGENCES.values(),
        (families.NOISE_FLOOR, "live_reference"),
        (families.NOISE_FLOOR, "reference_live"),
        (families.LIVE_MISSING, ""),
        (families.REFERENCE_MISSING, ""),
        (families.LIVE_UNSEEN, ""),
    )
]


def _feature_lines(subject: str, feature: FeatureSnapshot, rules: Sequence[RuleSnapshot]) -> list[Line]:
    values = [
        *(feature.divergences.get(metric) for metric in families.DIVERGENCES),
        feature.noise_floor,
        feature.noise_floor,
        feature.live_missing_ratio,
        feature.reference_missing_ratio,
        feature.live_unseen_ratio,
    ]
    lines = [
        (place, f"{before}{subject}{after}{value!r}\n")
        for (place, before, after), value in zip(_FEATURE_PARTS, values, strict=True)
        if value is not None and math.isfinite(value)
    ]
    if feature.unmeasured is not None:
        lines += _line(families.UNMEASURED, f'{subject},reason="{feature.unmeasured.value}"', 1.0)
    for rule in rules:
        lines += _rule_lines(subject, rule)
    return lines if len({(rule.metric, rule.severity) for rule in rules}) == len(rules) else _unique(lines)


def _rule_lines(subject: str, rule: RuleSnapshot) -> list[Line]:
    labels = f'{subject},metric="{rule.metric}",severity="{rule.severity}"'
    return [
        *_line(families.THRESHOLD, labels, rule.threshold),
        *_line(families.ALERT_ACTIVE, labels, float(rule.firing)),
    ]


def _monitor_lines(monitor: MonitorSnapshot) -> Iterator[Line]:
    name = f'monitor="{_clean(monitor.monitor)}"'
    source, table, reference = map(_clean, (monitor.source, monitor.table, monitor.reference))
    yield from _line(families.INFO, f'{name},source="{source}",table="{table}",reference="{reference}"', 1.0)
    yield from _line(families.INTERVAL, name, monitor.interval)
    yield from _line(families.LAST_RUN_OK, name, monitor.last_run_successful)
    yield from _line(families.LAST_RUN, name, monitor.last_run_at)
    yield from _line(families.LAST_SUCCESS, name, monitor.last_success_at)
    yield from _line(families.NEXT_RUN, name, monitor.next_run_at)
    yield from _line(families.LAST_DURATION, name, monitor.last_duration)
    yield from _line(families.NEWEST_RECORD, name, monitor.newest_record_at)
    yield from _line(families.WINDOW_END, name, monitor.window_end)
    yield from _line(families.REFERENCE_BUILT, name, monitor.reference_built_at)
    for rows in monitor.rows:
        labels = f'{name},segment="{_clean(rows.segment)}"'
        yield from _line(families.LIVE_ROWS, labels, rows.live_rows)
        yield from _line(families.REFERENCE_ROWS, labels, rows.reference_rows)
    own = (rule for rule in monitor.rules if not rule.feature)
    for rule in sorted(own, key=lambda rule: not rule.firing):
        yield from _rule_lines(_subject(monitor.monitor, "", rule.segment), rule)


def _line(family: Family, labels: str, value: float | datetime | timedelta | None) -> list[Line]:
    """The series with its value in seconds or as it is, where there is one that can be shown."""
    number = value.timestamp() if isinstance(value, datetime) else value
    number = number.total_seconds() if isinstance(number, timedelta) else number
    if number is None or not math.isfinite(number):
        return []
    return [(_PLACES[family.name], f"{family.name}{{{labels}}} {float(number)!r}\n")]


def _unique(lines: Iterable[Line]) -> list[Line]:
    """Of equal series the first."""
    found: dict[str, Line] = {}
    for line in lines:
        found.setdefault(_series_of(line), line)
    return list(found.values())


def _series_of(line: Line) -> str:
    return line[1].rpartition(" ")[0]


def _subject(monitor: str, feature: str, segment: str) -> str:
    return f'monitor="{_clean(monitor)}",feature="{_clean(feature)}",segment="{_clean(segment)}"'


@lru_cache(maxsize=_REMEMBERED)
def _clean(value: str) -> str:
    """A label's value as it is written."""
    return clean_label(value).replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def encode_registry(metrics: Iterable[ClientMetric], *, is_openmetrics: bool) -> str:
    """The process's own metrics, as the client library would write them, with the end that OpenMetrics wants.

    They have neither units, timestamps nor exemplars, and only counters, gauges, histograms and info.
    """
    parts = []
    for metric in metrics:
        name, kind, text = metric.name, metric.type, metric.documentation.replace("\\", "\\\\").replace("\n", "\\n")
        if is_openmetrics:
            text = text.replace('"', '\\"')
        elif kind == "counter":
            name += "_total"
        elif kind == "info":
            name, kind = f"{name}_info", "gauge"
        elif kind == "unknown":
            kind = "untyped"
        parts.append(f"# HELP {name} {text}\n# TYPE {name} {kind}\n")
        for sample in metric.samples:
            labels = ",".join([f'{label}="{_clean(value)}"' for label, value in sorted(sample.labels.items())])
            number = floatToGoString(sample.value)  # type: ignore[no-untyped-call]
            parts.append(f"{sample.name}{{{labels}}} {number}\n" if labels else f"{sample.name} {number}\n")
    return "".join(parts) + ("# EOF\n" if is_openmetrics else "")
