"""The HTTP surface put together: routes, gate, TLS, server."""

from starlette.applications import Starlette
from starlette.types import ASGIApp

from drift_monitor.config.web import WebConfig
from drift_monitor.web.access import allowed_hosts, basic_auth, parse_address, tls_context
from drift_monitor.web.gate import Gate, Policy, origin_of
from drift_monitor.web.operational import operational_routes
from drift_monitor.web.protocol import Limits
from drift_monitor.web.server import WebServer
from drift_monitor.web.surface import Surface


def build_app(surface: Surface, policy: Policy) -> ASGIApp:
    """All routes behind the gate."""
    return Gate(Starlette(routes=[*operational_routes(surface), *surface.routes]), policy)


def build_policy(web_config: WebConfig, *, address: str, external_urls: tuple[str, ...] = ()) -> Policy:
    """The gate's policy for a listen address and the URLs under which users reach the service."""
    return Policy(
        hosts=allowed_hosts(parse_address(address), external_urls),
        users=basic_auth(web_config),
        origins=frozenset(map(origin_of, external_urls)),
        headers=web_config.headers,
    )


def build_server(
    surface: Surface,
    web_config: WebConfig,
    *,
    address: str,
    external_urls: tuple[str, ...] = (),
    limits: Limits | None = None,
) -> WebServer:
    """A server ready to start. Ask `access.bind_problem` first."""
    app = build_app(surface, build_policy(web_config, address=address, external_urls=external_urls))
    tls = None if web_config.tls is None else tls_context(web_config.tls)
    return WebServer(app, address, tls=tls, limits=limits)
