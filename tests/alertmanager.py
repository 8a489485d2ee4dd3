"""A real Alertmanager (Debian's) on a local port, which can be ended and started again on the same files."""

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import lasting_port
from tests.programs import find_program

PATIENCE_SECONDS = 120.0  # for a start or an orderly end on a busy machine

_CONFIG = """
route: {{receiver: hook, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: hook, webhook_configs: [{{url: "{hook}", send_resolved: true}}]}}]
"""


@dataclass
class Alertmanager:
    folder: Path
    hook: str
    port: int = field(default_factory=lasting_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start on what an earlier run has left in the folder, and wait until it answers."""
        program = find_program("prometheus-alertmanager", package="prometheus-alertmanager")
        config = self.folder / "alertmanager.yml"
        config.write_text(_CONFIG.format(hook=self.hook))
        command = [program, f"--config.file={config}", f"--storage.path={self.folder / 'data'}"]
        listen = [f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address="]
        with self._log.open("ab") as out:
            self.process = subprocess.Popen([*command, *listen], stdout=out, stderr=out)
        wait_for(self._is_ready, PATIENCE_SECONDS)

    def stop(self) -> None:
        """End it in order: it writes down what it has notified of."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_SECONDS)
            self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def alerts(self) -> list[dict[str, Any]]:
        """What fires, as its API says."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    @property
    def _log(self) -> Path:
        return self.folder / "alertmanager.log"

    def _is_ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self._log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def alertmanager(folder: Path, hook: str) -> Iterator[Alertmanager]:
    """Running, and sending what it notifies of to `hook`."""
    folder.mkdir(parents=True, exist_ok=True)
    one = Alertmanager(folder, hook)
    try:
        one.start()
        yield one
    finally:
        one.kill()


def wait_for(condition: Any, seconds: float = 120) -> None:
    """Return as soon as the condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
