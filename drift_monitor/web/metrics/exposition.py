"""A snapshot as the text of metrics: pure, bounded, and unable to fail on what a user's table holds.

Values that are not finite are left out, label values are cleaned, equal label sets (two names that clean to the same
text) are written once. A budget bounds the series: the outbox and the monitors come first, then the features, worst
first, each whole or not at all; what is left out is counted. A feature that fires an alert is always among the worst,
so the budget does not resolve it.

Written by hand, for results and for the process's own metrics: the lines are the same in the Prometheus text format and
in OpenMetrics, while the client library's encoders make an object and a dictionary for every series and escape each of
its labels again. At 100,000 series that was most of a scrape.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import isfinite, isnan
from typing import Final

from prometheus_client.core import Metric as ClientMetric
from prometheus_client.utils import floatToGoString

from drift_monitor.core.divergence import Metric
from drift_monitor.core.times import clean_label
from drift_monitor.store.calibrations import CalibrationState
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

# A family, and the labels of one of its series behind those of the feature.
Place = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Exposition:
    """The families as text, how many series they hold and how many the budget left out."""

    text: str
    series: int
    dropped: int


@dataclass(slots=True)
class _Subject:
    """A feature in one segment: all its series are kept or left out together.

    `values` stand in the order of `_PLACES`; `others` are those of its rules, and why it was not measured.
    """

    labels: str
    values: list[float | None]
    others: dict[Place, float]

    def __len__(self) -> int:
        """How many series it has."""
        return len(self.values) - self.values.count(None) + len(self.others)


_PLACES: Final[Sequence[Place]] = [
    (family.name, f',direction="{direction}"' if direction else "")
    for family, direction in (
        *families.DIVERGENCES.values(),
        (families.NOISE_FLOOR, "live_reference"),
        (families.NOISE_FLOOR, "reference_live"),
        (families.LIVE_MISSING, ""),
        (families.REFERENCE_MISSING, ""),
        (families.LIVE_UNSEEN, ""),
        (families.SURPRISE, ""),
        (families.SURPRISE_LEVEL, ""),
    )
]


# Metrics of a feature that are no divergences, and the fields that hold them.
_RATIOS: Final[Mapping[str, str]] = {
    Metric.MISSING_RATIO: "live_missing_ratio",
    Metric.UNSEEN_RATIO: "live_unseen_ratio",
}


def expose(
    snapshot: Snapshot, at: datetime, *, max_series: int = DEFAULT_MAX_SERIES, monitors: frozenset[str] | None = None
) -> Exposition:
    """What may be shown of the snapshot at `at`, of all monitors or of those named."""
    shown = without_stale(snapshot, at)
    chosen = [monitor for monitor in shown.monitors if monitors is None or monitor.monitor in monitors]
    texts: dict[str, list[str]] = {family.name: [] for family in FAMILIES}
    written: set[str] = set()
    kept = dropped = 0
    for block in (_queue_lines(shown.queues), *map(_monitor_lines, chosen)):
        # Of equal series, whose names clean to the same text, the first stays.
        lines = {line.rpartition(" ")[0]: line for line in reversed(list(block))}
        fresh = [line for series, line in reversed(lines.items()) if series not in written]
        if dropped or kept + len(fresh) > max_series:
            dropped += len(fresh)
            continue
        written.update(lines)
        kept += len(fresh)
        for line in fresh:
            texts[line.partition("{")[0]].append(line)
    subjects = []
    for subject in _subjects(chosen):
        series = len(subject)
        if dropped or kept + series > max_series:
            dropped += series
        else:
            kept += series
            subjects.append(subject)
    for position, (family, labels) in enumerate(_PLACES):
        head, tail = f"{family}{{", f"{labels}}} "
        texts[family] += [
            f"{head}{subject.labels}{tail}{value!r}\n"
            for subject in subjects
            if (value := subject.values[position]) is not None
        ]
    for subject in subjects:
        for (family, labels), value in subject.others.items():
            texts[family].append(f"{family}{{{subject.labels}{labels}}} {value!r}\n")
    text = "".join(
        f"# HELP {family.name} {family.text}\n# TYPE {family.name} gauge\n{''.join(texts[family.name])}"
        for family in FAMILIES
        if texts[family.name]
    )
    return Exposition(text=text, series=kept, dropped=dropped)


def _subjects(monitors: Sequence[MonitorSnapshot]) -> Iterator[_Subject]:
    """All features, the worst first."""
    ranked = []
    for monitor in monitors:
        rules: dict[tuple[str, str], list[RuleSnapshot]] = {}
        for rule in monitor.rules:
            if rule.feature:
                rules.setdefault((rule.feature, rule.segment), []).append(rule)
        # An alert fires on although its feature has no measurement: such features only rules know.
        known = {(feature.feature, feature.segment) for feature in monitor.features}
        unknown = [FeatureSnapshot(feature=name, segment=segment) for name, segment in rules.keys() - known]
        for feature in (*monitor.features, *unknown):
            own = rules.get((feature.feature, feature.segment), [])
            # The worst is the largest value over its threshold; without a usable rule, PSI over 0.25.
            is_quiet, worst = True, None
            for rule in own:
                is_quiet = is_quiet and not rule.firing
                if rule.metric in _RATIOS:
                    value = getattr(feature, _RATIOS[rule.metric])
                else:
                    value = feature.divergences.get(rule.metric)
                if value is not None and rule.is_upper and rule.threshold > 0 and not isnan(value):
                    worst = max(value / rule.threshold, worst or 0.0)
            if worst is None:
                psi = feature.divergences.get(Metric.PSI)
                worst = 0.0 if psi is None or isnan(psi) else psi / _PSI_WITHOUT_RULE
            rank = (is_quiet, -worst, monitor.monitor, feature.feature, feature.segment)
            ranked.append((rank, feature, own))
    ranked.sort(key=lambda entry: entry[0])
    seen: dict[str, _Subject] = {}
    for (_, _, name, _, _), feature, own in ranked:
        subject = _subject(_labels(name, feature.feature, feature.segment), feature, own)
        earlier = seen.setdefault(subject.labels, subject)
        if earlier is not subject:  # two names that clean to the same text: of equal series the first stays
            pairs = list(zip(earlier.values, subject.values, strict=True))
            everything = [value if value is not None else other for value, other in pairs]
            seen[subject.labels] = _Subject(subject.labels, everything, subject.others | earlier.others)
            subject.values = [None if value is not None else other for value, other in pairs]
            subject.others = {place: value for place, value in subject.others.items() if place not in earlier.others}
        yield subject


def _subject(labels: str, feature: FeatureSnapshot, rules: Sequence[RuleSnapshot]) -> _Subject:
    values = (
        *map(feature.divergences.get, families.DIVERGENCES),
        *map(feature.noise_floors.get, families.DIRECTIONS),
        feature.live_missing_ratio,
        feature.reference_missing_ratio,
        feature.live_unseen_ratio,
        feature.surprise,
        feature.level,
    )
    others: dict[Place, float] = {}
    if feature.unmeasured is not None:
        others[families.UNMEASURED.name, f',reason="{feature.unmeasured.value}"'] = 1.0
    for rule in rules:
        threshold, active = _rule_places(rule.metric, rule.severity)
        # Of two rules with the same metric and severity, the one that fires is the alert that is shown.
        if rule.firing or active not in others:
            others[active] = float(rule.firing)
            if isfinite(rule.threshold):
                others[threshold] = float(rule.threshold)
    return _Subject(labels, [value if value is not None and isfinite(value) else None for value in values], others)


@lru_cache
def _rule_places(metric: str, severity: str) -> tuple[Place, Place]:
    labels = f',metric="{metric}",severity="{severity}"'
    return (families.THRESHOLD.name, labels), (families.ALERT_ACTIVE.name, labels)


def _queue_lines(queues: Sequence[QueueSnapshot]) -> Iterator[str]:
    for queue in queues:
        labels = f'receiver="{_clean(queue.receiver)}",integration="{_clean(queue.integration)}"'
        yield from _line(families.QUEUE_LENGTH, labels, queue.length)
        yield from _line(families.QUEUE_OLDEST, labels, queue.oldest_at)
        yield from _line(families.RECEIVER_FAILING, labels, float(queue.is_failing))


def _monitor_lines(monitor: MonitorSnapshot) -> Iterator[str]:
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
    for state in CalibrationState if monitor.calibration is not None else ():
        yield from _line(families.CALIBRATION_STATE, f'{name},state="{state.value}"', state is monitor.calibration)
    for rows in monitor.rows:
        labels = f'{name},segment="{_clean(rows.segment)}"'
        yield from _line(families.LIVE_ROWS, labels, rows.live_rows)
        yield from _line(families.REFERENCE_ROWS, labels, rows.reference_rows)
    own = (rule for rule in monitor.rules if not rule.feature)
    for rule in sorted(own, key=lambda rule: not rule.firing):  # of equal series the first stays
        labels = f'{_labels(monitor.monitor, "", rule.segment)},metric="{rule.metric}",severity="{rule.severity}"'
        yield from _line(families.THRESHOLD, labels, rule.threshold)
        yield from _line(families.ALERT_ACTIVE, labels, rule.firing)


def _line(family: Family, labels: str, value: float | datetime | timedelta | None) -> Iterator[str]:
    """The series with its value in seconds or as it is, where there is one that can be shown."""
    number = value.timestamp() if isinstance(value, datetime) else value
    number = number.total_seconds() if isinstance(number, timedelta) else number
    if number is not None and isfinite(number):
        yield f"{family.name}{{{labels}}} {float(number)!r}\n"


def _labels(monitor: str, feature: str, segment: str) -> str:
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
