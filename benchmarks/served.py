"""What the service costs whoever looks: pages of 500 features, and scrapes of 10,000 and 100,000 series.

CPU is that of the service's process from before the requests until after them; nothing is due meanwhile.
"""

import gzip
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Bar, Beside, Checkout, Measured, Take
from benchmarks.scene import HOUR, Daemon, Setting, fill_source, last_hour, serving

PAGE_FEATURES, PAGE_WINDOWS = 500, 48
MONITOR_FEATURES, SERIES = 50, 13  # of one feature: nine values, two rules with threshold and state
REQUESTS = 5
PROMETHEUS = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept_Encoding": "gzip"}


def pages(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
    """The overview and the page of one monitor, whose features were measured over two days."""
    windows = 6 if quick else PAGE_WINDOWS
    end = last_hour()
    measured = {}
    with tempfile.TemporaryDirectory(prefix="drift-bench-") as name:
        folder = Path(name)
        fill_source(folder, features=PAGE_FEATURES, start=end - windows * HOUR, hours=windows, rows=20)
        setting = Setting(folder=folder, features=PAGE_FEATURES, window="1h", min_rows=10)
        setting.backfill(checkout, end - windows * HOUR, end)
        with _started(checkout, setting) as service:
            for title, path in (("overview", "/"), ("monitor page", "/monitors/m0")):
                cpu, body = _request(service, path)
                measured[Bar(f"{title} of {PAGE_FEATURES} features, {windows} windows", 2.5)] = cpu
            measured[Bar("  bytes of the monitor page", 200, "KB")] = Measured(len(body) / 1000)
    return measured


def metrics(series: int, most: float) -> Take:
    """A scrape as Prometheus makes it, of at least so many series of results."""
    bar = Bar(f"/metrics of {series:,} series", most)

    def take(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
        end = last_hour()
        monitors = 1 + series // (MONITOR_FEATURES * SERIES)
        with tempfile.TemporaryDirectory(prefix="drift-bench-") as name:
            folder = Path(name)
            fill_source(folder, features=MONITOR_FEATURES, start=end - HOUR, hours=1, rows=200)
            setting = Setting(folder=folder, features=MONITOR_FEATURES, monitors=monitors, window="1h")
            setting.backfill(checkout, end - HOUR, end)
            with _started(checkout, setting, f"--web.max-series={series}") as service:
                cpu, body = _request(service, "/metrics", **PROMETHEUS)
        shown = sum(not line.startswith(b"#") for line in gzip.decompress(body).splitlines())
        assert shown > 0.99 * series, f"{shown:,} series instead of {series:,}"
        return {bar: cpu}

    return take


@contextmanager
def _started(checkout: Checkout, setting: Setting, *flags: str) -> Iterator[Daemon]:
    command = ("run", "--config.file", setting.write(), "--log.level=error", *flags)
    with serving(checkout, setting.folder, *command) as service:
        service.wait(lambda: service.answers("/-/ready"))
        yield service


def _request(service: Daemon, path: str, **headers: str) -> tuple[Measured, bytes]:
    """The CPU of one request, the mean of some after a first one; and the body."""
    service.get(path, **headers)
    with Beside() as beside:
        before = service.cpu()
        for _ in range(REQUESTS):
            body = service.get(path, **headers)
        cpu = service.cpu() - before
    return beside.of(cpu / REQUESTS), body
