"""What chat and mail say in the same words: titles, moments, shares, bars.

Everything here takes the stored document of a notification and gives plain text; whoever shows it escapes it.
"""

from collections.abc import Mapping
from typing import Any

from drift_monitor.notify.message import AlertStatus

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
SIGNS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
RESOLVED_SIGN = "🟢"


def is_firing(alert: Mapping[str, Any]) -> bool:
    return bool(alert["status"] == AlertStatus.FIRING)


def sign(alert: Mapping[str, Any]) -> str:
    """A coloured dot: the severity, or that it is over."""
    return SIGNS.get(severity(alert), "🟠") if is_firing(alert) else RESOLVED_SIGN


def severity(alert: Mapping[str, Any]) -> str:
    return str(alert["labels"].get("severity", ""))


def summary(alert: Mapping[str, Any]) -> str:
    """One line; never empty."""
    said = one_line(str(alert["annotations"].get("summary", "")))
    return said or f"{alert['labels'].get('alertname', 'An alert')}: {alert['status']}"


def description(alert: Mapping[str, Any]) -> str:
    """A few sentences as one paragraph; may be empty."""
    return one_line(str(alert["annotations"].get("description", "")))


def title(body: Mapping[str, Any]) -> str:
    """`[FIRING:2] orders: amount of orders drifted: ...`, what a list of messages shows."""
    alerts = body["alerts"]
    firing = sum(map(is_firing, alerts))
    count = f"FIRING:{firing}" if firing else f"RESOLVED:{len(alerts)}"
    monitor = str(body["groupLabels"].get("monitor", ""))
    first = summary(alerts[0])
    more = f" and {len(alerts) - 1} more" if len(alerts) > 1 else ""
    named = first if monitor in first else f"{monitor}: {first}"
    return f"[{count}] {named}{more}"


def lasting(alert: Mapping[str, Any]) -> str:
    """Since when, and until when."""
    start = moment(alert["startsAt"])
    return f"since {start}" if is_firing(alert) else f"from {start} to {moment(alert['endsAt'])}"


def moment(text: str) -> str:
    """`2026-11-20T12:00:00Z` as people read it."""
    return f"{text[:10]} {text[11:16]} UTC"


def links(alert: Mapping[str, Any]) -> Mapping[str, str]:
    """Words to follow and where they lead; web addresses only."""
    annotations = alert["annotations"]
    found = {"Page": alert.get("generatorURL"), "Dashboard": annotations.get("dashboard_url")}
    found["Runbook"] = annotations.get("runbook_url")
    if found["Dashboard"] == found["Page"]:
        del found["Dashboard"]
    return {word: str(url) for word, url in found.items() if url and str(url).startswith(("http://", "https://"))}


def percent(share: float) -> str:
    return f"{100 * share:.2g} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


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
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
