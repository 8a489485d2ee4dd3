"""The server against clients that dawdle, over raw sockets.

Deadlines that are to pass are short, all others are so long that no pause of a busy machine comes near them.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from drift_monitor.config.web import ClientAuth, TlsConfig, TlsVersion, WebConfig
from drift_monitor.web.server import ProtocolLimits, WebServer
from tests.web import http
from tests.web.serving import PATIENCE_SECONDS, Service, serving

CERTIFICATES = Path(__file__).parents[1] / "certificates"
NEVER = 10 * PATIENCE_SECONDS  # a deadline that is none


@contextmanager
def half_open(service: Service, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS)
            )
            connection.sendall(sent)
            connections.append(connection)
        yield connections


def is_closed(connection: socket.socket, seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether the server ends the connection within that time."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize("connections", [200, 100])
def test_normal_requests_are_answered_beside_300_half_sent_ones(connections: int) -> None:
    limits = ProtocolLimits(connections=connections, head_seconds=NEVER)
    with serving(limits=limits) as service, half_open(service, 300, b"GET /metrics HTTP/1.1\r\nHost: loc"):
        for _ in range(40):
            assert http.get(f"{service.url}/metrics").status_code == 200


def test_cap_holds_whatever_is_open() -> None:
    limits = ProtocolLimits(connections=10, head_seconds=NEVER)
    with serving(limits=limits) as service, half_open(service, 30, b"GET ") as connections:
        assert http.get(f"{service.url}/-/healthy").status_code == 200
        # The oldest 21 gave way to the 20 that came after them and to the request.
        assert all(is_closed(connection) for connection in connections[:21])
        assert not is_closed(connections[-1], 0.2)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-A: ",
        b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc",
        b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\nGET /met",
    ],
    ids=["nothing", "half a head", "half a body", "half a second request"],
)
def test_dripping_client_is_cut_at_the_deadline_of_its_phase(sent: bytes) -> None:
    limits = ProtocolLimits(head_seconds=0.4, body_seconds=0.4, keep_alive_seconds=1)
    started = time.monotonic()
    with serving(limits=limits) as service, half_open(service, 1, sent) as (connection,):
        stop = threading.Event()

        def drip() -> None:
            try:
                while not stop.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                return

        thread = threading.Thread(target=drip)
        thread.start()
        closed = is_closed(connection)
        took = time.monotonic() - started
        stop.set()
        thread.join()
    assert closed
    assert took > 0.3


def test_slow_but_complete_requests_on_one_connection_are_served() -> None:
    with serving(limits=ProtocolLimits(head_seconds=NEVER)) as service, half_open(service, 1, b"") as (connection,):
        for _ in range(3):
            connection.sendall(b"GET /-/healthy HTTP/1.1\r\n")
            connection.sendall(b"Host: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"Healthy.\n"):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_client_that_does_not_read_its_answer_is_cut() -> None:
    asked = threading.Event()

    def large(request: Request) -> PlainTextResponse:
        asked.set()
        return PlainTextResponse("x" * 50_000_000)

    limits = ProtocolLimits(answer_seconds=0.4)
    request = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        serving(limits=limits, routes=(Route("/large", large),)) as service,
        half_open(service, 1, request),
    ):
        assert asked.wait(PATIENCE_SECONDS)
        wait_until(lambda: not open_connections(service))


def open_connections(service: Service) -> int:
    assert service.server is not None
    return len(service.server._server.server_state.connections)


def wait_until(claim: object, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not claim():  # type: ignore[operator]
        assert time.monotonic() < deadline, "did not come true"
        threading.Event().wait(0.01)


def test_stop_lets_a_running_answer_finish() -> None:
    entered, release = threading.Event(), threading.Event()
    answers: list[str] = []

    def slow(request: Request) -> PlainTextResponse:
        entered.set()
        release.wait(PATIENCE_SECONDS)
        return PlainTextResponse("done")

    with serving(routes=(Route("/slow", slow),)) as service:
        asking = threading.Thread(target=lambda: answers.append(http.get(f"{service.url}/slow").text))
        asking.start()
        assert entered.wait(PATIENCE_SECONDS)
        assert service.server is not None
        stopping = threading.Thread(target=service.server.stop, args=(PATIENCE_SECONDS,))
        stopping.start()
        release.set()
        asking.join()
        stopping.join()
    assert answers == ["done"]


def test_stop_does_not_wait_for_idle_and_half_open_connections() -> None:
    with serving(limits=ProtocolLimits(head_seconds=NEVER)) as service, half_open(service, 20, b"GET "):
        assert service.server is not None
        started = time.monotonic()
        assert service.server.stop(PATIENCE_SECONDS)
        assert time.monotonic() - started < PATIENCE_SECONDS / 2
        assert not service.server.is_alive


def test_taken_port_is_an_error_of_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = WebServer([], WebConfig(), address=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OSError, match="in use"):
            server.start()


def tls_config(client_auth: ClientAuth = ClientAuth.NONE) -> WebConfig:
    return WebConfig(
        tls_server_config=TlsConfig(
            cert_file=CERTIFICATES / "server.pem",
            key_file=CERTIFICATES / "server.key",
            client_ca_file=None if client_auth is ClientAuth.NONE else CERTIFICATES / "ca.pem",
            client_auth_type=client_auth,
        )
    )


def client_context(*, with_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=CERTIFICATES / "ca.pem")
    if with_certificate:
        context.load_cert_chain(CERTIFICATES / "client.pem", CERTIFICATES / "client.key")
    return context


def test_tls_is_spoken_and_silent_connections_do_not_block_it() -> None:
    with serving(tls_config(), limits=ProtocolLimits(handshake_seconds=NEVER)) as service, half_open(service, 50, b""):
        answer = http.get(f"https://localhost:{service.port}/metrics", verify=client_context())
        assert answer.status_code == 200


def test_silent_connections_are_cut_at_the_deadline_of_the_handshake() -> None:
    with (
        serving(tls_config(), limits=ProtocolLimits(handshake_seconds=0.4)) as service,
        half_open(service, 2, b"") as silent,
    ):
        assert all(is_closed(connection) for connection in silent)


def test_tls_older_than_the_minimum_is_refused() -> None:
    strict = tls_config()
    assert strict.tls is not None
    strict = WebConfig(tls_server_config=strict.tls.model_copy(update={"min_version": TlsVersion.TLS13}))
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(strict) as service:
        url = f"https://localhost:{service.port}/metrics"
        with pytest.raises(httpx.ConnectError):
            http.get(url, verify=context)
        assert http.get(url, verify=client_context()).status_code == 200


def test_required_client_certificate_is_required() -> None:
    with serving(tls_config(ClientAuth.REQUIRE_AND_VERIFY)) as service:
        url = f"https://localhost:{service.port}/metrics"
        with pytest.raises(httpx.TransportError):
            http.get(url, verify=client_context())
        assert http.get(url, verify=client_context(with_certificate=True)).status_code == 200
