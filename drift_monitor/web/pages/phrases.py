"""Words that pages and labels share: datasets, references, durations, directions. English, short, and nowhere else."""

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from drift_monitor.alerting.annotations import bin_text as bin_text
from drift_monitor.alerting.labels import SelfAlert
from drift_monitor.config.durations import format_duration
from drift_monitor.config.schema import FixedRange, FixedTable, Reference, SamePeriod, Trailing
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Rule
from drift_monitor.queries.status import Unmeasured

QUERY: Final = "query"
METRIC_NAMES: Final = {metric: metric.label for metric in Metric}
DIRECTION_NAMES: Final = {
    Direction.NEW: "new values",
    Direction.LOST: "lost values",
    Direction.RESHAPED: "reshaped",
    Direction.NONE: "within noise",
}
AILMENT_TEXTS: Final = {
    SelfAlert.FAILING.value: "its evaluations fail",
    SelfAlert.STALE.value: "nothing has evaluated it for more than three intervals",
}
UNMEASURED_TEXTS: Final = {
    Unmeasured.TOO_FEW_ROWS: "too few rows to compare",
    Unmeasured.NO_ROWS: "no rows on one side",
    Unmeasured.COLUMN_MISSING: "its column is missing",
    Unmeasured.TYPE_CHANGED: "its column changed its type",
    Unmeasured.UNSUPPORTED_TYPE: "its column has a type that can't be read",
    Unmeasured.SOURCE_ERROR: "the source could not be read",
}


def dataset_text(table: str | None) -> str:
    """The table's name; a query has none."""
    return table or QUERY


def reference_text(reference: Reference) -> str:
    """What live rows are compared with."""
    match reference:
        case FixedTable():
            return dataset_text(reference.table)
        case FixedRange():
            return f"{instant_text(reference.from_)} to {instant_text(reference.to)}"
        case Trailing():
            gap = f", gap {format_duration(reference.gap)}" if reference.gap else ""
            return f"trailing {format_duration(reference.trailing)}{gap}"
        case SamePeriod():
            return f"same period of {reference.count} times {format_duration(reference.every)}"


def instant_text(at: datetime) -> str:
    """A moment in UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def age_text(age: timedelta) -> str:
    """A rough duration: its largest unit, or two where the first is small."""
    seconds = int(abs(age).total_seconds())
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days >= 3 or (days and not hours):
        return f"{days} d"
    if days:
        return f"{days} d {hours} h"
    if hours >= 10 or (hours and not minutes):
        return f"{hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def ago_text(moment: datetime, at: datetime) -> str:
    """How long ago, or in how long."""
    age = age_text(at - moment)
    return f"{age} ago" if moment <= at else f"in {age}"


def iso_text(at: datetime) -> str:
    """A moment as links carry it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def number_text(value: float | None) -> str:
    """A divergence or a ratio to three digits or so; a dash where there is none."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.01:
        return f"{value:.3f}" if size < 1 else f"{value:.2f}"
    return f"{value:.2g}"


def share_text(share: float | None) -> str:
    """A share of rows in percent."""
    if share is None:
        return "–"
    percent = 100 * share
    if percent == 0 or percent >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"


def count_text(count: int | None) -> str:
    """A number of rows, in groups of three digits."""
    return "–" if count is None else f"{count:,}".replace(",", " ")


def metric_text(metric: Metric, value: float | None) -> str:
    """A value of a metric in the form people read it: percent, rows, a duration, or a plain number."""
    if value is None:
        return "–"
    match metric:
        case Metric.MISSING_RATIO | Metric.UNSEEN_RATIO:
            return share_text(value)
        case Metric.ROWS:
            return count_text(round(value))
        case Metric.FRESHNESS:
            return age_text(timedelta(seconds=value))
        case _:
            return number_text(value)


def threshold_text(rule: Rule, factor: float = 1.0) -> str:
    """A rule's threshold as its values are written; `factor` converts divergences to other units."""
    if rule.metric in (Metric.MISSING_RATIO, Metric.UNSEEN_RATIO):
        return f"{100 * rule.threshold:g} %"
    if rule.metric in (Metric.ROWS, Metric.FRESHNESS):
        return metric_text(rule.metric, rule.threshold)
    return f"{factor * rule.threshold:.4g}"
