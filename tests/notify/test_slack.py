"""Messages to Slack, judged by a stand-in that knows its schema."""

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.config.outbound import ANYWHERE
from drift_monitor.errors import DeliveryError
from drift_monitor.notify.message import AlertStatus, BinShare
from drift_monitor.notify.slack import SlackSender, escape, slack_message
from drift_monitor.words import bar
from tests.examples import examples
from tests.notify.receivers import raw_server
from tests.notify.samples import HOSTILE, ID, NOON, an_alert, configured, hostile, stored
from tests.notify.slack_stand_in import refusal, slack


def a_sender(url: str, **keys: Any) -> SlackSender:
    return SlackSender(configured("slack", webhook_url=url, **keys), ANYWHERE)


def texts(message: dict[str, Any]) -> list[str]:
    """Every text of a message, in its order."""
    found = [message["text"]]
    for block in message["blocks"]:
        parts = (
            [block[name] for name in ("text",) if name in block] + block.get("fields", []) + block.get("elements", [])
        )
        found += [one["text"] for one in parts]
    return found


def test_firing_alert_is_accepted_and_says_what_drifted_how_much_and_which_bins() -> None:
    with slack() as chat:
        a_sender(chat.url).send(ID, stored(), NOON)
    (request,) = chat.received
    message = json.loads(request.body)
    header, why, *fields, bins, links = texts(message)[1:]
    assert message["text"] == "[FIRING:1] income of credit_inputs drifted: psi 0.31 above 0.25"
    assert header == "🔴 income of credit_inputs drifted: psi 0.31 above 0.25"
    assert "Live values appear" in why
    assert fields == [
        "*Measured*\nPSI 0.31",
        "*Threshold*\n0.25",
        "*Since*\n2026-11-20 12:00 UTC",
        "*Severity*\ncritical",
    ]
    assert links == "<http://127.0.0.1:8765/monitors/credit_inputs|Page>"
    assert [line.split()[0] for line in bins.splitlines()[1:]] == ["[40,", "missing", "[0,"]


def test_bins_stand_as_bars_of_one_scale_from_reference_to_live() -> None:
    (code,) = [text for text in texts(slack_message(stored())) if text.startswith("```")]
    first, second, third = code.strip("`").splitlines()[1:]
    # 0.5 is the most: 12 characters. 0.38 of it are 9.12, 0.12 are 2.88, 0.25 are 6.
    assert first.split() == ["[40,", "+inf)".replace(">", "&gt;"), "██▉", "12", "%", "→", "█████████▏", "38", "%"]
    assert second.split() == ["missing", "0", "%", "→", "█▎", "5", "%"]
    assert third.split() == ["[0,", "10)", "████████████", "50", "%", "→", "██████", "25", "%"]


@pytest.mark.parametrize(
    ("share", "drawn"), [(0, "    "), (1, "████"), (0.5, "██  "), (1 / 32, "▏   "), (1e-9, "▏   "), (2, "████")]
)
def test_bar_is_drawn_to_an_eighth_and_never_hides_a_value_that_occurs(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


def test_resolved_alert_says_that_it_is_over() -> None:
    with slack() as chat:
        a_sender(chat.url).send(
            ID, stored(an_alert(status=AlertStatus.RESOLVED, summary="income is quiet again")), NOON
        )
    message = json.loads(chat.received[0].body)
    assert message["text"].startswith("[RESOLVED:1] credit_inputs: income is quiet again")
    assert "🟢 Resolved: income is quiet again" in texts(message)
    assert "*Lasted*\n2026-11-20 12:00 to 2026-11-20 15:00 UTC (3 h)" in texts(message)


def test_hostile_names_mention_nobody_and_format_nothing() -> None:
    with slack() as chat:
        a_sender(chat.url).send(ID, hostile(), NOON)
    message = json.loads(chat.received[0].body)
    assert "<!channel>" not in chat.received[0].body.decode()
    assert "&lt;!channel&gt; &amp; &lt;@U123|you&gt;" in message["text"]
    (code,) = [text for text in texts(message) if text.startswith("```")]
    assert "`" not in code[3:-3]


@examples(50)
@given(st.text(min_size=1), st.integers(1, 60), st.integers(0, 6000))
def test_any_name_in_any_number_of_alerts_keeps_to_the_schema(name: str, count: int, length: int) -> None:
    moved = tuple(BinShare(label=name * 9, reference_share=0.1, live_share=1.0, contribution=0.1) for _ in range(8))
    long = (name * (length // len(name) + 1))[:length]
    alerts = [an_alert(name, bins=moved, description=long, summary=long) for _ in range(count)]
    message = slack_message(stored(*alerts))
    assert refusal(json.dumps(message).encode()) is None


def test_more_alerts_than_a_message_holds_are_counted() -> None:
    message = slack_message(stored(*(an_alert(f"f{number}") for number in range(30))))
    assert len(message["blocks"]) <= 50
    headings = [block for block in message["blocks"] if block["type"] == "header"]
    assert texts(message)[-1] == f"and {30 - len(headings)} more, which the page of the monitor shows"
    assert len(headings) >= 9


def test_ten_alerts_which_is_what_a_notification_for_slack_holds_are_all_shown() -> None:
    message = slack_message(stored(*(an_alert(f"f{number}") for number in range(10))))
    assert sum(block["type"] == "header" for block in message["blocks"]) == 10
    assert not any("more, which" in text for text in texts(message))


def test_headline_that_is_cut_stands_below_in_full() -> None:
    long = "income of credit_inputs drifted: " + "x" * 300
    header, full = slack_message(stored(an_alert(summary=long)))["blocks"][:2]
    assert len(header["text"]["text"]) == 150 and header["text"]["text"].endswith("…")
    assert full["text"]["text"] == f"🔴 {long}"


def test_alerts_on_one_feature_are_one_part_headed_by_the_gravest() -> None:
    warning = an_alert(severity="warning", summary="income of credit_inputs drifted: psi 0.31 above 0.1")
    message = slack_message(stored(warning, an_alert(), an_alert("age")))
    said = texts(message)
    assert said[0] == "[FIRING:3] income of credit_inputs drifted: psi 0.31 above 0.25; also age"
    assert said[1] == "🔴 income of credit_inputs drifted: psi 0.31 above 0.25"
    assert sum(text.startswith("```") for text in said) == 2
    assert "*Also*\nPSI (warning)" in said
    assert not any("above 0.1" in text for text in said)


def test_own_annotations_of_the_monitor_are_fields_and_what_they_replace_is_not_shown() -> None:
    own = an_alert(owner="risk <team>", condition="lower bound above 0.25", description="Ask Ada.", verdict="Ask Ada.")
    said = texts(slack_message(stored(own)))
    assert "*owner*\nrisk &lt;team&gt;" in said
    assert "Ask Ada." in said
    assert not any("Live values appear" in text for text in said)


@pytest.mark.parametrize(("limit", "cut"), [(9, "a&amp;b"), (7, "a&amp;b"), (6, "a&amp;"), (5, "a…"), (2, "a…")])
def test_cutting_never_leaves_half_an_escape(limit: int, cut: str) -> None:
    shown = escape("a&b", limit)
    assert shown == (cut if limit != 6 else "a…")
    assert len(shown) <= limit


def test_too_many_requests_wait_as_long_as_slack_asks() -> None:
    with slack(status=429, headers={"Retry-After": "30"}) as chat, pytest.raises(DeliveryError) as caught:
        a_sender(chat.url).send(ID, stored(), NOON)
    assert (caught.value.retryable, caught.value.reason, caught.value.retry_after) == (True, "rate_limited", 30)


@pytest.mark.parametrize(
    ("status", "word"), [(404, b"no_service"), (410, b"channel_is_archived"), (403, b"action_prohibited")]
)
def test_refusal_of_slack_is_final_and_told_in_its_words(status: int, word: bytes) -> None:
    with slack(status=status) as chat:
        chat.answer = word
        with pytest.raises(DeliveryError, match=word.decode()) as caught:
            a_sender(chat.url).send(ID, stored(), NOON)
    assert not caught.value.retryable


def test_deadline_is_total() -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\n", b"x", pause=0.02) as port, pytest.raises(DeliveryError) as caught:
        a_sender(f"http://127.0.0.1:{port}/", timeout=timedelta(seconds=0.3)).send(ID, stored(), NOON)
    assert caught.value.reason == "timeout"


def test_address_of_the_webhook_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), slack(status=500) as chat:
        chat.answer = b"POST /services/T0CANARY/B0CANARY failed"
        sender = a_sender(f"http://127.0.0.1:{chat.port}/services/T0CANARY/B0CANARY")
        with pytest.raises(DeliveryError) as caught:
            sender.send(ID, stored(), NOON)
    assert "CANARY" not in str(caught.value) + caplog.text + repr(sender) + repr(vars(sender))


def test_hostile_sample_is_hostile() -> None:
    assert refusal(json.dumps({"text": HOSTILE, "blocks": []}).encode()) is not None
