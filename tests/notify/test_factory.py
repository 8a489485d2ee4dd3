"""Receivers as configured become senders that keep to `outbound.allow`, whatever their kind."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from drift_monitor.config.loading import parse
from drift_monitor.config.receivers import KINDS
from drift_monitor.config.schema import Config
from drift_monitor.errors import DeliveryError
from drift_monitor.notify.factory import make_sender, sample_messages
from tests.notify.receivers import receiver

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DIALLING = ("webhook", "alertmanager", "slack", "email", "pagerduty")


def _keys(kind: str, port: int) -> dict[str, Any]:
    """A receiver of this kind at a port of this machine."""
    url = f"http://localhost:{port}/hook"
    mail = {"smarthost": f"localhost:{port}", "from": "a@example.org", "to": ["b@example.org"], "require_tls": False}
    return {
        "webhook": {"url": url},
        "alertmanager": {"urls": [url]},
        "slack": {"webhook_url": url},
        "email": mail,
        "pagerduty": {"routing_key": "key", "url": url},
    }[kind]


def _config(kind: str, port: int, *allow: str) -> Config:
    document = {
        "store": {"url": "sqlite://"},
        "sources": [],
        "monitors": [],
        "receivers": [{"name": "r", kind: _keys(kind, port)}],
        "outbound": {"allow": list(allow)},
    }
    return parse(json.dumps(document), environ={})


def _send(config: Config) -> None:
    message = sample_messages("r", NOON)[0]
    make_sender(config.receiver("r"), config.outbound).send(message.id, message.body, NOON)


def test_every_kind_that_dials_is_tried_here() -> None:
    assert set(KINDS) == {*DIALLING, "apprise", "log"}  # apprise excludes outbound.allow, log dials nobody


@pytest.mark.parametrize("kind", DIALLING)
def test_receiver_that_is_not_allowed_is_not_dialled(kind: str) -> None:
    with receiver() as hook, pytest.raises(DeliveryError, match=r"outbound\.allow") as caught:
        _send(_config(kind, hook.port, "hooks.example", "10.0.0.0/8"))
    assert (caught.value.reason, caught.value.retryable) == ("address_refused", True)
    assert hook.received == []


@pytest.mark.parametrize("kind", ["webhook", "alertmanager"])
def test_receiver_that_is_allowed_is_told(kind: str) -> None:
    with receiver() as hook:
        _send(_config(kind, hook.port, "localhost"))
    assert len(hook.received) == 1
