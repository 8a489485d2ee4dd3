"""Events to PagerDuty, judged by a stand-in that knows its schema."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.config.outbound import ANYWHERE
from drift_monitor.errors import DeliveryError
from drift_monitor.notify.message import AlertStatus
from drift_monitor.notify.pagerduty import PagerdutySender, event
from tests.examples import examples
from tests.notify.pagerduty_stand_in import ROUTING_KEY, pagerduty, problems
from tests.notify.receivers import receiver
from tests.notify.samples import ID, NOON, an_alert, configured, stored


def a_sender(url: str) -> PagerdutySender:
    return PagerdutySender(configured("pagerduty", url=url, routing_key=ROUTING_KEY), ANYWHERE)


def test_firing_alert_opens_an_incident_and_resolving_closes_it() -> None:
    with pagerduty() as service:
        sender = a_sender(service.url)
        sender.send(ID, stored(), NOON)
        (incident,) = service.incidents.values()
        sender.send(ID, stored(), NOON)  # again: the answer was lost
        assert len(service.incidents) == 1
        sender.send(ID, stored(an_alert(status=AlertStatus.RESOLVED)), NOON)
        assert service.incidents == {}
    assert incident == {
        "summary": "income of credit_inputs drifted: psi 0.31 above 0.25",
        "source": "credit_inputs",
        "severity": "critical",
        "timestamp": "2026-11-20T12:00:00Z",
        "component": "income",
        "group": "credit_inputs",
        "class": "psi",
        "custom_details": incident["custom_details"],
    }


def test_details_hold_the_numbers_and_the_bins() -> None:
    (alert,) = stored()["alerts"]
    details = event(alert)["payload"]["custom_details"]
    assert (details["value"], details["threshold"]) == ("0.31", "0.25")
    assert details["bins"] == ["[40, +inf): 12 % → 38 %", "missing: 0 % → 5 %", "[0, 10): 50 % → 25 %"]


def test_page_and_runbook_are_links() -> None:
    (alert,) = stored(an_alert(runbook_url="https://wiki.example/drift"))["alerts"]
    sent = event(alert)
    assert sent["client_url"] == "http://127.0.0.1:8765/monitors/credit_inputs"
    assert [link["href"] for link in sent["links"]] == [sent["client_url"], "https://wiki.example/drift"]


@pytest.mark.parametrize(("ours", "theirs"), [("critical", "critical"), ("warning", "warning"), ("info", "info")])
def test_severity_is_one_that_pagerduty_knows(ours: str, theirs: str) -> None:
    (alert,) = stored(an_alert(severity=ours))["alerts"]
    assert event(alert)["payload"]["severity"] == theirs


def test_each_alert_is_an_event_of_its_own() -> None:
    with pagerduty() as service:
        a_sender(service.url).send(ID, stored(an_alert("age"), an_alert("income")), NOON)
    assert [one["component"] for one in service.incidents.values()] == ["age", "income"]


@examples(100)
@given(st.text(), st.text(), st.sampled_from(AlertStatus))
def test_any_text_keeps_to_the_schema(name: str, text: str, status: AlertStatus) -> None:
    alert = an_alert(name or "x", status, summary=text * 50, description=text * 500, runbook_url=f"https://x/{text}")
    for one in stored(alert)["alerts"]:
        assert list(problems({"routing_key": ROUTING_KEY, **event(one)})) == []


@pytest.mark.parametrize(
    ("status", "retryable", "reason"),
    [(400, False, "client_error"), (429, True, "rate_limited"), (500, True, "server_error")],
)
def test_refusals_are_final_and_limits_are_not(status: int, retryable: bool, reason: str) -> None:
    with pagerduty(status=status) as service, pytest.raises(DeliveryError) as caught:
        a_sender(service.url).send(ID, stored(), NOON)
    assert (caught.value.retryable, caught.value.reason) == (retryable, reason)


def test_routing_key_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    answer: dict[str, Any] = {"status": 400, "answer": f"invalid routing key {ROUTING_KEY}".encode()}
    with caplog.at_level(logging.DEBUG), receiver(**answer) as http:
        sender = a_sender(http.url)
        with pytest.raises(DeliveryError) as caught:
            sender.send(ID, stored(), NOON)
    assert ROUTING_KEY not in str(caught.value) + caplog.text + repr(sender)
