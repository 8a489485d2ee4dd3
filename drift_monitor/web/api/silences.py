"""`/api/v1/silences`: which alerts are not to be told, from when to when, and why."""

import logging
import re
from typing import Any, Final

from drift_monitor.alerting.silences import add_silence, expire_silence
from drift_monitor.core.matching import Matcher, Operator, parse_matcher
from drift_monitor.errors import InputError
from drift_monitor.queries.alerts import read_silence, read_silences, silence_document
from drift_monitor.queries.evaluations import JsonObject
from drift_monitor.store.silences import SilencePlace, SilenceState
from drift_monitor.telemetry.logs import INFO, log
from drift_monitor.web.api.answering import Answer, Call
from drift_monitor.web.api.body import Body
from drift_monitor.web.api.query import Query, cursor, shown

_logger = logging.getLogger(__name__)
_FIELDS: Final = ("matchers", "starts_at", "ends_at", "duration", "author", "comment")
_MATCHER_FIELDS: Final = ("name", "value", "isRegex", "isEqual")
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MATCHERS: Final = 'a list of matchers such as "monitor=payments"'
_MATCHER: Final = 'a matcher such as "monitor=payments", or {"name": "monitor", "value": "payments"}'


def list_silences(call: Call) -> JsonObject:
    """A page of those that hold or will hold, or of those in the state that is named."""
    query = Query(call.query, ("state",))
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
    Query(call.query, (), paged=False)
    return silence_document(*read_silence(call.services.store, call.path["id"]))


def create_silence(call: Call) -> Answer:
    """A new one, from now or `starts_at` on."""
    Query(call.query, (), paged=False)
    body = Body.read(call.body, _FIELDS)
    ends_at, duration = body.instant("ends_at"), body.duration("duration")
    if (ends_at is None) == (duration is None):
        raise InputError("a silence needs an end: give one of the fields 'ends_at' and 'duration'")
    made = add_silence(
        call.services.store,
        [_matcher(index, one) for index, one in enumerate(body.sequence("matchers", _MATCHERS))],
        starts_at=body.instant("starts_at"),
        ends_at=ends_at,
        duration=duration,
        author=body.text("author"),
        comment=body.text("comment"),
    )
    log(_logger, INFO, "silence_added", "Alerts were silenced.", silence=made.id, author=made.author)
    document = silence_document(made, made.state(made.created_at))
    # Relative to the address that was asked, so that any prefix of a proxy works.
    return Answer(document=document, status=201, headers={"Location": f"silences/{made.id}"})


def end_silence(call: Call) -> JsonObject:
    """End one now; it stays readable."""
    Query(call.query, (), paged=False)
    Body.read(call.body, ())
    ended = expire_silence(call.services.store, call.path["id"])
    log(_logger, INFO, "silence_ended", "A silence was ended.", silence=ended.id)
    return silence_document(ended, SilenceState.EXPIRED)


def _matcher(index: int, given: Any) -> Matcher:
    """A matcher as people write it, or as Alertmanager's API has it."""
    try:
        return parse_matcher(given) if isinstance(given, str) else _matcher_of(given)
    except InputError as error:
        raise InputError(f"field 'matchers', number {index + 1}: {error}") from None


def _matcher_of(given: Any) -> Matcher:
    if not isinstance(given, dict) or not given.keys() <= set(_MATCHER_FIELDS):
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
