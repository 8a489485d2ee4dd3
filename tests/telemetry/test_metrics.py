"""Counters of the process."""

from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from drift_monitor.errors import MissedReason
from drift_monitor.telemetry.metrics import Telemetry
from tests.web.promtool import check_metrics

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def telemetry() -> Telemetry:
    telemetry = Telemetry(version="1.2.3", revision="abc", process_metrics=False)
    telemetry.declare(monitors=["m"], receivers=[("hook", "webhook")], sources=["warehouse"])
    return telemetry


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(telemetry.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return samples(telemetry).get((name, tuple(sorted(labels.items()))))


def test_known_label_sets_start_at_zero(telemetry: Telemetry) -> None:
    hook = {"receiver": "hook", "integration": "webhook"}
    for name, labels in [
        ("drift_monitor_runs_total", {"monitor": "m"}),
        ("drift_monitor_failures_total", {"monitor": "m", "reason": "timeout"}),
        ("drift_monitor_failures_total", {"monitor": "m", "reason": "lease_lost"}),
        ("drift_monitor_missed_runs_total", {"monitor": "m", "reason": "downtime"}),
        ("drift_rows_read_total", {"monitor": "m"}),
        ("drift_monitor_duration_seconds_count", {"monitor": "m"}),
        ("drift_notifications_total", hook),
        ("drift_notifications_failed_total", {**hook, "reason": "server_error"}),
        ("drift_notifications_dropped_total", hook),
        ("drift_lease_lost_total", {}),
        ("drift_exposition_series_dropped_total", {}),
    ]:
        assert value(telemetry, name, **labels) == 0, name


def test_what_happens_is_counted(telemetry: Telemetry) -> None:
    telemetry.run_started("m")
    telemetry.run_finished("m", 0.3)
    telemetry.run_failed("m", "timeout")
    telemetry.runs_missed("m", MissedReason.DOWNTIME, 7)
    telemetry.rows_read("m", 1000)
    telemetry.lease_lost()
    telemetry.notification_attempted("hook", "webhook")
    telemetry.notification_failed("hook", "webhook", "server_error")
    telemetry.notification_dropped("hook", "webhook")
    hook = {"receiver": "hook", "integration": "webhook"}
    assert value(telemetry, "drift_monitor_runs_total", monitor="m") == 1
    assert value(telemetry, "drift_monitor_duration_seconds_sum", monitor="m") == 0.3
    assert value(telemetry, "drift_monitor_duration_seconds_bucket", monitor="m", le="0.25") == 0
    assert value(telemetry, "drift_monitor_duration_seconds_bucket", monitor="m", le="0.5") == 1
    assert value(telemetry, "drift_monitor_failures_total", monitor="m", reason="timeout") == 1
    assert value(telemetry, "drift_monitor_missed_runs_total", monitor="m", reason="downtime") == 7
    assert value(telemetry, "drift_rows_read_total", monitor="m") == 1000
    assert value(telemetry, "drift_lease_lost_total") == 1
    assert value(telemetry, "drift_notifications_total", **hook) == 1
    assert value(telemetry, "drift_notifications_failed_total", **hook, reason="server_error") == 1
    assert value(telemetry, "drift_notifications_dropped_total", **hook) == 1


def test_state_of_the_daemon_is_shown(telemetry: Telemetry) -> None:
    telemetry.ticked(NOON)
    telemetry.lagging(12.5)
    telemetry.workers(4)
    telemetry.store_up(up=True)
    telemetry.source_up("warehouse", up=False)
    telemetry.config_loaded(NOON)
    with telemetry.busy_worker():
        assert value(telemetry, "drift_workers_busy") == 1
    assert value(telemetry, "drift_workers_busy") == 0
    assert value(telemetry, "drift_scheduler_last_tick_timestamp_seconds") == 1795176000
    assert value(telemetry, "drift_scheduler_lag_seconds") == 12.5
    assert value(telemetry, "drift_workers") == 4
    assert value(telemetry, "drift_store_up") == 1
    assert value(telemetry, "drift_source_up", source="warehouse") == 0
    assert value(telemetry, "drift_config_last_reload_successful") == 1
    telemetry.config_refused()
    assert value(telemetry, "drift_config_last_reload_successful") == 0
    assert value(telemetry, "drift_config_last_reload_success_timestamp_seconds") == 1795176000


def test_busy_worker_that_fails_is_no_longer_busy(telemetry: Telemetry) -> None:
    with pytest.raises(RuntimeError), telemetry.busy_worker():
        raise RuntimeError
    assert value(telemetry, "drift_workers_busy") == 0


def test_source_has_no_state_before_the_first_attempt(telemetry: Telemetry) -> None:
    assert value(telemetry, "drift_source_up", source="warehouse") is None


def test_series_of_what_the_configuration_dropped_go_and_stay_away(telemetry: Telemetry) -> None:
    telemetry.source_up("warehouse", up=True)
    telemetry.declare(monitors=["other"], receivers=[("hook", "log")], sources=[])
    telemetry.run_started("m")
    telemetry.run_failed("m", "timeout")
    telemetry.rows_read("m", 5)
    telemetry.run_finished("m", 1.0)
    telemetry.notification_attempted("hook", "webhook")
    telemetry.source_up("warehouse", up=True)
    labels = [dict(labels) for _, labels in samples(telemetry)]
    assert not [each for each in labels if each.get("monitor") == "m" or each.get("integration") == "webhook"]
    assert not [each for each in labels if "source" in each]


def test_counts_survive_a_reload_that_keeps_the_monitor(telemetry: Telemetry) -> None:
    telemetry.run_started("m")
    telemetry.declare(monitors=["m", "other"], receivers=[], sources=[])
    assert value(telemetry, "drift_monitor_runs_total", monitor="m") == 1


def test_no_created_series_and_a_clean_lint_with_process_metrics() -> None:
    telemetry = Telemetry()
    telemetry.declare(monitors=["m"], receivers=[("hook", "webhook")], sources=["s"])
    text = generate_latest(telemetry.registry)
    assert b"_created" not in text
    assert b"process_cpu_seconds_total" in text
    assert check_metrics(text) == ""


def test_hostile_names_are_counted_and_do_not_break_the_page() -> None:
    telemetry = Telemetry(process_metrics=False)
    telemetry.declare(monitors=["a\rb\ud800"], receivers=[], sources=[])
    telemetry.run_started("a\rb\ud800")
    assert value(telemetry, "drift_monitor_runs_total", monitor="a\ufffdb\ufffd") == 1
