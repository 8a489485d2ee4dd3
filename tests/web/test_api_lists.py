"""`/api/v1`: what fires, what fired, what was sent, what is silenced, read over real sockets."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.alerting.services import Services
from drift_monitor.alerting.silences import acknowledge_alert, add_silence
from drift_monitor.core.matching import parse_matcher
from drift_monitor.errors import StoreUnavailable
from drift_monitor.evaluation.planning import register_monitors
from drift_monitor.store import outbox
from drift_monitor.store.outbox import Delivery, DeliveryOutcome
from tests.web import http
from tests.web.filled import HOUR, evaluate, reconfigured
from tests.web.serving import Service, serving
from tests.web.snapshots import NOON
from tests.web.store_of_alerts import LOANS, QUIET, SAME, api_of, drifting, make_stale, open_episodes


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    opened = drifting(tmp_path)
    yield opened
    opened.store.close()


@pytest.fixture
def service(services: Services) -> Iterator[Service]:
    with api_of(lambda: services) as service:
        yield service


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """For requests that are refused: one server for all."""
    opened = drifting(tmp_path_factory.mktemp("untouched"))
    with api_of(lambda: opened) as service:
        yield service
    opened.store.close()


def fetch(service: Service, path: str, status: int = 200) -> dict[str, Any]:
    answer = http.get(f"{service.url}/api/v1/{path}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, Any] = answer.json()
    return document


def refused(service: Service, path: str, status: int = 400) -> str:
    document = fetch(service, path, status)
    assert list(document) == ["error"]
    return str(document["error"])


def silence(services: Services, *matchers: str, hours: float = 1, starts_in: float = 0) -> str:
    made = add_silence(
        services.store,
        [parse_matcher(one) for one in matchers],
        starts_at=services.clock.now() + starts_in * HOUR,
        duration=hours * HOUR,
        author="ada",
        comment="load test",
    )
    return made.id


def wait(services: Services, duration: timedelta) -> None:
    services.clock.moment += duration  # type: ignore[attr-defined]


def recover(services: Services) -> None:
    """The next window is quiet, and both alerts are over."""
    evaluate(services, LOANS, NOON + HOUR, {"age": QUIET, "country": SAME})


def test_alerts_are_what_fires_the_gravest_first_then_what_is_pending(service: Service) -> None:
    found = fetch(service, "alerts")["alerts"]

    assert [(one["state"], one["severity"], one["rule"]) for one in found] == [
        ("firing", "critical", "psi:critical"),
        ("firing", "warning", "psi:warning"),
        ("pending", "info", "patient"),
    ]
    assert {one["feature"] for one in found} == {"country"}


def test_an_alert_has_its_number_its_threshold_and_its_times(services: Services, service: Service) -> None:
    alert = fetch(service, "alerts")["alerts"][0]

    assert alert["value"] > alert["threshold"] == 0.25
    assert alert["since"] == alert["fired_at"] == "2026-11-20T11:00:00Z"
    assert alert["id"] in open_episodes(services)
    assert (alert["silenced_by"], alert["acknowledged"]) == ([], None)


def test_a_pending_alert_has_no_episode_and_has_not_fired(service: Service) -> None:
    pending = fetch(service, "alerts")["alerts"][-1]

    assert (pending["id"], pending["fired_at"], pending["since"]) == (None, None, "2026-11-20T11:00:00Z")


def test_the_labels_of_an_alert_are_those_its_notification_carries(services: Services, service: Service) -> None:
    make_stale(services)

    sent = {
        alert["labels"].get("rule", alert["labels"]["alertname"]): alert["labels"]
        for one in fetch(service, "notifications")["notifications"]
        for alert in one["alerts"]
    }
    shown = {one["rule"]: one["labels"] for one in fetch(service, "alerts")["alerts"] if one["state"] == "firing"}

    assert set(shown) == {"MonitorStale", "psi:critical", "psi:warning"}
    assert shown == sent


def test_an_alert_about_a_monitor_itself_is_among_them(services: Services, service: Service) -> None:
    episode = make_stale(services)

    (alert,) = [one for one in fetch(service, "alerts")["alerts"] if one["rule"] == "MonitorStale"]

    assert alert["id"] == episode
    assert (alert["monitor"], alert["feature"], alert["metric"]) == ("loans", "", "stale")
    assert (alert["state"], alert["severity"], alert["value"], alert["threshold"]) == ("firing", "warning", None, None)
    assert alert["since"] == alert["fired_at"] == "2026-11-20T16:00:00Z"
    assert alert["labels"] == {"alertname": "MonitorStale", "monitor": "loans", "severity": "warning", "team": "risk"}


def test_an_alert_says_which_silences_cover_it(services: Services, service: Service) -> None:
    mine = silence(services, "severity=critical")
    wide = silence(services, "team=~ri.*", hours=2)
    silence(services, "team=risk", starts_in=1)
    silence(services, "feature=age")
    make_stale_alert = silence(services, "alertname=MonitorStale", hours=9)

    covered = {one["rule"]: set(one["silenced_by"]) for one in fetch(service, "alerts")["alerts"]}
    assert covered == {"psi:critical": {mine, wide}, "psi:warning": {wide}, "patient": {wide}}

    episode = make_stale(services)
    (stale,) = [one for one in fetch(service, "alerts")["alerts"] if one["id"] == episode]
    assert stale["silenced_by"] == [make_stale_alert]


def test_an_alert_says_who_looks_after_it(services: Services, service: Service) -> None:
    first, _ = open_episodes(services)
    acknowledge_alert(services.store, first, author="ada", comment="new partner bank")

    said = {one["id"]: one["acknowledged"] for one in fetch(service, "alerts")["alerts"] if one["id"]}

    assert said.pop(first) == {"at": "2026-11-20T12:06:00Z", "author": "ada", "comment": "new partner bank"}
    assert list(said.values()) == [None]


def test_alerts_of_one_monitor_are_asked_for_by_name(service: Service) -> None:
    assert len(fetch(service, "alerts?monitor=loans")["alerts"]) == 3
    assert fetch(service, "alerts?monitor=cards")["alerts"] == []


def test_a_monitor_that_left_the_configuration_has_no_alerts_but_its_episodes(services: Services) -> None:
    without = reconfigured(services)
    register_monitors(without, whole=True)
    with api_of(lambda: without) as service:
        assert fetch(service, "alerts")["alerts"] == []
        reasons = [one["close_reason"] for one in fetch(service, "episodes")["episodes"]]
    assert reasons == ["removed", "removed"]


def test_episodes_are_rows_of_the_view_with_how_they_ended(services: Services, service: Service) -> None:
    recover(services)
    wait(services, timedelta(minutes=1))

    found = fetch(service, "episodes")["episodes"]

    assert {one["rule"] for one in found} == {"psi:critical", "psi:warning"}
    with services.store.read() as conn:
        columns = set(conn.exec_driver_sql("SELECT * FROM drift_episodes").keys())
    for one in found:
        assert set(one) == columns | {"closed_at", "acknowledged"}
        assert (one["opened_window"], one["closed_window"]) == ("2026-11-20T11:00:00Z", "2026-11-20T13:00:00Z")
        assert (one["closed_at"], one["close_reason"]) == ("2026-11-20T12:06:00Z", "recovered")
        assert one["peak_value"] > 0.25


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("state=open", 0),
        ("state=closed", 2),
        ("monitor=loans", 2),
        ("monitor=cards", 0),
        ("monitor=", 0),
        ("feature=country", 2),
        ("feature=age", 0),
        ("from=2026-11-20T13:00:00Z", 2),
        ("from=2026-11-20T13:00:01Z", 0),
        ("to=2026-11-20T11:00:00Z", 0),
        ("to=2026-11-20T11:00:00.000001Z", 2),
        ("from=2026-11-20T12:00:00%2B01:00&to=2026-11-20T13:00:00%2B01:00", 2),
    ],
)
def test_episodes_are_filtered(services: Services, service: Service, query: str, count: int) -> None:
    recover(services)

    assert len(fetch(service, f"episodes?{query}")["episodes"]) == count


def test_one_episode_is_read_by_its_id(services: Services, service: Service) -> None:
    (first, _) = open_episodes(services)

    assert fetch(service, f"episodes/{first}") == next(
        one for one in fetch(service, "episodes")["episodes"] if one["id"] == first
    )
    assert "'nothing'" in refused(service, "episodes/nothing", 404)


@pytest.mark.parametrize("what", ["episodes", "notifications", "silences"])
def test_pages_together_are_the_whole_list(services: Services, service: Service, what: str) -> None:
    make_stale(services)
    recover(services)
    for hours in (1, 2, 3):
        silence(services, "team=risk", hours=hours)
    whole = fetch(service, what)
    assert whole["next"] is None
    assert len(whole[what]) == 3

    pages, place = [], ""
    while place is not None:
        page = fetch(service, f"{what}?limit=1{place and f'&cursor={place}'}")
        pages.append(page[what])
        place = page["next"]

    assert [len(page) for page in pages] == [1, 1, 1]
    assert [one for page in pages for one in page] == whole[what]


def test_a_cursor_goes_on_behind_entries_that_came_later(services: Services, service: Service) -> None:
    make_stale(services)
    first = fetch(service, "notifications?limit=1")
    recover(services)

    rest = fetch(service, f"notifications?cursor={first['next']}")["notifications"]

    assert [alert["labels"]["alertname"] for alert in rest[0]["alerts"]] == ["DataDrift", "DataDrift"]
    assert len(rest) == 1


def test_a_notification_says_how_its_delivery_goes(services: Services, service: Service) -> None:
    for minute, result in enumerate(
        [
            Delivery(outcome=DeliveryOutcome.RETRY, status_code=503, error="busy", delay=timedelta(minutes=1)),
            Delivery(outcome=DeliveryOutcome.DEAD, status_code=404, error="gone"),
        ]
    ):
        claimed = services.store.transact(lambda conn: outbox.claim(conn, "test", HOUR))
        assert claimed is not None
        settled = services.store.transact(lambda conn, c=claimed, r=result: outbox.settle(conn, c, r))  # type: ignore[misc]
        assert settled, minute
        wait(services, timedelta(minutes=1))

    (found,) = fetch(service, "notifications?state=dead&receiver=log&monitor=loans")["notifications"]

    assert (found["receiver"], found["integration"], found["status"]) == ("log", "log", "firing")
    assert (found["state"], found["attempts"], found["last_error"]) == ("dead", 2, "gone")
    assert (found["created_at"], found["sent_at"], found["next_at"]) == ("2026-11-20T12:00:00Z", None, None)
    assert found["tries"] == [
        {"attempt": 1, "at": "2026-11-20T12:06:00Z", "outcome": "retry", "status_code": 503, "error": "busy"},
        {"attempt": 2, "at": "2026-11-20T12:07:00Z", "outcome": "dead", "status_code": 404, "error": "gone"},
    ]
    assert fetch(service, "notifications?state=pending")["notifications"] == []
    assert fetch(service, "notifications?receiver=other")["notifications"] == []
    assert fetch(service, "notifications?monitor=cards")["notifications"] == []


def test_a_notification_that_waits_says_when_it_is_tried_again(services: Services, service: Service) -> None:
    claimed = services.store.transact(lambda conn: outbox.claim(conn, "test", HOUR))
    assert claimed is not None
    again = Delivery(outcome=DeliveryOutcome.RETRY, error="connection refused", delay=timedelta(minutes=5))
    services.store.transact(lambda conn: outbox.settle(conn, claimed, again))

    (found,) = fetch(service, "notifications")["notifications"]

    assert (found["state"], found["last_error"]) == ("pending", "connection refused")
    assert found["next_at"] == "2026-11-20T12:11:00Z"


def test_a_notification_that_was_kept_back_says_why(services: Services, service: Service) -> None:
    id = silence(services, "alertname=MonitorStale", hours=9)
    make_stale(services)

    (found,) = fetch(service, "notifications?state=suppressed")["notifications"]

    assert found["reason"] == f"silence {id}"
    assert (found["attempts"], found["tries"], found["next_at"]) == (0, [], None)


def test_silences_are_those_that_hold_or_will_hold_unless_others_are_asked_for(
    services: Services, service: Service
) -> None:
    short, later, long = (
        silence(services, "team=risk", hours=0.5),
        silence(services, "team=risk", starts_in=5),
        silence(services, "team=risk", hours=9),
    )
    wait(services, HOUR)

    def listed(query: str = "") -> dict[str, str]:
        return {one["id"]: one["state"] for one in fetch(service, f"silences{query}")["silences"]}

    assert listed() == {later: "pending", long: "active"}
    assert listed("?state=active") == {long: "active"}
    assert listed("?state=pending") == {later: "pending"}
    assert listed("?state=expired") == {short: "expired"}
    assert fetch(service, f"silences/{short}")["state"] == "expired"
    assert "'nothing'" in refused(service, "silences/nothing", 404)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("alerts?moniter=loans", "'moniter' is unknown; did you mean 'monitor'?"),
        ("alerts?limit=3", "'limit' is unknown"),
        ("alerts?monitor=a&monitor=b", "'monitor' is given 2 times"),
        ("episodes?state=firing", "'state' is 'firing'; write one of open, closed"),
        ("episodes?limit=0", "'limit' is '0'; write a whole number from 1 to 1000"),
        ("episodes?limit=1001", "from 1 to 1000"),
        ("episodes?limit=", "from 1 to 1000"),
        ("episodes?limit=%D9%A1", "from 1 to 1000"),
        ("episodes?from=yesterday", "'from' is 'yesterday'; write a time as 2026-11-20T12:00:00Z"),
        ("episodes?from=2026-11-20T12:00:00", "'from'"),
        ("episodes?from=2026-11-20T12:00:00+01:00", "a + in an address is written %2B"),
        ("episodes?from=2026-13-40T12:00:00Z", "'from'"),
        ("episodes?to=0001-01-01T00:00:00%2B14:00", "'to'"),
        ("episodes?from=2026-11-20T12:00:00Z&to=2026-11-20T13:00:00%2B01:00", "'from' is not before 'to'"),
        ("episodes?cursor=x", "'cursor' is none that this list gave"),
        ("episodes?cursor=WzFd", "'cursor'"),
        ("notifications?cursor=WyJhIl0", "'cursor'"),
        ("notifications?cursor=WzFlMzBd", "'cursor'"),
        ("notifications?cursor=WzEwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMF0", "'cursor'"),
        ("notifications?cursor=" + "W1tb" * 3000, "'cursor'"),
        ("notifications?state=lost", "write one of pending, sent, dead, suppressed"),
        ("silences?state=x", "write one of pending, active, expired"),
        ("silences?monitor=loans", "'monitor' is unknown"),
        ("silences/a?x=1", "'x' is unknown; this address takes none"),
        ("episodes?state=" + "x" * 5000, "xxx…;"),
    ],
)
def test_a_question_that_can_not_be_read_names_the_parameter_the_value_and_what_to_write(
    untouched: Service, path: str, words: str
) -> None:
    said = refused(untouched, path)

    assert words in said
    assert len(said) < 300


def test_what_no_text_can_hold_finds_nothing_and_breaks_nothing(untouched: Service) -> None:
    assert fetch(untouched, "episodes?monitor=%00&feature=%FF")["episodes"] == []
    refused(untouched, "episodes/%00%FF", 404)


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/", "/api/v2/alerts", "/api/v1/alerts/", "/api/v1/episodes/a/b"])
def test_an_address_that_is_none_is_answered_as_json(untouched: Service, path: str) -> None:
    answer = http.get(untouched.url + path)

    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "alerts", {"GET", "HEAD"}),
        ("DELETE", "silences", {"GET", "HEAD", "POST"}),
        ("PUT", "silences/x", {"GET", "HEAD", "DELETE"}),
        ("GET", "episodes/x/acknowledge", {"POST", "DELETE"}),
    ],
)
def test_a_method_that_an_address_does_not_take_is_answered_with_those_it_takes(
    untouched: Service, method: str, path: str, allowed: set[str]
) -> None:
    answer = http.request(method, f"{untouched.url}/api/v1/{path}")

    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert list(answer.json()) == ["error"]


def test_the_head_of_a_list_can_be_asked_for_alone(untouched: Service) -> None:
    answer = http.head(f"{untouched.url}/api/v1/alerts")

    assert (answer.status_code, answer.content) == (200, b"")


def test_a_store_that_is_down_is_503_and_says_so(services: Services) -> None:
    def starting() -> Services:
        raise StoreUnavailable("store drift.db is busy: another process holds its write lock")

    with api_of(starting) as service:
        answer = http.get(f"{service.url}/api/v1/alerts")
    assert answer.status_code == 503
    assert "drift.db is busy" in answer.json()["error"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_defect_of_ours_is_500_without_its_insides() -> None:
    def broken() -> Services:
        raise RuntimeError("secret detail")

    with api_of(broken) as service:
        answer = http.get(f"{service.url}/api/v1/alerts")
        assert http.get(f"{service.url}/-/healthy").status_code == 200
    assert answer.status_code == 500
    assert answer.json() == {"error": "the service failed to answer; its log says why"}


def test_refusals_of_the_gate_are_json_below_api_and_text_elsewhere() -> None:
    with serving() as service:
        below = http.get(f"{service.url}/api/v1/alerts", headers={"Host": "evil.example"})
        elsewhere = http.get(f"{service.url}/metrics", headers={"Host": "evil.example"})
    assert below.status_code == elsewhere.status_code == 421
    assert list(below.json()) == ["error"]
    assert elsewhere.headers["content-type"].startswith("text/plain")
