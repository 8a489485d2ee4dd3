"""The pages for people, drawn on the server: everything is there without JavaScript and without any other host.

    /                                          what fires, how the monitors are
    /monitors/{monitor}                        its features over time, its evaluations and episodes
    /monitors/{monitor}/features/{feature}     bins, history and alerts of one feature
    /runbooks                                  what to do about each alert
    /static/{name}                             the style sheet and the icon, under names with their hash

Names of features are data and may hold slashes: addresses are split before they are unquoted.
"""

import logging
from collections.abc import Callable, Sequence
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from drift_monitor.clock import Clock
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.errors import InputError, StoreError
from drift_monitor.queries.status import Readable
from drift_monitor.telemetry.logs import WARN, log_failure
from drift_monitor.web.pages.assets import asset_routes
from drift_monitor.web.pages.feature import show_feature
from drift_monitor.web.pages.monitor import show_monitor
from drift_monitor.web.pages.overview import show_overview
from drift_monitor.web.pages.rendering import raw_path, render
from drift_monitor.web.pages.runbooks import show_runbooks

_logger = logging.getLogger(__name__)
_RETRY_SECONDS = 5


class _AnyText(Convertor[str]):
    """Also line feeds, which starlette's `path` stops at: a column's name may hold them."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_text", _AnyText())


def page_routes(services: Callable[[], Readable], clock: Clock) -> Sequence[BaseRoute]:
    """The routes of the pages; `services` raises StoreUnavailable while the service is starting."""

    def endpoint(show: Callable[[Request, Readable], Response]) -> Callable[[Request], Response]:
        # A plain function: it runs in a thread, so a slow page does not hold up the health routes.
        def page(request: Request) -> Response:
            try:
                return show(request, services())
            except StoreError as error:
                log_failure(_logger, WARN, "page_unavailable", "A page could not be shown.", error)
                return _unavailable(request, clock, error)
            except InputError as error:
                return _refused(request, clock, str(error))

        return page

    return [
        Route("/", endpoint(show_overview), methods=["GET"]),
        Route("/runbooks", endpoint(show_runbooks), methods=["GET"]),
        Route("/monitors/{rest:any_text}", endpoint(_show_below_monitors), methods=["GET"]),
        *asset_routes(),
    ]


def _show_below_monitors(request: Request, services: Readable) -> Response:
    match [unquote(part) for part in raw_path(request).strip("/").split("/")]:
        case ["monitors", name]:
            monitor = _find(services, name)
            if monitor is not None:
                return show_monitor(request, services, monitor)
            return _missing(request, services.clock, f"No monitor is called {name}.")
        case ["monitors", name, "features", feature]:
            monitor = _find(services, name)
            if monitor is None:
                return _missing(request, services.clock, f"No monitor is called {name}.")
            page = show_feature(request, services, monitor, feature)
            if page is not None:
                return page
            return _missing(request, services.clock, f"Monitor {name} has no feature {feature}, or not in that window.")
        case _:
            return _missing(request, services.clock, "There is no such page.")


def _find(services: Readable, name: str) -> MonitorConfig | None:
    return next((one for one in services.config.monitors if one.name == name), None)


def _missing(request: Request, clock: Clock, message: str) -> Response:
    hint = "It may have been renamed or removed from the configuration."
    return render(request, "error.html", at=clock.now(), status=404, title="Not found", message=message, hint=hint)


def _refused(request: Request, clock: Clock, message: str) -> Response:
    hint = "Follow a link of the overview instead."
    return render(
        request,
        "error.html",
        at=clock.now(),
        status=400,
        title="This address can't be read",
        message=message,
        hint=hint,
    )


def _unavailable(request: Request, clock: Clock, error: StoreError) -> Response:
    page = render(
        request,
        "error.html",
        at=clock.now(),
        status=503,
        title="The store can't be read",
        message=f"{error}.",
        hint="Alerts and measurements are kept in the store; nothing is lost. Try again in a few seconds.",
    )
    page.headers["Retry-After"] = str(_RETRY_SECONDS)
    return page
