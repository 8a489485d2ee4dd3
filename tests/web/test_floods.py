"""Clients that want too much: who belongs here is still answered, and everything stays bounded."""

import base64
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import bcrypt
import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from drift_monitor.config.web import WebConfig
from drift_monitor.errors import RequestRefusal
from drift_monitor.web.server import ProtocolLimits
from tests.web import http
from tests.web.serving import PATIENCE_SECONDS, Service, serving
from tests.web.test_server import client_context, half_open, tls_config, wait_until

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()  # as slow as people's own
USERS = WebConfig(basic_auth_users={"scraper": SecretStr(HASH)})
# Without protection an answer waits for the guesses before it, some ten seconds; the flood shares our machine.
ANSWER_SECONDS = 3.0


def slowest(ask: Callable[[], httpx.Response], times: int = 10) -> float:
    """The longest that one of these requests took; each has to be answered with 200."""
    longest = 0.0
    for _ in range(times):
        started = time.monotonic()
        assert ask().status_code == 200
        longest = max(longest, time.monotonic() - started)
    return longest


@contextmanager
def crowd(size: int, ask: Callable[[int], httpx.Response]) -> Iterator[Counter[int]]:
    """So many clients that ask in a closed loop; how often each status was the answer."""
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def go_on(number: int) -> None:
        while not over.is_set():
            try:
                statuses[ask(number).status_code] += 1
            except httpx.TransportError:
                statuses[0] += 1

    with ThreadPoolExecutor(size) as pool:
        for number in range(size):
            pool.submit(go_on, number)
        try:
            yield statuses
        finally:
            over.set()


def counted(service: Service, reason: RequestRefusal) -> float:
    value = service.telemetry.registry.get_sample_value("drift_http_requests_refused_total", {"reason": reason.value})
    assert value is not None
    return value


def test_a_flood_of_wrong_passwords_keeps_probes_and_known_credentials_quick() -> None:
    guesses = iter(range(10**9))

    def guess(number: int) -> httpx.Response:
        return http.get(f"{service.url}/metrics", auth=("scraper", f"wrong {next(guesses)}"))

    with serving(USERS) as service:
        assert http.get(f"{service.url}/metrics", auth=("scraper", "right")).status_code == 200
        with httpx.Client(timeout=PATIENCE_SECONDS) as client, crowd(60, guess) as statuses:
            wait_until(lambda: statuses[401] and statuses[429])
            for path in ("/-/healthy", "/-/ready"):
                assert slowest(lambda: client.get(f"{service.url}{path}")) < ANSWER_SECONDS  # noqa: B023
            assert slowest(lambda: client.get(f"{service.url}/metrics", auth=("scraper", "right"))) < ANSWER_SECONDS
        assert set(statuses) <= {401, 429, 0}
        assert counted(service, RequestRefusal.LOGIN_FLOOD) >= statuses[429] > 0
        assert counted(service, RequestRefusal.CREDENTIALS) >= statuses[401] > 0


def test_connections_that_never_finish_their_handshake_are_counted_and_give_way() -> None:
    limits = ProtocolLimits(connections=20, handshake_seconds=10 * PATIENCE_SECONDS)
    with serving(tls_config(), limits=limits) as service:
        url = f"https://127.0.0.1:{service.port}"
        with half_open(service, 300, b"\x16\x03\x01"):
            with httpx.Client(verify=client_context(), timeout=PATIENCE_SECONDS) as client:
                assert slowest(lambda: client.get(f"{url}/-/healthy")) < ANSWER_SECONDS
                assert slowest(lambda: client.get(f"{url}/metrics")) < ANSWER_SECONDS
            assert service.server is not None
            assert len(service.server._server.server_state.connections) <= limits.connections


def test_what_is_too_much_gets_503_and_probes_and_scrapes_are_answered() -> None:
    release = threading.Event()

    def slow(request: Request) -> PlainTextResponse:
        release.wait(PATIENCE_SECONDS)
        return PlainTextResponse("done")

    def ask(number: int) -> httpx.Response:
        return http.get(f"{service.url}/slow")

    with serving(routes=(Route("/slow", slow),)) as service:
        with crowd(40, ask) as statuses:
            wait_until(lambda: statuses[503] > 100)
            assert slowest(lambda: http.get(f"{service.url}/-/healthy")) < ANSWER_SECONDS
            assert slowest(lambda: http.get(f"{service.url}/metrics")) < ANSWER_SECONDS
            refused = next(answer for _ in range(1000) if (answer := ask(0)).status_code == 503)
            assert int(refused.headers["retry-after"]) > 0
            release.set()
        assert statuses[200]
        assert set(statuses) <= {200, 503}
        assert counted(service, RequestRefusal.OVERLOAD) >= statuses[503]


def test_who_takes_an_answer_slowly_keeps_no_place() -> None:
    large = Route("/large", lambda request: PlainTextResponse("x" * 8_000_000))
    asked = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(routes=(large,)) as service, half_open(service, 30, asked):
        wait_until(lambda: http.get(f"{service.url}/large").status_code == 200)
        assert slowest(lambda: http.get(f"{service.url}/large"), 3) < PATIENCE_SECONDS


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", "\u0661"])
def test_a_length_that_is_none_is_refused_before_it_is_read(length: str) -> None:
    with serving() as service:
        sent = f"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        answer = service.raw(sent.encode("utf-8"))
        assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_failed_logins_are_one_line_each_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with serving(USERS) as service:
        http.get(f"{service.url}/")  # a browser asks without credentials first
        header = base64.b64encode(b"scraper:wrong").decode()
        http.get(f"{service.url}/", headers={"Authorization": f"Basic {header}"})
    assert [record.drift_event for record in caplog.records if hasattr(record, "drift_event")] == ["login_failed"]
