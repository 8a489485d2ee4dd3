"""A silence that could never keep anything back is seen before it is relied on."""

import pytest

from drift_monitor.alerting.silences import label_names, reaches
from drift_monitor.config.loading import parse
from drift_monitor.config.schema import Config
from drift_monitor.core.matching import parse_matcher

CONFIG = """
store: {url: "sqlite://"}
sources: [{name: shop, url: "sqlite:///shop.db"}]
monitors:
  - name: orders
    source: shop
    table: orders
    time_column: at
    reference: {table: training}
    features: [amount, country]
    labels: {team: risk}
    rules:
      - {metric: psi, above: 0.25, severity: critical}
      - {name: few, metric: rows, below: 10}
  - name: visits
    source: shop
    table: visits
    time_column: at
    reference: {table: training}
    features: all
    rules: [{metric: js, above: 0.1}]
"""


@pytest.fixture
def config() -> Config:
    return parse(CONFIG, environ={})


@pytest.mark.parametrize(
    "matchers",
    [
        ["monitor=orders"],
        ["feature=amount"],
        ["team=risk", "feature=~amount|x"],
        ["rule=psi:critical", "severity=critical"],
        ["rule=few"],
        ["metric=rows", "feature="],
        ["alertname=MonitorFailing", "monitor=orders", "severity=warning"],
        ["alertname=~Monitor.*", "team=risk"],
        ["monitor=visits", "feature=anything"],
        ["feature=anything", "metric=js"],
        ["monitor=visits", "team="],
    ],
    ids=" ".join,
)
def test_what_an_alert_of_a_monitor_can_have_is_within_reach(config: Config, matchers: list[str]) -> None:
    assert reaches(config, [parse_matcher(text) for text in matchers])


@pytest.mark.parametrize(
    "matchers",
    [
        ["monitor=order"],
        ["monitor=orders", "feature=price"],
        ["monitor=orders", "metric=js"],
        ["metric=rows", "feature=amount"],
        ["metric=psi", "severity=warning"],
        ["team=risk", "monitor=visits"],
        ["alertname=MonitorStale", "severity=critical"],
        ["alertname=MonitorStale", "monitor=orders", "feature=amount"],
        ["monitor=visits", "metric=psi", "feature=anything"],
        ["segment=DE"],
    ],
    ids=" ".join,
)
def test_what_no_alert_can_have_is_out_of_reach(config: Config, matchers: list[str]) -> None:
    assert not reaches(config, [parse_matcher(text) for text in matchers])


def test_labels_are_ours_and_those_of_the_monitors(config: Config) -> None:
    ours = {"alertname", "monitor", "feature", "segment", "metric", "rule", "severity"}
    assert label_names(config) == ours | {"team"}
