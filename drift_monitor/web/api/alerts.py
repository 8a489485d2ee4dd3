"""`/api/v1/alerts`: what is pending or fires now."""

from drift_monitor.monitoring.alerts.reading import read_alerts
from drift_monitor.monitoring.documents import Document
from drift_monitor.web.api.answering import Call
from drift_monitor.web.api.query import Query


def list_alerts(call: Call) -> Document:
    """All of them, without pages: whoever asks what fires must not miss any."""
    query = Query(call.query, ("monitor",), paged=False)
    return {"alerts": read_alerts(call.services.config, call.services.store, monitor=query.text("monitor"))}
