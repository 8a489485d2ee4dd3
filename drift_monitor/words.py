"""What people read, written the same way in messages, on pages and in the terminal: names, numbers, times, bars.

Everything here is plain text; whoever shows it escapes it. None becomes a dash: a value that can't be had is not zero.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from drift_monitor.core.bins import Bin, Reserved
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import Comparand, Rule
from drift_monitor.core.times import format_duration

NOTHING: Final = "–"
DIRECTION_NAMES: Final = {
    Direction.NEW: "new values",
    Direction.LOST: "lost values",
    Direction.RESHAPED: "reshaped",
    Direction.NONE: "within noise",
}
DIRECTION_SENTENCES: Final = {
    Direction.NEW: "Live values appear where the reference had hardly any (new mass).",
    Direction.LOST: "Values the reference had have gone from the live data (lost mass).",
    Direction.RESHAPED: "Frequencies moved both ways: some values have become more common, others less (reshaped).",
    Direction.NONE: "Neither direction of the divergence stands clear of sampling noise.",
}
RATIOS: Final = (Metric.MISSING_RATIO, Metric.UNSEEN_RATIO)  # shares of rows, read in percent
_SMALLEST_SHARE = 1e-6  # below it digits would turn into powers of ten
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


def number(value: float | None, digits: int = 3) -> str:
    """A divergence or another plain number, to so many digits."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    # From where `g` would write 1e+03; rows of a rule on counts are larger still.
    return f"{value:.{digits}g}" if abs(value) < 999.5 else f"{value:,.0f}"


def count(value: float | None) -> str:
    """A number of rows, in groups of three digits."""
    return NOTHING if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share of rows in percent, to two digits or three."""
    if share is None:
        return NOTHING
    if 0 < share < _SMALLEST_SHARE:
        return f"< {100 * _SMALLEST_SHARE:.4f} %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.3g} %"


def amount(metric: Metric, value: float | None, digits: int = 3) -> str:
    """A value of a metric as people read it: percent, rows, a duration, or a number."""
    if value is None:
        return NOTHING
    if metric in RATIOS:
        return percent(value)
    if metric is Metric.ROWS:
        return count(value)
    if metric is Metric.FRESHNESS:
        return format_duration(timedelta(seconds=round(value)))
    return number(value, digits)


UNCERTAIN: Final = "Noise floor and upper end are uncertain: a bin has fewer than 5 reference rows."


def with_unit(metric: Metric, text: str) -> str:
    """The text of a value, with the unit where it is one that people read."""
    return f"{text} nats" if metric.unit == "nats" else text


def held(rule: Rule) -> str:
    """Which number of a divergence a rule holds against its threshold; empty for what has one number only."""
    if not rule.metric.is_divergence:
        return ""
    match rule.on:
        case Comparand.LOWER_BOUND:
            return "lower bound" if rule.above is not None else "upper bound"
        case Comparand.CORRECTED:
            return "value less the noise floor"
    return "value"


def against(rule: Rule, estimate: Estimate, observed: float | None) -> str:
    """What was measured and what is held against what: `PSI 0.34 (95 %: 0.31 to 0.37), lower bound 0.31 above 0.1`."""
    seen = "unknown" if observed is None else amount(rule.metric, observed, 4)
    if not held(rule):
        return f"{rule.metric.label} {seen}, threshold {rule.side} {threshold(rule)}"
    interval = "" if estimate.low is None else f" (95 %: {number(estimate.low)} to {number(estimate.high)})"
    limit = f"threshold {rule.side} {threshold(rule)}"
    return f"{rule.metric.label} {number(estimate.value)}{interval}, {held(rule)} {seen}, {limit}"


def threshold(rule: Rule, factor: float = 1.0) -> str:
    """A rule's threshold as its values are written, but exact; `factor` converts divergences to other units."""
    if rule.metric in RATIOS:
        return f"{100 * rule.threshold:.6g} %"
    if rule.metric.is_divergence:
        return f"{factor * rule.threshold:.4g}"
    return amount(rule.metric, rule.threshold)


def surprise_text(surprise: float | None, level: float | None, hours: int | None) -> str:
    """How unusual the last hours were: `surprise 11.6 over the last 6 hours, its level is 7.3`."""
    stretch = "the last hour" if hours == 1 else f"the last {hours} hours"
    return f"surprise {number(surprise)} over {stretch}, its level is {number(level)}"


def budget_text(rule: Rule) -> str:
    """What a rule on surprise allows: `1 false alarm per 28d`."""
    budget = rule.false_alarms
    if budget is None:
        return "a budget of false alarms"
    return f"{budget.count} false alarm{'' if budget.count == 1 else 's'} per {format_duration(budget.period)}"


def bin_name(place: Bin) -> str:
    """A bin as it is called in a sentence: edges and labels as they are, reserved bins by what they hold."""
    match place.reserved:
        case None:
            return place.label
        case Reserved.BELOW:
            return f"below {place.edge}"
        case Reserved.ABOVE:
            return f"{place.edge} and above" if place.edge else place.label
        case Reserved.INVALID:
            return "invalid (no number)"
        case Reserved.MISSING:
            return "missing (null)"
        case Reserved.RARE:
            return "rare labels"
        case Reserved.UNSEEN:
            return "labels the reference never had"


def bar(share: float, width: int) -> str:
    """A share from 0 to 1 as block characters, to an eighth of one; padded to `width`."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    if share > 0:
        eighths = max(eighths, 1)  # a value that occurs is never drawn as nothing
    full, rest = divmod(eighths, 8)
    return (_FULL * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def shorten(text: str, length: int) -> str:
    """At most so many characters, the last one an ellipsis where it was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"


def one_line(text: str) -> str:
    """Without line breaks and control characters: for headers and table cells."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def minute(at: datetime) -> str:
    """A moment in UTC, to the minute: `2026-03-02 12:00`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def span(start: datetime, end: datetime) -> str:
    """A window: `2026-03-02 12:00 to 2026-03-02 13:00 UTC`."""
    return f"{minute(start)} to {minute(end)} UTC"


def age(length: timedelta) -> str:
    """A rough duration: its largest unit, or two where the first is small."""
    seconds = int(abs(length).total_seconds())
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


def megabytes(size: int) -> str:
    """A size on a disk."""
    return f"{size / 1e6:,.1f} MB"
