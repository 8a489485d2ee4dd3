"""`/api/v1/episodes`: what fired, and who looks after it."""

import logging
from enum import StrEnum

from drift_monitor.errors import InputError
from drift_monitor.monitoring.alerts.reading import read_episode, read_episodes
from drift_monitor.monitoring.alerts.silencing import acknowledge_alert, withdraw_acknowledgement
from drift_monitor.monitoring.documents import Document
from drift_monitor.store.alerts import EpisodeFilter, EpisodePlace
from drift_monitor.telemetry.logs import INFO, log
from drift_monitor.web.api.answering import Call
from drift_monitor.web.api.body import Body
from drift_monitor.web.api.query import Query, cursor

_logger = logging.getLogger(__name__)


class Openness(StrEnum):
    """Whether an episode has ended."""

    OPEN = "open"
    CLOSED = "closed"


def list_episodes(call: Call) -> Document:
    """A page of them, newest first."""
    query = Query(call.query, ("monitor", "feature", "state", "from", "to"))
    state = query.choice("state", Openness)
    asked = EpisodeFilter(
        monitor=query.text("monitor"),
        feature=query.text("feature"),
        is_open=None if state is None else state is Openness.OPEN,
        since=query.instant("from"),
        until=query.instant("to"),
    )
    if asked.since is not None and asked.until is not None and asked.since >= asked.until:
        raise InputError("query parameter 'from' is not before 'to'; exchange them")
    place = query.moment_and_id()
    page = read_episodes(
        call.services.store, asked, limit=query.limit, after=None if place is None else EpisodePlace(*place)
    )
    return {"episodes": page.documents, "next": None if page.next is None else cursor(*page.next)}


def show_episode(call: Call) -> Document:
    """One of them."""
    Query(call.query, (), paged=False)
    return read_episode(call.services.store, call.path["id"])


def acknowledge(call: Call) -> Document:
    """Say who looks after an alert that fires; the episode afterwards."""
    Query(call.query, (), paged=False)
    body, id = Body.read(call.body, ("author", "comment")), call.path["id"]
    author = body.text("author")
    acknowledge_alert(call.services.store, id, author=author, comment=body.text("comment"))
    log(_logger, INFO, "alert_acknowledged", "Somebody looks after an alert.", episode=id, author=author)
    return read_episode(call.services.store, id)


def withdraw(call: Call) -> Document:
    """Nobody looks after it any more; the episode afterwards."""
    Query(call.query, (), paged=False)
    Body.read(call.body, ())
    id = call.path["id"]
    withdraw_acknowledgement(call.services.store, id)
    log(_logger, INFO, "acknowledgement_withdrawn", "Nobody looks after an alert any more.", episode=id)
    return read_episode(call.services.store, id)
