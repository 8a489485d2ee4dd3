"""The examples of docs/http.md are sent to a running server, and what it answers has the form that is shown."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from drift_monitor.alerting.services import Services
from drift_monitor.store import outbox
from drift_monitor.store.outbox import Delivery, DeliveryOutcome
from drift_monitor.web.api.resources import RESOURCES
from tests.web import http
from tests.web.filled import HOUR, a_monitor
from tests.web.serving import Service
from tests.web.store_of_alerts import RULES, api_of, drifting, open_episodes

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("\n## API\n") : PAGE.index("\n## Webhooks it sends\n")]
EXAMPLE = re.compile(r"```sh\n(?P<command>curl [^\n]*)\n```\n(?:\n```json\n(?P<answer>.*?)\n```)?", re.DOTALL)
ORDERS = a_monitor("orders", ("age", "country"), rules=RULES, labels={"team": "sales"})


@dataclass(frozen=True)
class Example:
    """One command of the page, and the answer that stands below it, if one does."""

    method: str
    path: str
    query: str
    body: str | None
    answer: Any


def an_example(command: str, answer: str | None) -> Example:
    """The command as curl understands it: only these three options are used."""
    words = shlex.split(command)[1:]
    method, body, url = "GET", None, ""
    while words:
        match words.pop(0):
            case "--json":
                method, body = "POST", words.pop(0)
            case "-X":
                method = words.pop(0)
            case word:
                assert not url and not word.startswith("-"), command
                url = word
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("http", "127.0.0.1:8765")
    return Example(method, parts.path, parts.query, body, json.loads(answer) if answer else None)


EXAMPLES = [an_example(found["command"], found["answer"]) for found in EXAMPLE.finditer(SECTION)]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    opened = drifting(tmp_path_factory.mktemp("page"), ORDERS)
    claimed = opened.store.transact(lambda conn: outbox.claim(conn, "test", HOUR))
    assert claimed is not None
    sent = Delivery(outcome=DeliveryOutcome.SENT, status_code=200)
    assert opened.store.transact(lambda conn: outbox.settle(conn, claimed, sent))
    yield opened
    opened.store.close()


@pytest.fixture(scope="module")
def service(services: Services) -> Iterator[Service]:
    with api_of(lambda: services) as service:
        yield service


def test_every_route_has_an_example_for_each_of_its_methods() -> None:
    def shown(path: str) -> str:
        return path.removeprefix("/api").replace("$ID", "{id}")

    examples = {(shown(one.path), one.method) for one in EXAMPLES}
    assert examples == {(path, method) for path, methods in RESOURCES.items() for method in methods}
    listed = set(re.findall(r"^\| `/api(/v1/[^`]+)` \| ([A-Z]+) \|", SECTION, re.MULTILINE))
    assert listed == examples


def test_the_examples_are_answered_in_the_form_that_is_shown(services: Services, service: Service) -> None:
    ids = {"episodes": open_episodes(services)[0]}
    for example in EXAMPLES:
        noun = example.path.split("/")[3]
        answer = http.request(
            example.method,
            f"{service.url}{example.path.replace('$ID', ids.get(noun, ''))}?{example.query}",
            content=example.body,
            headers={"Content-Type": "application/json"} if example.body else {},
        )
        assert answer.status_code == (201 if "Location" in answer.headers else 200), (example, answer.text)
        if example.method == "POST" and noun == "silences":
            ids["silences"] = answer.json()["id"]
        if example.answer is not None:
            assert form(answer.json()) == form(example.answer), example.path


def form(value: Any) -> Any:
    """Names and nesting; of a list that of its first entry, of what may be null only that it is there."""
    match value:
        case dict():
            # Labels are the monitor's own business; what may be null is there or not as the case may be.
            return {name: name if name in {"acknowledged", "labels"} else form(inner) for name, inner in value.items()}
        case [first, *_]:
            return [form(first)]
        case _:
            return "value"
