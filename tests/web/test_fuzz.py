"""Whatever a client sends to whatever address: an answer that says what is wrong, never an error of ours.

The requests pass everything that those over a socket pass, from the size of the head to the store.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from drift_monitor.config.web import WebConfig
from drift_monitor.telemetry.metrics import Telemetry
from drift_monitor.web.access import parse_address
from drift_monitor.web.api.resources import RESOURCES
from drift_monitor.web.api.routes import api_routes
from drift_monitor.web.metrics.exposition import DEFAULT_MAX_SERIES
from drift_monitor.web.metrics.routes import ServerDependencies, operational_routes
from drift_monitor.web.metrics.snapshot import read_snapshot
from drift_monitor.web.middleware import Middleware
from drift_monitor.web.pages.routes import page_routes
from tests.web import hostile
from tests.web.store_of_alerts import drifting

FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RESOURCE_PATHS = [f"/api{path}" for path in RESOURCES]
PAGES = ("/", "/runbooks", "/metrics", "/-/ready", "/-/reload", "/static/page.css", "/monitors/loans")
FEATURE = "/monitors/loans/features/age"
NAMES = (
    *("limit", "cursor", "monitor", "feature", "state", "from", "to", "receiver", "monitor[]"),
    *("search", "page", "days", "units", "window_end"),
)
FIELDS = ("matchers", "starts_at", "ends_at", "duration", "author", "comment", "x")
TIMES = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-20T12:00:00Z", "2026-02-30T00:00:00Z")
VALUES = (
    *hostile.NAMES,
    *TIMES,
    *("", "0", "-1", "1e999", "9" * 400, "NaN", "true", "open", "bits", "1h", "\0", "\ud800", "=~(", "a=~(a*)*b"),
    *("monitor=loans", 'a="' + " " * 3000, "99999999999999999999d", "W10", "WyIyMDI2IiwgMV0", "bnVsbA", "WzFlNDAwXQ"),
)
words = st.one_of(st.sampled_from(VALUES), st.text(max_size=60))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(FIELDS) | words, inner)),
    max_leaves=8,
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=7).map(lambda fields: json.dumps(fields).encode()),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b'{"author":"a","author":"b"}', b"\xff"]),
)


def paths() -> st.SearchStrategy[str]:
    """Every address, its parts filled with whatever; and addresses that there are none of."""
    fixed = st.sampled_from([*PAGES, FEATURE, *RESOURCE_PATHS])
    filled = st.tuples(fixed, words).map(lambda both: both[0].replace("{id}", escaped(both[1])))
    below = st.tuples(fixed, words).map(lambda both: f"{both[0]}/{escaped(both[1])}")
    features = words.map(lambda name: f"/monitors/loans/features/{escaped(name)}")
    return st.one_of(filled, below, features)


def escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


class Client:
    """One service over a filled store, asked without a socket."""

    def __init__(self, folder: Path) -> None:
        self.services = drifting(folder)
        service = ServerDependencies(
            telemetry=Telemetry(process_metrics=False),
            clock=self.services.clock,
            healthy=lambda: True,
            ready=lambda: True,
            snapshot=lambda: read_snapshot(self.services),
            max_series=DEFAULT_MAX_SERIES,
        )
        routes = [
            *operational_routes(service),
            *page_routes(lambda: self.services, self.services.clock),
            *api_routes(lambda: self.services, may_change=lambda: True),
        ]
        app = Middleware(Starlette(routes=routes), WebConfig(), parse_address("127.0.0.1:1"), (), lambda reason: None)
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def ask(self, method: str, target: str, headers: dict[str, Any], body: bytes) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
                return await client.request(method, target, headers=headers, content=body)

        return asyncio.run(send())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(tmp_path_factory.mktemp("fuzz"))
    yield client
    client.services.store.close()


def check(answer: httpx.Response) -> None:
    assert answer.status_code < 500, (answer.request.url, answer.text)
    assert "Traceback" not in answer.text
    if answer.status_code >= 400 and answer.request.url.path.startswith("/api/") and answer.request.method != "HEAD":
        assert answer.json()["error"]


@given(
    path=paths(),
    query=st.lists(st.tuples(st.sampled_from(NAMES) | words, words), max_size=3),
    method=st.sampled_from(["GET", "GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"]),
    body=bodies,
)
@FEW
def test_no_request_is_answered_with_an_error_of_ours(
    client: Client, path: str, query: list[tuple[str, str]], method: str, body: bytes
) -> None:
    asked = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in query)
    headers = {"Content-Type": "application/json"}
    check(client.ask(method, f"{path}?{asked}" if asked else path, headers, b"" if method == "GET" else body))


@given(name=st.sampled_from(NAMES), value=words, path=st.sampled_from([*PAGES, FEATURE, *RESOURCE_PATHS]))
@example(name="from", value=TIMES[0], path="/api/v1/episodes")
@example(name="to", value=TIMES[1], path="/api/v1/episodes")
@example(name="window_end", value=TIMES[0], path=FEATURE)
@example(name="window_end", value=TIMES[1], path=FEATURE)
@FEW
def test_no_value_of_a_parameter_is_answered_with_an_error_of_ours(
    client: Client, name: str, value: str, path: str
) -> None:
    check(client.ask("GET", f"{path.replace('{id}', 'x')}?{name}={escaped(value)}", {}, b""))


@given(fields=st.dictionaries(st.sampled_from(FIELDS), anything, max_size=7))
@example(fields={"matchers": ["monitor=loans"], "starts_at": TIMES[0], "duration": "1h", "author": "a", "comment": "b"})
@example(fields={"matchers": ["monitor=loans"], "ends_at": TIMES[1], "author": "a", "comment": "b"})
@example(fields={"matchers": ["monitor=loans"], "duration": "999999999d", "author": "a", "comment": "b"})
@FEW
def test_no_silence_that_is_asked_for_is_answered_with_an_error_of_ours(client: Client, fields: dict[str, Any]) -> None:
    check(client.ask("POST", "/api/v1/silences", {"Content-Type": "application/json"}, json.dumps(fields).encode()))


HEADERS = ("Host", "Authorization", "Accept", "Accept-Encoding", "Content-Type", "Content-Length", "Origin", "X-A")


@given(
    headers=st.dictionaries(st.sampled_from(HEADERS), st.binary(max_size=40), max_size=4),
    method=st.sampled_from(["GET", "POST"]),
)
@FEW
def test_no_header_is_answered_with_an_error_of_ours(client: Client, headers: dict[str, bytes], method: str) -> None:
    check(client.ask(method, "/metrics", {"Host": b"localhost", **headers}, b""))


@pytest.mark.parametrize("piece", [" ", "a", "%", "(", "[", "é", "\0", "=", ",", "1"])
@pytest.mark.parametrize("target", ["/api/v1/episodes?cursor={}", "/monitors/loans?search={}", "/{}", "/monitors/{}"])
def test_eight_times_the_length_costs_at_most_sixteen_times_the_work(client: Client, target: str, piece: str) -> None:
    def cost(length: int) -> float:
        tries = []
        for _ in range(3):
            started = time.process_time()
            check(client.ask("GET", target.format(escaped(piece) * length), {}, b""))
            tries.append(time.process_time() - started)
        return min(tries)

    assert cost(4000) < 16 * cost(500) + 0.05
