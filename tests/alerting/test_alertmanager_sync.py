"""Alertmanagers hear how alerts stand: judged by a real one, through its own restarts and ours."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.alerting.alertmanager_sync import sync_alertmanagers
from tests.alertmanager import Alertmanager, alertmanager, wait_for
from tests.clocks import FixedClock
from tests.evaluation.workbench import Bench, Workbench, even, high, hour
from tests.notify.receivers import Receiver, receiver, refusing

pytestmark = pytest.mark.processes


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as one:
        yield one


@pytest.fixture
def running(tmp_path: Path, hook: Receiver) -> Iterator[Alertmanager]:
    with alertmanager(tmp_path / "alertmanager", hook.url) as one:
        yield one


def a_bench(folder: Path, *urls: str) -> Workbench:
    receivers = [{"name": "am", "alertmanager": {"urls": list(urls), "timeout": "30s"}}]
    bench = Workbench(folder, f"sqlite:///{folder / 'drift.db'}", receivers)
    bench.people.train(even(400))
    for number, ages in enumerate([even(200), high(200), even(200), high(200)]):
        bench.people.arrive(number, ages)
    return bench


def tell(bench: Bench) -> None:
    """One round at the present moment: Alertmanager has the clock of this machine."""
    sync_alertmanagers(replace(bench.services, clock=FixedClock(datetime.now(UTC))))


def told(hook: Receiver) -> list[tuple[str, str]]:
    """(status, startsAt) of every alert that Alertmanager has passed on."""
    bodies = [json.loads(one.body) for one in hook.received]
    return [(alert["status"], alert["startsAt"]) for body in bodies for alert in body["alerts"]]


def starts(running: Alertmanager) -> list[str]:
    return [alert["startsAt"] for alert in running.alerts()]


def instant(number: int) -> str:
    return f"{hour(number):%Y-%m-%dT%H:%M:%S}"


def test_alert_reaches_a_person_once_with_its_start_and_is_resolved(
    tmp_path: Path, running: Alertmanager, hook: Receiver
) -> None:
    with a_bench(tmp_path, running.url).open() as bench:
        bench.evaluate(1)
        tell(bench)
        assert running.alerts() == []
        bench.evaluate(2)
        tell(bench)
        tell(bench)
        wait_for(lambda: told(hook))
        (alert,) = running.alerts()
        assert alert["labels"]["alertname"] == "DataDrift"
        assert "age of people drifted" in alert["annotations"]["summary"]
        assert starts(running)[0].startswith(instant(2))
        bench.evaluate(3)
        tell(bench)
        wait_for(lambda: len(told(hook)) == 2)
        assert [status for status, _ in told(hook)] == ["firing", "resolved"]
        assert all(start.startswith(instant(2)) for _, start in told(hook))
        assert running.alerts() == []
        assert bench.rows("SELECT * FROM outbox") == []


def test_alertmanager_that_forgot_everything_is_told_again_with_the_original_start(
    tmp_path: Path, running: Alertmanager
) -> None:
    with a_bench(tmp_path, running.url).open() as bench:
        bench.evaluate(1, 2)
        tell(bench)
        before = starts(running)
        running.kill()
        tell(bench)
        assert failures(bench, "network") == 1
        running.start()
        assert running.alerts() == []
        tell(bench)
        assert starts(running) == before
        assert len(before) == 1


def test_restart_of_the_service_neither_repeats_nor_moves_an_alert(
    tmp_path: Path, running: Alertmanager, hook: Receiver
) -> None:
    workbench = a_bench(tmp_path, running.url)
    with workbench.open() as bench:
        bench.evaluate(1, 2)
        tell(bench)
        wait_for(lambda: told(hook))
        (before,) = running.alerts()
    with workbench.open() as bench:
        tell(bench)
        (after,) = running.alerts()
    assert (after["fingerprint"], after["startsAt"]) == (before["fingerprint"], before["startsAt"])
    assert after["annotations"] == before["annotations"]
    assert len(told(hook)) == 1


def test_alert_that_ended_while_alertmanager_was_away_is_told_to_be_over(
    tmp_path: Path, running: Alertmanager, hook: Receiver
) -> None:
    with a_bench(tmp_path, running.url).open() as bench:
        bench.evaluate(1, 2)
        tell(bench)
        wait_for(lambda: told(hook))
        bench.evaluate(3)
        with alertmanager(tmp_path / "other", hook.url):
            tell(bench)
        wait_for(lambda: ("resolved", told(hook)[0][1]) in told(hook))
        bench.evaluate(4)
        tell(bench)
        (alert,) = running.alerts()
        assert alert["startsAt"].startswith(instant(4))  # a new episode, not the old one's end


def test_each_replica_is_told_and_failures_are_counted(tmp_path: Path, running: Alertmanager, hook: Receiver) -> None:
    with ExitStack() as stack:
        second = stack.enter_context(alertmanager(tmp_path / "second", hook.url))
        away = f"http://127.0.0.1:{stack.enter_context(refusing())}"
        bench = stack.enter_context(a_bench(tmp_path, running.url, away, second.url).open())
        bench.evaluate(1, 2)
        tell(bench)
        assert starts(running) == starts(second) != []
        assert failures(bench, "network") == 1
        assert sample(bench, "drift_notifications_total") == 3


def test_monitor_that_names_another_receiver_is_not_told_of(tmp_path: Path, running: Alertmanager) -> None:
    workbench = a_bench(tmp_path, running.url)
    workbench.receivers = [*workbench.receivers, {"name": "log", "log": {}}]
    with workbench.open(receivers=["log"]) as bench:
        bench.evaluate(1, 2)
        tell(bench)
        assert running.alerts() == []
        assert sample(bench, "drift_notifications_total") == 0


def test_alert_that_fires_under_a_removed_rule_goes_on_until_the_next_evaluation(
    tmp_path: Path, running: Alertmanager
) -> None:
    workbench = a_bench(tmp_path, running.url)
    with workbench.open() as bench:
        bench.evaluate(1, 2)
    with workbench.open(rules=[{"metric": "js", "above": 0.6}]) as bench:
        tell(bench)
        assert [alert["labels"]["metric"] for alert in running.alerts()] == ["psi"]


def failures(bench: Bench, reason: str) -> float:
    return sample(bench, "drift_notifications_failed_total", reason=reason)


def sample(bench: Bench, name: str, **labels: str) -> float:
    value: Any = bench.services.telemetry.registry.get_sample_value(
        name, {"receiver": "am", "integration": "alertmanager", **labels}
    )
    return float(value)


def test_alertmanager_keeps_an_alert_for_five_minutes_after_it_was_told(tmp_path: Path, running: Alertmanager) -> None:
    with a_bench(tmp_path, running.url).open() as bench:
        bench.evaluate(1, 2)
        before = datetime.now(UTC)
        tell(bench)
        with urllib.request.urlopen(f"{running.url}/api/v2/alerts", timeout=60) as answer:
            (alert,) = json.load(answer)
        ahead = datetime.fromisoformat(alert["endsAt"]) - before
        assert 295 <= ahead.total_seconds() <= 300 + 120  # a busy machine may be late
