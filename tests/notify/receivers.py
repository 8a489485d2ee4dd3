"""Receivers on real local sockets: one that answers as told and remembers, one that drips, one that refuses."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE_SECONDS = 120.0  # on a busy machine


@dataclass(frozen=True, kw_only=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


class Clients:
    """Whose connections a server has taken, and whom of them it still serves."""

    def __init__(self) -> None:
        self._taken: set[Any] = set()
        self._served: set[Any] = set()
        self._changed = threading.Condition()

    def come(self, client: Any) -> None:
        with self._changed:
            self._taken.add(client)
            self._served.add(client)
            self._changed.notify_all()

    def go(self, client: Any) -> None:
        with self._changed:
            self._served.discard(client)
            self._changed.notify_all()

    def wait_for_those_before(self, client: Any) -> None:
        """Until this client was taken and nobody else is served."""
        with self._changed:
            alone = self._changed.wait_for(
                lambda: client in self._taken and self._served <= {client}, timeout=PATIENCE_SECONDS
            )
        assert alone, f"somebody stays connected: {self._served}"


@dataclass
class Receiver:
    """A receiver with a scripted answer; where `judge` finds fault with a body, the answer is 400 and what it said.

    What did not come whole was not received: a sender that dies in the middle of a request has sent nothing.
    """

    port: int = 0
    status: int = 200
    answer: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    judge: Callable[[bytes], str | None] = lambda body: None
    received: list[Received] = field(default_factory=list)
    clients: Clients = field(default_factory=Clients)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def wait_for_the_dead(self) -> None:
        """Wait until all that was sent by senders that have ended is received, or found not to be whole."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS) as last:
            self.clients.wait_for_those_before(last.getsockname())  # connections are taken in their order


class _Server(ThreadingHTTPServer):
    """Tells who is connected, and nothing of clients that went away in the middle."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], clients: Clients) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._clients = clients

    def process_request(self, request: Any, client_address: Any) -> None:
        self._clients.come(client_address)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._clients.go(client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def receiver(**script: object) -> Iterator[Receiver]:
    told = Receiver(**script)  # type: ignore[arg-type]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.received.append(Received(path=self.path, headers=headers, body=body))
            refusal = told.judge(body)
            answer = told.answer if refusal is None else refusal.encode()
            self.send_response(told.status if refusal is None else 400)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(Handler, told.clients)
    if told.tls is not None:
        server.socket = told.tls.wrap_socket(server.socket, server_side=True)
    told.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def raw_server(first: bytes, drip: bytes, pause: float, *, greets: bool = False) -> Iterator[int]:
    """Takes one connection, writes `first`, then `drip` every `pause` seconds; yields the port.

    One that `greets` does not wait for the client to say something.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            try:
                if not greets:
                    connection.recv(65536)
                connection.sendall(first)
                while not stop.wait(pause):
                    connection.sendall(drip)
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stop.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@contextmanager
def refusing() -> Iterator[int]:
    """A port at which every connection is refused: it is taken, and nobody listens there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
