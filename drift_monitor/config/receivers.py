"""Receivers: one section for each kind, with what all kinds have in common.

A kind is a class here and a key of `ReceiverConfig`, and in `notify.factory` what sends to it. `send_resolved` and
`max_alerts` say what goes into a notification; `target` is the key that says where it goes.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from drift_monitor.config.fields import (
    AppriseUrls,
    MailAddress,
    Name,
    Named,
    PositiveDuration,
    Secret,
    Section,
    Smarthost,
    Text,
    WebUrl,
    WebUrls,
    mistake,
)

SHORTEST_REPEAT = timedelta(minutes=1)  # how often the daemon looks for what is due
LONGEST_TRY = timedelta(seconds=50)  # with a margin: after a minute another process takes a delivery for lost


def _repeat(value: timedelta) -> timedelta:
    if value < SHORTEST_REPEAT:
        raise mistake("must be at least 1m")
    return value


def _try(value: timedelta) -> timedelta:
    if value > LONGEST_TRY:
        raise mistake("must be at most 50s", "whatever takes longer is given up and tried again")
    return value


Timeout = Annotated[PositiveDuration, AfterValidator(_try)]
RepeatInterval = Annotated[PositiveDuration, AfterValidator(_repeat)]


class Integration(Section):
    """What the kinds have in common."""

    target: ClassVar[str | None] = ""  # "": it goes nowhere; None: where it goes can't be known

    def secrets(self) -> Iterator[SecretStr]:
        """The values that must never show: they are hidden in every log line."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            yield from (part for part in _parts(value) if isinstance(part, SecretStr))

    def hosts(self) -> Iterator[str]:
        """The hosts it goes to: those of a URL, of several of them, or of a mail server."""
        for part in _parts(getattr(self, self.target) if self.target else ()):
            if isinstance(part, SecretStr):
                try:
                    yield urlsplit(part.get_secret_value()).hostname or ""
                except ValueError:  # a bracket that does not close
                    yield ""
            else:
                yield str(part).rpartition(":")[0].strip("[]")


def _parts(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


class WebhookConfig(Integration):
    """An HTTP endpoint that takes Alertmanager's webhook body; `max_alerts` 0 means no limit."""

    target = "url"

    url: WebUrl
    url_file: Text | None = Field(default=None, exclude=True)
    send_resolved: bool = True
    max_alerts: int = Field(default=0, ge=0, le=100_000)
    secret: Secret | None = Field(default=None, min_length=1)
    secret_file: Text | None = Field(default=None, exclude=True)
    timeout: Timeout = timedelta(seconds=10)


class AlertmanagerConfig(Integration):
    """All replicas of one Alertmanager; each is sent the state of the alerts, again and again."""

    target = "urls"
    send_resolved: ClassVar[bool] = True
    max_alerts: ClassVar[int] = 0

    urls: WebUrls
    urls_file: Text | None = Field(default=None, exclude=True)
    timeout: Timeout = timedelta(seconds=10)

    def secrets(self) -> Iterator[SecretStr]:
        # Without a user these are names of hosts that every log line about them needs.
        yield from (url for url in self.urls if "@" in url.get_secret_value())


class SlackConfig(Integration):
    """An incoming webhook of Slack, or of a chat that speaks the same."""

    target = "webhook_url"
    max_alerts: ClassVar[int] = 10  # each takes up to three of the fifty blocks a message may have

    webhook_url: WebUrl
    webhook_url_file: Text | None = Field(default=None, exclude=True)
    send_resolved: bool = True
    timeout: Timeout = timedelta(seconds=10)


class EmailConfig(Integration):
    """A mail server and who is written to."""

    placeholders: ClassVar = {"smarthost": "placeholder:25", "from": "a@placeholder", "to": ["a@placeholder"]}
    target = "smarthost"
    max_alerts: ClassVar[int] = 20  # more than anybody reads, and far below what mail programs cut

    smarthost: Smarthost = Field(description="the mail server that takes the messages, host:port")
    from_: MailAddress = Field(alias="from", description="whom the messages come from")
    to: tuple[MailAddress, ...] = Field(min_length=1, max_length=100, description="list of whom they go to")
    auth_username: Text | None = None
    auth_password: Secret | None = Field(default=None, min_length=1)
    auth_password_file: Text | None = Field(default=None, exclude=True)
    require_tls: bool = True
    send_resolved: bool = True
    timeout: Timeout = timedelta(seconds=30)


class PagerdutyConfig(Integration):
    """An integration of PagerDuty's Events API v2; its European service has another `url`."""

    target = "url"
    max_alerts: ClassVar[int] = 1  # an event is about one alert, so a try that fails repeats no other

    routing_key: Secret = Field(min_length=1)
    routing_key_file: Text | None = Field(default=None, exclude=True)
    url: WebUrl = SecretStr("https://events.pagerduty.com/v2/enqueue")
    send_resolved: bool = True
    timeout: Timeout = timedelta(seconds=10)

    def secrets(self) -> Iterator[SecretStr]:
        yield self.routing_key


class AppriseConfig(Integration):
    """Addresses of Apprise, each a target of its own."""

    target = None
    max_alerts: ClassVar[int] = 5  # of a chat that may allow a few thousand characters

    urls: AppriseUrls
    urls_file: Text | None = Field(default=None, exclude=True)
    send_resolved: bool = True
    timeout: Timeout = timedelta(seconds=20)


class LogConfig(Integration):
    """The service's own log: nothing to set."""

    send_resolved: ClassVar[bool] = True
    max_alerts: ClassVar[int] = 0


Kind = WebhookConfig | AlertmanagerConfig | SlackConfig | EmailConfig | PagerdutyConfig | AppriseConfig | LogConfig


class ReceiverConfig(Named):
    """Where notifications go; exactly one kind is set.

    An alert that goes on firing is sent again every `repeat_interval`; without one it is sent once, and when it ends.
    """

    name: Name = Field(description="what monitors call this receiver")
    repeat_interval: RepeatInterval | None = None
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
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def kind(self) -> Kind:
        kind: Kind = getattr(self, self.integration)
        return kind

    @property
    def is_told_the_state(self) -> bool:
        """Whether it is sent the state of alerts every minute, and not their changes through the outbox."""
        return self.alertmanager is not None


KINDS: Mapping[str, type[Integration]] = {
    key: kind
    for key, field in ReceiverConfig.model_fields.items()
    for kind in get_args(field.annotation)
    if isinstance(kind, type) and issubclass(kind, Integration)
}
ReceiverConfig.exactly_one = (tuple(KINDS),)
