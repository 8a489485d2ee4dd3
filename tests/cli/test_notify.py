"""`notify test`: a sample to a real receiver, and what the command says of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from drift_monitor.cli.main import main
from tests.notify.mail_server import mail_server
from tests.notify.pagerduty_stand_in import ROUTING_KEY, pagerduty
from tests.notify.receivers import receiver
from tests.notify.slack_stand_in import slack


def notify_test(folder: Path, kind: str, keys: dict[str, Any], name: str = "r") -> Result:
    document = {
        "store": {"url": f"sqlite:///{folder / 'drift.db'}"},
        "sources": [],
        "monitors": [],
        "receivers": [{"name": "r", kind: keys}],
    }
    path = folder / "drift.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return CliRunner().invoke(main, ["notify", "test", name, "--config.file", str(path)])


def test_webhook_gets_a_firing_and_a_resolved_alert_marked_as_a_test(tmp_path: Path) -> None:
    with receiver() as hook:
        result = notify_test(tmp_path, "webhook", {"url": hook.url})
    assert result.exit_code == 0
    firing, resolved = (json.loads(one.body) for one in hook.received)
    assert (firing["status"], resolved["status"]) == ("firing", "resolved")
    assert firing["alerts"][0]["labels"]["alertname"] == "DriftMonitorTest"
    assert firing["alerts"][0]["fingerprint"] == resolved["alerts"][0]["fingerprint"]
    assert all("TEST" in one["alerts"][0]["annotations"]["summary"] for one in (firing, resolved))
    ids = [one.headers["webhook-id"] for one in hook.received]
    assert len(set(ids)) == 2
    assert result.stdout.splitlines() == [
        f"r (webhook): firing accepted, id {ids[0]}",
        f"r (webhook): resolved accepted, id {ids[1]}",
    ]
    assert not (tmp_path / "drift.db").exists()


def test_chat_mail_and_pager_take_the_sample(tmp_path: Path) -> None:
    with slack() as chat, mail_server() as mail, pagerduty() as pager:
        results = [
            notify_test(tmp_path, "slack", {"webhook_url": chat.url}),
            notify_test(
                tmp_path,
                "email",
                {"smarthost": f"127.0.0.1:{mail.port}", "from": "a@x.org", "to": ["b@x.org"], "require_tls": False},
            ),
            notify_test(tmp_path, "pagerduty", {"routing_key": ROUTING_KEY, "url": pager.url}),
            notify_test(tmp_path, "log", {}),
        ]
    assert [result.exit_code for result in results] == [0, 0, 0, 0]
    assert len(chat.received) == len(mail.messages) == len(pager.events) == 2
    assert pager.incidents == {}


@pytest.mark.parametrize(
    ("status", "next"), [(404, "the daemon would give it up"), (503, "the daemon would try again")]
)
def test_refusal_is_told_with_its_cause_and_what_the_daemon_would_do(tmp_path: Path, status: int, next: str) -> None:
    with receiver(status=status, answer=b"no such hook") as hook:
        result = notify_test(tmp_path, "webhook", {"url": f"{hook.url}/T0CANARY"})
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    answered = f"http://127.0.0.1:{hook.port}: answered {status}: no such hook"
    assert line == f"r (webhook): firing not accepted: {answered}; {next}"


def test_receiver_that_is_not_configured_is_told_with_those_that_are(tmp_path: Path) -> None:
    result = notify_test(tmp_path, "log", {}, name="other")
    assert result.exit_code == 2
    assert "no receiver is called 'other'; configured: r" in result.stderr
