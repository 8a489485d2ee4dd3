"""Where Grafana is: one address for all monitors, which is no part of what any of them is."""

import pytest

from drift_monitor.config.loading import parse
from drift_monitor.errors import ConfigError

TEXT = """
store: {url: "sqlite:///drift.db"}
sources: [{name: shop, url: "sqlite:///shop.db"}]
monitors:
  - {name: a, source: shop, table: orders, time_column: at, reference: {trailing: 7d}, features: all}
  - {name: b, source: shop, table: orders, time_column: at, reference: {trailing: 7d}, features: all}
"""


@pytest.mark.parametrize("url", ["http://127.0.0.1:3000", "https://example.com/grafana/", "http://[::1]:3000"])
def test_every_monitor_knows_the_address(url: str) -> None:
    config = parse(TEXT + f"grafana_url: {url!r}\n")
    assert [monitor.grafana_url for monitor in config.monitors] == [url, url]
    assert config.public()["grafana_url"] == url


@pytest.mark.parametrize(
    "url",
    ["grafana.example.com", "ftp://example.com", "https://u:p@example.com", "https://e.com/?a=b", "https://e.com#x"],
)
def test_what_no_link_can_begin_with_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="grafana_url: must be an http:// or https:// URL"):
        parse(TEXT + f"grafana_url: {url!r}\n")


def test_moving_grafana_changes_no_monitor() -> None:
    before, after = (parse(TEXT + rest) for rest in ("", "grafana_url: https://grafana.example.com\n"))
    assert [one.hash for one in before.monitors] == [one.hash for one in after.monitors]
    assert "grafana_url" not in before.public()
