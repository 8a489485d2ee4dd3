"""From a configured receiver to what sends to it.

What every kind of receiver offers: send one notification, or say why not.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from drift_monitor.config.outbound import ANYWHERE, OutboundConfig
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
from drift_monitor.notify.email import EmailSender, Login
from drift_monitor.notify.log import LogSender
from drift_monitor.notify.pagerduty import PagerdutySender
from drift_monitor.notify.slack import SlackSender
from drift_monitor.notify.webhook import WebhookSender


class Sender(Protocol):
    """Sends notifications to one receiver."""

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Send one notification at the moment `at`; returns once it is accepted, else raises DeliveryError."""
        ...


def make_sender(receiver: ReceiverConfig, outbound: OutboundConfig = ANYWHERE) -> Sender:
    """What sends to this receiver, as far as `outbound` lets it."""
    match receiver.kind:
        case WebhookConfig() as webhook:
            return WebhookSender(
                webhook.url.get_secret_value(),
                secret=webhook.secret.get_secret_value() if webhook.secret else None,
                timeout=webhook.timeout,
                outbound=outbound,
            )
        case AlertmanagerConfig() as alertmanager:
            urls = [url.get_secret_value() for url in alertmanager.urls]
            return AlertmanagerSender(urls, timeout=alertmanager.timeout, outbound=outbound)
        case SlackConfig() as slack:
            return SlackSender(slack.webhook_url.get_secret_value(), timeout=slack.timeout, outbound=outbound)
        case EmailConfig() as email:
            return EmailSender(
                email.smarthost,
                sender=email.from_,
                recipients=email.to,
                login=_login(email),
                require_tls=email.require_tls,
                timeout=email.timeout,
                outbound=outbound,
            )
        case PagerdutyConfig() as pagerduty:
            key = pagerduty.routing_key.get_secret_value()
            return PagerdutySender(pagerduty.url.get_secret_value(), key, timeout=pagerduty.timeout, outbound=outbound)
        case AppriseConfig() as apprise:
            return AppriseSender([url.get_secret_value() for url in apprise.urls], timeout=apprise.timeout)
        case LogConfig():
            return LogSender(receiver.name)


def _login(email: EmailConfig) -> Login | None:
    if email.auth_username is None or email.auth_password is None:
        return None
    return Login(email.auth_username, email.auth_password.get_secret_value())
