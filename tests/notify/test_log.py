"""The log as a receiver."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from drift_monitor.notify.factory import LogSender
from drift_monitor.notify.message import Alert, AlertStatus, NotificationKey, messages
from drift_monitor.telemetry.logs import LogFormat, Redactor, StructuredFormatter

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(StructuredFormatter(LogFormat.JSON, Redactor()))
    logger = logging.getLogger("drift_monitor.notify.factory")
    before = logger.level, root.level
    logger.addHandler(handler)
    root.setLevel(logging.ERROR)  # as with --log.level error
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(before[0])
    root.setLevel(before[1])


def test_each_alert_is_one_line_with_its_nouns(lines: io.StringIO) -> None:
    alerts = [
        Alert(
            status=status,
            labels={
                "alertname": "DataDrift",
                "monitor": "m",
                "feature": "a\nforged=1",
                "metric": "psi",
                "severity": "critical",
            },
            annotations={"summary": "a drifted"},
            starts_at=NOON,
            ends_at=None if status is AlertStatus.FIRING else NOON,
            fingerprint="0123456789abcdef",
        )
        for status in AlertStatus
    ]
    key = NotificationKey(monitor="m", window_end=NOON, revision=0, receiver="log")
    (message,) = messages(key, alerts, max_alerts=0, external_url="", send_resolved=True)
    LogSender().send(message.id, message.body, NOON)
    firing, resolved = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (firing["event"], firing["level"], firing["msg"]) == ("alert_firing", "warn", "a drifted")
    assert (resolved["event"], resolved["level"]) == ("alert_resolved", "info")
    assert firing["feature"] == "a\nforged=1"
    assert firing["notification"] == message.id
    assert (firing["starts_at"], "ends_at" in firing) == ("2026-11-20T12:00:00Z", False)
