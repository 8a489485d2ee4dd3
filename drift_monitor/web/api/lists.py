"""`/api/v1/episodes`: what fired, and who looks after it.

`/api/v1/alerts`: what is pending or fires now.

`/api/v1/notifications`: what was sent to whom, what waits, what was given up or kept back, and why.
"""

import logging
from enum import StrEnum

from drift_monitor.alerting.silences import acknowledge_alert, withdraw_acknowledgement
from drift_monitor.errors import InputError
from drift_monitor.queries.alerts import read_alerts, read_episode, read_episodes, read_notifications
from drift_monitor.queries.evaluations import JsonObject
from drift_monitor.store.alerts import EpisodeFilter, EpisodePlace
from drift_monitor.store.outbox import NotificationFilter, NotificationState
from drift_monitor.telemetry.logs import INFO, log
from drift_monitor.web.api.answering import Call
from drift_monitor.web.api.body import Body
from drift_monitor.web.api.query import Query, cursor

_logger = logging.getLogger(__name__)


class Openness(StrEnum):
    """Whether an episode has ended."""

    OPEN = "open"
    CLOSED = "closed"


def list_episodes(call: Call) -> JsonObject:
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


def show_episode(call: Call) -> JsonObject:
    """One of them."""
    Query(call.query, (), paged=False)
    return read_episode(call.services.store, call.path["id"])


def acknowledge(call: Call) -> JsonObject:
    """Say who looks after an alert that fires; the episode afterwards."""
    Query(call.query, (), paged=False)
    body, id = Body.read(call.body, ("author", "comment")), call.path["id"]
    author = body.text("author")
    acknowledge_alert(call.services.store, id, author=author, comment=body.text("comment"))
    log(_logger, INFO, "alert_acknowledged", "Somebody looks after an alert.", episode=id, author=author)
    return read_episode(call.services.store, id)


def withdraw(call: Call) -> JsonObject:
    """Nobody looks after it any more; the episode afterwards."""
    Query(call.query, (), paged=False)
    Body.read(call.body, ())
    id = call.path["id"]
    withdraw_acknowledgement(call.services.store, id)
    log(_logger, INFO, "acknowledgement_withdrawn", "Nobody looks after an alert any more.", episode=id)
    return read_episode(call.services.store, id)


def list_alerts(call: Call) -> JsonObject:
    """All of them, without pages: whoever asks what fires must not miss any."""
    query = Query(call.query, ("monitor",), paged=False)
    return {"alerts": read_alerts(call.services.config, call.services.store, monitor=query.text("monitor"))}


def list_notifications(call: Call) -> JsonObject:
    """A page of them, newest first."""
    query = Query(call.query, ("monitor", "receiver", "state"))
    asked = NotificationFilter(
        monitor=query.text("monitor"),
        receiver=query.text("receiver"),
        state=query.choice("state", NotificationState),
    )
    page = read_notifications(call.services.store, asked, limit=query.limit, after=query.number())
    return {"notifications": page.documents, "next": None if page.next is None else cursor(page.next)}
