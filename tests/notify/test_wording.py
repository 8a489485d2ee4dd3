"""What chat and mail list of an alert, fact by fact."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.divergence import Metric
from drift_monitor.notify.message import Alert, AlertStatus, document, fingerprint
from drift_monitor.notify.wording import facts
from tests.notify.samples import NOON, an_alert, stored


def an_alert_on(metric: str, **annotations: str) -> dict[str, Any]:
    alert = Alert(
        status=AlertStatus.FIRING,
        labels={"alertname": "DataDrift", "monitor": "orders", "feature": "amount", "metric": metric},
        annotations=annotations,
        starts_at=NOON,
        fingerprint=fingerprint(monitor="orders", feature="amount", segment="", rule=metric),
    )
    (stands,) = document([alert], monitor="orders", receiver="team", external_url="")["alerts"]
    return dict(stands)


def of(alert: Alert) -> dict[str, str]:
    return dict(facts(stored(alert)["alerts"]))


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("psi", "0.456708", "PSI 0.457"),
        ("kl_live_reference", "1.5", "KL(live‖reference) 1.5 nats"),
        ("js", "0.05", "JS 0.05 nats"),
        ("hellinger", "0.25", "Hellinger 0.25"),
        ("missing_ratio", "0.0625", "missing values 6.2 %"),
        ("unseen_ratio", "0.5", "unseen values 50 %"),
        ("rows", "12345", "rows 12,345"),
        ("freshness", "7500", "age of the newest row 2h5m"),
        ("psi", "inf", "PSI inf"),
        ("psi", "see the wiki", "PSI see the wiki"),
        ("of_later", "3", "of_later 3"),
    ],
)
def test_value_is_shown_in_the_unit_of_its_metric(metric: str, value: str, shown: str) -> None:
    assert facts([an_alert_on(metric, value=value)])["Measured"] == shown


def test_every_metric_has_a_name_of_its_own() -> None:
    names = [facts([an_alert_on(metric.value, value="1")])["Measured"].split(" 1")[0] for metric in Metric]
    assert len(set(names)) == len(Metric) and all(names)


def test_facts_stand_in_the_order_they_are_read() -> None:
    alert = an_alert_on(
        "psi",
        value="0.4567",
        interval_low="0.287",
        interval_high="0.612",
        noise_floor="0.0072",
        threshold="0.25",
        condition="lower bound above 0.25 for 2 windows",
        since="2026-11-20T11:00:00Z",
        window_start="2026-11-19T12:00:00Z",
        window_end="2026-11-20T12:00:00Z",
        live_rows="2890",
        reference_rows="60680",
        owner="checkout",
    )
    assert list(facts([alert]).items()) == [
        ("Measured", "PSI 0.457 (95 %: 0.287 to 0.612)"),
        ("Threshold", "lower bound above 0.25 for 2 windows"),
        ("Noise floor", "0.0072"),
        ("Since", "2026-11-20 11:00 UTC, fired 2026-11-20 12:00 UTC"),
        ("Window", "24 h to 2026-11-20 12:00 UTC"),
        ("Rows", "2,890 live, 60,680 reference"),
        ("owner", "checkout"),
    ]


def test_how_long_it_lasted_is_said_when_it_is_over() -> None:
    over = an_alert(status=AlertStatus.RESOLVED)
    assert of(over)["Lasted"] == "2026-11-20 12:00 to 2026-11-20 15:00 UTC (3 h)"
    shorter = Alert(
        status=over.status,
        labels=over.labels,
        annotations=over.annotations,
        starts_at=NOON,
        ends_at=NOON + timedelta(minutes=95),
        fingerprint=over.fingerprint,
    )
    assert of(shorter)["Lasted"] == "2026-11-20 12:00 to 2026-11-20 13:35 UTC (1 h 35 min)"


def test_message_of_an_earlier_version_shows_what_it_has() -> None:
    assert facts([an_alert_on("psi", summary="amount drifted", description="x", threshold="0.25")]) == {
        "Threshold": "0.25",
        "Since": "2026-11-20 12:00 UTC",
    }


@given(
    st.dictionaries(st.sampled_from(["value", "since", "window_start", "window_end", "live_rows", "own"]), st.text())
)
def test_whatever_a_monitor_writes_over_ours_is_a_line_of_text(own: dict[str, str]) -> None:
    said = {"interval_low": "a", "interval_high": "b", "reference_rows": "c", **own}
    for text in facts([an_alert_on("psi", **said)]).values():
        assert text.isprintable()
