"""Receivers in a configuration: secrets from files, defaults, and what never shows."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.alerting.dispatch import SEND_LEASE
from drift_monitor.config.loading import parse
from drift_monitor.config.receivers import LONGEST_TRY
from drift_monitor.config.schema import Config
from drift_monitor.errors import ConfigError

URL = "https://hooks.example/T0CANARY/B0CANARY"
KEY = "canary0123456789"
MAIL = {"smarthost": "mail.example.org:587", "from": "Drift <drift@example.org>", "to": ["team@example.org"]}

# kind, its other keys, the key of its secret, and what a file may hold for it
SECRETS = [
    ("webhook", {}, "url", URL),
    ("webhook", {"url": "https://hooks.example/"}, "secret", KEY),
    ("slack", {}, "webhook_url", URL),
    ("email", {**MAIL, "auth_username": "drift"}, "auth_password", KEY),
    ("pagerduty", {}, "routing_key", KEY),
    ("alertmanager", {}, "urls", "http://a:canary0@one:9093\nhttp://two:9093\n"),
    ("apprise", {}, "urls", "json://a:canary0@one/hook\nmailto://user:canary1@example.org\n"),
]


def config_with(folder: Path, kind: str, keys: dict[str, Any]) -> Config:
    document = {
        "store": {"url": "sqlite://"},
        "sources": [],
        "monitors": [],
        "receivers": [{"name": "r", kind: keys}],
    }
    return parse(json.dumps(document), file=folder / "drift.yaml", environ={})


@pytest.mark.parametrize(("kind", "keys", "secret", "content"), SECRETS)
def test_secret_is_read_from_its_file_and_shows_nowhere(
    tmp_path: Path, kind: str, keys: dict[str, Any], secret: str, content: str
) -> None:
    (tmp_path / "secret").write_text(content + "\n", encoding="utf-8")
    config = config_with(tmp_path, kind, {**keys, f"{secret}_file": "secret"})
    receiver = config.receiver("r")
    value = getattr(receiver.kind, secret)
    values = value if isinstance(value, tuple) else (value,)
    assert [one.get_secret_value() for one in values] == content.split()
    assert "canary" not in (repr(config) + json.dumps(config.public())).lower()
    assert any("canary" in one.get_secret_value().lower() for one in receiver.kind.secrets())


@pytest.mark.parametrize(("kind", "keys", "secret", "content"), SECRETS)
def test_secret_and_its_file_exclude_each_other(
    tmp_path: Path, kind: str, keys: dict[str, Any], secret: str, content: str
) -> None:
    (tmp_path / "secret").write_text(content, encoding="utf-8")
    plain: Any = content.split() if secret == "urls" else content
    with pytest.raises(ConfigError, match="excludes") as caught:
        config_with(tmp_path, kind, {**keys, secret: plain, f"{secret}_file": "secret"})
    assert "canary" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("kind", "secret", "content"),
    [
        ("slack", "webhook_url", "T0CANARY"),
        ("alertmanager", "urls", "http://one:9093\ncanary:9093"),
        ("alertmanager", "urls", " \n"),
    ],
)
def test_file_with_something_else_is_a_mistake_that_does_not_show_it(
    tmp_path: Path, kind: str, secret: str, content: str
) -> None:
    (tmp_path / "secret").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="http://") as caught:
        config_with(tmp_path, kind, {f"{secret}_file": "secret"})
    assert "canary" not in str(caught.value).lower()


def test_defaults_are_those_that_are_documented(tmp_path: Path) -> None:
    pager = config_with(tmp_path, "pagerduty", {"routing_key": KEY}).receiver("r").pagerduty
    mail = config_with(tmp_path, "email", MAIL).receiver("r").email
    assert pager is not None
    assert mail is not None
    assert pager.url.get_secret_value() == "https://events.pagerduty.com/v2/enqueue"
    assert (mail.require_tls, mail.send_resolved, mail.timeout.total_seconds()) == (True, True, 30)


def test_only_an_alertmanager_is_told_the_state_instead_of_changes(tmp_path: Path) -> None:
    told = config_with(tmp_path, "alertmanager", {"urls": ["http://127.0.0.1:9093"]}).receiver("r")
    assert (told.integration, told.is_told_the_state) == ("alertmanager", True)
    assert not config_with(tmp_path, "slack", {"webhook_url": URL}).receiver("r").is_told_the_state


def test_receiver_repeats_nothing_unless_told_how_often(tmp_path: Path) -> None:
    text = """
        store: {url: "sqlite://"}
        sources: []
        monitors: []
        receivers: [{name: once, log: {}}, {name: often, repeat_interval: 1h30m, log: {}}]
    """
    config = parse(text, file=tmp_path / "drift.yaml", environ={})
    assert config.receiver("once").repeat_interval is None
    assert config.receiver("often").repeat_interval == timedelta(minutes=90)
    assert config.receiver("often").integration == "log"
    assert config.public()["receivers"] == [
        {"name": "once", "log": {}},
        {"name": "often", "repeat_interval": "1h30m", "log": {}},
    ]


def test_try_is_over_before_another_process_takes_the_delivery_for_lost() -> None:
    assert LONGEST_TRY + timedelta(seconds=5) <= SEND_LEASE


@pytest.mark.parametrize("url", ["canary://host/path", "canary", "slack://canary"])
def test_address_that_apprise_does_not_know_is_a_mistake_that_does_not_show_it(
    tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"), pytest.raises(ConfigError, match="no address that Apprise knows") as caught:
        config_with(tmp_path, "apprise", {"urls": [url]})
    assert "canary" not in str(caught.value) + caplog.text


def test_apprise_that_is_not_installed_is_a_mistake_with_the_way_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "drift-monitor\[apprise\]"'):
        config_with(tmp_path, "apprise", {"urls": ["json://127.0.0.1/"]})
