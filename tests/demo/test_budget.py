"""The demo's payments under a budget of false alarms alone: each known incident is one episode, and nothing else is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from drift_monitor.app import open_services
from drift_monitor.cli.demo import begin
from drift_monitor.config.loading import load
from drift_monitor.demo.payments import PaymentsData
from drift_monitor.evaluation.backfill import backfill
from drift_monitor.store import alerts, measurements
from drift_monitor.store.runs import RunKey
from tests.clocks import FixedClock

NOW = datetime(2026, 11, 27, 15, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.slow
def test_each_known_incident_is_one_episode_that_names_its_feature(tmp_path: Path) -> None:
    data = PaymentsData()
    config = begin(data, tmp_path, seed=2013, until=NOW)
    document = yaml.safe_load(config.read_text())
    document["monitors"][0]["rules"] = [{"false_alarms": "1 per 28d"}]
    config.write_text(yaml.safe_dump(document))
    data.append(tmp_path, until=NOW)
    history = data.history(tmp_path)
    incidents = sorted(data.incidents(history), key=lambda incident: incident.start)
    with open_services(load(config), clock=FixedClock(NOW), migrate_store=True) as services:
        monitor = services.config.monitors[0]
        for _ in backfill(services, monitor, data.first_window(history) - HOUR, NOW):
            pass
        with services.store.read() as conn:
            episodes = sorted(alerts.episodes(conn, monitor=monitor.name), key=lambda episode: episode.opened_window)
            assert len(episodes) == len(incidents) == 7
            for incident, episode in zip(incidents, episodes, strict=True):
                assert incident.start < episode.opened_window <= incident.start + 6 * HOUR, incident.feature
                found = measurements.of_run(conn, RunKey(monitor=monitor.name, window_end=episode.opened_window))
                furthest = max(found, key=lambda measurement: measurement.times_its_level or 0.0)
                assert furthest.feature == incident.feature
