"""The HTTP server in a thread of its own: uvicorn with deadlines and a cap that it does not have.

uvicorn waits for ever for the rest of a request. Here every phase has a deadline: the head, the body, and an answer the
client does not take. The number of connections is capped, and at the cap the oldest connection that is waiting for its
client gives way to the new one. A client that sends its request at once is therefore served although hundreds of
half-sent requests are open.
"""

import asyncio
import math
import socket
import ssl
from collections.abc import Sequence
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


class GuardedProtocol(H11Protocol):
    """One connection."""

    _numbers = count()  # in the order of arrival: the oldest has the smallest

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
        self._number = next(self._numbers)
        self._phase = _Phase.HEAD
        self._request_deadline: asyncio.TimerHandle | None = None
        self._answer_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._request_deadline = self._after(self._limits.head_seconds)
        if len(self.connections) > self._limits.connections:
            waiting = [
                other for other in self.connections if isinstance(other, GuardedProtocol) and other._is_waiting()
            ]
            oldest = min(waiting, key=lambda other: other._number, default=self)
            # Its end is only reported later; until then it must not be counted or chosen again.
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._request_deadline)
        _cancel(self._answer_deadline)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
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
        if self._is_waiting():
            self.transport.close()
        else:
            super().shutdown()

    def _is_waiting(self) -> bool:
        if self._phase is not _Phase.NOTHING or self.transport.is_closing():
            return True
        return self.cycle.response_complete and self.transport.get_write_buffer_size() == 0

    def _after(self, seconds: float) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, self.transport.abort)


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
    ) -> None:
        limits = limits or ProtocolLimits()
        self._address = parse_address(address)
        self._config = uvicorn.Config(
            Middleware(Starlette(routes=routes), web_config, self._address, external_urls),
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
