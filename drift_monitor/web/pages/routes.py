"""The pages for people, drawn on the server: everything is there without JavaScript and without any other host.

    /                                          what fires, how the monitors are
    /monitors/{monitor}                        its features over time, a page at a time; its evaluations and episodes
    /monitors/{monitor}/features/{feature}     bins, history and alerts of one feature
    /runbooks                                  what to do about each alert
    /static/{name}                             the style sheet and the icon, under names with their hash

Names of features are data and may hold slashes: addresses are split before they are unquoted.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote

from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from drift_monitor.clock import Clock
from drift_monitor.errors import InputError, StoreError
from drift_monitor.queries.status import Readable
from drift_monitor.telemetry.logs import WARN, log
from drift_monitor.web.pages.feature import show_feature
from drift_monitor.web.pages.monitor import show_monitor
from drift_monitor.web.pages.overview import show_overview
from drift_monitor.web.pages.rendering import raw_path, render, static_file
from drift_monitor.web.pages.runbooks import show_runbooks

_logger = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 5  # a store that restarts is back by then
_TITLES: Final = {400: "This address can't be read", 404: "Not found", 503: "The store can't be read"}


class _AnyText(PathConvertor):
    """Also line feeds, which starlette's `path` stops at: a column's name may hold them."""

    regex = r"[\s\S]*"


register_url_convertor("any_text", _AnyText())


def page_routes(services: Callable[[], Readable], clock: Clock) -> Sequence[BaseRoute]:
    """The routes of the pages; `services` raises StoreUnavailable while the service is starting."""

    def endpoint(show: Callable[[Request, Readable], Response]) -> Callable[[Request], Response]:
        # A plain function: it runs in a thread, so a slow page does not hold up the health routes.
        def page(request: Request) -> Response:
            try:
                known = services()
                request.state.store_problem = known.store.problem
                return show(request, known)
            except StoreError as error:
                log(_logger, WARN, "page_unavailable", f"A page could not be shown: {error}")
                hint = "Alerts and measurements are kept in the store; nothing is lost. Try again in a few seconds."
                refusal = _refusal(request, clock, 503, f"{error}.", hint)
                refusal.headers["Retry-After"] = str(_RETRY_SECONDS)
                return refusal
            except InputError as error:
                return _refusal(request, clock, 400, str(error), "Follow a link of the overview instead.")

        return page

    return [
        Route("/", endpoint(show_overview), methods=["GET"]),
        Route("/runbooks", endpoint(show_runbooks), methods=["GET"]),
        Route("/monitors/{rest:any_text}", endpoint(_show_below_monitors), methods=["GET"]),
        Route("/static/{name}", static_file, methods=["GET"]),
    ]


def _show_below_monitors(request: Request, services: Readable) -> Response:
    page, missing = None, "There is no such page."
    match [unquote(part) for part in raw_path(request).strip("/").split("/")]:
        case ["monitors", name, *rest] if not rest or (len(rest) == 2 and rest[0] == "features"):
            monitor = next((monitor for monitor in services.config.monitors if monitor.name == name), None)
            if monitor is None:
                missing = f"No monitor is called {name}."
            elif not rest:
                page = show_monitor(request, services, monitor)
            else:
                page = show_feature(request, services, monitor, rest[1])
                missing = f"Monitor {name} has no feature {rest[1]}, or not in that window."
    if page is not None:
        return page
    hint = "It may have been renamed or removed from the configuration."
    return _refusal(request, services.clock, 404, missing, hint)


def _refusal(request: Request, clock: Clock, status: int, message: str, hint: str) -> Response:
    values = {"title": _TITLES[status], "message": message, "hint": hint}
    return render(request, "error.html", at=clock.now(), status=status, **values)
