"""From a configured receiver to its sender, and a sample notification to try it out with.

A kind of receiver is a class in `config.receivers`, a module here, and a case of `make_sender`.

The log as a receiver: one structured line an alert, for those who ship logs and for the first try.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.config.receivers import (
    AlertmanagerConfig,
    AppriseConfig,
    EmailConfig,
    LogConfig,
    PagerdutyConfig,
    ReceiverConfig,
    SlackConfig,
    WebhookConfig,
)
from drift_monitor.notify.alertmanager import AlertmanagerSender
from drift_monitor.notify.apprise import AppriseSender
from drift_monitor.notify.email import EmailSender
from drift_monitor.notify.message import Alert, AlertStatus, BinShare, Message, NotificationKey, fingerprint, messages
from drift_monitor.notify.pagerduty import PagerdutySender
from drift_monitor.notify.slack import SlackSender
from drift_monitor.notify.webhook import WebhookSender
from drift_monitor.telemetry.logs import INFO, WARN, log

_SAMPLE_MONITOR = "test"
_SAMPLE_DESCRIPTION = "Somebody ran `drift-monitor notify test`. The numbers and the bins are made up."
_SAMPLE_BINS = (
    BinShare(label="[40, +inf)", reference_share=0.12, live_share=0.38, contribution=0.3),
    BinShare(label="missing", reference_share=0.01, live_share=0.06, contribution=0.1),
    BinShare(label="[0, 10)", reference_share=0.5, live_share=0.25, contribution=0.17),
)


class Sender(Protocol):
    """Sends notifications to one receiver."""

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Send one notification at the moment `at`; returns once it is accepted, else raises DeliveryError."""
        ...


def make_sender(receiver: ReceiverConfig, outbound: OutboundConfig) -> Sender:
    """The sender of this receiver, as far as `outbound` lets it."""
    match receiver.kind:
        case WebhookConfig() as webhook:
            return WebhookSender(webhook, outbound)
        case AlertmanagerConfig() as alertmanager:
            return AlertmanagerSender(alertmanager, outbound)
        case SlackConfig() as slack:
            return SlackSender(slack, outbound)
        case EmailConfig() as email:
            return EmailSender(email, outbound)
        case PagerdutyConfig() as pagerduty:
            return PagerdutySender(pagerduty, outbound)
        case AppriseConfig() as apprise:
            return AppriseSender(apprise)  # dials by itself: the configuration refuses it beside `outbound.allow`
        case LogConfig():
            return LogSender()


def sample_messages(receiver: str, at: datetime) -> tuple[Message, Message]:
    """An alert that fires and the same one resolved, clearly marked as a test, each with an id of its own."""
    firing = Alert(
        status=AlertStatus.FIRING,
        labels={
            "alertname": "DriftMonitorTest",
            "monitor": _SAMPLE_MONITOR,
            "feature": "sample",
            "metric": "psi",
            "severity": "info",
        },
        annotations={
            "summary": f"TEST of receiver {receiver}: nothing has drifted",
            "description": _SAMPLE_DESCRIPTION,
            "verdict": _SAMPLE_DESCRIPTION,
            "value": "0.31",
            "interval_low": "0.27",
            "interval_high": "0.34",
            "noise_floor": "0.004",
            "threshold": "0.25",
            "condition": "lower bound above 0.25",
        },
        starts_at=at,
        # Each test is an alert of its own, which nothing but its second half resolves.
        fingerprint=fingerprint(monitor=_SAMPLE_MONITOR, feature="sample", segment="", rule=at.isoformat()),
        bins=_SAMPLE_BINS,
    )
    over = {**firing.annotations, "summary": f"TEST of receiver {receiver}: the sample alert is over"}
    resolved = replace(firing, status=AlertStatus.RESOLVED, annotations=over, ends_at=at, bins=())
    key = NotificationKey(monitor=_SAMPLE_MONITOR, window_end=at, revision=0, receiver=receiver)
    (first,) = messages(key, [firing], max_alerts=0, external_url="", send_resolved=True)
    (second,) = messages(replace(key, revision=1), [resolved], max_alerts=0, external_url="", send_resolved=True)
    return first, second


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
