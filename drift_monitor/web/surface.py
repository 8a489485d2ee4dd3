"""What the HTTP surface needs from the rest of the service, as callables: no room of ours is imported to serve it."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.routing import BaseRoute

from drift_monitor.clock import Clock
from drift_monitor.telemetry.metrics import Telemetry
from drift_monitor.web.metrics.exposition import DEFAULT_MAX_SERIES
from drift_monitor.web.metrics.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Surface:
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
