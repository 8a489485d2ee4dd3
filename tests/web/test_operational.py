"""The routes machines use, over real sockets."""

import gzip
import threading

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from drift_monitor.errors import ConfigError, Problem, StoreUnavailable
from drift_monitor.web.metrics.snapshot import Snapshot
from tests.web import http
from tests.web.promtool import check_metrics
from tests.web.serving import PATIENCE_SECONDS, serving


def test_scrape_holds_results_and_process_metrics_and_is_clean() -> None:
    with serving() as service:
        service.telemetry.declare(
            monitors=["credit_inputs", "payments"], receivers=[("hook", "webhook")], sources=["warehouse"]
        )
        answer = http.get(f"{service.url}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"drift_kl_divergence_nats", "drift_monitor_runs", "drift_build_info", "drift_exposition_series"} <= names
    assert check_metrics(answer.content) == ""


def test_openmetrics_is_spoken_to_those_who_ask() -> None:
    with serving() as service:
        answer = http.get(f"{service.url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert any(family.name == "drift_kl_divergence_nats" for family in parse_openmetrics(answer.text))


def test_gzip_is_used_only_where_it_is_accepted() -> None:
    with serving() as service, httpx.Client(timeout=PATIENCE_SECONDS) as client:
        plain = client.get(f"{service.url}/metrics", headers={"Accept-Encoding": "identity"})
        refused = client.get(f"{service.url}/metrics", headers={"Accept-Encoding": "gzip;q=0"})
        packed = client.get(f"{service.url}/metrics", headers={"Accept-Encoding": "br, gzip"})
        with client.stream("GET", f"{service.url}/metrics", headers={"Accept-Encoding": "gzip"}) as stream:
            raw = b"".join(stream.iter_raw())
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in refused.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert b"drift_kl_divergence_nats" in gzip.decompress(raw)


def test_filter_holds_for_results_and_process_metrics() -> None:
    with serving() as service:
        service.telemetry.declare(monitors=["credit_inputs", "payments"], receivers=[], sources=[])
        text = http.get(f"{service.url}/metrics?monitor[]=payments").text
    assert 'drift_monitor_runs_total{monitor="payments"}' in text
    assert 'drift_monitor_info{monitor="payments"' in text
    assert "credit_inputs" not in text
    assert "drift_build_info" in text


def test_an_unreadable_store_leaves_the_metrics_of_the_process() -> None:
    answers: list[Snapshot | Exception] = [StoreUnavailable("connection refused"), Snapshot()]

    def snapshot() -> Snapshot:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with serving(snapshot=snapshot) as service:
        service.telemetry.store_up(up=False)  # as the probe of the store says, whoever reads
        down = http.get(f"{service.url}/metrics")
        up = http.get(f"{service.url}/metrics")
    assert down.status_code == 200
    assert "drift_store_up 0.0" in down.text
    assert "drift_kl_divergence_nats" not in down.text
    assert "drift_store_up 0.0" in up.text
    assert "drift_build_info" in down.text


def test_budget_is_applied_and_what_it_drops_is_counted() -> None:
    with serving(max_series=40) as service:
        text = http.get(f"{service.url}/metrics").text
        again = http.get(f"{service.url}/metrics").text

    def number(page: str, name: str) -> float:
        return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} "))

    assert number(text, "drift_exposition_series") <= 40
    dropped = number(text, "drift_exposition_series_dropped_total")
    assert dropped > 0
    assert number(again, "drift_exposition_series_dropped_total") == 2 * dropped


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_answers_yes_or_503(path: str, method: str) -> None:
    state = {"on": True}
    with serving(healthy=lambda: state["on"], ready=lambda: state["on"]) as service:
        well = http.request(method, service.url + path)
        state["on"] = False
        ill = http.request(method, service.url + path)
    assert (well.status_code, ill.status_code) == (200, 503)
    assert bool(well.content) is (method == "GET")


def test_health_answers_while_scrapes_hang_on_the_store() -> None:
    release = threading.Event()

    def hang() -> Snapshot:
        release.wait(PATIENCE_SECONDS)
        return Snapshot()

    with serving(snapshot=hang) as service:
        threads = [
            threading.Thread(target=lambda: http.get(f"{service.url}/metrics", timeout=PATIENCE_SECONDS), daemon=True)
            for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        status = http.get(f"{service.url}/-/healthy", timeout=PATIENCE_SECONDS / 2).status_code
        release.set()
        for thread in threads:
            thread.join()
    assert status == 200


def test_reload_is_refused_unless_lifecycle_is_enabled() -> None:
    with serving() as service:
        assert http.post(f"{service.url}/-/reload").status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_reload_calls_and_reports_what_was_wrong(method: str) -> None:
    problems: list[Exception] = []
    calls = []

    def reload() -> None:
        calls.append(1)
        if problems:
            raise problems[0]

    with serving(reload=reload) as service:
        good = http.request(method, f"{service.url}/-/reload")
        problems.append(ConfigError((Problem("drift.yaml", 3, 5, "unknown key 'evry'", "did you mean 'every'?"),)))
        bad = http.request(method, f"{service.url}/-/reload")
        assert http.get(f"{service.url}/-/reload").status_code == 405
    assert (good.status_code, bad.status_code) == (200, 500)
    assert "drift.yaml:3:5: unknown key 'evry' (did you mean 'every'?)" in bad.text
    assert len(calls) == 2


def test_routes_of_other_rooms_are_served_behind_the_same_gate() -> None:
    def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("a page")

    with serving(routes=(Route("/", page),)) as service:
        answer = http.get(f"{service.url}/")
        missing = http.get(f"{service.url}/nothing")
    assert answer.text == "a page"
    for each in (answer, missing):
        assert each.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in each.headers["content-security-policy"]
    assert missing.status_code == 404


def test_error_in_a_route_shows_nothing_of_itself() -> None:
    def broken(request: Request) -> PlainTextResponse:
        raise RuntimeError("canary-in-an-exception")

    with serving(routes=(Route("/", broken),)) as service:
        answer = http.get(f"{service.url}/")
    assert answer.status_code == 500
    assert "canary" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
