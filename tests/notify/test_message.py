"""The body of a notification: version 4 of the Alertmanager webhook, stable ids, parts."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.errors import InputError
from drift_monitor.notify.message import (
    Alert,
    AlertStatus,
    BinShare,
    Message,
    NotificationKey,
    document,
    fingerprint,
    messages,
    notification_id,
    version_4,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = NotificationKey(monitor="credit_inputs", window_end=NOON, revision=0, receiver="oncall")


def an_alert(feature: str = "income", status: AlertStatus = AlertStatus.FIRING, **labels: str) -> Alert:
    return Alert(
        status=status,
        labels={
            "alertname": "DataDrift",
            "monitor": "credit_inputs",
            "feature": feature,
            "severity": "warning",
            **labels,
        },
        annotations={"summary": f"{feature} drifted", "value": "0.31"},
        starts_at=NOON,
        ends_at=None if status is AlertStatus.FIRING else NOON + timedelta(hours=3),
        fingerprint=fingerprint(monitor="credit_inputs", feature=feature, segment="", rule="psi:warning"),
        generator_url="http://127.0.0.1:8765/monitors/credit_inputs",
    )


def parts_of(alerts: Sequence[Alert], *, max_alerts: int = 0, send_resolved: bool = True) -> tuple[Message, ...]:
    return messages(KEY, alerts, max_alerts=max_alerts, external_url="", send_resolved=send_resolved)


def test_body_has_exactly_the_fields_of_version_4() -> None:
    # Field names and types as alertmanager/notify/webhook and template.Data write them.
    body = json.loads(json.dumps(document([an_alert()], monitor="credit_inputs", receiver="oncall", external_url="")))
    assert {name: type(value) for name, value in body.items()} == {
        "version": str,
        "groupKey": str,
        "truncatedAlerts": int,
        "status": str,
        "receiver": str,
        "groupLabels": dict,
        "commonLabels": dict,
        "commonAnnotations": dict,
        "externalURL": str,
        "alerts": list,
    }
    (alert,) = body["alerts"]
    assert {name: type(value) for name, value in alert.items()} == {
        "status": str,
        "labels": dict,
        "annotations": dict,
        "startsAt": str,
        "endsAt": str,
        "generatorURL": str,
        "fingerprint": str,
    }
    assert body["version"] == "4"
    assert body["groupKey"] == '{}:{monitor="credit_inputs"}'


def test_stored_bins_stay_out_of_version_4_and_everything_else_stays_as_it_stands() -> None:
    moved = (BinShare(label="[0, 10)", live_share=0.5, reference_share=0.1, contribution=0.4),)
    plain = document([an_alert()], monitor="m", receiver="r", external_url="")
    stored = document([replace(an_alert(), bins=moved)], monitor="m", receiver="r", external_url="")
    assert stored["alerts"][0]["bins"] == [
        {"label": "[0, 10)", "live_share": 0.5, "reference_share": 0.1, "contribution": 0.4}
    ]
    # The bytes that are sent, order included: also of a row that a database returned in another order.
    assert json.dumps(version_4(stored)) == json.dumps(plain)
    reordered = json.loads(json.dumps(stored, sort_keys=True))
    assert json.dumps(version_4(reordered)) == json.dumps(plain, sort_keys=True)


def test_firing_alert_has_the_zero_time_as_its_end() -> None:
    (alert,) = document([an_alert()], monitor="m", receiver="r", external_url="")["alerts"]
    assert (alert["startsAt"], alert["endsAt"]) == ("2026-11-20T12:00:00Z", "0001-01-01T00:00:00Z")


def test_body_fires_while_one_of_its_alerts_fires() -> None:
    resolved = an_alert("age", AlertStatus.RESOLVED)
    assert document([resolved, an_alert()], monitor="m", receiver="r", external_url="")["status"] == "firing"
    assert document([resolved], monitor="m", receiver="r", external_url="")["status"] == "resolved"


def test_common_labels_are_those_every_alert_shares() -> None:
    body = document(
        [an_alert("age", team="risk"), an_alert("income", team="risk")], monitor="m", receiver="r", external_url=""
    )
    assert body["commonLabels"] == {
        "alertname": "DataDrift",
        "monitor": "credit_inputs",
        "severity": "warning",
        "team": "risk",
    }
    assert body["commonAnnotations"] == {"value": "0.31"}


def test_id_is_the_same_at_every_planning_and_in_every_zone() -> None:
    berlin = replace(KEY, window_end=NOON.astimezone(timezone(timedelta(hours=1))))
    assert notification_id(KEY, 0) == notification_id(berlin, 0)
    assert uuid.UUID(notification_id(KEY, 0)).version == 5


def test_id_differs_in_each_of_its_parts() -> None:
    keys = [
        KEY,
        replace(KEY, monitor="other"),
        replace(KEY, window_end=NOON + timedelta(hours=1)),
        replace(KEY, revision=1),
        replace(KEY, receiver="team"),
    ]
    assert len({notification_id(key, part) for key in keys for part in (0, 1)}) == 10


def test_names_that_join_to_the_same_text_have_different_ids() -> None:
    one = replace(KEY, monitor='a", "b', receiver="c")
    two = replace(KEY, monitor="a", receiver='b", "c')
    assert notification_id(one, 0) != notification_id(two, 0)


def test_fingerprint_ignores_labels_and_tells_rules_apart() -> None:
    names = {"monitor": "m", "feature": "f", "segment": ""}
    assert fingerprint(**names, rule="psi:warning") != fingerprint(**names, rule="psi:critical")
    assert fingerprint(monitor="m", feature="ab", segment="c", rule="r") != fingerprint(
        monitor="m", feature="a", segment="bc", rule="r"
    )
    assert an_alert(team="risk").fingerprint == an_alert(team="fraud").fingerprint


def test_notification_is_split_at_max_alerts_and_loses_none() -> None:
    alerts = [an_alert(f"f{number}") for number in range(5)]
    parts = parts_of(alerts, max_alerts=2)
    assert [len(part.body["alerts"]) for part in parts] == [2, 2, 1]
    assert [part.part for part in parts] == [0, 1, 2]
    assert len({part.id for part in parts}) == 3
    assert all(part.body["truncatedAlerts"] == 0 for part in parts)
    assert [alert["labels"]["feature"] for part in parts for alert in part.body["alerts"]] == [
        f"f{n}" for n in range(5)
    ]


def test_firing_alerts_come_before_resolved_ones() -> None:
    alerts = [an_alert("age", AlertStatus.RESOLVED), an_alert("income")]
    (message,) = parts_of(alerts)
    assert [alert["status"] for alert in message.body["alerts"]] == ["firing", "resolved"]


def test_receiver_without_send_resolved_is_told_of_firing_alerts_only() -> None:
    alerts = [an_alert("age", AlertStatus.RESOLVED), an_alert("income")]
    (message,) = parts_of(alerts, send_resolved=False)
    assert [alert["labels"]["feature"] for alert in message.body["alerts"]] == ["income"]
    assert parts_of(alerts[:1], send_resolved=False) == ()


def test_naive_time_and_negative_limit_are_refused() -> None:
    with pytest.raises(InputError, match="without zone"):
        notification_id(replace(KEY, window_end=NOON.replace(tzinfo=None)), 0)
    with pytest.raises(InputError, match="max_alerts is -1"):
        parts_of([an_alert()], max_alerts=-1)


@given(st.text(), st.text())
def test_any_names_and_values_make_a_body_that_every_store_and_receiver_can_take(name: str, value: str) -> None:
    body = document([an_alert(value)], monitor=name, receiver=name, external_url=value)
    text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    assert json.loads(text.encode("utf-8")) == body
    assert "\\u0000" not in text
