"""Run the service for an hour under load and watch what it holds: memory, descriptors, threads.

    python -m benchmarks.soak --minutes 60

200 evaluations a minute (100 monitors, each every 30 s) on SQLite, a scrape every 15 s and a page every 5 s, under a
limit of 256 open files. What is held has to level off: the last third may be above the middle one by a little only.
"""

import argparse
import re
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

MONITORS = 100
OPEN_FILES = 256
MEGABYTES = 300
SAMPLE_SECONDS, SCRAPE_SECONDS, PAGE_SECONDS = 10, 15, 5
TROUBLE = ("evaluation_postponed", "lease_lost", "store_down", "tick_failed", "worker_failed")
GROWTH = 1.05  # of memory, from the middle third to the last one

CONFIG = """
store: {{url: "sqlite:///{folder}/drift.db"}}
sources: [{{name: shop, url: "sqlite:///{folder}/shop.db", time_zone: UTC}}]
monitors:
"""
MONITOR = """
  - {{name: m{number}, source: shop, table: events, time_column: at, every: 30s, window: 2m, pane: 30s, settle: 1s,
     min_rows: 20, reference: {{table: training}}, features: [a, b], rules: [{{metric: psi, above: 0.2}}]}}
"""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a process holds at one moment."""

    megabytes: float
    descriptors: int
    threads: int


def held(pid: int) -> Held:
    status = Path(f"/proc/{pid}/status").read_text()
    found = {name: int(value) for name, value in re.findall(r"(VmRSS|Threads):\s+(\d+)", status)}
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Held(megabytes=found["VmRSS"] / 1024, descriptors=descriptors, threads=found["Threads"])


def build_shop(path: Path, minutes: int) -> None:
    """Ten rows a second, until after the end."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    with closing(sqlite3.connect(path)) as shop, shop:
        for table in ("events", "training"):
            shop.execute(f"CREATE TABLE {table} (at TEXT, a INTEGER, b INTEGER)")
            rows = (
                ((start + timedelta(seconds=second)).isoformat(), (second * 7 + row) % 23, (second * 3 + row) % 11)
                for second in range((minutes + 20) * 60)
                for row in range(10)
            )
            shop.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)
        shop.execute("CREATE INDEX events_at ON events (at)")


def watch(process: "subprocess.Popen[bytes]", port: int, seconds: float) -> list[Held]:
    """Scrape, look at pages, and take samples; a request that fails ends all."""
    began = time.monotonic()
    due = dict.fromkeys(("/metrics", "/", "sample"), 0.0)
    every = {"/metrics": SCRAPE_SECONDS, "/": PAGE_SECONDS, "sample": SAMPLE_SECONDS}
    samples: list[Held] = []
    while (now := time.monotonic() - began) < seconds:
        for what in [what for what, moment in due.items() if moment <= now]:
            due[what] += every[what]
            if what == "sample":
                samples.append(held(process.pid))
            else:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{what}", timeout=30) as answer:
                    answer.read()
        time.sleep(max(0.0, min(due.values()) - (time.monotonic() - began)))
    return samples


def thirds(samples: Sequence[Held]) -> list[Held]:
    """The median of each third."""
    size = len(samples) // 3
    parts = [samples[start : start + size] for start in (0, size, 2 * size)]
    return [
        Held(
            megabytes=statistics.median(one.megabytes for one in part),
            descriptors=round(statistics.median(one.descriptors for one in part)),
            threads=round(statistics.median(one.threads for one in part)),
        )
        for part in parts
    ]


def main() -> int:
    """0 where everything levels off below its bar, and nothing was put off."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=int, default=60)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_shop(folder / "shop.db", minutes)
        config, log = folder / "drift.yaml", folder / "log"
        config.write_text(CONFIG.format(folder=folder) + "".join(MONITOR.format(number=n) for n in range(MONITORS)))
        command = [sys.executable, "-m", "drift_monitor", "run", f"--config.file={config}"]
        command += ["--web.listen-address=127.0.0.1:0"]
        with log.open("wb") as sink, subprocess.Popen(command, stderr=sink) as process:
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
            try:
                while "event=listening" not in log.read_text():
                    time.sleep(0.1)
                port = int(re.findall(r"event=listening .*port=(\d+)", log.read_text())[0])
                time.sleep(20)
                samples = watch(process, port, minutes * 60)
                process.send_signal(signal.SIGTERM)
                code = process.wait(timeout=60)
            finally:
                process.kill()
        return judge(samples, log.read_text(), minutes, code)


def judge(samples: Sequence[Held], log: str, minutes: int, code: int) -> int:
    """Print what was held, and what is wrong with it."""
    first, middle, last = thirds(samples)
    highest = max(sample.megabytes for sample in samples)
    for name, part in (("first third", first), ("middle third", middle), ("last third", last)):
        print(f"{name:<13} {part.megabytes:7.1f} MB  {part.descriptors:4} descriptors  {part.threads:4} threads")
    evaluated = log.count("event=evaluated ")
    print(f"highest {highest:.1f} MB; {evaluated} evaluations, {evaluated / minutes:.0f} a minute; exit code {code}")
    trouble = {
        event: count
        for event in ("evaluation_postponed", "lease_lost", "store_down", "tick_failed", "worker_failed")
        if (count := log.count(f"event={event} "))
    }
    wrong = {
        f"memory grows: {middle.megabytes:.1f} MB, then {last.megabytes:.1f}": last.megabytes
        > GROWTH * middle.megabytes,
        f"memory is above {MEGABYTES} MB": highest > MEGABYTES,
        "descriptors grow": last.descriptors > middle.descriptors + 5,
        "threads grow": last.threads > middle.threads + 5,
        f"trouble: {trouble}": bool(trouble),
        f"it ended with {code}": code != 0,
    }
    for text in (text for text, is_so in wrong.items() if is_so):
        print(text)
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
