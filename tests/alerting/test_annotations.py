"""The fixed texts of alerts, word for word, on measurements whose numbers are written down here."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drift_monitor.alerting.annotations import AlertContext, render_alert
from drift_monitor.core.alerting import INACTIVE, AlertPhase, AlertState
from drift_monitor.core.bins import NumericBins, ValueType
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import Comparand, MeasurementStatus, Rule, Severity
from drift_monitor.notify.message import Alert, AlertStatus
from drift_monitor.store.measurements import Measurement
from tests.web.filled import a_monitor

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SERVICE, GRAFANA = "https://drift.example.com", "https://grafana.example.com"
SPEC = NumericBins((0, 10, 20), ValueType.INTEGER)
# Counts in the bins below 0, [0, 10), [10, 20), above, invalid, missing.
LIVE, REFERENCE = (0, 100, 250, 120, 0, 30), (0, 500, 480, 0, 0, 20)
MEASURED = Measurement(
    segment="",
    monitor="orders",
    feature="amount",
    window_start=NOON - 24 * HOUR,
    window_end=NOON,
    revision=0,
    status=MeasurementStatus.OK,
    live_rows=500,
    reference_rows=1000,
    estimates={
        Metric.PSI: Estimate(0.4567, 0.287, 0.612, 0.44, 0.0162),
        Metric.KL_LIVE_REFERENCE: Estimate(0.31, 0.2, 0.4, 0.3, 0.0081),
        Metric.HELLINGER: Estimate(0.3, 0.2, 0.4, 0.29, 0.045),
    },
    live_missing_ratio=0.06,
    live_unseen_ratio=0.24,
    direction=Direction.NEW,
    live_counts=LIVE,
    reference_counts=REFERENCE,
    contribution_live_reference=(0.0, 0.1, 0.02, 0.4, 0.0, 0.01),
    contribution_reference_live=(0.0, 0.1, 0.01, 0.3, 0.0, 0.01),
)


def a_rule(metric: Metric = Metric.PSI, **keys: Any) -> Rule:
    given = {"above": 0.25, "severity": Severity.CRITICAL, **keys}
    return Rule(id=f"{metric.value}:critical", metric=metric, **given)


def firing(value: float, since: datetime = NOON) -> AlertState:
    return AlertState(
        phase=AlertPhase.FIRING, breaches=1, since=since, fired_at=NOON, fired_revision=0, peak=value, value=value
    )


def a_context(rule: Rule | None = None, **changes: Any) -> AlertContext:
    values = {
        "monitor": a_monitor("orders", ("amount",), grafana_url=GRAFANA),
        "feature": "amount",
        "segment": "",
        "rule": rule or a_rule(),
        "status": AlertStatus.FIRING,
        "state": firing(0.287),
        "started_at": NOON,
        "measurement": MEASURED,
        "spec": SPEC,
        "reason": "psi lower bound 0.287 above 0.25 for 1 of 1 window",
        **changes,
    }
    return AlertContext(**values)


def rendered(context: AlertContext, external_url: str = SERVICE) -> Alert:
    return render_alert(context, NOON, external_url)


def texts(context: AlertContext) -> Mapping[str, str]:
    return rendered(context).annotations


def test_firing_divergence_is_told_in_full() -> None:
    assert texts(a_context()) == {
        "summary": "amount of orders drifted: PSI 0.457 (95 %: 0.287 to 0.612) above 0.25",
        "description": (
            "Live values appear where the reference had hardly any (new mass). "
            "Bins that moved most (reference → live): 20 and above 0 % → 24 %; [0, 10) 50 % → 20 %; "
            "[10, 20) 48 % → 50 %. "
            "PSI is 0.4567, where sampling alone gives 0.0162; without that noise it lies between 0.287 and 0.612 "
            "(95 % interval). "
            "The rule is PSI lower bound above 0.25. "
            "Beyond it since the window that ended 2026-11-20 12:00 UTC. "
            "Window 2026-11-19 12:00 to 2026-11-20 12:00 UTC, 500 live rows against 1,000 reference rows."
        ),
        "verdict": "Live values appear where the reference had hardly any (new mass).",
        "dashboard_url": f"{GRAFANA}/d/drift-feature?var-monitor=orders&var-feature=amount",
        "runbook_url": f"{SERVICE}/runbooks#datadrift",
        "value": "0.4567",
        "interval_low": "0.287",
        "interval_high": "0.612",
        "noise_floor": "0.0162",
        "threshold": "0.25",
        "condition": "lower bound above 0.25",
        "direction": "new",
        "live_rows": "500",
        "reference_rows": "1000",
        "since": "2026-11-20T12:00:00Z",
        "window_start": "2026-11-19T12:00:00Z",
        "window_end": "2026-11-20T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("direction", "sentence"),
    [
        (Direction.NEW, "Live values appear where the reference had hardly any (new mass)."),
        (Direction.LOST, "Values the reference had have gone from the live data (lost mass)."),
        (
            Direction.RESHAPED,
            "Frequencies moved both ways: some values have become more common, others less (reshaped).",
        ),
        (Direction.NONE, "Neither direction of the divergence stands clear of sampling noise."),
    ],
)
def test_direction_has_a_sentence_of_its_own(direction: Direction, sentence: str) -> None:
    annotations = texts(a_context(measurement=replace(MEASURED, direction=direction)))
    assert annotations["verdict"] == sentence
    assert annotations["description"].startswith(sentence)


@pytest.mark.parametrize(
    ("rule", "value", "summary", "condition"),
    [
        (
            a_rule(Metric.KL_LIVE_REFERENCE, above=0.1),
            0.2,
            "amount of orders drifted: KL(live‖reference) 0.31 (95 %: 0.2 to 0.4) above 0.1 nats",
            "lower bound above 0.1 nats",
        ),
        (
            a_rule(Metric.PSI, above=None, below=0.7, on=Comparand.LOWER_BOUND),
            0.612,
            "amount of orders stands still: PSI 0.457 (95 %: 0.287 to 0.612) below 0.7",
            "upper bound below 0.7",
        ),
        (
            a_rule(Metric.PSI, on=Comparand.CORRECTED, for_windows=3),
            0.4,
            "amount of orders drifted: PSI 0.457 (95 %: 0.287 to 0.612) above 0.25",
            "value less noise above 0.25 for 3 windows",
        ),
        (
            a_rule(Metric.PSI, on=Comparand.VALUE),
            0.4567,
            "amount of orders drifted: PSI 0.457 (95 %: 0.287 to 0.612) above 0.25",
            "value above 0.25",
        ),
        (
            a_rule(Metric.MISSING_RATIO, above=0.05),
            0.06,
            "amount of orders: 6 % of its values are missing, above 5 %",
            "above 5 %",
        ),
        (
            a_rule(Metric.UNSEEN_RATIO, above=0.125),
            0.24,
            "amount of orders: 24 % of its values are none that the reference had, above 12.5 %",
            "above 12.5 %",
        ),
    ],
)
def test_summary_and_condition_of_a_feature(rule: Rule, value: float, summary: str, condition: str) -> None:
    annotations = texts(a_context(rule, state=firing(value)))
    assert (annotations["summary"], annotations["condition"]) == (summary, condition)


@pytest.mark.parametrize(
    ("rule", "value", "summary", "description"),
    [
        (
            a_rule(Metric.ROWS, above=None, below=1000),
            12,
            "orders: 12 rows in the window, below 1,000",
            (
                "Rows 12 below 1000 for 1 of 1 window. The rule is rows below 1,000. "
                "Beyond it since the window that ended 2026-11-20 12:00 UTC."
            ),
        ),
        (
            a_rule(Metric.FRESHNESS, above=3600),
            7500,
            "orders: the newest row is 2h5m old, above 1h",
            (
                "Rows 12 below 1000 for 1 of 1 window. The rule is age of the newest row above 1h. "
                "Beyond it since the window that ended 2026-11-20 12:00 UTC."
            ),
        ),
    ],
)
def test_whole_monitor_is_told_without_a_feature(rule: Rule, value: float, summary: str, description: str) -> None:
    reason = "rows 12 below 1000 for 1 of 1 window"
    alert = rendered(a_context(rule, feature="", state=firing(value), measurement=None, spec=None, reason=reason))
    assert (alert.annotations["summary"], alert.annotations["description"]) == (summary, description)
    assert "feature" not in alert.labels and "verdict" not in alert.annotations
    assert alert.annotations["dashboard_url"] == f"{GRAFANA}/d/drift-overview?var-monitor=orders"
    assert alert.generator_url == f"{SERVICE}/monitors/orders"


def test_resolved_alert_says_why_and_draws_nothing() -> None:
    reason = "psi lower bound 0.02 not above 0.25 for 1 window"
    alert = rendered(a_context(reason=reason, status=AlertStatus.RESOLVED))
    assert alert.annotations["summary"] == f"amount of orders: the alert on PSI is over ({reason})"
    assert alert.annotations["description"] == (
        "Psi lower bound 0.02 not above 0.25 for 1 window. "
        "Window 2026-11-19 12:00 to 2026-11-20 12:00 UTC, 500 live rows against 1,000 reference rows."
    )
    assert not {"verdict", "since"} & set(alert.annotations)
    assert alert.bins == ()


def test_alert_that_took_several_windows_says_since_which() -> None:
    earlier = NOON - 2 * HOUR
    annotations = texts(a_context(a_rule(for_windows=3), state=firing(0.287, earlier)))
    assert annotations["since"] == "2026-11-20T10:00:00Z"
    assert "since the window that ended 2026-11-20 10:00 UTC" in annotations["description"]


def test_a_floor_that_is_known_badly_says_so() -> None:
    thin = replace(MEASURED, uncertain=True)
    said = texts(a_context(measurement=thin))["description"]
    assert "Noise floor and upper end are uncertain: a bin has fewer than 5 reference rows." in said


def test_floor_is_that_of_the_divergence() -> None:
    floors = {
        metric: texts(a_context(a_rule(metric, above=0.1)))["noise_floor"]
        for metric in (Metric.KL_LIVE_REFERENCE, Metric.PSI, Metric.HELLINGER)
    }
    assert floors == {Metric.KL_LIVE_REFERENCE: "0.0081", Metric.PSI: "0.0162", Metric.HELLINGER: "0.045"}


def test_bins_are_drawn_by_what_they_add_and_named_by_what_they_hold() -> None:
    assert [(one.label, one.reference_share, one.live_share) for one in rendered(a_context()).bins] == [
        ("20 and above", 0.0, 0.24),
        ("[0, 10)", 0.5, 0.2),
        ("[10, 20)", 0.48, 0.5),
        ("missing (null)", 0.02, 0.06),
    ]


def test_bins_that_add_next_to_nothing_are_left_out_but_three() -> None:
    tiny = (0.0, 1e-6, 2e-6, 0.4, 0.0, 3e-6)
    measured = replace(MEASURED, contribution_live_reference=tiny, contribution_reference_live=tiny)
    assert [one.label for one in rendered(a_context(measurement=measured)).bins] == [
        "20 and above",
        "missing (null)",
        "[10, 20)",
    ]


def test_links_lead_to_the_page_where_nobody_said_where_grafana_is() -> None:
    monitor = a_monitor("orders", ("größe/cm",)).model_copy(update={"name": "late orders"})
    alert = rendered(a_context(monitor=monitor, feature="größe/cm"))
    page = f"{SERVICE}/monitors/late%20orders/features/gr%C3%B6%C3%9Fe%2Fcm"
    assert (alert.generator_url, alert.annotations["dashboard_url"]) == (page, page)


def test_names_in_links_to_grafana_are_quoted() -> None:
    monitor = a_monitor("orders", ("größe/cm",), grafana_url=f"{GRAFANA}/monitoring/")
    monitor = monitor.model_copy(update={"name": "a&b"})
    annotations = texts(a_context(monitor=monitor, feature="größe/cm"))
    expected = f"{GRAFANA}/monitoring/d/drift-feature?var-monitor=a%26b&var-feature=gr%C3%B6%C3%9Fe%2Fcm"
    assert annotations["dashboard_url"] == expected


def test_without_an_address_of_the_service_there_are_links_to_grafana_only() -> None:
    alert = rendered(a_context(), external_url="")
    assert alert.generator_url == ""
    assert "runbook_url" not in alert.annotations
    assert alert.annotations["dashboard_url"].startswith(GRAFANA)


def test_annotations_of_the_monitor_are_added_and_replace_ours() -> None:
    own = {"runbook_url": "https://wiki.example.com/orders", "owner": "checkout", "description": "Ask Ada."}
    annotations = texts(a_context(monitor=a_monitor("orders", ("amount",), annotations=own)))
    assert own.items() <= annotations.items()
    assert annotations["verdict"] == "Ask Ada."


@pytest.mark.parametrize("status", list(AlertStatus))
def test_alert_without_a_measurement_says_what_is_known(status: AlertStatus) -> None:
    state = firing(0.287) if status is AlertStatus.FIRING else INACTIVE
    annotations = texts(a_context(measurement=None, spec=None, state=state, status=status))
    assert annotations["summary"]
    assert "None" not in " ".join(annotations.values())


def test_feature_that_can_not_be_read_any_more_keeps_its_alert_without_numbers() -> None:
    failed = Measurement(
        segment="",
        monitor="orders",
        feature="amount",
        window_start=NOON - HOUR,
        window_end=NOON,
        revision=0,
        status=MeasurementStatus.FAILED,
    )
    annotations = texts(a_context(measurement=failed, spec=None))
    assert annotations["summary"] == "amount of orders drifted: PSI 0.287 above 0.25"
    assert annotations["description"].startswith("PSI is not known. The rule is PSI lower bound above 0.25.")
    assert "verdict" not in annotations
    assert annotations["description"].endswith("Window 2026-11-20 11:00 to 2026-11-20 12:00 UTC.")
    assert "None" not in " ".join(annotations.values())
