"""Receivers as the program uses them: one value for each kind, with what all kinds have in common.

`send_resolved` and `max_alerts` say what goes into a notification. `secrets` are the values that must never show: they
are hidden in every log line.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr

from drift_monitor.config import public
from drift_monitor.config.value import Value

_SLACK_ALERTS = 10  # in one message; each takes up to three of the fifty blocks a message may have
_TEXT_ALERTS = 5  # in one message of a chat that may allow a few thousand characters
_MAIL_ALERTS = 20  # in one mail: more than anybody reads, and far below what mail programs cut


class WebhookConfig(Value):
    """An HTTP endpoint that takes Alertmanager's webhook body; `max_alerts` 0 means no limit."""

    url: SecretStr
    send_resolved: bool = True
    max_alerts: int = 0
    secret: SecretStr | None = None
    timeout: timedelta = timedelta(seconds=10)

    def secrets(self) -> Iterator[SecretStr]:
        yield self.url
        if self.secret is not None:
            yield self.secret

    def public(self) -> dict[str, Any]:
        return public.given(
            url=public.SECRET,
            send_resolved=self.send_resolved,
            max_alerts=self.max_alerts,
            secret=self.secret and public.SECRET,
            timeout=public.duration(self.timeout),
        )


class SlackConfig(Value):
    """An incoming webhook of Slack, or of a chat that speaks the same."""

    webhook_url: SecretStr
    send_resolved: bool = True
    timeout: timedelta = timedelta(seconds=10)

    @property
    def max_alerts(self) -> int:
        return _SLACK_ALERTS

    def secrets(self) -> Iterator[SecretStr]:
        yield self.webhook_url

    def public(self) -> dict[str, Any]:
        return {
            "webhook_url": public.SECRET,
            "send_resolved": self.send_resolved,
            "timeout": public.duration(self.timeout),
        }


class EmailConfig(Value):
    """A mail server and who is written to."""

    smarthost: str
    from_: str
    to: tuple[str, ...]
    auth_username: str | None = None
    auth_password: SecretStr | None = None
    require_tls: bool = True
    send_resolved: bool = True
    timeout: timedelta = timedelta(seconds=30)

    @property
    def max_alerts(self) -> int:
        return _MAIL_ALERTS

    def secrets(self) -> Iterator[SecretStr]:
        if self.auth_password is not None:
            yield self.auth_password

    def public(self) -> dict[str, Any]:
        return {
            "smarthost": self.smarthost,
            "from": self.from_,
            "to": list(self.to),
            **public.given(
                auth_username=self.auth_username,
                auth_password=self.auth_password and public.SECRET,
                require_tls=self.require_tls,
                send_resolved=self.send_resolved,
                timeout=public.duration(self.timeout),
            ),
        }


class PagerdutyConfig(Value):
    """An integration of PagerDuty's Events API v2; its European service has another `url`."""

    routing_key: SecretStr
    url: SecretStr
    send_resolved: bool = True
    timeout: timedelta = timedelta(seconds=10)

    @property
    def max_alerts(self) -> int:
        return 1  # an event tells of one alert, so a try that fails repeats no other

    def secrets(self) -> Iterator[SecretStr]:
        yield self.routing_key

    def public(self) -> dict[str, Any]:
        return {
            "routing_key": public.SECRET,
            "url": public.SECRET,
            "send_resolved": self.send_resolved,
            "timeout": public.duration(self.timeout),
        }


def _lines(value: Any) -> Any:
    """A secret file of several secrets holds one a line."""
    return tuple(value.get_secret_value().split()) if isinstance(value, SecretStr) else value


SecretLines = Annotated[tuple[SecretStr, ...], BeforeValidator(_lines)]


class AlertmanagerConfig(Value):
    """All replicas of one Alertmanager; each is told how the alerts stand, again and again."""

    urls: SecretLines
    timeout: timedelta = timedelta(seconds=10)

    @property
    def send_resolved(self) -> bool:
        return True

    @property
    def max_alerts(self) -> int:
        return 0

    def secrets(self) -> Iterator[SecretStr]:
        yield from (url for url in self.urls if "@" in url.get_secret_value())

    def public(self) -> dict[str, Any]:
        return {"urls": [public.SECRET for _ in self.urls], "timeout": public.duration(self.timeout)}


class AppriseConfig(Value):
    """Addresses of Apprise, each a target of its own."""

    urls: SecretLines
    send_resolved: bool = True
    timeout: timedelta = timedelta(seconds=20)

    @property
    def max_alerts(self) -> int:
        return _TEXT_ALERTS

    def secrets(self) -> Iterator[SecretStr]:
        yield from self.urls

    def public(self) -> dict[str, Any]:
        return {
            "urls": [public.SECRET for _ in self.urls],
            "send_resolved": self.send_resolved,
            "timeout": public.duration(self.timeout),
        }


class LogConfig(Value):
    """The service's own log."""

    @property
    def send_resolved(self) -> bool:
        return True

    @property
    def max_alerts(self) -> int:
        return 0

    def secrets(self) -> Iterator[SecretStr]:
        yield from ()

    def public(self) -> dict[str, Any]:
        return {}


Kind = WebhookConfig | AlertmanagerConfig | SlackConfig | EmailConfig | PagerdutyConfig | AppriseConfig | LogConfig


class ReceiverConfig(Value):
    """Where notifications go; exactly one kind is set.

    An alert that goes on firing is told again every `repeat_interval`; without one it is told once, and when it ends.
    """

    name: str
    repeat_interval: timedelta | None = None
    webhook: WebhookConfig | None = None
    alertmanager: AlertmanagerConfig | None = None
    slack: SlackConfig | None = None
    email: EmailConfig | None = None
    pagerduty: PagerdutyConfig | None = None
    apprise: AppriseConfig | None = None
    log: LogConfig | None = None

    @property
    def integration(self) -> str:
        """The kind, as metrics name it and the configuration writes it."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    @property
    def kind(self) -> Kind:
        kind: Kind = getattr(self, self.integration)
        return kind

    @property
    def is_told_the_state(self) -> bool:
        """Whether it is told how alerts stand, every minute, and not how they change, through the outbox."""
        return self.alertmanager is not None

    def public(self) -> dict[str, Any]:
        repeated = self.repeat_interval and public.duration(self.repeat_interval)
        return public.given(name=self.name, repeat_interval=repeated) | {self.integration: self.kind.public()}


KINDS = tuple(name for name in ReceiverConfig.model_fields if name not in {"name", "repeat_interval"})
