"""Addresses of the pages that alerts and messages point to."""

from urllib.parse import quote


def monitor_url(external_url: str, monitor: str) -> str:
    """The page of a monitor; empty where no external URL is known."""
    return f"{external_url.rstrip('/')}/monitors/{quote(monitor, safe='')}" if external_url else ""


def feature_url(external_url: str, monitor: str, feature: str) -> str:
    """The page of one feature; empty where no external URL is known."""
    return f"{monitor_url(external_url, monitor)}/features/{quote(feature, safe='')}" if external_url else ""
