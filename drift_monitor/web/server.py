"""The HTTP server in a thread of its own: uvicorn with our protocol, bound before the thread starts.

What the HTTP surface needs from the rest of the service, as callables: no room of ours is imported to serve it.

The HTTP surface put together: routes, gate, TLS, server.
"""

import asyncio
import math
import socket
import ssl
from threading import Event, Thread

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from drift_monitor.config.web import WebConfig
from drift_monitor.web.access import ListenAddress, allowed_hosts, basic_auth, parse_address, tls_context
from drift_monitor.web.middleware import MAX_HEAD_BYTES, Middleware, Policy, origin_of
from drift_monitor.web.operational import ServerDependencies, operational_routes
from drift_monitor.web.protocol import GuardedProtocol, ProtocolLimits

_BACKLOG = 512
_FORCE_SECONDS = 2.0


class WebServer:
    """Serves one ASGI application on one address until stopped."""

    def __init__(
        self, app: ASGIApp, address: str, *, tls: ssl.SSLContext | None = None, limits: ProtocolLimits | None = None
    ) -> None:
        limits = limits or ProtocolLimits()
        self._address = parse_address(address)
        self._config = uvicorn.Config(
            app,
            loop="asyncio",
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.keep_alive_seconds,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        self._server = _Server(self._config, tls, limits)
        self._thread = Thread(target=self._server.run, name="web", daemon=True)

    def start(self) -> int:
        """Bind and serve; returns the port (the chosen one for port 0). OSError if the address can't be had."""
        self._server.listening = _listen(self._address)
        port: int = self._server.listening.getsockname()[1]
        self._thread.start()
        while not self._server.serving.wait(0.05):
            if not self._thread.is_alive():
                raise OSError(f"the HTTP server on port {port} did not start; see the log")
        return port

    @property
    def is_alive(self) -> bool:
        """Whether the thread serves."""
        return self._thread.is_alive()

    def stop(self, timeout: float = 5.0) -> bool:
        """Accept no more, finish running answers within `timeout` seconds; returns whether the thread has ended."""
        self._config.timeout_graceful_shutdown = max(1, math.ceil(timeout))
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(_FORCE_SECONDS)
        return not self._thread.is_alive()


class _Server(uvicorn.Server):
    """uvicorn's server on our socket, with our protocol and a deadline for TLS handshakes."""

    listening: socket.socket

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None, limits: ProtocolLimits) -> None:
        super().__init__(config)
        self._tls = tls
        self._limits = limits
        self.serving = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: GuardedProtocol(self._limits, self.config, self.server_state, {}, loop),
            sock=self.listening,
            ssl=self._tls,
            ssl_handshake_timeout=self._limits.handshake_seconds if self._tls else None,
            backlog=_BACKLOG,
        )
        self.servers = [server]
        self.started = True
        self.serving.set()


def try_address(address: str) -> None:
    """Bind it and let it go; OSError if it can't be had."""
    _listen(parse_address(address)).close()


def _listen(address: ListenAddress) -> socket.socket:
    if not address.host and socket.has_dualstack_ipv6():
        return socket.create_server(("", address.port), family=socket.AF_INET6, dualstack_ipv6=True)
    infos = socket.getaddrinfo(address.host or "0.0.0.0", address.port, type=socket.SOCK_STREAM)  # noqa: S104
    family, _, _, _, where = infos[0]
    return socket.create_server((str(where[0]), int(where[1])), family=family)


def build_app(surface: ServerDependencies, policy: Policy) -> ASGIApp:
    """All routes behind the gate."""
    return Middleware(Starlette(routes=[*operational_routes(surface), *surface.routes]), policy)


def build_policy(web_config: WebConfig, *, address: str, external_urls: tuple[str, ...] = ()) -> Policy:
    """The gate's policy for a listen address and the URLs under which users reach the service."""
    return Policy(
        hosts=allowed_hosts(parse_address(address), external_urls),
        users=basic_auth(web_config),
        origins=frozenset(map(origin_of, external_urls)),
        headers=web_config.headers,
    )


def build_server(
    surface: ServerDependencies,
    web_config: WebConfig,
    *,
    address: str,
    external_urls: tuple[str, ...] = (),
    limits: ProtocolLimits | None = None,
) -> WebServer:
    """A server ready to start. Ask `access.bind_problem` first."""
    app = build_app(surface, build_policy(web_config, address=address, external_urls=external_urls))
    tls = None if web_config.tls is None else tls_context(web_config.tls)
    return WebServer(app, address, tls=tls, limits=limits)
