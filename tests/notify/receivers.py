"""Receivers on real local sockets: one that answers as told and remembers, one that drips."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, kw_only=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A receiver with a scripted answer; where `judge` finds fault with a body, the answer is 400 and what it said."""

    port: int = 0
    status: int = 200
    answer: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    judge: Callable[[bytes], str | None] = lambda body: None
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def receiver(**script: object) -> Iterator[Receiver]:
    told = Receiver(**script)  # type: ignore[arg-type]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
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
