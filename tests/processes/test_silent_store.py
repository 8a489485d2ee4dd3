"""A store that accepts connections and never answers: it is said so, and the process ends when it is told to."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.processes.processes import PATIENCE_SECONDS, wait_until
from tests.proxy import Proxy

TOLD_WITHIN = 15.0
ENDS_AT_THE_START_WITHIN = 5.0
ENDS_WITHIN = 25.0
SLACK = 5.0  # of a busy machine


@pytest.fixture
def proxy(migrated_postgresql_url: str) -> Iterator[Proxy]:
    proxy = Proxy(make_url(migrated_postgresql_url).port or 5432)
    yield proxy
    proxy.close()


class Running:
    """A service in a process of its own, and what it says."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def status(self, path: str) -> int:
        port = re.search(r"event=listening .* port=(\d+)", self.log)
        try:
            return httpx.get(f"http://127.0.0.1:{port[1]}{path}", timeout=10, verify=False).status_code if port else 0
        except httpx.TransportError:
            return 0

    def seconds_to_end(self) -> float:
        asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=PATIENCE_SECONDS) == 0, self.log
        return time.monotonic() - asked


@contextmanager
def running(url: str, folder: Path) -> Iterator[Running]:
    config, log = folder / "config.yaml", folder / "service.log"
    config.write_text(f"store: {{url: '{url}'}}\nsources: []\nmonitors: []\n")
    command = [sys.executable, "-m", "drift_monitor", "run", f"--config.file={config}"]
    with (
        log.open("w") as sink,
        subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stderr=sink, env=dict(os.environ)) as process,
    ):
        try:
            yield Running(process, log)
        finally:
            process.kill()


def through(proxy: Proxy, url: str) -> str:
    return make_url(url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)


def test_a_start_with_a_silent_store_waits_for_it_says_so_and_can_be_ended(
    proxy: Proxy, migrated_postgresql_url: str, tmp_path: Path
) -> None:
    proxy.fall_silent()
    with running(through(proxy, migrated_postgresql_url), tmp_path) as service:
        wait_until(lambda: "event=waiting_for_store" in service.log, "said so")
        assert (service.status("/-/healthy"), service.status("/-/ready")) == (200, 503)
        assert service.status("/metrics") == 200
        wait_until(lambda: service.log.count("event=waiting_for_store") == 2, "said so again")
        assert service.seconds_to_end() < ENDS_AT_THE_START_WITHIN + SLACK


def test_a_process_whose_store_another_version_has_migrated_stops_with_a_clear_line(
    migrated_postgresql_url: str, tmp_path: Path
) -> None:
    with running(migrated_postgresql_url, tmp_path) as service:
        wait_until(lambda: service.status("/-/ready") == 200, "ready")
        with psycopg.connect(migrated_postgresql_url.replace("+psycopg", "")) as other:
            other.execute("UPDATE schema_version SET version_num = '9999'")
        assert service.process.wait(timeout=PATIENCE_SECONDS) == 1
        assert "has been migrated" in service.log


def test_a_store_that_falls_silent_is_told_in_time_and_does_not_keep_the_process(
    proxy: Proxy, migrated_postgresql_url: str, tmp_path: Path
) -> None:
    with running(through(proxy, migrated_postgresql_url), tmp_path) as service:
        wait_until(lambda: service.status("/-/ready") == 200, "ready")
        proxy.fall_silent()
        since = time.monotonic()
        wait_until(lambda: service.status("/-/ready") == 503, "not ready")
        assert time.monotonic() - since < TOLD_WITHIN + SLACK
        wait_until(lambda: "event=store_down" in service.log, "told")
        assert service.status("/-/healthy") == 200
        assert service.seconds_to_end() < ENDS_WITHIN + SLACK
