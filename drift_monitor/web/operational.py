"""The routes machines use: `/metrics`, `/-/healthy`, `/-/ready`, `/-/reload`."""

import gzip
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from drift_monitor.clock import Clock
from drift_monitor.core.clean import clean_label
from drift_monitor.errors import DriftMonitorError, StoreError
from drift_monitor.telemetry.logs import WARN, log
from drift_monitor.telemetry.metrics import Telemetry
from drift_monitor.web.metrics.exposition import DEFAULT_MAX_SERIES, expose
from drift_monitor.web.metrics.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class ServerDependencies:
    """The service as HTTP sees it. All callables may be called from several threads at once.

    `healthy`: the process and its loops turn; called in the event loop, so it must not block.
    `ready`: configuration loaded, store migrated and reachable, not draining; may block shortly.
    `snapshot`: what the store holds, at most a few seconds old; StoreError if it can't be read.
    `reload`: reads the configuration anew, raising DriftMonitorError if it is refused; None where
    `--web.enable-lifecycle` is not given.
    `routes`: pages and API, added after the routes of this room; the gate protects them alike.
    """

    telemetry: Telemetry
    clock: Clock
    healthy: Callable[[], bool]
    ready: Callable[[], bool]
    snapshot: Callable[[], Snapshot]
    reload: Callable[[], None] | None = None
    max_series: int = DEFAULT_MAX_SERIES
    routes: tuple[BaseRoute, ...] = ()


_logger = logging.getLogger(__name__)
# Level 1 is ten times as fast as the usual 9 and hardly larger.
_GZIP_LEVEL = 1
_FILTER = "monitor[]"


def operational_routes(surface: ServerDependencies) -> list[BaseRoute]:
    """The routes over this surface."""
    return [
        Route("/metrics", _metrics(surface), methods=["GET"]),
        Route("/-/healthy", _healthy(surface), methods=["GET"]),
        Route("/-/ready", _ready(surface), methods=["GET"]),
        Route("/-/reload", _reload(surface), methods=["POST", "PUT"]),
    ]


def _metrics(surface: ServerDependencies) -> Callable[[Request], Response]:
    # Plain functions run in a thread, so a large page does not hold up the health routes.
    def metrics(request: Request) -> Response:
        named = request.query_params.getlist(_FILTER)
        monitors = frozenset(named) if named else None
        exposition = expose(_snapshot(surface), surface.clock.now(), max_series=surface.max_series, monitors=monitors)
        surface.telemetry.exposed(series=exposition.series, dropped=exposition.dropped)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = exposition.text.encode() + encode(_Behaviour(surface.telemetry.registry, monitors))
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if _accepts_gzip(request.headers.get("accept-encoding", "")):
            body = gzip.compress(body, _GZIP_LEVEL)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    return metrics


def _snapshot(surface: ServerDependencies) -> Snapshot:
    try:
        snapshot = surface.snapshot()
    except StoreError as error:
        # Nothing of the store is shown then: old numbers would look like new ones.
        surface.telemetry.store_up(up=False)
        log(_logger, WARN, "store_unreadable", f"/metrics shows nothing of the store: {error}")
        return Snapshot()
    surface.telemetry.store_up(up=True)
    return snapshot


class _Behaviour:
    """The process's own metrics; as a registry, so that the client encodes them, with the end of the page."""

    def __init__(self, registry: CollectorRegistry, monitors: frozenset[str] | None) -> None:
        self._registry = registry
        self._monitors = None if monitors is None else frozenset(map(clean_label, monitors))

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            yield metric if self._monitors is None else _of_monitors(metric, self._monitors)


def _of_monitors(metric: Metric, monitors: frozenset[str]) -> Metric:
    kept = Metric(metric.name, metric.documentation, metric.type)
    kept.samples = [
        sample for sample in metric.samples if "monitor" not in sample.labels or sample.labels["monitor"] in monitors
    ]
    return kept


def _accepts_gzip(accept_encoding: str) -> bool:
    for each in accept_encoding.lower().split(","):
        name, _, parameters = each.strip().partition(";")
        if name == "gzip":
            return parameters.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _healthy(surface: ServerDependencies) -> Any:
    async def healthy(request: Request) -> Response:
        if surface.healthy():
            return PlainTextResponse("Healthy.\n")
        return PlainTextResponse("The loop of the scheduler does not turn.\n", 503)

    return healthy


def _ready(surface: ServerDependencies) -> Callable[[Request], Response]:
    def ready(request: Request) -> Response:
        return PlainTextResponse("Ready.\n") if surface.ready() else PlainTextResponse("Not ready.\n", 503)

    return ready


def _reload(surface: ServerDependencies) -> Callable[[Request], Response]:
    def reload(request: Request) -> Response:
        if surface.reload is None:
            return PlainTextResponse("Reloading over HTTP needs --web.enable-lifecycle.\n", 403)
        try:
            surface.reload()
        except DriftMonitorError as error:
            return PlainTextResponse(f"The configuration was not reloaded, the one before stays:\n{error}\n", 500)
        return PlainTextResponse("Reloaded.\n")

    return reload
