"""What may be written under `receivers`: one section for each kind of receiver.

A kind is added here, in `receivers` and in `notify.making`, and nowhere else.
"""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from drift_monitor.config.fields import (
    MailAddress,
    Name,
    PositiveDuration,
    Smarthost,
    Text,
    WebUrl,
    check_apprise_url,
    check_apprise_urls,
    check_web_url,
    check_web_urls,
    mistake,
)
from drift_monitor.config.section import Section

SHORTEST_REPEAT = timedelta(minutes=1)
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
AppriseUrl = Annotated[SecretStr, AfterValidator(check_apprise_url)]


class WebhookSection(Section):
    exactly_one = (("url", "url_file"),)
    at_most_one = (("secret", "secret_file"),)
    secret_files: ClassVar = {"url": check_web_url, "secret": None}

    url: WebUrl | None = None
    url_file: Text | None = None
    send_resolved: bool = True
    max_alerts: int = Field(default=0, ge=0, le=100_000)
    secret: SecretStr | None = Field(default=None, min_length=1)
    secret_file: Text | None = None
    timeout: Timeout = timedelta(seconds=10)


class SlackSection(Section):
    exactly_one = (("webhook_url", "webhook_url_file"),)
    secret_files: ClassVar = {"webhook_url": check_web_url}

    webhook_url: WebUrl | None = None
    webhook_url_file: Text | None = None
    send_resolved: bool = True
    timeout: Timeout = timedelta(seconds=10)


class EmailSection(Section):
    at_most_one = (("auth_password", "auth_password_file"),)
    placeholders: ClassVar = {"smarthost": "placeholder:25", "from": "a@placeholder", "to": ["a@placeholder"]}
    secret_files: ClassVar = {"auth_password": None}

    smarthost: Smarthost = Field(description="the mail server that takes the messages, host:port")
    from_: MailAddress = Field(alias="from", description="whom the messages come from")
    to: tuple[MailAddress, ...] = Field(min_length=1, max_length=100, description="list of whom they go to")
    auth_username: Text | None = None
    auth_password: SecretStr | None = Field(default=None, min_length=1)
    auth_password_file: Text | None = None
    require_tls: bool = True
    send_resolved: bool = True
    timeout: Timeout = timedelta(seconds=30)


class PagerdutySection(Section):
    exactly_one = (("routing_key", "routing_key_file"),)
    secret_files: ClassVar = {"routing_key": None}

    routing_key: SecretStr | None = Field(default=None, min_length=1)
    routing_key_file: Text | None = None
    url: WebUrl = SecretStr("https://events.pagerduty.com/v2/enqueue")
    send_resolved: bool = True
    timeout: Timeout = timedelta(seconds=10)


class AlertmanagerSection(Section):
    exactly_one = (("urls", "urls_file"),)
    secret_files: ClassVar = {"urls": check_web_urls}

    urls: tuple[WebUrl, ...] | None = Field(default=None, min_length=1, max_length=20)
    urls_file: Text | None = None
    timeout: Timeout = timedelta(seconds=10)


class AppriseSection(Section):
    exactly_one = (("urls", "urls_file"),)
    secret_files: ClassVar = {"urls": check_apprise_urls}

    urls: tuple[AppriseUrl, ...] | None = Field(default=None, min_length=1, max_length=20)
    urls_file: Text | None = None
    send_resolved: bool = True
    timeout: Timeout = timedelta(seconds=20)


class LogSection(Section):
    """Nothing to set."""


class ReceiverSection(Section):
    exactly_one = (("webhook", "alertmanager", "slack", "email", "pagerduty", "apprise", "log"),)
    placeholders: ClassVar = {"name": "placeholder"}

    name: Name = Field(description="what monitors call this receiver")
    repeat_interval: RepeatInterval | None = None
    webhook: WebhookSection | None = None
    alertmanager: AlertmanagerSection | None = None
    slack: SlackSection | None = None
    email: EmailSection | None = None
    pagerduty: PagerdutySection | None = None
    apprise: AppriseSection | None = None
    log: LogSection | None = None


KINDS = ReceiverSection.exactly_one[0]
"""The keys of which a receiver has one."""


def kind_of(receiver: ReceiverSection) -> tuple[str, Section] | None:
    """The kind of a receiver and its section; None where none is written."""
    for name in KINDS:
        section = getattr(receiver, name)
        if section is not None:
            return name, section
    return None
