"""The numbers of an alert as chat and mail list them: a label each, in the order in which they are read.

Everything is taken from the annotations of the stored alert. What is not there is left out, so messages that an
earlier version has stored, and alerts that are not about a measurement, show what they have.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from drift_monitor.core.divergence import Metric
from drift_monitor.notify import wording
from drift_monitor.words import amount, count, number, one_line

_NAMES: Mapping[str, str] = {metric.value: metric.label for metric in Metric}
_METRICS = {metric.value: metric for metric in Metric}
# Annotations that are told in a place of their own, or as a fact of another name. All others are the monitor's.
_OWN = frozenset(
    {
        *("summary", "description", "verdict", "dashboard_url", "runbook_url", "direction"),
        *("value", "interval_low", "interval_high", "noise_floor", "threshold", "condition"),
        *("since", "window_start", "window_end", "live_rows", "reference_rows"),
    }
)


def facts(group: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Label to text, of the first alert of a group and in brief of the others."""
    first, *others = group
    found = dict(_measured(first))
    if wording.severity(first):
        found["Severity"] = wording.severity(first)
    if others:
        found["Also"] = "; ".join(_in_brief(one) for one in others)
    return {**found, **_of_the_monitor(first)}


def _measured(alert: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    said = alert["annotations"]
    metric = str(alert["labels"].get("metric", ""))
    if "value" in said:
        value = f"{_NAMES.get(metric, metric)} {_amount(said['value'], metric)}".strip()
        yield "Measured", f"{value}{_interval(said)}"
    if "threshold" in said:
        yield "Threshold", one_line(said.get("condition", said["threshold"]))
    if "noise_floor" in said:
        yield "Noise floor", _amount(said["noise_floor"], metric)
    yield ("Since", _since(alert)) if wording.is_firing(alert) else ("Lasted", _lasted(alert))
    if {"window_start", "window_end"} <= set(said):
        yield "Window", f"{_length(said['window_start'], said['window_end'])} to {_moment(said['window_end'])} UTC"
    if {"live_rows", "reference_rows"} <= set(said):
        yield "Rows", f"{_count(said['live_rows'])} live, {_count(said['reference_rows'])} reference"


def _interval(said: Mapping[str, str]) -> str:
    if not {"interval_low", "interval_high"} <= set(said):
        return ""
    return f" (95 %: {_number(said['interval_low'])} to {_number(said['interval_high'])})"


def _since(alert: Mapping[str, Any]) -> str:
    """The end of the first window beyond the threshold; where it took several to fire, that too."""
    fired = str(alert["startsAt"])
    since = str(alert["annotations"].get("since", fired))
    told = "" if _moment(since) == _moment(fired) else f", fired {_moment(fired)} UTC"
    return f"{_moment(since)} UTC{told}"


def _lasted(alert: Mapping[str, Any]) -> str:
    start, end = str(alert["startsAt"]), str(alert["endsAt"])
    return f"{_moment(start)} to {_moment(end)} UTC ({_length(start, end)})"


def _length(start: str, end: str) -> str:
    """A length of time; where one of the ends is not one of ours, as a monitor may have it, the start."""
    try:
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (ValueError, TypeError):
        return _moment(start)
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"


def _in_brief(alert: Mapping[str, Any]) -> str:
    metric = str(alert["labels"].get("metric", ""))
    asked = alert["annotations"].get("condition", "")
    said = f"{_NAMES.get(metric, metric)} {asked}".strip()
    return one_line(f"{said} ({wording.severity(alert)})" if wording.severity(alert) else said)


def _of_the_monitor(alert: Mapping[str, Any]) -> Mapping[str, str]:
    given = alert["annotations"].items()
    return {one_line(name): one_line(text) for name, text in given if name not in _OWN}


def _amount(text: str, metric: str) -> str:
    value = _value(text)
    if value is None:
        return one_line(text)
    known = _METRICS.get(metric)
    if known is None:
        return number(value)
    return f"{amount(known, value)}{' nats' if known.unit == 'nats' else ''}"


def _number(text: str) -> str:
    value = _value(text)
    return one_line(text) if value is None else number(value)


def _count(text: str) -> str:
    return count(int(text)) if text.isascii() and text.isdecimal() else one_line(text)


def _value(text: str) -> float | None:
    """The number, if it is one; a monitor's own annotation of that name may be any text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _moment(text: str) -> str:
    return one_line(f"{text[:10]} {text[11:16]}")
