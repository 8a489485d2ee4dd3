"""A 7-day window of 1 M rows x 20 features on PostgreSQL: by hand, evaluated first, and evaluated one hour later.

By hand means what a competent user writes: two `pandas.read_sql`, `numpy.histogram`, `scipy.stats.entropy`, both sides
read each time. CPU seconds are those of client and server together; all figures come from one run.

    first evaluation, reference and live          at most 0.4 of the CPU by hand
    one further hour, revise 0                    at most 1/100 of the CPU by hand
    one further hour against the whole window     at most 1/30 of the CPU of reading its 168 panes

Run as `python -m benchmarks.hourly [ROWS]`.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import sqlalchemy as sa
from scipy.stats import entropy

from benchmarks.tables import FEATURES, fill_events
from drift_monitor.alerting.services import Services
from drift_monitor.app import open_services
from drift_monitor.config.loading import parse
from drift_monitor.evaluation.attempt import attempt
from drift_monitor.evaluation.planning import planned_run
from drift_monitor.evaluation.read import read_panes
from drift_monitor.evaluation.reference import ensure_reference, window_of
from drift_monitor.store import leases, runs
from drift_monitor.store.runs import RunKey, Trigger
from drift_monitor.telemetry.logs import configure
from tests.clocks import FixedClock
from tests.postgresql import PostgresqlServer, find_binaries

START = datetime(2026, 9, 7, tzinfo=UTC)
WEEK = timedelta(days=7)
HOURS = 6  # further hours measured; the median counts
BINS = 32
BARS = {"first": 0.4, "further": 1 / 100, "window": 1 / 30}


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of client and server together, and wall seconds."""

    cpu: float
    wall: float


class Meter:
    """Measures what this process and a PostgreSQL server spend."""

    def __init__(self, server: PostgresqlServer) -> None:
        pid = int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        self._server = psutil.Process(pid)

    def measure(self, work: Callable[[], object]) -> Cpu:
        server, client, wall = self._server_seconds(), time.process_time(), time.perf_counter()
        work()
        wall = time.perf_counter() - wall
        return Cpu(time.process_time() - client + self._server_seconds() - server, wall)

    def _server_seconds(self) -> float:
        own = self._server.cpu_times()
        alive = [child.cpu_times() for child in self._server.children(recursive=True)]
        ended = own.children_user + own.children_system
        return own.user + own.system + ended + sum(times.user + times.system for times in alive)


def by_hand(engine: sa.Engine, end: datetime) -> None:
    """Both sides loaded, each feature binned and compared."""
    names = ", ".join(f"f{number}" for number in range(FEATURES))
    between = f"SELECT {names} FROM events WHERE at >= %(start)s AND at < %(end)s"
    reference = pd.read_sql(between, engine, params={"start": START, "end": START + WEEK})
    live = pd.read_sql(between, engine, params={"start": end - WEEK, "end": end})
    for name in reference.columns:
        edges = np.quantile(reference[name].dropna(), np.linspace(0, 1, BINS + 1))
        p = np.histogram(live[name].dropna(), edges)[0] + 0.5
        q = np.histogram(reference[name].dropna(), edges)[0] + 0.5
        entropy(p, q)
        entropy(q, p)


def configuration(url: str, folder: Path, revise: int) -> str:
    """One monitor over the events, with 32 quantile bins a feature."""
    features = "\n".join(f"      - {{name: f{number}, bins: {{quantiles: {BINS}}}}}" for number in range(FEATURES))
    return f"""
store: {{url: "sqlite:///{folder}/revise{revise}.db"}}
sources: [{{name: bench, url: "{url}", statement_timeout: 10m}}]
monitors:
  - name: events
    source: bench
    table: events
    time_column: at
    every: 1h
    pane: 1h
    window: 7d
    settle: 0s
    revise: {revise}
    reference: {{from: {START:%Y-%m-%dT%H:%M:%SZ}, to: {START + WEEK:%Y-%m-%dT%H:%M:%SZ}}}
    features:
{features}
"""


def evaluate(services: Services, end: datetime) -> None:
    """Plan, claim and evaluate one window, as the daemon does."""
    monitor = services.config.monitors[0]
    key = RunKey(monitor=monitor.name, window_end=end)
    services.store.transact(lambda conn: runs.plan(conn, [planned_run(monitor, end, end, Trigger.SCHEDULE)]))
    claim = services.store.transact(lambda conn: leases.claim(conn, services.owner, timedelta(minutes=10), key=key))
    assert claim is not None
    assert attempt(services, monitor, claim).is_done


def read_window(services: Services, end: datetime) -> None:
    """Read all panes of a window from the source; nothing is stored."""
    monitor = services.config.monitors[0]
    window = window_of(monitor, end)
    reference = ensure_reference(services, monitor, window)
    table = read_panes(services, monitor, reference, live=monitor.grid.panes(window))
    assert table.rows_read > 0


def median(measured: list[Cpu]) -> Cpu:
    ordered = sorted(measured, key=lambda one: one.cpu)
    return ordered[len(ordered) // 2]


def run(rows: int) -> bool:
    binaries = find_binaries()
    assert binaries is not None, "no PostgreSQL: install the server, or the package pgserver"
    with ExitStack() as stack:
        server = PostgresqlServer(binaries)
        stack.callback(server.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = server.url(server.create_database())
        engine = sa.create_engine(url)
        fill_events(engine, start=START, end=START + 2 * WEEK + timedelta(hours=HOURS), rows_a_week=rows)
        meter, end = Meter(server), START + 2 * WEEK
        hand = meter.measure(lambda: by_hand(engine, end))
        open_with = lambda revise: stack.enter_context(  # noqa: E731
            open_services(parse(configuration(url, folder, revise), environ={}), clock=FixedClock(START + 3 * WEEK))
        )
        plain, revising = open_with(0), open_with(2)
        first = meter.measure(lambda: evaluate(plain, end))
        evaluate(revising, end)
        whole = meter.measure(lambda: read_window(revising_free(stack, url, folder), end))
        hours = [end + timedelta(hours=hour) for hour in range(1, HOURS + 1)]
        further = median([meter.measure(lambda at=at: evaluate(plain, at)) for at in hours])
        revised = median([meter.measure(lambda at=at: evaluate(revising, at)) for at in hours])
        return report(rows, hand, first, whole, further, revised)


def revising_free(stack: ExitStack, url: str, folder: Path) -> Services:
    """Services on a store of their own, which holds no panes yet."""
    (folder / "whole").mkdir()
    config = parse(configuration(url, folder / "whole", 0), environ={})
    return stack.enter_context(open_services(config, clock=FixedClock(START + 3 * WEEK)))


def report(rows: int, hand: Cpu, first: Cpu, whole: Cpu, further: Cpu, revised: Cpu) -> bool:
    print(f"{rows:,} rows a week x {FEATURES} features, CPU seconds of client and server (wall):")
    for name, one in {
        "by hand, both sides": hand,
        "first evaluation": first,
        "reading 168 panes (with the reference)": whole,
        "one further hour, revise 0": further,
        "one further hour, revise 2": revised,
    }.items():
        print(f"  {name:40} {one.cpu:9.3f}  ({one.wall:.3f})")
    kept = {
        "first": first.cpu / hand.cpu,
        "further": further.cpu / hand.cpu,
        "window": further.cpu / whole.cpu,
    }
    for name, ratio in kept.items():
        verdict = "kept" if ratio <= BARS[name] else "OVER"
        print(f"  {name:10} ratio {ratio:.4f}  bar {BARS[name]:.4f}  {verdict}")
    return all(ratio <= BARS[name] for name, ratio in kept.items())


def main() -> int:
    configure("warn")
    return 0 if run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000) else 1


if __name__ == "__main__":
    sys.exit(main())
