"""Labels that identify an alert, wherever it is told, silenced or listed. A monitor's own never replace ours."""

from drift_monitor.config.model import MonitorConfig
from drift_monitor.core.alerting import Rule, Severity

DRIFT = "DataDrift"


def drift_labels(monitor: MonitorConfig, feature: str, segment: str, rule: Rule) -> dict[str, str]:
    """Those of an alert of one of the monitor's rules; what is empty is left out."""
    own = {
        "alertname": DRIFT,
        "monitor": monitor.name,
        "feature": feature,
        "segment": segment,
        "metric": rule.metric.value,
        "rule": rule.id,
        "severity": rule.severity.value,
    }
    return {**monitor.labels, **{name: value for name, value in own.items() if value}}


def self_labels(monitor: MonitorConfig, alertname: str) -> dict[str, str]:
    """Those of an alert about the monitor itself."""
    own = {"alertname": alertname, "monitor": monitor.name, "severity": Severity.WARNING.value}
    return {**monitor.labels, **own}
