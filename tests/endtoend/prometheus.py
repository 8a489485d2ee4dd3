"""A real Prometheus with the shipped configuration, which can be ended and started again on the same data.

The shipped files are taken as they are, but for this:

- addresses: the daemon's, the Alertmanager's, and those of the rule files;
- scrapes come every 2 s and rules are looked at every second, in place of 30 s;
- `DataDrift` looks back over `lookback` in place of 5 minutes, which is how long it goes on after the daemon has said
  that the drift is over.
"""

import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.endtoend.patience import PATIENCE_SECONDS, wait_until
from tests.programs import find_program
from tests.prometheus.server import Prometheus

SHIPPED = Path(__file__).parent.parent.parent / "config" / "prometheus"
LOOKBACK = "max_over_time(drift_alert_active[{}])"
LISTENING = re.compile(r"Listening on.*?address=127\.0\.0\.1:(\d+)")
# A firing alert is repeated this often, by default every minute, and ends after four times that without a repetition.
RESEND = "15s"


class PrometheusProcess:
    """One Prometheus and its folder; it listens on another port each time."""

    def __init__(self, folder: Path, *, daemon: int, alertmanager: int, lookback: str) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._server = Prometheus(0)
        self._config = folder / "prometheus.yml"
        folder.mkdir()
        _copy_rules(folder / "rules", lookback)
        self._config.write_text(_configuration(daemon=daemon, alertmanager=alertmanager))

    def start(self) -> None:
        """Start on what an earlier run has left in the folder, and wait until it answers."""
        program = find_program("prometheus", package="prometheus")
        log = self._folder / "prometheus.log"
        flags = (
            *(f"--config.file={self._config}", f"--storage.tsdb.path={self._folder / 'tsdb'}"),
            *("--web.listen-address=127.0.0.1:0", f"--rules.alert.resend-delay={RESEND}"),
        )
        with log.open("w") as out:
            self._process = subprocess.Popen([program, *flags], stdout=out, stderr=out)
        listening = wait_until(lambda: self._is_alive(log) and LISTENING.search(log.read_text()), "Prometheus listens")
        assert listening
        self._server = Prometheus(int(listening[1]))

    def stop(self) -> None:
        """End it in order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(PATIENCE_SECONDS) == 0

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def now(self, expression: str) -> Sequence[Mapping[str, Any]]:
        """Series and their values at present; none while it is not ready."""
        try:
            return self._server.now(expression)
        except (OSError, AssertionError):
            return ()

    def _is_alive(self, log: Path) -> bool:
        assert self._process is not None and self._process.poll() is None, log.read_text()[-2000:]
        return True


@contextmanager
def scraping(folder: Path, *, daemon: int, alertmanager: int, lookback: str) -> Iterator[PrometheusProcess]:
    """A Prometheus between the daemon and the Alertmanager on these ports."""
    one = PrometheusProcess(folder, daemon=daemon, alertmanager=alertmanager, lookback=lookback)
    try:
        one.start()
        yield one
    finally:
        one.kill()


def _copy_rules(folder: Path, lookback: str) -> None:
    """The shipped rules, with another range in the one expression of `DataDrift`."""
    folder.mkdir()
    for path in (SHIPPED / "rules").glob("*.yml"):
        (folder / path.name).write_text(path.read_text())
    alerts = folder / "drift-alerts.yml"
    text = alerts.read_text()
    assert text.count(LOOKBACK.format("5m")) == 1
    alerts.write_text(text.replace(LOOKBACK.format("5m"), LOOKBACK.format(lookback)))


def _configuration(*, daemon: int, alertmanager: int) -> str:
    """The shipped one, at another pace, for programs on these ports."""
    shipped = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    assert shipped["global"] == {"scrape_interval": "30s", "evaluation_interval": "30s"}
    shipped["global"] = {"scrape_interval": "2s", "evaluation_interval": "1s"}
    assert all(path.startswith("rules/") for path in shipped["rule_files"])  # relative to the configuration
    _put(shipped["alerting"]["alertmanagers"], alertmanager)
    _put(shipped["scrape_configs"], daemon)
    return yaml.safe_dump(shipped)


def _put(entries: list[dict[str, Any]], port: int) -> None:
    """Another port in the one target of the one entry."""
    ((static,),) = (entry["static_configs"] for entry in entries)
    (target,) = static["targets"]
    static["targets"] = [f"{target.rpartition(':')[0]}:{port}"]
