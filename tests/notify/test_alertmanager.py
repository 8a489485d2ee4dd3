"""What is posted to Alertmanagers: ends ahead, replicas apart, batches."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drift_monitor.config.outbound import ANYWHERE
from drift_monitor.errors import DeliveryError
from drift_monitor.notify.alertmanager import AlertmanagerSender, postable
from drift_monitor.notify.message import AlertStatus
from tests.notify.receivers import raw_server, receiver, refusing
from tests.notify.samples import ID, NOON, an_alert, configured, stored

LATER = NOON + timedelta(hours=1)


def a_sender(*urls: str, **keys: Any) -> AlertmanagerSender:
    return AlertmanagerSender(configured("alertmanager", urls=list(urls), **keys), ANYWHERE)


def test_firing_alert_keeps_its_start_and_ends_five_minutes_after_it_was_told() -> None:
    (alert,) = stored()["alerts"]
    posted = postable(alert, LATER)
    assert (posted["startsAt"], posted["endsAt"]) == ("2026-11-20T12:00:00Z", "2026-11-20T13:05:00Z")
    assert set(posted) == {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}


def test_resolved_alert_carries_its_real_end() -> None:
    (alert,) = stored(an_alert(status=AlertStatus.RESOLVED))["alerts"]
    assert postable(alert, LATER)["endsAt"] == "2026-11-20T15:00:00Z"


@pytest.mark.slow
def test_every_replica_is_told_though_another_one_is_away_or_hangs() -> None:
    with (
        receiver() as first,
        receiver() as second,
        refusing() as gone,
        raw_server(b"", b"", pause=0.05) as silent,
    ):
        urls = [first.url, f"http://127.0.0.1:{gone}", f"http://127.0.0.1:{silent}", f"{second.url}/"]
        sender = a_sender(*urls, timeout=timedelta(seconds=5))  # those that answer must not be late, too
        answers = sender.push(stored()["alerts"], LATER)
    assert [None if one is None else one.reason for one in answers] == [None, "network", "timeout", None]
    assert [one.path for one in (*first.received, *second.received)] == ["/hook/api/v2/alerts"] * 2
    assert first.received[0].headers["content-type"] == "application/json"


def test_many_alerts_go_in_batches_and_a_refused_one_does_not_stop_the_others() -> None:
    alerts = stored(*(an_alert(f"f{number}") for number in range(150)))["alerts"]
    with receiver(judge=lambda body: "bad" if b'"f0"' in body else None) as replica:
        (answer,) = a_sender(replica.url).push(alerts, LATER)
    assert [len(json.loads(one.body)) for one in replica.received] == [64, 64, 22]
    assert answer is not None
    assert (answer.status_code, answer.retryable) == (400, False)


def test_sending_a_notification_tells_all_replicas_and_then_raises() -> None:
    with receiver(status=500) as broken, receiver() as good, pytest.raises(DeliveryError):
        a_sender(broken.url, good.url).send(ID, stored(), datetime.now(UTC))
    assert len(good.received) == 1
