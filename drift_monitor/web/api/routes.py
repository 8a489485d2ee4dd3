"""The routes of the API, all below `/api`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount, Route

from drift_monitor.web.api import alerts, episodes, notifications, silences
from drift_monitor.web.api.answering import Handler, endpoint, failed
from drift_monitor.web.readable import Readable

RESOURCES: Final[Mapping[str, Mapping[str, Handler]]] = {
    "/v1/alerts": {"GET": alerts.list_alerts},
    "/v1/episodes": {"GET": episodes.list_episodes},
    "/v1/episodes/{id}": {"GET": episodes.show_episode},
    "/v1/episodes/{id}/acknowledge": {"POST": episodes.acknowledge, "DELETE": episodes.withdraw},
    "/v1/notifications": {"GET": notifications.list_notifications},
    "/v1/silences": {"GET": silences.list_silences, "POST": silences.create_silence},
    "/v1/silences/{id}": {"GET": silences.show_silence, "DELETE": silences.end_silence},
}


def api_routes(services: Callable[[], Readable], *, may_change: bool) -> Sequence[BaseRoute]:
    """All of them; `services` raises StoreUnavailable while the service is starting.

    `may_change`: clients prove who they are, or the operator has said that anybody may change things.
    """
    routes = [
        Route(path, endpoint(services, handlers, may_change=may_change), methods=list(handlers))
        for path, handlers in RESOURCES.items()
    ]
    api = Starlette(routes=routes, exception_handlers={HTTPException: failed, Exception: failed})
    api.router.redirect_slashes = False  # a POST that is sent elsewhere may arrive without its body
    return [Mount("/api", app=api)]
