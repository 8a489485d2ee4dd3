"""A scrape through the real HTTP server, results read from the store: 10,000 series under 0.15 s, 100,000 under 1 s.

Run as `python -m benchmarks.exposition`. What is timed is a whole request as Prometheus makes it (OpenMetrics, gzip):
reading the store, the budget, encoding, sending, and the client's reading. Median of the CPU time of the process that
is both, which other programs on the machine disturb less than the time on the wall; exit code 1 over a bar.
"""

import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drift_monitor.alerting.services import Services
from drift_monitor.config.web import WebConfig
from drift_monitor.core.bins import NumericBins, ValueType
from drift_monitor.core.rules import Metric, Severity
from drift_monitor.telemetry.logs import configure
from drift_monitor.web.metrics.collector import read_snapshot
from drift_monitor.web.operational import ServerDependencies, operational_routes
from drift_monitor.web.server import WebServer
from tests.web.filled import Counted, a_monitor, a_rule, evaluate, open_store
from tests.web.snapshots import NOON

BARS = {10_000: 0.15, 100_000: 1.0}  # series in the budget: seconds
FEATURES = 50  # of one monitor
SERIES = 13  # of one feature: nine values, two rules with threshold and state
RUNS = 7
EDGES = tuple(float(edge) for edge in range(14))
HEADERS = {
    "Accept": "application/openmetrics-text; version=1.0.0",
    "Accept-Encoding": "gzip",
}


@dataclass(frozen=True)
class Scrape:
    """Seconds of one scrape, and the bytes that were sent."""

    cpu: float
    wall: float
    size: int


def fill(folder: Path, series: int) -> Services:
    """A store whose monitors, evaluated once, have at least so many series; seeded."""
    random = np.random.default_rng(1)
    names = [f"feature_{number}" for number in range(FEATURES)]
    rules = (a_rule(Metric.PSI, 0.1), a_rule(Metric.PSI, 0.25, Severity.CRITICAL))
    monitors = [
        a_monitor(f"monitor_{number}", names, rules=rules) for number in range(1 + series // (FEATURES * SERIES))
    ]
    services = open_store(folder, *monitors)
    spec = NumericBins(EDGES, ValueType.FLOAT)
    for monitor in monitors:
        shapes = random.dirichlet(np.full(len(EDGES) + 3, 2.0), size=FEATURES)
        counted = {
            name: Counted(spec, random.multinomial(5_000, shape).tolist(), random.multinomial(50_000, shape).tolist())
            for name, shape in zip(names, shapes, strict=True)
        }
        evaluate(services, monitor, NOON, counted)
    return services


@contextmanager
def serving(services: Services, max_series: int) -> Iterator[str]:
    """The listener of `run` over this store; its address."""
    dependencies = ServerDependencies(
        telemetry=services.telemetry,
        clock=services.clock,
        healthy=lambda: True,
        ready=lambda: True,
        snapshot=lambda: read_snapshot(services),
        max_series=max_series,
    )
    server = WebServer(operational_routes(dependencies), WebConfig(), address="127.0.0.1:0")
    port = server.start()
    try:
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        server.stop(5)


def scrape(url: str) -> Scrape:
    """One request, measured."""
    cpu, wall = time.process_time(), time.perf_counter()
    with urllib.request.urlopen(urllib.request.Request(url, headers=HEADERS), timeout=60) as answer:
        size = len(answer.read())
    return Scrape(time.process_time() - cpu, time.perf_counter() - wall, size)


def measure(series: int) -> float:
    """Print what scrapes of so many series take; the median of the CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        services = fill(Path(folder), series)
        with serving(services, series) as url:
            scrape(url)
            scrapes = [scrape(url) for _ in range(RUNS)]
        services.store.close()
    cpu = statistics.median(one.cpu for one in scrapes)
    wall = [one.wall for one in scrapes]
    print(
        f"scrape of {series:,} series: CPU median {cpu:.3f} s, on the wall median {statistics.median(wall):.3f} s, "
        f"best {min(wall):.3f} s, {scrapes[0].size / 1e6:.2f} MB sent (bar: {BARS[series]:g} s)"
    )
    return cpu


def main() -> int:
    """0 where every median keeps its bar."""
    configure("warn")
    kept = [measure(series) < bar for series, bar in BARS.items()]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
