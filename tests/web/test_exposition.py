"""Snapshots as metric families."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.platform_collector import PlatformCollector

from drift_monitor.core.divergence import DIVERGENCES, Metric
from drift_monitor.telemetry.metrics import Telemetry
from drift_monitor.web.metrics.exposition import Exposition, encode_registry, expose
from drift_monitor.web.metrics.families import FAMILIES
from drift_monitor.web.metrics.snapshot import FeatureSnapshot, QueueSnapshot, RuleSnapshot, Snapshot
from tests.examples import examples
from tests.web.promtool import check_metrics
from tests.web.snapshots import NOON, a_feature, a_monitor, a_rule, a_snapshot

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(exposition: Exposition) -> Samples:
    """The exposition as another program reads it: every sample once, by name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(exposition.text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def value(exposition: Exposition, name: str, **labels: str) -> float:
    return samples(exposition)[name, tuple(sorted(labels.items()))]


def test_every_family_has_the_name_and_labels_users_build_on() -> None:
    # Written out from the interface users were promised, not taken from the code.
    feature = ["feature", "monitor", "segment"]
    promised = {
        "drift_kl_divergence_nats": ["direction", *feature],
        "drift_kl_divergence_noise_floor_nats": ["direction", *feature],
        "drift_population_stability_index": feature,
        "drift_js_divergence_nats": feature,
        "drift_threshold": [*feature, "metric", "severity"],
        "drift_live_missing_ratio": feature,
        "drift_reference_missing_ratio": feature,
        "drift_live_unseen_ratio": feature,
        "drift_surprise": feature,
        "drift_surprise_level": feature,
        "drift_live_rows": ["monitor", "segment"],
        "drift_reference_rows": ["monitor", "segment"],
        "drift_feature_unmeasured": [*feature, "reason"],
        "drift_alert_active": [*feature, "metric", "severity"],
        "drift_live_newest_record_timestamp_seconds": ["monitor"],
        "drift_live_window_end_timestamp_seconds": ["monitor"],
        "drift_reference_built_timestamp_seconds": ["monitor"],
        "drift_calibration_state": ["monitor", "state"],
        "drift_monitor_info": ["monitor", "reference", "source", "table"],
        "drift_monitor_interval_seconds": ["monitor"],
        "drift_monitor_last_run_successful": ["monitor"],
        "drift_monitor_last_run_timestamp_seconds": ["monitor"],
        "drift_monitor_last_success_timestamp_seconds": ["monitor"],
        "drift_monitor_next_run_timestamp_seconds": ["monitor"],
        "drift_monitor_last_duration_seconds": ["monitor"],
        "drift_notifications_queue_length": ["integration", "receiver"],
        "drift_receiver_failing": ["integration", "receiver"],
        "drift_notifications_queue_oldest_timestamp_seconds": ["integration", "receiver"],
    }
    shown = {name: [label for label, _ in labels] for name, labels in samples(expose(a_snapshot(), NOON))}
    assert shown == {name: sorted(labels) for name, labels in promised.items()}
    assert {family.name for family in FAMILIES} == set(promised)


def test_missing_promtool_skips_the_test_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.skip.Exception, match="apt-get install"):
        check_metrics(b"")


def test_promtool_finds_nothing_to_complain_of() -> None:
    assert check_metrics(expose(a_snapshot(), NOON).text.encode()) == ""


def test_openmetrics_form_parses_too() -> None:
    exposition = expose(a_snapshot(), NOON)
    families = list(parse_openmetrics(exposition.text + "# EOF\n"))
    assert sum(len(family.samples) for family in families) == exposition.series


def test_values_stand_under_their_names() -> None:
    snapshot = Snapshot(
        monitors=(
            a_monitor(
                features=(
                    FeatureSnapshot(
                        segment="",
                        feature="age",
                        measured_at=NOON,
                        divergences={
                            Metric.KL_LIVE_REFERENCE: 0.25,
                            Metric.KL_REFERENCE_LIVE: 0.5,
                            Metric.PSI: 0.75,
                            Metric.JS: 0.0625,
                            Metric.HELLINGER: 0.375,  # has no gauge
                        },
                        noise_floors=dict.fromkeys(DIVERGENCES, 0.125),
                        live_missing_ratio=0.1,
                        reference_missing_ratio=0.2,
                        live_unseen_ratio=0.3,
                    ),
                ),
                rules=(a_rule("age", firing=True),),
            ),
        )
    )
    exposition = expose(snapshot, NOON)
    names = {"monitor": "credit_inputs", "feature": "age", "segment": ""}
    assert value(exposition, "drift_kl_divergence_nats", **names, direction="live_reference") == 0.25
    assert value(exposition, "drift_kl_divergence_nats", **names, direction="reference_live") == 0.5
    for direction in ("live_reference", "reference_live"):
        assert value(exposition, "drift_kl_divergence_noise_floor_nats", **names, direction=direction) == 0.125
    assert value(exposition, "drift_population_stability_index", **names) == 0.75
    assert value(exposition, "drift_js_divergence_nats", **names) == 0.0625
    assert value(exposition, "drift_live_missing_ratio", **names) == 0.1
    assert value(exposition, "drift_reference_missing_ratio", **names) == 0.2
    assert value(exposition, "drift_live_unseen_ratio", **names) == 0.3
    assert value(exposition, "drift_threshold", **names, metric="psi", severity="warning") == 0.1
    assert value(exposition, "drift_alert_active", **names, metric="psi", severity="warning") == 1
    assert value(exposition, "drift_live_rows", monitor="credit_inputs", segment="") == 1000
    assert value(exposition, "drift_reference_rows", monitor="credit_inputs", segment="") == 20000
    assert value(exposition, "drift_monitor_interval_seconds", monitor="credit_inputs") == 3600
    assert value(exposition, "drift_monitor_last_duration_seconds", monitor="credit_inputs") == 1.5
    # 2026-11-20T12:00:00Z
    assert value(exposition, "drift_live_window_end_timestamp_seconds", monitor="credit_inputs") == 1795176000
    assert exposition.series == len(samples(exposition))


def test_value_that_could_not_be_computed_has_no_series_but_a_reason() -> None:
    shown = samples(expose(a_snapshot(), NOON))
    gone = {(name, dict(labels).get("reason")) for name, labels in shown if dict(labels).get("feature") == "gone"}
    assert gone == {("drift_feature_unmeasured", "column_missing")}


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_never_shown(odd: float) -> None:
    broken = a_feature("age")._replace(
        divergences=dict.fromkeys(DIVERGENCES, odd), noise_floors=dict.fromkeys(DIVERGENCES, odd)
    )
    rule = RuleSnapshot(segment="", feature="age", metric="psi", severity="warning", threshold=odd, firing=False)
    exposition = expose(Snapshot(monitors=(a_monitor(features=(broken,), rules=(rule,)),)), NOON)
    assert all(math.isfinite(number) for number in samples(exposition).values())


def test_never_run_monitor_shows_its_configuration_only() -> None:
    waiting = a_monitor(
        last_run_at=None,
        last_run_successful=None,
        last_success_at=None,
        last_duration=None,
        newest_record_at=None,
        window_end=None,
        reference_built_at=None,
        calibration=None,
        rows=(),
        features=(FeatureSnapshot(segment="", feature="age"),),
        rules=(a_rule("age"),),
    )
    assert {name for name, _ in samples(expose(Snapshot(monitors=(waiting,)), NOON))} == {
        "drift_monitor_info",
        "drift_monitor_interval_seconds",
        "drift_monitor_next_run_timestamp_seconds",
        "drift_threshold",
        "drift_alert_active",
    }


def test_failing_monitor_keeps_values_for_three_intervals_and_alerts_for_ever() -> None:
    def names(after: timedelta) -> set[str]:
        return {name for name, _ in samples(expose(a_snapshot(), NOON + after))}

    assert "drift_kl_divergence_nats" in names(timedelta(hours=3))
    later = names(timedelta(hours=3, seconds=1))
    assert "drift_kl_divergence_nats" not in later
    assert "drift_live_rows" not in later
    assert {"drift_alert_active", "drift_threshold", "drift_monitor_last_success_timestamp_seconds"} <= later


def test_filter_shows_only_the_monitors_named() -> None:
    exposition = expose(a_snapshot(), NOON, monitors=frozenset({"payments", "unknown"}))
    monitors = {dict(labels).get("monitor") for _, labels in samples(exposition)}
    assert monitors == {"payments", None}  # None: the outbox


def test_two_rules_of_one_metric_and_severity_are_one_series_that_fires() -> None:
    rules = (a_rule("age"), a_rule("age", firing=True))
    exposition = expose(Snapshot(monitors=(a_monitor(features=(a_feature("age"),), rules=rules),)), NOON)
    labels = {"monitor": "credit_inputs", "feature": "age", "segment": "", "metric": "psi", "severity": "warning"}
    assert value(exposition, "drift_alert_active", **labels) == 1


def test_budget_keeps_the_worst_features_whole_and_counts_the_rest() -> None:
    features = tuple(a_feature(f"f{number:02}", psi=0.01 * number) for number in range(20))
    snapshot = Snapshot(monitors=(a_monitor(features=features, rules=tuple(a_rule(f.feature) for f in features)),))
    everything = expose(snapshot, NOON)
    assert everything.dropped == 0
    limited = expose(snapshot, NOON, max_series=60)
    assert limited.series <= 60
    assert limited.series + limited.dropped == everything.series
    by_feature: dict[str, int] = {}
    for _, labels in samples(limited):
        if name := dict(labels).get("feature"):
            by_feature[name] = by_feature.get(name, 0) + 1
    assert sorted(by_feature, reverse=True) == [f"f{number:02}" for number in range(19, 19 - len(by_feature), -1)]
    assert set(by_feature.values()) == {13}
    assert samples(expose(snapshot, NOON, max_series=60)) == samples(limited)


def test_firing_alert_is_kept_before_larger_values_that_do_not_fire() -> None:
    features = (a_feature("quiet", psi=5.0), a_feature("firing", psi=0.01))
    rules = (a_rule("firing", firing=True),)
    whole = expose(Snapshot(monitors=(a_monitor(features=features, rules=rules),)), NOON)
    limited = expose(Snapshot(monitors=(a_monitor(features=features, rules=rules),)), NOON, max_series=whole.series - 1)
    assert {dict(labels)["feature"] for _, labels in samples(limited) if "feature" in dict(labels)} == {"firing"}


def test_features_are_ranked_by_their_distance_to_their_own_threshold() -> None:
    strict = a_rule("strict")._replace(threshold=0.001)
    features = (a_feature("loose", psi=0.09), a_feature("strict", psi=0.02))
    snapshot = Snapshot(monitors=(a_monitor(features=features, rules=(a_rule("loose"), strict)),))
    limited = expose(snapshot, NOON, max_series=expose(snapshot, NOON).series - 1)
    assert {dict(labels)["feature"] for _, labels in samples(limited) if dict(labels).get("feature")} == {"strict"}


def test_alert_without_a_measured_feature_is_still_shown() -> None:
    monitor = a_monitor(features=(a_feature("age"),), rules=(a_rule("dropped_column", firing=True),))
    shown = samples(expose(Snapshot(monitors=(monitor,)), NOON))
    assert ("drift_alert_active", "dropped_column") in {(name, dict(labels).get("feature")) for name, labels in shown}


@pytest.mark.parametrize("is_openmetrics", [False, True])
def test_process_metrics_are_written_as_the_client_library_writes_them(is_openmetrics: bool) -> None:
    telemetry = Telemetry(version='1.0 "quoted" \\ and\nbroken', process_metrics=False)
    PlatformCollector(registry=telemetry.registry)
    telemetry.declare(
        monitors=["loans", 'a"b\\c\nd', "Umsätze"], receivers=[("hook", "webhook")], sources=["warehouse"]
    )
    telemetry.run_started("loans")
    telemetry.run_finished("loans", 0.3)
    telemetry.rows_read("loans", 123_456_789)
    telemetry.source_up("warehouse", up=True)
    telemetry.ticked(NOON)
    library = generate_openmetrics if is_openmetrics else generate_text

    written = encode_registry(telemetry.registry.collect(), is_openmetrics=is_openmetrics)

    assert written == library(telemetry.registry).decode()
    assert 'drift_rows_read_total{monitor="loans"} 1.23456789e+08' in written


HOSTILE = ["a\nb", 'a"b', "a\\b", "\ud800", "a\rb", "\x1b[31m", "😀", "x" * 1_000_000, "a\u2028b", "\x00", "", "a\x85b"]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_never_break_the_page(name: str) -> None:
    monitor = a_monitor(features=(a_feature(name, segment=name), a_feature("age")))
    text = expose(Snapshot(monitors=(monitor,)), NOON).text.encode()
    shown = samples(expose(Snapshot(monitors=(monitor,)), NOON))
    assert "age" in {dict(labels).get("feature") for _, labels in shown}
    assert len(text) < 100_000
    assert check_metrics(text) == ""


def test_long_names_with_the_same_start_stay_two_series() -> None:
    features = (a_feature("x" * 1000 + "a"), a_feature("x" * 1000 + "b"))
    shown = samples(expose(Snapshot(monitors=(a_monitor(features=features, rules=()),)), NOON))
    assert len({dict(labels)["feature"] for _, labels in shown if "feature" in dict(labels)}) == 2


@examples(150)
@given(st.lists(st.text(), min_size=1, max_size=6), st.text(), st.text())
def test_any_names_give_a_page_that_parses(names: list[str], monitor: str, table: str) -> None:
    features = tuple(a_feature(name, segment=segment) for name in names for segment in ("", monitor))
    snapshot = Snapshot(
        monitors=(a_monitor(monitor or "m", features=features, table=table, rules=(a_rule(names[0], firing=True),)),),
        queues=(QueueSnapshot(receiver=monitor, integration="webhook", length=0),),
    )
    exposition = expose(snapshot, NOON)
    assert len(samples(exposition)) == exposition.series
    for line in exposition.text.split("\n"):
        assert "\r" not in line
