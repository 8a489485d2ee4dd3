"""Two hundred clients ask for everything in closed loops: the evaluations go on as if nobody asked."""

import asyncio
import json
import multiprocessing
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes.processes import PATIENCE_SECONDS, wait_until

CLIENTS = 200
SECONDS = 60
SCRAPE_EVERY, SCRAPED_WITHIN = 15, 10
ADDRESSES = (
    "/",
    "/metrics",
    "/monitors/m0",
    "/monitors/m0/features/a",
    "/api/v1/episodes",
    "/api/v1/alerts",
    "/runbooks",
)
MONITOR = """
  - {{name: m{number}, source: shop, table: events, time_column: at, every: 10s, window: 1m, pane: 10s, settle: 1s,
     reference: {{table: training}}, features: [a, b, c], rules: [{{metric: psi, above: 0.2}}]}}"""


def ask_in_circles(port: int, clients: int, until: float, counted: Any) -> None:
    """In a process of its own: so many clients, each with a connection for each request."""

    async def client(number: int, statuses: Counter[str]) -> None:
        while time.time() < until:
            address = ADDRESSES[number % len(ADDRESSES)]
            number += 1
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"GET {address} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.readline()).split()
                await reader.read()
                writer.close()
                statuses[status[1].decode() if len(status) > 1 else "cut"] += 1
            except OSError:
                statuses["cut"] += 1

    async def all_of_them() -> Counter[str]:
        statuses: Counter[str] = Counter()
        await asyncio.gather(*(client(number, statuses) for number in range(clients)))
        return statuses

    counted.put(dict(asyncio.run(all_of_them())))


def build_shop(path: Path) -> None:
    """Rows of an hour ago until an hour from now, ten each second."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    with closing(sqlite3.connect(path)) as shop, shop:
        for table in ("events", "training"):
            shop.execute(f"CREATE TABLE {table} (at TEXT, a INTEGER, b INTEGER, c INTEGER)")
            rows = (
                ((start + timedelta(seconds=second)).isoformat(), *(number * factor % 17 for factor in (3, 5, 7)))
                for second in range(7200)
                for number in range(second * 10, second * 10 + 10)
            )
            shop.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)
        shop.execute("CREATE INDEX events_at ON events (at)")


@pytest.mark.slow
def test_a_crowd_of_readers_puts_off_no_window(tmp_path: Path) -> None:
    build_shop(tmp_path / "shop.db")
    config, log = tmp_path / "drift.yaml", tmp_path / "log"
    monitors = "".join(MONITOR.format(number=number) for number in range(4))
    config.write_text(
        f"store: {{url: 'sqlite:///{tmp_path}/drift.db'}}\n"
        f"sources: [{{name: shop, url: 'sqlite:///{tmp_path}/shop.db', time_zone: UTC}}]\nmonitors:{monitors}\n"
    )
    command = [sys.executable, "-m", "drift_monitor", "run", f"--config.file={config}", "--log.format=json"]
    with (
        log.open("wb") as sink,
        subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stderr=sink) as service,
    ):
        try:
            wait_until(lambda: log.read_text().count('"evaluated"') >= 4, "evaluations")
            port = int(re.findall(r'"port": (\d+)', log.read_text())[0])
            before = log.read_text().count('"evaluated"')
            counted: Any = multiprocessing.Queue()
            crowd = multiprocessing.Process(
                target=ask_in_circles, args=(port, CLIENTS, time.time() + SECONDS, counted), daemon=True
            )
            crowd.start()
            scrapes = [scrape(port) for _ in range(SECONDS // SCRAPE_EVERY)]
            statuses = counted.get(timeout=PATIENCE_SECONDS)
            done = log.read_text().count('"evaluated"') - before
            service.send_signal(signal.SIGTERM)
            assert service.wait(timeout=PATIENCE_SECONDS) == 0
        finally:
            service.kill()
    events = Counter(json.loads(line)["event"] for line in log.read_text().splitlines() if line.startswith("{"))
    trouble = ("evaluation_postponed", "lease_not_renewed", "lease_lost", "store_unavailable", "store_down", "stalled")
    assert {event: events[event] for event in trouble if events[event]} == {}
    assert max(scrapes) < SCRAPED_WITHIN
    assert set(statuses) <= {"200", "503", "cut"}, statuses
    assert statuses["200"] > 0
    assert statuses["503"] > 0
    assert done >= 4 * (SECONDS // 10 - 2), "each monitor in each of its ten seconds, but for the ends"


def scrape(port: int) -> float:
    """How long until it is answered, some time later."""
    time.sleep(SCRAPE_EVERY)
    started = time.monotonic()
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60, verify=False)
    assert answer.status_code == 200
    return time.monotonic() - started
