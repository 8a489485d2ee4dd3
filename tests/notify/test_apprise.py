"""Apprise against real local receivers: its `json://` service posts to them."""

import json
import logging
import time
from datetime import timedelta
from typing import Any

import pytest

from drift_monitor.errors import DeliveryError
from drift_monitor.notify.apprise import AppriseSender
from drift_monitor.notify.message import AlertStatus
from tests.notify.receivers import raw_server, receiver
from tests.notify.samples import ID, NOON, an_alert, configured, stored


def address(port: int, path: str = "hook") -> str:
    return f"json://127.0.0.1:{port}/{path}"


def a_sender(*urls: str, **keys: Any) -> AppriseSender:
    return AppriseSender(configured("apprise", urls=list(urls), **keys))


def test_message_arrives_as_plain_text_with_its_severity() -> None:
    with receiver() as hook:
        a_sender(address(hook.port)).send(ID, stored(), NOON)
    sent = json.loads(hook.received[0].body)
    assert sent["title"] == "[FIRING:1] income of credit_inputs drifted: psi 0.31 above 0.25"
    assert "live" in sent["message"]
    assert sent["type"] == "failure"


@pytest.mark.parametrize(
    ("severity", "status", "kind"),
    [
        ("warning", AlertStatus.FIRING, "warning"),
        ("info", AlertStatus.FIRING, "info"),
        ("critical", AlertStatus.RESOLVED, "success"),
    ],
)
def test_kind_of_the_message_follows_severity_and_state(severity: str, status: AlertStatus, kind: str) -> None:
    with receiver() as hook:
        a_sender(address(hook.port)).send(ID, stored(an_alert(status=status, severity=severity)), NOON)
    assert json.loads(hook.received[0].body)["type"] == kind


def test_targets_that_took_it_are_not_told_again_when_the_others_are() -> None:
    with receiver() as good, receiver(status=500) as broken:
        sender = a_sender(address(good.port), address(broken.port))
        with pytest.raises(DeliveryError, match="1 of 2 targets did not take it") as caught:
            sender.send(ID, stored(), NOON)
        assert caught.value.retryable
        broken.status = 200
        sender.send(ID, stored(), NOON)
        assert (len(good.received), len(broken.received)) == (1, 2)
        sender.send("another", stored(), NOON)
        assert (len(good.received), len(broken.received)) == (2, 3)


def test_deadline_holds_for_all_targets_together() -> None:
    with raw_server(b"", b"", pause=0.05) as first, raw_server(b"", b"", pause=0.05) as second:
        sender = a_sender(address(first), address(second), timeout=timedelta(seconds=0.5))
        started = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            sender.send(ID, stored(), NOON)
        took = time.monotonic() - started
    assert (caught.value.reason, caught.value.retryable) == ("timeout", True)
    assert took < 60


def test_redirect_is_not_followed() -> None:
    with receiver() as internal, receiver(status=307, headers={"Location": internal.url}) as hook:
        sender = a_sender(address(hook.port))
        with pytest.raises(DeliveryError):
            sender.send(ID, stored(), NOON)
    assert len(hook.received) == 1
    assert internal.received == []


def test_metadata_address_is_never_dialled() -> None:
    with pytest.raises(DeliveryError) as caught:
        a_sender("json://169.254.169.254/latest").send(ID, stored(), NOON)
    assert caught.value.reason == "address_refused"


def test_addresses_show_nowhere_even_in_the_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), receiver(status=403, answer=b"canary-path is unknown") as hook:
        url = f"json://user:canary-password@127.0.0.1:{hook.port}/canary-path?+X-Token=canary-header"
        sender = a_sender(url)
        with pytest.raises(DeliveryError) as caught:
            sender.send(ID, stored(), NOON)
    assert hook.received[0].headers["x-token"] == "canary-header"
    assert "canary" not in str(caught.value) + repr(caught.value.__cause__) + caplog.text + repr(sender)
