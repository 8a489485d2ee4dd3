"""`/`: what fires, how the monitors are, the worst features of each, and what waits to be sent."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from drift_monitor import words
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Severity
from drift_monitor.queries.status import Readable, Status, read_status
from drift_monitor.store import outbox, silences
from drift_monitor.store.connection import Transaction
from drift_monitor.store.outbox import NotificationFilter, NotificationState
from drift_monitor.store.status import Series, windows
from drift_monitor.web.pages.active import MOST_SHOWN, FiringFeature, read_firing
from drift_monitor.web.pages.rendering import render
from drift_monitor.web.pages.rows import FeatureRow, MonitorRow, monitor_row, trend, trend_range

MOST_MONITORS: Final = 12  # with their features on this page; the others are a link away
MOST_FEATURES: Final = 8  # of each of them
MOST_DEAD: Final = 5  # notifications that were given up, the newest
MOST_SILENCES: Final = 20
_LATE: Final = timedelta(minutes=5)  # a notification that waits longer is worth a colour
_REFRESH_SECONDS: Final = 60
_REFRESH_SECONDS_OF_THE_PAST: Final = 3  # while a past fills in: often enough to watch it, seldom enough not to slow it


@dataclass(frozen=True, kw_only=True)
class ReceiverRow:
    """What waits for one receiver, and what was given up."""

    receiver: str
    integration: str
    waiting: int
    oldest: datetime | None
    dead: int
    suppressed: int
    sent: int
    is_late: bool


def show_overview(request: Request, services: Readable) -> Response:
    """Everything in one transaction; the number of queries grows with neither monitors nor features."""
    at, monitors = services.clock.now(), services.config.monitors
    with services.store.read() as conn:
        now = services.store.now(conn)
        status = read_status(conn, monitors)
        rows = [monitor_row(monitor, status, at) for monitor in monitors]
        detailed = sorted(rows, key=lambda row: row.rank)[:MOST_MONITORS]
        firing = read_firing(conn, monitors, status)
        drawn = {feature.series for row in detailed for feature in row.features[:MOST_FEATURES]}
        drawn |= {feature.series for feature in firing[:MOST_SHOWN]}
        trends = _trends(conn, rows, drawn)
        receivers = _receivers(conn, services, status, at)
        dead = outbox.page(conn, NotificationFilter(state=NotificationState.DEAD), limit=MOST_DEAD)
        listed = [(silence, silence.state(now)) for silence in silences.listed(conn, limit=MOST_SILENCES)]
    health = Counter(row.health for row in rows)
    troubles = {"failing": "can't be evaluated", "stale": "stopped being evaluated"}
    return render(
        request,
        "overview.html",
        at=at,
        headline=_headline(firing, at),
        firing=firing,
        most_firing=MOST_SHOWN,
        troubles=[f"{_counted(health[state], 'monitor')} {text}." for state, text in troubles.items() if health[state]],
        monitors=rows,
        detailed=detailed,
        most_features=MOST_FEATURES,
        trends=trends,
        receivers=receivers,
        dead=dead,
        silences=listed,
        reload_refused=services.telemetry.registry.get_sample_value("drift_config_last_reload_successful") == 0,
        past=dict(services.past),  # it may change while the page is drawn
        refresh_seconds=_REFRESH_SECONDS_OF_THE_PAST if services.past else _REFRESH_SECONDS,
    )


def _headline(firing: Sequence[FiringFeature], at: datetime) -> str:
    """One sentence: what fires, or that nothing does."""
    match firing:
        case []:
            return "Nothing fires."
        case [feature]:
            series = feature.series
            subject = f"{series.feature} of {series.monitor}" if series.feature else series.monitor
            clauses = [f"{subject} has been firing for {words.age(at - feature.since)}"]
            clauses += ["silenced"] * feature.is_silenced + ["acknowledged"] * feature.is_acknowledged
        case _:
            features = sum(bool(feature.series.feature) for feature in firing)
            counts = {"feature": features, "whole monitor": len(firing) - features}
            subjects = " and ".join(_counted(count, noun) for noun, count in counts.items() if count)
            where = _counted(len({feature.series.monitor for feature in firing}), "monitor")
            states = {
                "critical": sum(feature.severity is Severity.CRITICAL for feature in firing),
                "silenced": sum(feature.is_silenced for feature in firing),
                "acknowledged": sum(feature.is_acknowledged for feature in firing),
            }
            clauses = [f"{subjects} fire in {where}", *(f"{count} {state}" for state, count in states.items() if count)]
    return f"{', '.join(clauses)}."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _trends(conn: Transaction, monitors: Sequence[MonitorRow], drawn: Collection[Series]) -> Mapping[Series, Markup]:
    """Sparklines of these features, from one read of all their histories."""
    features: list[FeatureRow] = []
    ranges = []
    metrics: set[Metric] = set()
    for monitor in monitors:
        own = [row for row in monitor.features if row.series in drawn]
        stretch = trend_range(monitor, own)
        if own and stretch is not None:
            ranges.append(stretch)
            features.extend(own)
            metrics |= {row.level.rule.metric for row in own if row.level}
    histories = windows(conn, ranges, metrics)
    return {row.series: trend(row, histories) for row in features}


def _receivers(conn: Transaction, services: Readable, status: Status, at: datetime) -> Sequence[ReceiverRow]:
    """Those that are configured, and those that are not but still have notifications waiting."""
    states = outbox.states(conn)
    queues = {queue.receiver: queue for queue in status.queues}
    named = {receiver.name: receiver.integration for receiver in services.config.receivers}
    named |= {queue.receiver: queue.integration for queue in status.queues if queue.receiver not in named}
    rows = []
    for name, integration in named.items():
        queue = queues.get(name)
        oldest = queue.oldest if queue else None
        rows.append(
            ReceiverRow(
                receiver=name,
                integration=integration,
                waiting=queue.length if queue else 0,
                oldest=oldest,
                dead=states.get((name, NotificationState.DEAD), 0),
                suppressed=states.get((name, NotificationState.SUPPRESSED), 0),
                sent=states.get((name, NotificationState.SENT), 0),
                is_late=name in status.refusing or (oldest is not None and at - oldest > _LATE),
            )
        )
    return rows
