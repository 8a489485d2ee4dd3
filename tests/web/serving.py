"""A server on a real socket, over callables a test sets."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.routing import BaseRoute

from drift_monitor.config.web import WebConfig
from drift_monitor.telemetry.metrics import Telemetry
from drift_monitor.web.metrics.exposition import DEFAULT_MAX_SERIES
from drift_monitor.web.metrics.routes import ServerDependencies, operational_routes
from drift_monitor.web.server import WebServer
from tests.web.snapshots import NOON, a_snapshot

PATIENCE_SECONDS = 120.0  # on a busy machine


class StoppedClock:
    """Always noon."""

    def now(self) -> datetime:
        return NOON

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Service:
    """What the callables answer, and where the server listens."""

    telemetry: Telemetry = field(default_factory=lambda: Telemetry(process_metrics=False))
    port: int = 0
    server: WebServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def raw(self, request: bytes) -> bytes:
        """Send bytes, read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(request)
            answer = b""
            # A server that refuses before reading everything may reset.
            with suppress(ConnectionResetError):
                while chunk := connection.recv(65536):
                    answer += chunk
            return answer


@contextmanager
def serving(
    web_config: WebConfig | None = None,
    *,
    external_urls: tuple[str, ...] = (),
    limits: Any = None,
    routes: Sequence[BaseRoute] = (),
    **dependencies: Any,
) -> Iterator[Service]:
    service = Service()
    values: dict[str, Any] = {
        "telemetry": service.telemetry,
        "clock": StoppedClock(),
        "healthy": lambda: True,
        "ready": lambda: True,
        "snapshot": a_snapshot,
        "max_series": DEFAULT_MAX_SERIES,
        **dependencies,
    }
    server = WebServer(
        [*operational_routes(ServerDependencies(**values)), *routes],
        web_config or WebConfig(),
        address="127.0.0.1:0",
        external_urls=external_urls,
        limits=limits,
        on_refused=service.telemetry.request_refused,
    )
    service.server = server
    service.port = server.start()
    try:
        yield service
    finally:
        assert server.stop(PATIENCE_SECONDS), "the server thread did not end"
