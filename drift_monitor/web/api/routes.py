"""The routes of the API, all below `/api`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount, Route

from drift_monitor.queries.status import Readable
from drift_monitor.web.api import lists, silences
from drift_monitor.web.api.answering import Handler, endpoint, failed

RESOURCES: Final[Mapping[str, Mapping[str, Handler]]] = {
    "/v1/alerts": {"GET": lists.list_alerts},
    "/v1/episodes": {"GET": lists.list_episodes},
    "/v1/episodes/{id}": {"GET": lists.show_episode},
    "/v1/episodes/{id}/acknowledge": {"POST": lists.acknowledge, "DELETE": lists.withdraw},
    "/v1/notifications": {"GET": lists.list_notifications},
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
