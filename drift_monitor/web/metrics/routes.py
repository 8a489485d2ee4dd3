"""The routes machines use: `/metrics`, `/-/healthy`, `/-/ready`, `/-/reload`."""

import asyncio
import gc
import gzip
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.to_thread
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from drift_monitor.clock import Clock
from drift_monitor.core.times import clean_label
from drift_monitor.errors import DriftMonitorError, RequestRefusal, StoreError
from drift_monitor.telemetry.logs import WARN, log
from drift_monitor.telemetry.metrics import Telemetry
from drift_monitor.web.metrics.exposition import encode_registry, expose
from drift_monitor.web.metrics.snapshot import Snapshot

_logger = logging.getLogger(__name__)
# Level 1 is ten times as fast as the usual 9 and hardly larger.
_GZIP_LEVEL = 1
_FILTER = "monitor[]"
_DIFFERENT_SCRAPES = 8  # that wait; without a filter there are four at most


@dataclass(frozen=True, kw_only=True)
class ServerDependencies:
    """The service as these routes see it. All callables may be called from several threads at once.

    `healthy`: the process and its loops turn; called in the event loop, so it must not block.
    `ready`: configuration loaded, store migrated and reachable, not draining; may block shortly.
    `snapshot`: what the store holds, at most a few seconds old; StoreError if it can't be read.
    `max_series`: of results; the worst features are shown where there are more.
    `reload`: reads the configuration anew, raising DriftMonitorError if it is refused; None where
    `--web.enable-lifecycle` is not given.
    """

    telemetry: Telemetry
    clock: Clock
    healthy: Callable[[], bool]
    ready: Callable[[], bool]
    snapshot: Callable[[], Snapshot]
    max_series: int
    reload: Callable[[], None] | None = None


def operational_routes(service: ServerDependencies) -> list[BaseRoute]:
    """All of them. What takes time runs in a thread, so a large scrape does not hold up the health of the process."""
    scrapes = Scrapes()

    async def metrics(request: Request) -> Response:
        named = request.query_params.getlist(_FILTER)
        _, content_type = choose_encoder(request.headers.get("accept", ""))
        is_compressed = _accepts_gzip(request.headers.get("accept-encoding", ""))
        monitors = frozenset(named) if named else None
        if monitors is not None and scrapes.are_crowded:
            service.telemetry.request_refused(RequestRefusal.OVERLOAD)
            return PlainTextResponse("Too many scrapes at a time.\n", 503, {"Retry-After": "5"})
        body = await scrapes.share(
            (monitors, content_type, is_compressed), partial(written, monitors, content_type, is_compressed)
        )
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        return Response(body, headers=headers | ({"Content-Encoding": "gzip"} if is_compressed else {}))

    def written(monitors: frozenset[str] | None, content_type: str, is_compressed: bool) -> bytes:
        with _cycles_ignored():
            exposition = expose(
                _snapshot(service), service.clock.now(), max_series=service.max_series, monitors=monitors
            )
            service.telemetry.exposed(series=exposition.series, dropped=exposition.dropped)
            own = _of_monitors(service.telemetry.registry.collect(), monitors)
            is_openmetrics = content_type.startswith("application/openmetrics-text")
            body = (exposition.text + encode_registry(own, is_openmetrics=is_openmetrics)).encode()
        return gzip.compress(body, _GZIP_LEVEL) if is_compressed else body

    async def healthy(request: Request) -> Response:
        if service.healthy():
            return PlainTextResponse("Healthy.\n")
        return PlainTextResponse("The loop of the scheduler does not turn.\n", 503)

    def ready(request: Request) -> Response:
        return PlainTextResponse("Ready.\n") if service.ready() else PlainTextResponse("Not ready.\n", 503)

    def reload(request: Request) -> Response:
        if service.reload is None:
            return PlainTextResponse("Reloading over HTTP needs --web.enable-lifecycle.\n", 403)
        try:
            service.reload()
        except DriftMonitorError as error:
            return PlainTextResponse(f"The configuration was not reloaded, the one before stays:\n{error}\n", 500)
        return PlainTextResponse("Reloaded.\n")

    return [
        Route("/metrics", metrics, methods=["GET"]),
        Route("/-/healthy", healthy, methods=["GET"]),
        Route("/-/ready", ready, methods=["GET"]),
        Route("/-/reload", reload, methods=["POST", "PUT"]),
    ]


class Scrapes:
    """One scrape is written at a time; all who ask for the same meanwhile share it.

    So Prometheus gets its answer however many others scrape.
    """

    def __init__(self) -> None:
        self._turn = anyio.CapacityLimiter(1)
        self._under_way: dict[object, asyncio.Task[bytes]] = {}

    @property
    def are_crowded(self) -> bool:
        """Whether several different ones wait for their turn."""
        return self._turn.statistics().tasks_waiting >= _DIFFERENT_SCRAPES

    async def share(self, what: object, write: Callable[[], bytes]) -> bytes:
        task = self._under_way.get(what)
        if task is None:
            work = anyio.to_thread.run_sync(write, limiter=self._turn)
            task = self._under_way[what] = asyncio.ensure_future(work)
            task.add_done_callback(lambda done: self._under_way.pop(what, None))
        return await asyncio.shield(task)  # whoever leaves takes nobody's answer along


@contextmanager
def _cycles_ignored() -> Iterator[None]:
    """The cyclic collector pauses: a large scrape makes a hundred thousand objects and no cycle among them.

    Walking them again and again while they are made costs as much as the scrape. It is switched on again by whoever
    switched it off, so of scrapes at the same time by the first.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _snapshot(service: ServerDependencies) -> Snapshot:
    try:
        return service.snapshot()
    except StoreError as error:
        # Nothing of the store is shown then: old numbers would look like new ones.
        log(_logger, WARN, "store_unreadable", f"/metrics shows nothing of the store: {error}")
        return Snapshot()


def _of_monitors(metrics: Iterable[Metric], monitors: frozenset[str] | None) -> Iterator[Metric]:
    """These metrics without the series of other monitors; those of the whole process have no such label, and stay."""
    shown = None if monitors is None else {None, *map(clean_label, monitors)}
    for metric in metrics:
        if shown is not None:
            # A copy: a collector may hand out its own object each time.
            kept = [sample for sample in metric.samples if sample.labels.get("monitor") in shown]
            metric = Metric(metric.name, metric.documentation, metric.type)
            metric.samples = kept
        yield metric


def _accepts_gzip(accept_encoding: str) -> bool:
    for coding in accept_encoding.lower().split(","):
        name, _, parameters = coding.strip().partition(";")
        if name == "gzip":
            return parameters.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
