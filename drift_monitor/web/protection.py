"""The web configuration of a running listener, read anew where somebody has written it or a file that it names."""

import logging
from collections.abc import Sequence
from pathlib import Path

from drift_monitor.config.web import load_web
from drift_monitor.errors import DriftMonitorError, InputError
from drift_monitor.telemetry.logs import ERROR, INFO, log
from drift_monitor.web.access import bind_problem
from drift_monitor.web.server import WebServer

_logger = logging.getLogger(__name__)


class Protection:
    """Users, headers and certificates of `server`, as `file` says; without a file nothing changes."""

    def __init__(self, server: WebServer, file: Path | None, address: str, *, allow_unauthenticated: bool) -> None:
        self._server = server
        self._file = file
        self._address = address
        self._allow_unauthenticated = allow_unauthenticated
        self._stamps = self._stamps_now()

    def reload(self) -> None:
        """Read all of it anew; raises DriftMonitorError, with the old one still in force."""
        if self._file is None:
            return
        web_config = load_web(self._file)
        problem = bind_problem(self._address, web_config, self._allow_unauthenticated)
        if problem is not None:
            raise InputError(problem)
        try:
            self._server.protect(web_config)
        except OSError as error:  # also what is wrong with a certificate or a key
            raise InputError(f"{self._file}: the certificates can't be used: {error}") from error
        log(_logger, INFO, "web_config_loaded", "Users, headers and certificates were read anew.")

    def notice(self) -> None:
        """Reload where a file has changed since the last look."""
        stamps = self._stamps_now()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self.reload()
        except DriftMonitorError as error:
            log(_logger, ERROR, "web_config_refused", f"The web configuration was refused, the old one stays: {error}")

    def _stamps_now(self) -> Sequence[tuple[int, int, int] | None]:
        """What changes when somebody writes one of the files, or puts another in its place."""
        tls = self._server.web_config.tls
        files = [] if self._file is None else [self._file, *(tls.files().values() if tls else ())]
        found = [path.stat() if path.exists() else None for path in files]
        return [stat and (stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found]
