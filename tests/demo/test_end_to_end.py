"""The demo as a newcomer runs it, at other seeds and dates: every incident is found, paged once and delivered.

Nothing is precomputed: the incidents are rows, read by the same backfill that users run, and the messages arrive at a
real webhook receiver.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drift_monitor.app import open_services
from drift_monitor.cli.demo import begin, fill
from drift_monitor.cli.summary import verdicts
from drift_monitor.config.loading import load
from drift_monitor.demo.payments import PaymentsData
from drift_monitor.store import alerts, outbox, runs
from drift_monitor.store.alerts import Episode
from drift_monitor.store.outbox import NotificationState
from drift_monitor.store.runs import RunFilter, RunState
from tests.clocks import FixedClock
from tests.demo.quiet import quiet_stretches
from tests.notify.receivers import receiver

PAYMENTS = PaymentsData()


def opened_between(episodes: Sequence[Episode], start: datetime, end: datetime) -> list[Episode]:
    return [one for one in episodes if start < one.opened_window <= end]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "now"),
    [(2013, datetime(2026, 11, 21, 9, 30, tzinfo=UTC)), (77, datetime(2025, 4, 2, 23, 5, tzinfo=UTC))],
)
def test_each_incident_is_found_on_its_feature_within_a_day_and_delivered(
    tmp_path: Path, seed: int, now: datetime
) -> None:
    with receiver() as hook:
        config = begin(PAYMENTS, tmp_path, seed=seed, until=now, webhook_url=hook.url)
        history = PAYMENTS.history(tmp_path)
        with open_services(load(config), clock=FixedClock(now)) as services:
            fill(services, PAYMENTS, tmp_path, lambda monitor, step: None)
            found = verdicts(services, PAYMENTS, history)
            with services.store.read() as conn:
                episodes = alerts.episodes(conn, monitor=PAYMENTS.monitor)
                waiting = outbox.states(conn)
                unfinished = runs.history(conn, RunFilter(states=(RunState.DUE, RunState.RUNNING, RunState.FAILED)))
    assert len(found) == len(PAYMENTS.incidents(history)) >= 7
    missed = [one.incident for one in found if one.episode is None]
    assert not missed
    affected = {one.incident.feature for one in found}
    assert {one.key.feature for one in episodes} <= affected
    quiet = quiet_stretches(PAYMENTS.incidents(history), until=now)
    assert len(quiet) >= 2
    assert sum(len(opened_between(episodes, one.start, one.end)) for one in quiet) <= 1
    told = {
        (alert["labels"]["feature"], alert["labels"]["rule"])
        for request in hook.received
        for alert in json.loads(request.body)["alerts"]
        if alert["status"] == "firing"
    }
    assert {(one.incident.feature, one.episode.key.rule) for one in found if one.episode} <= told
    assert {state for _, state in waiting} == {NotificationState.SENT}
    assert not unfinished
