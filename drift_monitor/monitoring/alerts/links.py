"""Addresses of the pages that alerts and messages point to; empty where nobody said where those are served."""

from urllib.parse import quote, urlencode

# Where the dashboards of config/grafana are, whatever Grafana serves them: their uids never change.
_FEATURE_DASHBOARD, _OVERVIEW_DASHBOARD = "drift-feature", "drift-overview"


def monitor_url(external_url: str, monitor: str) -> str:
    """The page of a monitor."""
    return f"{external_url.rstrip('/')}/monitors/{quote(monitor, safe='')}" if external_url else ""


def feature_url(external_url: str, monitor: str, feature: str) -> str:
    """The page of one feature."""
    return f"{monitor_url(external_url, monitor)}/features/{quote(feature, safe='')}" if external_url else ""


def runbook_url(external_url: str, alertname: str) -> str:
    """What to do about an alert: its section of the runbooks that the service itself serves."""
    return f"{external_url.rstrip('/')}/runbooks#{quote(alertname.lower())}" if external_url else ""


def dashboard_url(grafana_url: str, monitor: str, feature: str) -> str:
    """The dashboard of a feature in Grafana; without a feature the overview of the monitor."""
    if not grafana_url:
        return ""
    chosen = {"var-monitor": monitor, **({"var-feature": feature} if feature else {})}
    uid = _FEATURE_DASHBOARD if feature else _OVERVIEW_DASHBOARD
    return f"{grafana_url.rstrip('/')}/d/{uid}?{urlencode(chosen)}"
