"""Deadlines and a cap that uvicorn does not have: a client that dawdles can't keep others out.

uvicorn waits for ever for the rest of a request. Here every phase has a deadline: the head, the body, and an answer the
client does not take. The number of connections is capped, and at the cap the oldest connection that is waiting for its
client gives way to the new one. A client that sends its request at once is therefore served although hundreds of
half-sent requests are open.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


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


class GuardedProtocol(H11Protocol):
    """One connection."""

    _numbers = count()

    def __init__(
        self,
        limits: ProtocolLimits,
        config: Config,
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
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._request_deadline)
        _cancel(self._answer_deadline)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        phase = _phase_of(self.conn)
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

    def _make_room(self) -> None:
        waiting = [each for each in self.connections if isinstance(each, GuardedProtocol) and each._is_waiting()]
        oldest = min(waiting, key=lambda each: each._number, default=self)
        # Its end is only reported later; until then it must not be counted or chosen again.
        self.connections.discard(oldest)
        oldest.transport.abort()

    def _after(self, seconds: float) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, self.transport.abort)


def _phase_of(connection: h11.Connection) -> _Phase:
    if connection.their_state is h11.IDLE:
        return _Phase.HEAD
    return _Phase.BODY if connection.their_state is h11.SEND_BODY else _Phase.NOTHING


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
