"""One full reading against the database's own scan, and memory that does not grow with the table.

    PostgreSQL, 1 M rows x 20 features into 32 bins     at most 10 times the CPU of `SELECT count(f0), ... count(f19)`
    SQLite and PostgreSQL, ten times the rows           at most 1.1 times the peak memory of the reading process

CPU seconds are those of client and server together. Scan and reading take turns; the best of each counts, because
other programs on the machine only ever make them slower. Memory is the peak of a process of its own, which profiles
and reads one table. Run as `python -m benchmarks.reading [ROWS]`.
"""

import math
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from benchmarks.hourly import Cpu, Meter
from benchmarks.tables import FEATURES, fill_events
from drift_monitor.clock import SystemClock
from drift_monitor.core.bins import NumericBins, ValueType
from drift_monitor.sources.dataset import Counter, Dataset, FeatureColumn
from drift_monitor.sources.source import Source
from tests.postgresql import PostgresqlServer, find_binaries

ROWS = 1_000_000
BINS = 32
TURNS = 7
BATCH = 50_000
START = datetime(2026, 9, 7, tzinfo=UTC)
EVENTS = Dataset(monitor="bench", table="events", time_column="at")
NAMES = [f"f{number}" for number in range(FEATURES)]
SCAN = f"SELECT {', '.join(f'count({name})' for name in NAMES)} FROM events"
BARS = {"scan": 10.0, "memory": 1.1}


def open_source(url: str) -> Source:
    return Source("bench", url, max_connections=2, statement_timeout=timedelta(minutes=10), clock=SystemClock())


def counters(engine: sa.Engine) -> list[Counter]:
    """Every feature into 32 bins of about equal mass."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"SELECT {', '.join(NAMES)} FROM events LIMIT 20000").fetchall()
    made = []
    for name, values in zip(NAMES, zip(*rows, strict=True), strict=True):
        held = [value for value in values if value is not None]
        quantiles = np.quantile(held, np.linspace(0, 1, BINS + 1)).tolist()
        quantiles[-1] = math.nextafter(quantiles[-1], math.inf)
        made.append(Counter(feature=name, column=name, spec=NumericBins(tuple(quantiles), ValueType.FLOAT)))
    return made


def compare_with_scan(server: PostgresqlServer, database: str) -> bool:
    """Take turns, print the best and the median ratio; whether the best keeps the bar."""
    url = server.url(database)
    engine, source, meter = sa.create_engine(url), open_source(url), Meter(server)
    wanted = counters(engine)

    def scan() -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(SCAN).fetchall()

    def read() -> None:
        assert not source.read(EVENTS, wanted, None).failed

    turns = [(meter.measure(scan), meter.measure(read)) for _ in range(TURNS + 1)][1:]  # the first one warms up
    best = min(reading.cpu for _, reading in turns) / min(scanned.cpu for scanned, _ in turns)
    median = statistics.median(reading.cpu / scanned.cpu for scanned, reading in turns)
    for what, one in (("scan", [pair[0] for pair in turns]), ("reading", [pair[1] for pair in turns])):
        print(f"{what:8} CPU {_best(one, lambda cpu: cpu.cpu):.3f} s, wall {_best(one, lambda cpu: cpu.wall):.3f} s")
    print(f"reading / scan: {best:.1f} best, {median:.1f} median of {TURNS} (bar: {BARS['scan']:g})")
    source.close()
    engine.dispose()
    return best <= BARS["scan"]


def _best(costs: list[Cpu], part: Callable[[Cpu], float]) -> float:
    return min(part(cost) for cost in costs)


def compare_memory(name: str, small: str, large: str) -> bool:
    """Peak memory of two processes, one a table; whether their ratio keeps the bar."""
    peaks = [_peak_of_process(url) for url in (small, large)]
    ratio = peaks[1] / peaks[0]
    found = f"peak {peaks[0]:.0f} MB, with ten times the rows {peaks[1]:.0f} MB"
    print(f"{name:10} {found}: {ratio:.2f} (bar: {BARS['memory']:g})")
    return ratio <= BARS["memory"]


def _peak_of_process(url: str) -> float:
    command = [sys.executable, "-m", "benchmarks.reading", "--peak", url]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_own_peak(url: str) -> None:
    """Profile and read a table whole and by hours, as an evaluation does; print this process's peak in megabytes."""
    source = open_source(url)
    columns = [FeatureColumn(feature=name, column=name) for name in NAMES]
    source.profile(EVENTS, columns, None)
    spec = NumericBins(tuple(float(edge) for edge in range(BINS + 1)), ValueType.FLOAT)
    reading = source.read(EVENTS, [Counter(feature=name, column=name, spec=spec) for name in NAMES], None)
    assert not reading.failed
    status = Path("/proc/self/status").read_text()
    print(next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")))


def fill_sqlite(path: Path, rows: int) -> str:
    """The same columns in a SQLite file; its URL."""
    columns = ", ".join(f"{name} REAL" for name in NAMES)
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE events (at TEXT, {columns})")
        for first in range(0, rows, BATCH):
            marks = ", ".join("?" * (FEATURES + 1))
            connection.executemany(
                f"INSERT INTO events VALUES ({marks})", _sqlite_rows(first, min(BATCH, rows - first))
            )
    connection.close()
    return f"sqlite:///{path}"


def _sqlite_rows(first: int, count: int) -> Iterator[list[object]]:
    values = np.random.default_rng(first).lognormal(size=(count, FEATURES)).tolist()
    for number, row in enumerate(values, start=first):
        yield [(START + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ"), *row]


def fill_postgresql(server: PostgresqlServer, rows: int) -> str:
    """A fresh database with that many events in a week; its name."""
    database = server.create_database()
    engine = sa.create_engine(server.url(database))
    fill_events(engine, start=START, end=START + timedelta(days=7), rows_a_week=rows)
    engine.dispose()
    return database


def main(rows: int) -> int:
    """0 where every bar is kept."""
    binaries = find_binaries()
    assert binaries is not None, "no PostgreSQL to measure"
    server = PostgresqlServer(binaries)
    try:
        small, large = fill_postgresql(server, rows // 10), fill_postgresql(server, rows)
        with tempfile.TemporaryDirectory() as folder:
            files = [fill_sqlite(Path(folder) / f"{size}.db", size) for size in (rows // 10, rows)]
            kept = [
                compare_with_scan(server, large),
                compare_memory("PostgreSQL", server.url(small), server.url(large)),
                compare_memory("SQLite", *files),
            ]
    finally:
        server.close()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print_own_peak(sys.argv[2])
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
