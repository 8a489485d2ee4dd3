"""The HTTP server in a thread of its own: uvicorn with deadlines and a cap that it does not have.

uvicorn waits for ever for the rest of a request. Here every phase has a deadline: the head, the body, and an answer the
client does not take. The number of connections is capped, and at the cap the oldest connection that is waiting for its
client gives way to the new one. A client that sends its request at once is therefore served although hundreds of
half-sent requests are open.

asyncio tells of a TLS connection only when its handshake is over. Here one is counted from the moment it is accepted:
the handshake is begun by us, on a connection that is known by then.
"""

import asyncio
import math
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count
from threading import Event, Thread
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from drift_monitor.config.web import WebConfig
from drift_monitor.errors import InputError, RequestRefusal
from drift_monitor.web.access import ListenAddress, parse_address, tls_context
from drift_monitor.web.middleware import MAX_HEAD_BYTES, Middleware

_BACKLOG = 512  # connections that wait to be accepted: a flood must not refuse the next scrape
_FORCE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class ProtocolLimits:
    """Seconds and connections."""

    head_seconds: float = 10.0
    body_seconds: float = 15.0
    answer_seconds: float = 60.0  # the client takes nothing of the answer for so long
    keep_alive_seconds: int = 5
    handshake_seconds: float = 10.0
    connections: int = 200


class _Phase(Enum):
    """What the connection waits for."""

    HEAD = 1
    BODY = 2
    NOTHING = 3  # the request is complete; it is our turn


_PHASES = {h11.IDLE: _Phase.HEAD, h11.SEND_BODY: _Phase.BODY}  # by the client's state


_numbers = count()  # of connections in the order of arrival: the oldest has the smallest


class GuardedProtocol(H11Protocol):
    """One connection."""

    def __init__(
        self,
        limits: ProtocolLimits,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self.number = next(_numbers)
        self._is_made = False
        self._early = b""
        self._phase = _Phase.HEAD
        self._request_deadline: asyncio.TimerHandle | None = None
        self._answer_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._request_deadline = self._after(self._limits.head_seconds)
        make_room(self.connections, self._limits.connections, newest=self)
        self._is_made = True
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._request_deadline)
        _cancel(self._answer_deadline)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_made:  # it came with the end of the handshake, before `connection_made`
            self._early += data
            return
        super().data_received(data)
        phase = _PHASES.get(self.conn.their_state, _Phase.NOTHING)
        if phase is self._phase and self._request_deadline is not None:
            return
        _cancel(self._request_deadline)
        self._phase, self._request_deadline = phase, None
        if phase is _Phase.HEAD:
            self._request_deadline = self._after(self._limits.head_seconds)
        elif phase is _Phase.BODY:
            self._request_deadline = self._after(self._limits.body_seconds)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answer_deadline = self._after(self._limits.answer_seconds)

    def resume_writing(self) -> None:
        _cancel(self._answer_deadline)
        super().resume_writing()

    def shutdown(self) -> None:
        if self.is_waiting():
            self.transport.close()
        else:
            super().shutdown()

    def is_waiting(self) -> bool:
        """Whether it is the client's turn."""
        if self._phase is not _Phase.NOTHING or self.transport.is_closing():
            return True
        return self.cycle.response_complete and self.transport.get_write_buffer_size() == 0

    def _after(self, seconds: float) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, self.transport.abort)


class Handshake(asyncio.Protocol):
    """A connection that is not known to be a client yet: it becomes one when its TLS handshake is over."""

    transport: asyncio.Transport

    def __init__(self, client: GuardedProtocol, tls: ssl.SSLContext, limits: ProtocolLimits) -> None:
        self.number = client.number
        self._client = client
        self._connections: set[Any] = client.connections
        self._tls = tls
        self._limits = limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._connections.add(self)
        make_room(self._connections, self._limits.connections, newest=self)
        self._task = asyncio.get_running_loop().create_task(self._shake_hands())

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)

    def is_waiting(self) -> bool:
        return True

    def shutdown(self) -> None:
        self.transport.abort()

    async def _shake_hands(self) -> None:
        seconds = self._limits.handshake_seconds
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self.transport, self._client, self._tls, server_side=True, ssl_handshake_timeout=seconds
            )
        except (OSError, TimeoutError):  # no client of ours, or one that we have shut out
            self.transport.abort()
            return
        finally:
            self._connections.discard(self)
        if transport is not None and not transport.is_closing():
            self._client.app_state["user"] = _common_name(transport)
            self._client.connection_made(transport)


def make_room(connections: set[Any], limit: int, *, newest: GuardedProtocol | Handshake) -> None:
    """Where there are too many connections, end the one that has been waiting for its client for longest."""
    if len(connections) > limit:
        waiting = [other for other in connections if other.is_waiting()]
        oldest = min(waiting, key=lambda other: other.number, default=newest)
        # Its end is only reported later; until then it must not be counted or chosen again.
        connections.discard(oldest)
        oldest.transport.abort()


def _common_name(transport: asyncio.Transport) -> str | None:
    """Who a client is by its verified certificate."""
    subject = (transport.get_extra_info("peercert") or {}).get("subject", ())
    return next((value for part in subject for name, value in part if name == "commonName"), None)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class WebServer:
    """Serves routes on one address, behind the middleware, until stopped. Ask `access.bind_problem` first.

    `external_urls` are the addresses under which users reach the service.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        web_config: WebConfig,
        *,
        address: str,
        external_urls: Sequence[str] = (),
        limits: ProtocolLimits | None = None,
        on_refused: Callable[[RequestRefusal], None] = lambda reason: None,
    ) -> None:
        limits = limits or ProtocolLimits()
        self._address = parse_address(address)
        self.web_config = web_config
        self._middleware = Middleware(Starlette(routes=routes), web_config, self._address, external_urls, on_refused)
        self._config = uvicorn.Config(
            self._middleware,
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
        tls = None if web_config.tls is None else tls_context(web_config.tls)
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

    def protect(self, web_config: WebConfig) -> None:
        """Users, headers and certificates from now on; raises InputError where that needs a restart."""
        if (web_config.tls is None) != (self.web_config.tls is None):
            raise InputError("tls_server_config was added or removed: a listener with TLS, or without, needs a restart")
        if web_config.tls is not None:
            self._server.tls = tls_context(web_config.tls)
        self._middleware.protect(web_config)
        self.web_config = web_config

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
        self.tls = tls
        self._limits = limits
        self.serving = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()

        def accept() -> asyncio.Protocol:
            client = GuardedProtocol(self._limits, self.config, self.server_state, {}, loop)
            return client if self.tls is None else Handshake(client, self.tls, self._limits)

        server = await loop.create_server(accept, sock=self.listening, backlog=_BACKLOG)
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
