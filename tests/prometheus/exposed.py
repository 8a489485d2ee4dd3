"""The metrics that the service exposes, by the names queries use."""

import re

from drift_monitor.telemetry.metrics import Telemetry
from drift_monitor.web.metrics.families import FAMILIES

METRIC = re.compile(r"(?<![\w:$])(?:drift|process|python)_\w+")


def exposed_names() -> frozenset[str]:
    """Gauges, counters with `_total`, histograms with their parts, and those of the process."""
    telemetry = Telemetry()
    telemetry.declare(monitors=["m"], receivers=[("r", "log")], sources=["s"])
    telemetry.source_up("s", up=True)
    telemetry.store_free_bytes(1)
    samples = (sample.name for metric in telemetry.registry.collect() for sample in metric.samples)
    return frozenset((*samples, *(family.name for family in FAMILIES)))


def metrics_in(expression: str) -> set[str]:
    """The names of ours in an expression; recorded names, which have colons, are not among them."""
    return {name for name in METRIC.findall(expression) if f"{name}:" not in expression}
