"""`/monitors/{monitor}`: every feature over time, the evaluations with their reasons, and the episodes."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from drift_monitor import words
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.schedule import interval
from drift_monitor.core.times import format_duration
from drift_monitor.queries.status import Readable, read_status
from drift_monitor.store import alerts, runs, status
from drift_monitor.store.alerts import Episode
from drift_monitor.store.runs import RunFilter
from drift_monitor.store.status import Range
from drift_monitor.web.pages import phrases
from drift_monitor.web.pages.active import read_firing
from drift_monitor.web.pages.feature_rows import feature_rows, trend
from drift_monitor.web.pages.health import monitor_row
from drift_monitor.web.pages.heatmap import Histories, columns_of, draw_heatmap
from drift_monitor.web.pages.rendering import links_of, render

MOST_RUNS = 20
MOST_EPISODES = 30


def show_monitor(request: Request, services: Readable, monitor: MonitorConfig) -> Response:
    """The page."""
    at = services.clock.now()
    with services.store.read() as conn:
        standing = read_status(conn, [monitor])
        features = feature_rows(monitor, standing)
        row = monitor_row(monitor, features, standing, at)
        firing = read_firing(conn, [monitor], standing)
        evaluations = runs.history(conn, RunFilter(monitor=monitor.name), limit=MOST_RUNS)
        episodes = alerts.episodes(conn, monitor=monitor.name, limit=MOST_EPISODES)
        columns = columns_of(row)
        histories: Histories = {}
        recent: Sequence[Episode] = ()
        if columns is not None:
            stretch = Range(monitor=monitor.name, since=columns.start, until=columns.until)
            histories = status.histories(conn, [stretch])
            recent = alerts.episodes(conn, monitor=monitor.name, since=columns.start)
    return render(
        request,
        "monitor.html",
        at=at,
        row=row,
        firing=firing,
        heatmap=draw_heatmap(row, columns, histories, recent, links_of(request)) if columns and features else None,
        trends={one.series: trend(one, histories) for one in features},
        evaluations=evaluations,
        episodes=episodes,
        facts=_facts(monitor),
    )


def _facts(monitor: MonitorConfig) -> Mapping[str, str]:
    """What the monitor does, as configured."""
    schedule = monitor.cron or f"every {format_duration(interval(monitor.schedule))}"
    return {
        "Rows of": phrases.dataset_text(monitor.table),
        "Source": monitor.source,
        "Compared with": phrases.reference_text(monitor.reference),
        "Evaluated": schedule,
        "Window": f"{format_duration(monitor.window)}, in panes of {format_duration(monitor.pane)}",
        "Rows needed": words.count(monitor.min_rows),
    }
