"""Monitors that fail or that nobody evaluates are alerts of their own, and no drift alert moves because of them."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.alerting.repeat import repeat_due
from drift_monitor.alerting.self_monitoring import check_monitors
from drift_monitor.evaluation.attempt import Result, attempt
from drift_monitor.evaluation.planning import planned_run, register_monitors
from drift_monitor.store import leases, monitors, runs
from drift_monitor.store.runs import Trigger
from tests.clocks import FixedClock
from tests.evaluation.workbench import HOUR, MONITOR, PRESENT, Bench, Workbench, even, high, hour

MINUTE = timedelta(minutes=1)
LONG_AGO = PRESENT - timedelta(days=400)


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    bench = Workbench(tmp_path, f"sqlite:///{tmp_path / 'drift.db'}")
    bench.people.train(even(400))
    for number in range(8):
        bench.people.arrive(number, even(200) if number != 1 else high(200))
    return bench


@pytest.fixture
def bench(workbench: Workbench) -> Iterator[Bench]:
    with workbench.open(labels={"team": "risk"}) as one:
        yield one


def wait(bench: Bench, duration: timedelta) -> None:
    assert isinstance(bench.services.clock, FixedClock)
    bench.services.clock.at += duration


def break_source(bench: Bench) -> None:
    bench.people.execute("ALTER TABLE people RENAME TO hidden")


def mend_source(bench: Bench) -> None:
    bench.people.execute("ALTER TABLE hidden RENAME TO people")


def plan(bench: Bench, *windows: int) -> None:
    monitor = bench.services.config.monitor(MONITOR)
    rows = [planned_run(monitor, hour(number), hour(number), Trigger.SCHEDULE) for number in windows]
    assert bench.services.store.transact(lambda conn: runs.plan(conn, rows)) == len(rows)


def attempt_next(bench: Bench) -> Result | None:
    services = bench.services
    claim = services.store.transact(lambda conn: leases.claim(conn, services.owner, MINUTE))
    return None if claim is None else attempt(services, services.config.monitor(MONITOR), claim)


def check(bench: Bench, watching_since: datetime = PRESENT) -> None:
    check_monitors(bench.services, watching_since)


def told(bench: Bench) -> list[tuple[str, str]]:
    """(alertname, status) of every alert in the outbox, in order."""
    bodies = [json.loads(row.body) for row in bench.rows("SELECT body FROM outbox ORDER BY seq")]
    return [(alert["labels"]["alertname"], alert["status"]) for body in bodies for alert in body["alerts"]]


def last_alert(bench: Bench) -> dict[str, Any]:
    (row,) = bench.rows("SELECT body FROM outbox ORDER BY seq DESC LIMIT 1")
    alert: dict[str, Any] = json.loads(row.body)["alerts"][0]
    return alert


def test_a_monitor_that_is_well_is_no_news(bench: Bench) -> None:
    bench.evaluate(1)
    check(bench)
    assert (bench.episodes(), told(bench)) == ([], [])


def test_one_failure_is_no_alert_and_one_hour_of_it_is(bench: Bench) -> None:
    bench.evaluate(1)
    break_source(bench)
    plan(bench, 2)
    assert attempt_next(bench) is Result.POSTPONED
    check(bench)
    wait(bench, timedelta(minutes=59))
    check(bench)
    assert told(bench) == []
    wait(bench, MINUTE)
    check(bench)
    check(bench)
    assert told(bench) == [("MonitorFailing", "firing")]


def test_three_windows_in_a_row_are_an_alert_whoever_comes_first(bench: Bench) -> None:
    break_source(bench)
    plan(bench, 1)
    assert attempt_next(bench) is Result.POSTPONED
    for number in (2, 3):
        wait(bench, 5 * MINUTE)
        check(bench)
        assert told(bench) == []
        plan(bench, number)
    check(bench)
    assert told(bench) == [("MonitorFailing", "firing")]


def test_windows_that_waited_already_when_the_first_one_failed_do_not_count(bench: Bench) -> None:
    """Catching up after a stop: one failure is one failure, however many windows wait behind it."""
    break_source(bench)
    plan(bench, 1, 2, 3, 4, 5)
    assert attempt_next(bench) is Result.POSTPONED
    check(bench)
    assert told(bench) == []


def test_windows_that_a_backfill_planned_behind_a_failure_do_not_count(bench: Bench) -> None:
    break_source(bench)
    plan(bench, 1)
    assert attempt_next(bench) is Result.POSTPONED
    wait(bench, MINUTE)
    monitor = bench.services.config.monitor(MONITOR)
    rows = [planned_run(monitor, hour(number), hour(number), Trigger.BACKFILL) for number in range(2, 8)]
    bench.services.store.transact(lambda conn: runs.plan(conn, rows))
    check(bench)
    assert told(bench) == []


def test_the_alert_says_what_is_wrong_and_carries_the_monitors_labels(bench: Bench) -> None:
    break_source(bench)
    plan(bench, 1)
    attempt_next(bench)
    wait(bench, HOUR)
    check(bench)
    alert = last_alert(bench)
    assert alert["labels"] == {
        "alertname": "MonitorFailing",
        "monitor": MONITOR,
        "severity": "warning",
        "team": "risk",
    }
    assert "people" in alert["annotations"]["description"]
    assert "2024-06-01 00:00 UTC" in alert["annotations"]["description"]
    (episode,) = bench.episodes()
    assert (episode.key, episode.metric, episode.severity) == (("", "", "MonitorFailing"), "failing", "warning")


def test_it_is_over_with_the_next_success_and_drift_goes_on_from_where_it_was(bench: Bench) -> None:
    bench.evaluate(1, 2)
    before = told(bench)
    assert before == [("DataDrift", "firing")]
    break_source(bench)
    plan(bench, 3)
    attempt_next(bench)
    wait(bench, HOUR)
    check(bench)
    assert told(bench) == [*before, ("MonitorFailing", "firing")]
    mend_source(bench)
    assert attempt_next(bench) is Result.DONE
    wait(bench, MINUTE)
    check(bench)
    assert told(bench) == [
        *before,
        ("MonitorFailing", "firing"),
        ("DataDrift", "resolved"),
        ("MonitorFailing", "resolved"),
    ]
    assert sorted(one.close_reason or "" for one in bench.episodes()) == ["recovered", "recovered"]
    assert "again" in last_alert(bench)["annotations"]["summary"]


def test_a_monitor_that_nobody_evaluates_is_stale_after_three_intervals(bench: Bench) -> None:
    bench.evaluate(1)
    wait(bench, 3 * HOUR)
    check(bench, LONG_AGO)
    assert told(bench) == []
    wait(bench, MINUTE)
    check(bench, LONG_AGO)
    check(bench, LONG_AGO)
    assert told(bench) == [("MonitorStale", "firing")]
    bench.evaluate(2)
    wait(bench, MINUTE)
    check(bench, LONG_AGO)
    assert told(bench)[-1] == ("MonitorStale", "resolved")


def test_a_monitor_that_never_succeeded_is_stale_three_intervals_after_it_was_configured(bench: Bench) -> None:
    wait(bench, 3 * HOUR)
    check(bench, LONG_AGO)
    assert told(bench) == []
    wait(bench, MINUTE)
    check(bench, LONG_AGO)
    assert told(bench) == [("MonitorStale", "firing")]
    assert "never succeeded" in last_alert(bench)["annotations"]["description"]


def test_time_in_which_nobody_watched_makes_nothing_stale(bench: Bench) -> None:
    bench.evaluate(1)
    wait(bench, 72 * HOUR)
    woken = bench.services.clock.now()
    check(bench, woken)
    wait(bench, 3 * HOUR)
    check(bench, woken)
    assert told(bench) == []


def test_a_monitor_that_comes_back_into_the_configuration_is_not_stale_at_once(bench: Bench) -> None:
    bench.evaluate(1)
    bench.services.store.transact(lambda conn: monitors.disable_others(conn, []))
    wait(bench, 72 * HOUR)
    register_monitors(bench.services, whole=True)
    check(bench, LONG_AGO)
    wait(bench, 3 * HOUR)
    register_monitors(bench.services, whole=True)
    check(bench, LONG_AGO)
    assert told(bench) == []
    wait(bench, MINUTE)
    check(bench, LONG_AGO)
    assert told(bench) == [("MonitorStale", "firing")]


def test_a_monitor_that_fails_is_not_called_stale_as_well(bench: Bench) -> None:
    bench.evaluate(1)
    break_source(bench)
    plan(bench, 2)
    attempt_next(bench)
    for _ in range(5):
        wait(bench, HOUR)
        check(bench, LONG_AGO)
    assert told(bench) == [("MonitorFailing", "firing")]


def test_the_removal_of_a_monitor_ends_this_alert_too(workbench: Workbench) -> None:
    with workbench.open() as bench:
        break_source(bench)
        plan(bench, 1)
        attempt_next(bench)
        wait(bench, HOUR)
        check(bench)
    with workbench.open(name="others") as bench:
        register_monitors(bench.services, whole=True)
        assert told(bench) == [("MonitorFailing", "firing"), ("MonitorFailing", "resolved")]
        assert [one.close_reason for one in bench.episodes()] == ["removed"]


def test_it_is_repeated_with_the_latest_error(workbench: Workbench) -> None:
    workbench.receivers = [{"name": "log", "repeat_interval": "4h", "log": {}}]
    with workbench.open() as bench:
        break_source(bench)
        plan(bench, 1)
        attempt_next(bench)
        wait(bench, HOUR)
        check(bench)
        wait(bench, 4 * HOUR)
        bench.people.execute("CREATE TABLE people (at DATETIME)")
        attempt_next(bench)
        repeat_due(bench.services)
        assert told(bench) == [("MonitorFailing", "firing")] * 2
        first, again = (json.loads(row.body)["alerts"][0] for row in bench.rows("SELECT body FROM outbox ORDER BY seq"))
        assert first["fingerprint"] == again["fingerprint"]
        assert first["startsAt"] == again["startsAt"]
