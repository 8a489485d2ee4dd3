"""The log as a receiver: one structured line an alert, for those who ship logs and for the first try."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drift_monitor.notify.message import AlertStatus
from drift_monitor.telemetry.logs import INFO, WARN, log

_logger = logging.getLogger(__name__)
_NOUNS = ("monitor", "feature", "segment", "metric", "severity")


class LogSender:
    """Writes each alert of a notification as one line, firing ones as warnings."""

    def __init__(self) -> None:
        # An alert is what was asked for, not chatter: `--log.level error` must not swallow it.
        _logger.setLevel(INFO)

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        for alert in body["alerts"]:
            is_firing = alert["status"] == AlertStatus.FIRING
            labels, annotations = alert["labels"], alert["annotations"]
            log(
                _logger,
                WARN if is_firing else INFO,
                "alert_firing" if is_firing else "alert_resolved",
                annotations.get("summary") or ("An alert fires." if is_firing else "An alert has resolved."),
                receiver=body["receiver"],
                notification=notification_id,
                fingerprint=alert["fingerprint"],
                alertname=labels.get("alertname"),
                starts_at=alert["startsAt"],
                ends_at=None if is_firing else alert["endsAt"],
                **{name: labels[name] for name in _NOUNS if name in labels},
            )
