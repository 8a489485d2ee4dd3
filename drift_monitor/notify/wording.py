"""What chat and mail say in the same words: titles, groups, links, bars, and the facts of an alert in reading order.

Everything here takes the stored document of a notification and gives plain text; whoever shows it escapes it. Numbers
are taken from the annotations. What is not there is left out, so messages that an earlier version has stored, and
alerts that are not about a measurement, show what they have; and a monitor may have written any text over ours.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Severity
from drift_monitor.notify.message import AlertStatus
from drift_monitor.words import amount, bar, count, number, one_line, percent, shorten, with_unit

MAX_SUBJECT = 200  # characters; longer ones are cut by whoever shows them
SIGNS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
RESOLVED_SIGN = "🟢"
_BAR = 20  # characters of a bar in plain text
_RANKS = {severity.value: severity.rank for severity in Severity}
_IDENTITY = ("alertname", "monitor", "feature", "segment")
_NAMED = 3  # features that a title names beside the first
_METRICS: Mapping[str, Metric] = {metric.value: metric for metric in Metric}
# Annotations that are shown in a place of their own, or as a fact of another name. All others are the monitor's.
_OWN = frozenset(
    {
        *("summary", "description", "verdict", "dashboard_url", "runbook_url", "direction"),
        *("value", "interval_low", "interval_high", "noise_floor", "threshold", "condition"),
        *("since", "window_start", "window_end", "live_rows", "reference_rows"),
    }
)

Document = Mapping[str, Any]
"""An alert, or one of its bins, as a notification holds it."""


def is_firing(alert: Document) -> bool:
    return bool(alert["status"] == AlertStatus.FIRING)


def severity(alert: Document) -> str:
    return str(alert["labels"].get("severity", ""))


def rank(alert: Document) -> int:
    """The rank of its severity; -1 where it has none that is known."""
    return _RANKS.get(severity(alert), -1)


def sign(alert: Document) -> str:
    """A coloured dot: the severity, or that it is over."""
    return SIGNS.get(severity(alert), "🟠") if is_firing(alert) else RESOLVED_SIGN


def state(alert: Document) -> str:
    """`🔴 Firing (critical)`."""
    name = "Firing" if is_firing(alert) else "Resolved"
    return f"{sign(alert)} {name} ({severity(alert)})" if severity(alert) else f"{sign(alert)} {name}"


def summary(alert: Document) -> str:
    """One line; never empty."""
    text = one_line(str(alert["annotations"].get("summary", "")))
    return text or f"{alert['labels'].get('alertname', 'An alert')}: {alert['status']}"


def verdict(alert: Document) -> str:
    """What stands between headline and numbers, as one paragraph: the direction, or the monitor's own description.

    Where there is a condition, and so numbers, the whole description would say once more what is shown beside it.
    """
    texts = alert["annotations"]
    text = texts.get("verdict", "") if "condition" in texts else texts.get("verdict") or texts.get("description", "")
    return one_line(str(text))


def links(alert: Document) -> Mapping[str, str]:
    """Words to follow and where they lead; web addresses only."""
    annotations = alert["annotations"]
    urls = {"Page": alert.get("generatorURL"), "Dashboard": annotations.get("dashboard_url")}
    urls["Runbook"] = annotations.get("runbook_url")
    if urls["Dashboard"] == urls["Page"]:
        del urls["Dashboard"]
    return {word: str(url) for word, url in urls.items() if url and str(url).startswith(("http://", "https://"))}


def groups(alerts: Sequence[Document]) -> Sequence[Sequence[Document]]:
    """Alerts on one feature that fired or ended together, critical first: they have the same bins and rows."""
    groups: dict[tuple[str, ...], list[Document]] = {}
    for alert in alerts:
        labels = alert["labels"]
        identity = (alert["status"], *(str(labels.get(name, "")) for name in _IDENTITY))
        # What belongs to the whole monitor shares nothing with its neighbour.
        key = identity if labels.get("feature") else (*identity, str(alert["fingerprint"]))
        groups.setdefault(key, []).append(alert)
    return [sorted(group, key=lambda alert: -rank(alert)) for group in groups.values()]


def bins(group: Sequence[Document]) -> Sequence[Document]:
    """The bins of a group; each of its alerts about a divergence has them."""
    return next((alert["bins"] for alert in group if alert.get("bins")), ())


def scaled(bins: Sequence[Document]) -> Sequence[tuple[Document, float, float]]:
    """Each bin with the lengths of its bars, reference and live: all bars of an alert are on one scale."""
    most = max((max(bin["reference_share"], bin["live_share"]) for bin in bins), default=0.0) or 1.0
    return [(bin, bin["reference_share"] / most, bin["live_share"] / most) for bin in bins]


def title(body: Document) -> str:
    """`[FIRING:2] amount of orders drifted: PSI ... above 0.25; also country`, what a list of messages shows."""
    first, *others = groups(body["alerts"])
    firing = sum(map(is_firing, body["alerts"]))
    count = f"FIRING:{firing}" if firing else f"RESOLVED:{len(body['alerts'])}"
    monitor = str(body["groupLabels"].get("monitor", ""))
    text = summary(first[0])
    text = text if monitor in text else f"{monitor}: {text}"
    names = [str(group[0]["labels"].get("feature") or group[0]["labels"].get("metric", "")) for group in others]
    if not all(names[:_NAMED]):
        return f"[{count}] {text}; and {len(others)} more"
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return f"[{count}] {text}" + (f"; also {', '.join(map(one_line, names[:_NAMED] + more))}" if names else "")


def subject(body: Document) -> str:
    """The title on one line of a length that mail programs show."""
    return shorten(one_line(title(body)), MAX_SUBJECT)


def plain_text(body: Document) -> str:
    """The whole notification for those who read text."""
    return "\n\n".join("\n".join(_text_lines(group)) for group in groups(body["alerts"])) + "\n"


def _text_lines(group: Sequence[Document]) -> Iterator[str]:
    first = group[0]
    yield f"{state(first)}: {summary(first)}"
    if verdict(first):
        yield verdict(first)
    yield ""
    listed = facts(group)
    width = max(map(len, listed))
    for name, text in listed.items():
        yield f"{name.ljust(width)}  {text}"
    drawn = scaled(bins(group))
    if drawn:
        yield ""
    for bin, reference, live in drawn:
        yield f"  {one_line(bin['label'])}"
        yield f"    reference {bar(reference, _BAR)} {percent(bin['reference_share'])}"
        yield f"    live      {bar(live, _BAR)} {percent(bin['live_share'])}"
    addresses = links(first)
    if addresses:
        yield ""
    for word, url in addresses.items():
        yield f"{word}: {one_line(url)}"


def facts(group: Sequence[Document]) -> Mapping[str, str]:
    """Label to text, of the first alert of a group and in brief of the others, in the order in which they are read."""
    first, *others = group
    listed = dict(_measured(first))
    if severity(first):
        listed["Severity"] = severity(first)
    if others:
        listed["Also"] = "; ".join(map(_in_brief, others))
    annotations = first["annotations"].items()
    return listed | {one_line(name): one_line(text) for name, text in annotations if name not in _OWN}


def _measured(alert: Document) -> Iterator[tuple[str, str]]:
    texts, start = alert["annotations"], str(alert["startsAt"])
    metric = str(alert["labels"].get("metric", ""))
    if "value" in texts:
        interval = ""
        if {"interval_low", "interval_high"} <= set(texts):
            interval = f" (95 %: {_number(texts['interval_low'])} to {_number(texts['interval_high'])})"
        yield "Measured", f"{_name(metric)} {_amount(texts['value'], metric)}".strip() + interval
    if "threshold" in texts:
        yield "Threshold", one_line(texts.get("condition", texts["threshold"]))
    if "noise_floor" in texts:
        yield "Noise floor", _amount(texts["noise_floor"], metric)
    if is_firing(alert):
        # The end of the first window beyond the threshold; where it took several to fire, that too.
        since = _moment(str(texts.get("since", start)))
        yield "Since", f"{since} UTC" + ("" if since == _moment(start) else f", fired {_moment(start)} UTC")
    else:
        end = str(alert["endsAt"])
        yield "Lasted", f"{_moment(start)} to {_moment(end)} UTC ({_length(start, end)})"
    if {"window_start", "window_end"} <= set(texts):
        yield "Window", f"{_length(texts['window_start'], texts['window_end'])} to {_moment(texts['window_end'])} UTC"
    if {"live_rows", "reference_rows"} <= set(texts):
        yield "Rows", f"{_count(texts['live_rows'])} live, {_count(texts['reference_rows'])} reference"


def _name(metric: str) -> str:
    """What people call a metric; one of a later version keeps its own name."""
    return _METRICS[metric].label if metric in _METRICS else metric


def _in_brief(alert: Document) -> str:
    metric = str(alert["labels"].get("metric", ""))
    text = f"{_name(metric)} {alert['annotations'].get('condition', '')}".strip()
    return one_line(f"{text} ({severity(alert)})" if severity(alert) else text)


def _length(start: str, end: str) -> str:
    """A length of time; where one of the ends is not one of ours, as a monitor may have it, the start."""
    try:
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (ValueError, TypeError):
        return _moment(start)
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"


def _moment(text: str) -> str:
    return one_line(f"{text[:10]} {text[11:16]}")


def _amount(text: str, metric: str) -> str:
    value = _value(text)
    if value is None:
        return one_line(text)
    known = _METRICS.get(metric)
    return number(value) if known is None else with_unit(known, amount(known, value))


def _number(text: str) -> str:
    value = _value(text)
    return one_line(text) if value is None else number(value)


def _count(text: str) -> str:
    return count(int(text)) if text.isascii() and text.isdecimal() else one_line(text)


def _value(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
