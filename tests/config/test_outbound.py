"""`outbound.allow`: which hosts and addresses an entry means."""

import ipaddress
from pathlib import Path

import pytest

from drift_monitor.config.loading import parse
from drift_monitor.config.outbound import ANYWHERE, OutboundConfig
from drift_monitor.errors import ConfigError

ADDRESS = "203.0.113.7"


@pytest.mark.parametrize(
    ("entry", "host", "address"),
    [
        ("hooks.example.org", "hooks.example.org", ADDRESS),
        ("Hooks.Example.org", "hooks.EXAMPLE.org.", ADDRESS),
        ("*.example.org", "hooks.example.org", ADDRESS),
        ("*.example.org", "a.b.example.org", ADDRESS),
        ("localhost", "localhost", "127.0.0.1"),
        ("10.20.0.0/16", "mail", "10.20.255.1"),
        ("10.20.0.0/16", "mail", "::ffff:10.20.255.1"),
        ("10.20.3.4", "10.20.3.4", "10.20.3.4"),
        ("fd00:1::/32", "mail", "fd00:1::7"),
        ("::1", "::1", "::1"),
        ("0.0.0.0/0", "anything", ADDRESS),
    ],
)
def test_what_an_entry_means_is_permitted(entry: str, host: str, address: str) -> None:
    assert OutboundConfig(allow=(entry, "other.example")).permits(host, ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("entry", "host", "address"),
    [
        ("hooks.example.org", "example.org", ADDRESS),
        ("example.org", "hooks.example.org", ADDRESS),
        ("*.example.org", "example.org", ADDRESS),
        ("*.example.org", "badexample.org", ADDRESS),
        ("*.example.org", "hooks.example.org.evil.test", ADDRESS),
        ("10.20.0.0/16", "mail", "10.21.0.1"),
        ("10.20.0.0/16", "mail", "fd00::1"),
        ("10.20.3.4", "mail", "10.20.3.5"),
        ("fd00:1::/32", "mail", "10.20.3.4"),
    ],
)
def test_what_no_entry_means_is_not_permitted(entry: str, host: str, address: str) -> None:
    assert not OutboundConfig(allow=(entry,)).permits(host, ipaddress.ip_address(address))


def test_a_host_that_stands_in_a_file_is_held_to_it_without_being_shown(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("https://canary.example/T0\n", encoding="utf-8")
    text = """
        store: {url: "sqlite://"}
        sources: []
        monitors: []
        receivers: [{name: team, slack: {webhook_url_file: hook}}]
        outbound: {allow: [%s]}
    """
    with pytest.raises(ConfigError, match=r"team\]\.slack: outbound\.allow does not name its host") as caught:
        parse(text % "hooks.example", file=tmp_path / "drift.yaml", environ={})
    assert "canary" not in str(caught.value)
    assert parse(text % "canary.example", file=tmp_path / "drift.yaml", environ={}).outbound.allow == (
        "canary.example",
    )


def test_without_a_list_everything_is_permitted() -> None:
    text = "{store: {url: 'sqlite://'}, sources: [], monitors: []}"

    assert parse(text, environ={}).outbound == ANYWHERE
    assert ANYWHERE.permits("anything", ipaddress.ip_address(ADDRESS))
    assert "outbound" not in parse(text, environ={}).public()


@pytest.mark.parametrize(
    ("entry", "host", "could"),
    [
        ("hooks.example.org", "hooks.example.org", True),
        ("hooks.example.org", "mail.example.org", False),
        ("hooks.example.org", ADDRESS, False),
        ("10.20.0.0/16", "mail.example.org", True),  # who knows where its name leads
        ("10.20.0.0/16", "10.20.0.1", True),
        ("10.20.0.0/16", ADDRESS, False),
    ],
)
def test_a_host_that_no_entry_can_mean_is_known_without_resolving_it(entry: str, host: str, could: bool) -> None:
    assert OutboundConfig(allow=(entry,)).could_permit(host) is could
    assert ANYWHERE.could_permit(host)
