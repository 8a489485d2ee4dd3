"""The addresses below `/api/v1`, as plain functions of a `Call`.

    episodes        what fired; acknowledged by whom
    alerts          what is pending or fires now
    notifications   what was sent to whom, what waits, what was given up or kept back, and why
    silences        which alerts are not to be sent, from when to when, and why

Lists come a page at a time, newest first.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from starlette.datastructures import QueryParams

from drift_monitor.alerting.silences import acknowledge_alert, add_silence, expire_silence, withdraw_acknowledgement
from drift_monitor.core.matching import Matcher, Operator, parse_matcher
from drift_monitor.errors import InputError
from drift_monitor.queries.alerts import (
    read_alerts,
    read_episode,
    read_episodes,
    read_notifications,
    read_silence,
    read_silences,
    silence_document,
)
from drift_monitor.queries.evaluations import JsonObject
from drift_monitor.queries.status import Readable
from drift_monitor.store.alerts import EpisodeFilter, EpisodePlace
from drift_monitor.store.outbox import NotificationFilter, NotificationState
from drift_monitor.store.silences import SilencePlace, SilenceState
from drift_monitor.telemetry.logs import INFO, log
from drift_monitor.web.api.requests import Body, Query, cursor, shown

_logger = logging.getLogger(__name__)
_SILENCE_FIELDS: Final = ("matchers", "starts_at", "ends_at", "duration", "author", "comment")
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MATCHER: Final = 'a matcher such as "monitor=payments", or {"name": "monitor", "value": "payments"}'


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as handlers see it. `body` is empty for a request that only reads."""

    services: Readable
    path: Mapping[str, str]
    query: QueryParams
    body: bytes = b""
    user: str | None = None  # who asks, where clients have to prove it

    @property
    def actor(self) -> str:
        return self.user or "somebody over HTTP"

    def author(self, body: Body) -> str:
        """The authenticated user; the name that was given stands beside it."""
        if self.user is None:
            return body.text("author")
        given = body.text("author", self.user)
        return self.user if given == self.user else f"{self.user} (for {given})"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A document with its status and headers; a handler that returns the document alone answers with 200."""

    document: JsonObject
    status: int
    headers: Mapping[str, str] | None = None


Handler = Callable[[Call], JsonObject | Answer]


class Openness(StrEnum):
    """Whether an episode has ended."""

    OPEN = "open"
    CLOSED = "closed"


def list_alerts(call: Call) -> JsonObject:
    """All of them, without pages: whoever asks what fires must not miss any."""
    query = Query(call.query, ("monitor",))
    return {"alerts": read_alerts(call.services.config, call.services.store, monitor=query.text("monitor"))}


def list_episodes(call: Call) -> JsonObject:
    query = Query(call.query, ("monitor", "feature", "state", "from", "to"), paged=True)
    state = query.choice("state", Openness)
    wanted = EpisodeFilter(
        monitor=query.text("monitor"),
        feature=query.text("feature"),
        is_open=None if state is None else state is Openness.OPEN,
        since=query.instant("from"),
        until=query.instant("to"),
    )
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise InputError("query parameter 'from' is not before 'to'; exchange them")
    place = query.moment_and_id()
    page = read_episodes(
        call.services.store, wanted, limit=query.limit, after=None if place is None else EpisodePlace(*place)
    )
    return {"episodes": page.documents, "next": None if page.next is None else cursor(*page.next)}


def show_episode(call: Call) -> JsonObject:
    Query(call.query)
    return read_episode(call.services.store, call.path["id"])


def acknowledge(call: Call) -> JsonObject:
    """Acknowledge an alert that fires; the episode afterwards."""
    Query(call.query)
    body, id = Body.read(call.body, ("author", "comment")), call.path["id"]
    author = call.author(body)
    acknowledge_alert(call.services.store, id, author=author, comment=body.text("comment"))
    log(_logger, INFO, "alert_acknowledged", "An alert was acknowledged.", episode=id, author=author)
    return read_episode(call.services.store, id)


def withdraw(call: Call) -> JsonObject:
    """Take an acknowledgement back; the episode afterwards."""
    Query(call.query)
    Body.read(call.body)
    id = call.path["id"]
    withdraw_acknowledgement(call.services.store, id, actor=call.actor)
    log(_logger, INFO, "acknowledgement_withdrawn", "An acknowledgement was taken back.", episode=id, author=call.actor)
    return read_episode(call.services.store, id)


def list_notifications(call: Call) -> JsonObject:
    query = Query(call.query, ("monitor", "receiver", "state"), paged=True)
    wanted = NotificationFilter(
        monitor=query.text("monitor"),
        receiver=query.text("receiver"),
        state=query.choice("state", NotificationState),
    )
    page = read_notifications(call.services.store, wanted, limit=query.limit, after=query.number())
    return {"notifications": page.documents, "next": None if page.next is None else cursor(page.next)}


def list_silences(call: Call) -> JsonObject:
    """Those that hold or will hold, or those in the state that is named."""
    query = Query(call.query, ("state",), paged=True)
    place = query.moment_and_id()
    page = read_silences(
        call.services.store,
        query.choice("state", SilenceState),
        limit=query.limit,
        after=None if place is None else SilencePlace(*place),
    )
    return {"silences": page.documents, "next": None if page.next is None else cursor(*page.next)}


def show_silence(call: Call) -> JsonObject:
    """One of them, also one that has ended."""
    Query(call.query)
    return silence_document(*read_silence(call.services.store, call.path["id"]))


def create_silence(call: Call) -> Answer:
    """A new one, from now or `starts_at` on."""
    Query(call.query)
    body = Body.read(call.body, _SILENCE_FIELDS)
    ends_at, duration = body.instant("ends_at"), body.duration("duration")
    if (ends_at is None) == (duration is None):
        raise InputError("a silence needs an end: give one of the fields 'ends_at' and 'duration'")
    matchers = body.sequence("matchers", 'a list of matchers such as "monitor=payments"')
    made = add_silence(
        call.services.store,
        [_matcher(number, given) for number, given in enumerate(matchers, start=1)],
        starts_at=body.instant("starts_at"),
        ends_at=ends_at,
        duration=duration,
        author=call.author(body),
        comment=body.text("comment"),
    )
    log(_logger, INFO, "silence_added", "Alerts were silenced.", silence=made.id, author=made.author)
    document = silence_document(made, made.state(made.created_at))
    # Relative to the address that was asked, so that any prefix of a proxy works.
    return Answer(document=document, status=201, headers={"Location": f"silences/{made.id}"})


def end_silence(call: Call) -> JsonObject:
    """End one now; it stays readable."""
    Query(call.query)
    Body.read(call.body)
    ended = expire_silence(call.services.store, call.path["id"], actor=call.actor)
    log(_logger, INFO, "silence_ended", "A silence was ended.", silence=ended.id, author=call.actor)
    return silence_document(ended, SilenceState.EXPIRED)


def _matcher(number: int, given: Any) -> Matcher:
    """A matcher as people write it, or as Alertmanager's API has it."""
    try:
        if isinstance(given, str):
            return parse_matcher(given)
        if not isinstance(given, dict) or not given.keys() <= {"name", "value", "isRegex", "isEqual"}:
            raise InputError(f"{shown(given)} is none; write {_MATCHER}")
        name, value = given.get("name"), given.get("value")
        is_regex, is_equal = given.get("isRegex", False), given.get("isEqual", True)
        if not isinstance(name, str) or not _LABEL.fullmatch(name):
            raise InputError(f"'name' is {shown(name)}; write the name of a label")
        if not isinstance(value, str):
            raise InputError(f"'value' is {shown(value)}; write a text")
        if not isinstance(is_regex, bool) or not isinstance(is_equal, bool):
            raise InputError("'isRegex' and 'isEqual' are true or false")
        return Matcher(name=name, operator=Operator.of(is_regex=is_regex, is_equal=is_equal), value=value)
    except InputError as error:
        raise InputError(f"field 'matchers', number {number}: {error}") from None


RESOURCES: Final[Mapping[str, Mapping[str, Handler]]] = {
    "/v1/alerts": {"GET": list_alerts},
    "/v1/episodes": {"GET": list_episodes},
    "/v1/episodes/{id}": {"GET": show_episode},
    "/v1/episodes/{id}/acknowledge": {"POST": acknowledge, "DELETE": withdraw},
    "/v1/notifications": {"GET": list_notifications},
    "/v1/silences": {"GET": list_silences, "POST": create_silence},
    "/v1/silences/{id}": {"GET": show_silence, "DELETE": end_silence},
}
