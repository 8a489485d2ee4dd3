"""The daemon tells Alertmanagers again and again, from its first tick on."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drift_monitor.alerting.alertmanager_sync import AlertmanagerSync
from drift_monitor.clock import SystemClock
from drift_monitor.daemon.daemon import Daemon
from drift_monitor.daemon.settings import DaemonSettings
from tests.alertmanager import wait_for
from tests.evaluation.workbench import Workbench, even, high
from tests.notify.receivers import Receiver, receiver


def test_what_fires_is_told_at_once_after_a_start_and_again_at_every_tick(tmp_path: Path) -> None:
    with receiver() as replica:
        receivers = [{"name": "am", "alertmanager": {"urls": [f"http://127.0.0.1:{replica.port}"]}}]
        workbench = Workbench(tmp_path, f"sqlite:///{tmp_path / 'drift.db'}", receivers)
        workbench.people.train(even(400))
        workbench.people.arrive(1, high(200))
        with workbench.open() as bench:
            bench.evaluate(2)
        with workbench.open() as bench:
            services = replace(bench.services, clock=SystemClock())
            daemon = Daemon(services, lambda old: old, DaemonSettings(resend=timedelta(seconds=0.2)))
            daemon.start()
            try:
                wait_for(lambda: len(replica.received) >= 3, seconds=120)
            finally:
                daemon.stop()
    starts = {alert["startsAt"] for one in replica.received for alert in json.loads(one.body)}
    assert starts == {"2024-03-04T02:00:00Z"}


def test_what_changes_is_told_at_once_and_what_stays_only_at_the_next_round(tmp_path: Path) -> None:
    with receiver() as replica:
        receivers = [{"name": "am", "alertmanager": {"urls": [f"http://127.0.0.1:{replica.port}"]}}]
        workbench = Workbench(tmp_path, f"sqlite:///{tmp_path / 'drift.db'}", receivers)
        workbench.people.train(even(400))
        for number, ages in enumerate([even(200), high(200), even(200)]):
            workbench.people.arrive(number, ages)
        with workbench.open() as bench:
            services = replace(bench.services, clock=SystemClock())
            herald = AlertmanagerSync(timedelta(hours=1))
            told = []
            for number in (1, 2, 3):
                bench.evaluate(number)
                for _ in range(3):
                    herald.tick(services)
                told.append(statuses(replica))
    assert told == [[], ["open"], ["open", "over"]]


def statuses(replica: Receiver) -> list[str]:
    """Of each alert in each request: whether its end is ahead."""
    now = datetime.now(UTC)
    alerts = [alert for one in replica.received for alert in json.loads(one.body)]
    return ["open" if datetime.fromisoformat(alert["endsAt"]) > now else "over" for alert in alerts]
