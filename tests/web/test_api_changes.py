"""`/api/v1`: silences and acknowledgements are made, ended and refused over real sockets."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import bcrypt
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from drift_monitor.alerting.services import Services
from drift_monitor.alerting.silences import list_silences
from drift_monitor.config.web import WebConfig
from drift_monitor.store.schema import audit
from drift_monitor.store.silences import SilenceState
from tests.web import http
from tests.web.filled import HOUR, evaluate
from tests.web.serving import Service
from tests.web.snapshots import NOON
from tests.web.store_of_alerts import LOANS, QUIET, SAME, api_of, drifting, open_episodes

BODY = {"matchers": ["team=risk"], "duration": "2h", "author": "ada", "comment": "load test"}
WHO = {"author": "ada", "comment": "new partner bank"}
JSON = {"Content-Type": "application/json"}
PASSWORD = "correct horse"
WITH_USERS = WebConfig(
    basic_auth_users={"ada": SecretStr(bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode())}
)


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
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Services, Service]]:
    """For requests that are refused: one store, in which no silence is ever made."""
    opened = drifting(tmp_path_factory.mktemp("untouched"))
    with api_of(lambda: opened) as service:
        yield opened, service
    opened.store.close()


def ask(service: Service, method: str, path: str, status: int, **request: Any) -> dict[str, Any]:
    answer = http.request(method, f"{service.url}/api/v1/{path}", **request)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, Any] = answer.json()
    assert status < 400 or list(document) == ["error"]
    return document


def silence_states(services: Services) -> list[SilenceState]:
    return [state for _, state in list_silences(services.store, with_expired=True)]


def test_a_silence_is_made_and_covers_alerts_from_then_on(service: Service) -> None:
    answer = http.post(f"{service.url}/api/v1/silences", json=BODY)

    assert answer.status_code == 201
    made = answer.json()
    assert made == {
        "id": made["id"],
        "matchers": [{"name": "team", "value": "risk", "isRegex": False, "isEqual": True}],
        "starts_at": "2026-11-20T12:06:00Z",
        "ends_at": "2026-11-20T14:06:00Z",
        "author": "ada",
        "comment": "load test",
        "state": "active",
        "created_at": "2026-11-20T12:06:00Z",
    }
    place = urljoin(f"{service.url}/api/v1/silences", answer.headers["location"])
    assert place == f"{service.url}/api/v1/silences/{made['id']}"
    assert http.get(place).json() == made
    alerts = ask(service, "GET", "alerts", 200)["alerts"]
    assert {tuple(one["silenced_by"]) for one in alerts} == {(made["id"],)}


def test_a_silence_may_begin_later_and_end_at_a_moment(service: Service) -> None:
    times = {"starts_at": "2026-11-21T00:00:00+01:00", "ends_at": "2026-11-22T00:00:00Z"}
    body = {name: value for name, value in {**BODY, **times}.items() if name != "duration"}

    made = ask(service, "POST", "silences", 201, json=body)

    assert (made["starts_at"], made["ends_at"]) == ("2026-11-20T23:00:00Z", "2026-11-22T00:00:00Z")
    assert made["state"] == "pending"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("team=risk", ("team", "risk", False, True)),
        ('feature!~"a|b"', ("feature", "a|b", True, False)),
        ({"name": "team", "value": "risk"}, ("team", "risk", False, True)),
        ({"name": "team", "value": "r.*", "isRegex": True, "isEqual": False}, ("team", "r.*", True, False)),
        ({"name": "team", "value": "x\0\ud800"}, ("team", "x\ufffd\ufffd", False, True)),
    ],
)
def test_matchers_are_written_as_text_or_as_alertmanager_has_them(
    service: Service, given: Any, stored: tuple[str, str, bool, bool]
) -> None:
    body = {**BODY, "matchers": [given, "severity=warning"]}

    made = ask(service, "POST", "silences", 201, content=json.dumps(body), headers=JSON)

    assert tuple(made["matchers"][0].values()) == stored
    assert ask(service, "GET", f"silences/{made['id']}", 200)["matchers"] == made["matchers"]


def test_a_silence_is_ended_once_and_stays_readable(services: Services, service: Service) -> None:
    id = ask(service, "POST", "silences", 201, json=BODY)["id"]

    ended = ask(service, "DELETE", f"silences/{id}", 200)

    assert (ended["state"], ended["ends_at"]) == ("expired", "2026-11-20T12:06:00Z")
    assert ask(service, "GET", f"silences/{id}", 200) == ended
    assert "has ended at 2026-11-20T12:06:00Z" in ask(service, "DELETE", f"silences/{id}", 409)["error"]
    assert "'nothing'" in ask(service, "DELETE", "silences/nothing", 404)["error"]
    assert silence_states(services) == [SilenceState.EXPIRED]


def test_an_alert_is_acknowledged_taken_over_and_given_back(services: Services, service: Service) -> None:
    path = f"episodes/{open_episodes(services)[0]}/acknowledge"

    taken = ask(service, "POST", path, 200, json=WHO)
    assert taken["acknowledged"] == {"at": "2026-11-20T12:06:00Z", **WHO}
    taken_over = ask(service, "POST", path, 200, json={"author": "bob", "comment": "my shift"})
    assert taken_over["acknowledged"]["author"] == "bob"
    assert ask(service, "GET", path.removesuffix("/acknowledge"), 200) == taken_over
    assert ask(service, "DELETE", path, 200)["acknowledged"] is None
    assert "not acknowledged" in ask(service, "DELETE", path, 409)["error"]


def test_an_alert_that_is_over_can_not_be_acknowledged(services: Services, service: Service) -> None:
    path = f"episodes/{open_episodes(services)[0]}/acknowledge"
    evaluate(services, LOANS, NOON + HOUR, {"age": QUIET, "country": SAME})

    for method, request in (("POST", {"json": WHO}), ("DELETE", {})):
        assert "was over at 2026-11-20T13:00:00Z" in ask(service, method, path, 409, **request)["error"]
        assert "'x'" in ask(service, method, "episodes/x/acknowledge", 404, **request)["error"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"matchers": None}, "'matchers' is missing"),
        ({"matchers": "team=risk"}, "'matchers' is 'team=risk'; write a list of matchers"),
        ({"matchers": []}, "at least one matcher"),
        ({"matchers": ["team!=risk"]}, "at least one matcher that an empty label does not fulfil"),
        ({"matchers": ["team"]}, "'matchers', number 1: 'team' is no matcher"),
        ({"matchers": ["team=risk", 5]}, "'matchers', number 2: 5 is none; write a matcher"),
        ({"matchers": [{"name": "team"}]}, "'value' is None; write a text"),
        ({"matchers": [{"name": "a b", "value": ""}]}, "'name' is 'a b'; write the name of a label"),
        ({"matchers": [{"name": "a", "value": "b", "isRegex": 1}]}, "'isRegex' and 'isEqual' are true or false"),
        ({"matchers": [{"name": "a", "value": "b", "regex": True}]}, "number 1"),
        ({"matchers": ["team=~("]}, "no regular expression"),
        ({"matchers": ["team=risk"] * 51}, "51 matchers, at most 50"),
        ({"matchers": [f"team={'x' * 2000}"]}, "at most 1000 characters"),
        ({"duration": None}, "one of the fields 'ends_at' and 'duration'"),
        ({"ends_at": "2026-11-21T00:00:00Z"}, "one of the fields 'ends_at' and 'duration'"),
        ({"duration": 7200}, "'duration' is 7200; write a duration such as 30s"),
        ({"duration": "2 hours"}, "'duration' is '2 hours'; write a duration"),
        ({"duration": "-2h"}, "'duration' is '-2h'"),
        ({"duration": "0s"}, "not after its start"),
        ({"duration": "80000y"}, "'duration'"),
        ({"duration": "2y"}, "at most 366 are allowed"),
        ({"starts_at": "9999-12-31T00:00:00Z", "duration": "7d"}, "'starts_at'"),
        ({"starts_at": "2026-11-20T09:00:00Z", "duration": "1h"}, "which is past"),
        ({"starts_at": "tomorrow"}, "'starts_at' is 'tomorrow'; write a time such as 2026-11-20T12:00:00Z"),
        ({"starts_at": 1763640000}, "'starts_at' is 1763640000"),
        ({"author": ""}, "author: is empty"),
        ({"author": ["ada"]}, "'author' is ['ada']; write a text"),
        ({"comment": None}, "'comment' is missing"),
        ({"comment": "x" * 2001}, "2001 characters, at most 2000"),
        ({"id": "mine"}, "field 'id' is unknown"),
        ({"mathcers": []}, "'mathcers' is unknown; did you mean 'matchers'?"),
        ({"x" * 9000: 1}, "…"),
    ],
)
def test_a_silence_that_can_not_be_made_says_which_field_and_what_to_write(
    untouched: tuple[Services, Service], changes: dict[str, Any], words: str
) -> None:
    services, service = untouched

    said = ask(service, "POST", "silences", 400, json={**BODY, **changes})["error"]

    assert words in said
    assert len(said) < 3000
    assert silence_states(services) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "'ends_at' and 'duration'"),
        (b"{", "no JSON: "),
        (b"author=ada", "no JSON: Expecting value in line 1, column 1"),
        (b"\xff\xfe", "no UTF-8"),
        (b'"text"', "send a JSON object"),
        (b"[]", "send a JSON object"),
        (b"null", "send a JSON object"),
        (b'{"duration": NaN}', "NaN"),
        (b'{"author": "a", "author": "b"}', "'author' is given twice"),
        (b'{"author": ' + b"9" * 6000 + b"}", "too large"),
        (b"[" * 200_000, "too large"),
    ],
)
def test_a_body_that_is_no_object_says_what_is_wrong(
    untouched: tuple[Services, Service], body: bytes, words: str
) -> None:
    _, service = untouched

    assert words in ask(service, "POST", "silences", 400, content=body, headers=JSON)["error"]


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_a_body_that_is_not_declared_as_json_is_not_read(
    untouched: tuple[Services, Service], content_type: str | None
) -> None:
    services, service = untouched
    headers = {} if content_type is None else {"Content-Type": content_type}

    said = ask(service, "POST", "silences", 415, content=json.dumps(BODY), headers=headers)["error"]

    assert "Content-Type: application/json" in said
    assert silence_states(services) == []
    ask(service, "DELETE", "silences/x", 415, content=b"{}", headers=headers)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8"])
def test_json_may_be_declared_with_its_charset(service: Service, content_type: str) -> None:
    ask(service, "POST", "silences", 201, content=json.dumps(BODY), headers={"Content-Type": content_type})


def test_a_body_where_none_is_expected_may_only_be_empty(service: Service) -> None:
    id = ask(service, "POST", "silences", 201, json=BODY)["id"]

    assert "'comment' is unknown" in ask(service, "DELETE", f"silences/{id}", 400, json={"comment": "done"})["error"]
    ask(service, "DELETE", f"silences/{id}", 200, json={})


def test_a_body_that_is_too_large_is_refused_as_json(untouched: tuple[Services, Service]) -> None:
    _, service = untouched

    ask(service, "POST", "silences", 413, content=b"x" * 300_000, headers=JSON)

    def chunks() -> Iterator[bytes]:
        yield from (b"x" * 1000 for _ in range(300))

    ask(service, "POST", "silences", 413, content=chunks(), headers=JSON)


CHANGES = [
    ("POST", "silences", {"json": BODY}),
    ("DELETE", "silences/x", {}),
    ("POST", "episodes/x/acknowledge", {"json": WHO}),
    ("DELETE", "episodes/x/acknowledge", {}),
]


@pytest.mark.parametrize(("method", "path", "request_"), CHANGES)
def test_without_authentication_nothing_is_changed_unless_the_flag_allows_it(
    untouched: tuple[Services, Service], method: str, path: str, request_: dict[str, Any]
) -> None:
    services, _ = untouched
    with api_of(lambda: services, may_change=False) as service:
        said = ask(service, method, path, 403, **request_)["error"]
        assert len(ask(service, "GET", "alerts", 200)["alerts"]) == 3
    assert "--web.enable-admin-api" in said
    assert "basic_auth_users" in said
    assert silence_states(services) == []


@pytest.mark.parametrize(("method", "path", "request_"), CHANGES)
@pytest.mark.parametrize("header", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_no_other_site_can_change_anything(
    untouched: tuple[Services, Service], method: str, path: str, request_: dict[str, Any], header: dict[str, str]
) -> None:
    services, service = untouched
    ask(service, method, path, 403, headers=header, **request_)
    assert silence_states(services) == []


def test_who_has_a_password_needs_it_for_reading_and_for_changing(services: Services) -> None:
    with api_of(lambda: services, web_config=WITH_USERS) as service:
        ask(service, "POST", "silences", 401, json=BODY)
        ask(service, "GET", "silences", 401)
        ask(service, "POST", "silences", 201, json=BODY, auth=("ada", PASSWORD))


def test_clients_that_end_the_same_silence_at_once_end_it_once(service: Service) -> None:
    id = ask(service, "POST", "silences", 201, json=BODY)["id"]
    start = threading.Barrier(4)

    def end(_: int) -> int:
        start.wait(60)
        return http.delete(f"{service.url}/api/v1/silences/{id}").status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(end, range(4))) == [200, 409, 409, 409]


def test_whoever_is_authenticated_is_the_author_and_every_change_is_kept(services: Services) -> None:
    login = {"auth": ("ada", PASSWORD)}
    episode = open_episodes(services)[0]
    with api_of(lambda: services, web_config=WITH_USERS) as service:
        made = ask(service, "POST", "silences", 201, json={**BODY, "author": "bob"}, **login)
        assert made["author"] == "ada (for bob)"
        own = ask(service, "POST", "silences", 201, json={**BODY, "author": "ada"}, **login)
        assert own["author"] == "ada"
        nameless = {key: value for key, value in BODY.items() if key != "author"}
        assert ask(service, "POST", "silences", 201, json=nameless, **login)["author"] == "ada"
        ask(service, "DELETE", f"silences/{made['id']}", 200, headers=JSON, **login)
        ask(service, "POST", f"episodes/{episode}/acknowledge", 200, json={"comment": "mine"}, **login)
        ask(service, "DELETE", f"episodes/{episode}/acknowledge", 200, headers=JSON, **login)
    with services.store.read() as conn:
        kept = conn.execute(select(audit.c.actor, audit.c.action, audit.c.subject)).all()
    assert {tuple(row) for row in kept} >= {
        ("ada (for bob)", "add silence", made["id"]),
        ("ada", "end silence", made["id"]),
        ("ada", "acknowledge", episode),
        ("ada", "withdraw acknowledgement", episode),
    }
