"""Labels that identify an alert in notifications, silences and lists, and the addresses that alerts point to.

A monitor's own labels never replace ours. An address is empty where nobody configured where it is served.
"""

from enum import StrEnum
from urllib.parse import quote, urlencode

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.rules import Rule, Severity

DRIFT = "DataDrift"
# Where the dashboards of config/grafana are, whatever Grafana serves them: their uids never change.
_FEATURE_DASHBOARD, _OVERVIEW_DASHBOARD = "drift-feature", "drift-overview"


class SelfAlert(StrEnum):
    """An alert about a monitor itself; the value is its rule and its `alertname`."""

    FAILING = "MonitorFailing"
    STALE = "MonitorStale"

    @property
    def metric(self) -> str:
        return "failing" if self is SelfAlert.FAILING else "stale"


def drift_labels(monitor: MonitorConfig, feature: str, segment: str, rule: Rule) -> dict[str, str]:
    """The labels of an alert of one of the monitor's rules; empty ones are left out."""
    own = {
        "alertname": DRIFT,
        "monitor": monitor.name,
        "feature": feature,
        "segment": segment,
        "metric": rule.metric.value,
        "rule": rule.id,
        "severity": rule.severity.value,
    }
    # Alertmanager drops labels without a value; a silence has to see the same set.
    return {**monitor.labels, **{name: value for name, value in own.items() if value}}


def self_labels(monitor: MonitorConfig, alertname: str) -> dict[str, str]:
    """The labels of an alert about the monitor itself."""
    own = {"alertname": alertname, "monitor": monitor.name, "severity": Severity.WARNING.value}
    return {**monitor.labels, **own}


def monitor_url(external_url: str, monitor: str) -> str:
    """The page of a monitor."""
    return f"{external_url.rstrip('/')}/monitors/{quote(monitor, safe='')}" if external_url else ""


def feature_url(external_url: str, monitor: str, feature: str) -> str:
    """The page of one feature."""
    return f"{monitor_url(external_url, monitor)}/features/{quote(feature, safe='')}" if external_url else ""


def runbook_url(external_url: str, alertname: str) -> str:
    """The section about an alert in the runbooks that the service itself serves."""
    return f"{external_url.rstrip('/')}/runbooks#{quote(alertname.lower())}" if external_url else ""


def dashboard_url(grafana_url: str, monitor: str, feature: str) -> str:
    """The dashboard of a feature in Grafana; without a feature the overview of the monitor."""
    if not grafana_url:
        return ""
    variables = {"var-monitor": monitor, **({"var-feature": feature} if feature else {})}
    uid = _FEATURE_DASHBOARD if feature else _OVERVIEW_DASHBOARD
    return f"{grafana_url.rstrip('/')}/d/{uid}?{urlencode(variables)}"
