"""What chat and mail say in the same words: titles, groups, links.

Everything here takes the stored document of a notification and gives plain text; whoever shows it escapes it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from drift_monitor.notify.message import AlertStatus
from drift_monitor.words import one_line

SIGNS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
RESOLVED_SIGN = "🟢"
_RANKS = {"critical": 0, "warning": 1, "info": 2}
_WHOSE = ("alertname", "monitor", "feature", "segment")
_NAMED = 3  # features that a title names beside the first


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


def verdict(alert: Mapping[str, Any]) -> str:
    """What stands between headline and numbers, as one paragraph: the direction, or the monitor's own description.

    Where there is a condition, and so numbers, the whole description would say once more what is shown beside it.
    """
    said = alert["annotations"]
    told = said.get("verdict", "") if "condition" in said else said.get("verdict") or said.get("description", "")
    return one_line(str(told))


def groups(alerts: Sequence[Mapping[str, Any]]) -> Sequence[Sequence[Mapping[str, Any]]]:
    """Alerts on one feature that fired or ended together, the gravest first: they have the same bins and rows."""
    found: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for alert in alerts:
        labels = alert["labels"]
        whose = (alert["status"], *(str(labels.get(name, "")) for name in _WHOSE))
        # What belongs to the whole monitor shares nothing with its neighbour.
        key = whose if labels.get("feature") else (*whose, str(alert["fingerprint"]))
        found.setdefault(key, []).append(alert)
    return [sorted(group, key=lambda one: _RANKS.get(severity(one), len(_RANKS))) for group in found.values()]


def bins(group: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The bins of a group; each of its alerts about a divergence has them."""
    return next((one["bins"] for one in group if one.get("bins")), ())


def title(body: Mapping[str, Any]) -> str:
    """`[FIRING:2] amount of orders drifted: PSI ... above 0.25; also country`, what a list of messages shows."""
    told = groups(body["alerts"])
    firing = sum(map(is_firing, body["alerts"]))
    count = f"FIRING:{firing}" if firing else f"RESOLVED:{len(body['alerts'])}"
    monitor = str(body["groupLabels"].get("monitor", ""))
    first = summary(told[0][0])
    named = first if monitor in first else f"{monitor}: {first}"
    return f"[{count}] {named}{_others(told[1:])}"


def _others(rest: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """Whom else a message is about, by name as long as they are few."""
    names = [str(group[0]["labels"].get("feature") or group[0]["labels"].get("metric", "")) for group in rest]
    if not all(names[:_NAMED]):
        return f"; and {len(rest)} more"
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return f"; also {', '.join(map(one_line, names[:_NAMED] + more))}" if names else ""


def links(alert: Mapping[str, Any]) -> Mapping[str, str]:
    """Words to follow and where they lead; web addresses only."""
    annotations = alert["annotations"]
    found = {"Page": alert.get("generatorURL"), "Dashboard": annotations.get("dashboard_url")}
    found["Runbook"] = annotations.get("runbook_url")
    if found["Dashboard"] == found["Page"]:
        del found["Dashboard"]
    return {word: str(url) for word, url in found.items() if url and str(url).startswith(("http://", "https://"))}
