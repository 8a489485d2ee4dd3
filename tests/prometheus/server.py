"""A real Prometheus (Debian's package), with the shipped rules, that scrapes one service each second."""

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes.processes import wait_until
from tests.programs import find_program

RULES = Path(__file__).parent.parent.parent / "config" / "prometheus" / "rules"
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}/*.yml"]
scrape_configs:
  - job_name: drift
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
LISTENING = re.compile(r"Listening on.*?address=127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Prometheus:
    """Where it answers."""

    port: int

    def ask(self, path: str, **parameters: object) -> Any:
        """The `data` of an answer; a warning or an error fails the test, with what it said."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=60) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        assert document["status"] == "success" and not document.get("warnings"), document
        return document["data"]

    def now(self, expression: str) -> Sequence[Mapping[str, Any]]:
        """Series and their values at present."""
        return list(self.ask("query", query=expression)["result"])

    def lately(self, expression: str, seconds: int = 5) -> Sequence[Mapping[str, Any]]:
        """Series and their values of the last seconds."""
        (_, end) = self.ask("query", query="time()")["result"]
        return list(self.ask("query_range", query=expression, start=float(end) - seconds, end=end, step=1)["result"])


@contextmanager
def scraping(port: int, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the service on this port a few times."""
    program = find_program("prometheus", package="prometheus")
    config, log = folder / "prometheus.yml", folder / "prometheus.log"
    config.write_text(CONFIG.format(rules=RULES, port=port), encoding="utf-8")
    flags = (f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}", "--web.listen-address=127.0.0.1:0")
    with log.open("w") as sink:
        process = subprocess.Popen([program, *flags], stdout=sink, stderr=subprocess.STDOUT)
        try:
            listening = wait_until(lambda: LISTENING.search(log.read_text()), "Prometheus listens")
            prometheus = Prometheus(int(listening[1]))
            wait_until(lambda: _has_scraped(prometheus), "Prometheus has scraped the service a few times")
            yield prometheus
        finally:
            process.kill()
            process.wait()


def _has_scraped(prometheus: Prometheus) -> bool:
    try:
        found = prometheus.now('count_over_time(up{job="drift"}[1m]) >= 5')
        return bool(found) and bool(prometheus.now("monitor_severity:drift_alert_active:sum"))
    except (urllib.error.URLError, AssertionError):  # not ready yet
        return False
