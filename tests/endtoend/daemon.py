"""`drift-monitor run` as a user starts it, which can be ended and started again on the same port."""

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.endtoend.patience import PATIENCE_SECONDS, wait_until
from tests.ports import lasting_port


class DaemonProcess:
    """One daemon with its configuration file; it writes its log into the same folder."""

    def __init__(self, config: Path) -> None:
        self.port = lasting_port()
        self._log = config.parent / "daemon.log"
        self._command = (
            *(sys.executable, "-m", "drift_monitor", "run"),
            *(f"--config.file={config}", "--store.migrate"),
            *(f"--web.listen-address=127.0.0.1:{self.port}", "--web.external-url=http://drift.test"),
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def start(self) -> None:
        """Start, and wait until it takes work."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=out)
        wait_until(self._is_ready, "the daemon is ready")

    def stop(self) -> None:
        """End it in order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(PATIENCE_SECONDS) == 0, self.log[-3000:]

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _is_ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=10):
                return True
        except OSError:  # nobody listens yet, or it is not ready
            return False


@contextmanager
def running(config: Path) -> Iterator[DaemonProcess]:
    daemon = DaemonProcess(config)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.kill()
