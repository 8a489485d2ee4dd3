"""`/api/v1/notifications`: what was sent to whom, what waits, what was given up or kept back, and why."""

from drift_monitor.monitoring.alerts.reading import read_notifications
from drift_monitor.monitoring.documents import Document
from drift_monitor.store.outbox import NotificationFilter, NotificationState
from drift_monitor.web.api.answering import Call
from drift_monitor.web.api.query import Query, cursor


def list_notifications(call: Call) -> Document:
    """A page of them, newest first."""
    query = Query(call.query, ("monitor", "receiver", "state"))
    asked = NotificationFilter(
        monitor=query.text("monitor"),
        receiver=query.text("receiver"),
        state=query.choice("state", NotificationState),
    )
    page = read_notifications(call.services.store, asked, limit=query.limit, after=query.number())
    return {"notifications": page.documents, "next": None if page.next is None else cursor(page.next)}
