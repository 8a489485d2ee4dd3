"""PagerDuty's Events API, version 2: one event an alert, opened and closed under the alert's fingerprint.

The fingerprint is the `dedup_key`, so a repeated event opens nothing twice and `resolve` closes what `trigger` opened.
A notification for PagerDuty holds one alert (`max_alerts` of its configuration), so a retry repeats that one event.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.config.receivers import PagerdutyConfig
from drift_monitor.core.rules import Severity
from drift_monitor.notify import wording
from drift_monitor.notify.http import Poster
from drift_monitor.notify.outbound import Resolver
from drift_monitor.words import one_line, percent, shorten

MAX_SUMMARY = 1024  # characters, by the reference of the API
_MAX_TEXT = 1000  # of a detail: an event may have 512 KB
_SEVERITIES = frozenset(Severity)  # PagerDuty knows our three by the same names, and `error` besides


class PagerdutySender:
    """Sends events of one integration; its routing key is the credential."""

    def __init__(self, config: PagerdutyConfig, outbound: OutboundConfig, resolver: Resolver | None = None) -> None:
        self._routing_key = config.routing_key.get_secret_value()
        self._poster = Poster(
            config.url.get_secret_value(), config.timeout, outbound, resolver, secret=self._routing_key
        )

    def __repr__(self) -> str:
        return "PagerdutySender()"

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        for alert in body["alerts"]:
            self._poster.post({"routing_key": self._routing_key, **event(alert)}, at)


def event(alert: Mapping[str, Any]) -> dict[str, Any]:
    """The event of one alert, without the key that says to whom it goes."""
    if not wording.is_firing(alert):
        return {"event_action": "resolve", "dedup_key": alert["fingerprint"]}
    labels, links, severity = alert["labels"], wording.links(alert), wording.severity(alert)
    texts = {**labels, **alert["annotations"]}
    details: dict[str, Any] = {name: shorten(text, _MAX_TEXT) for name, text in texts.items() if name != "summary"}
    if alert.get("bins"):
        details["bins"] = [
            f"{shorten(one_line(bin['label']), _MAX_TEXT)}: "
            f"{percent(bin['reference_share'])} → {percent(bin['live_share'])}"
            for bin in alert["bins"]
        ]
    return {
        "event_action": "trigger",
        "dedup_key": alert["fingerprint"],
        "client": "drift-monitor",
        **({"client_url": links["Page"]} if "Page" in links else {}),
        "links": [{"href": url, "text": word} for word, url in links.items()],
        "payload": {
            "summary": shorten(wording.summary(alert), MAX_SUMMARY),
            "source": labels["monitor"],
            "severity": severity if severity in _SEVERITIES else Severity.WARNING.value,
            "timestamp": alert["startsAt"],
            "component": labels.get("feature", labels["monitor"]),
            "group": labels["monitor"],
            "class": labels.get("metric", labels.get("alertname", "")),
            "custom_details": details,
        },
    }
