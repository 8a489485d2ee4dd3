"""`/`: what fires, how the monitors are, the worst features of each, and what waits to be sent."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from drift_monitor.core.rules import Severity
from drift_monitor.queries.status import Readable, Status, read_status
from drift_monitor.store import outbox, silences, status
from drift_monitor.store.connection import Transaction
from drift_monitor.store.outbox import NotificationFilter, NotificationState, StoredNotification
from drift_monitor.store.silences import Silence, SilenceState
from drift_monitor.store.status import Series
from drift_monitor.web.pages.active import MOST_WITH_BINS, FiringFeature, read_firing
from drift_monitor.web.pages.feature_rows import FeatureRow, feature_rows, trend, trend_stretch
from drift_monitor.web.pages.health import MonitorRow, monitor_row
from drift_monitor.web.pages.rendering import render
from drift_monitor.words import age

MOST_MONITORS = 12  # with their features on this page; the others are a link away
MOST_FEATURES = 8  # of each of them
MOST_DEAD = 5  # notifications that were given up, the newest
MOST_SILENCES = 20
_LATE = timedelta(minutes=5)  # a notification that waits longer is worth a colour
_REFRESH_SECONDS = 60
_REFRESH_SECONDS_OF_THE_PAST = 3  # while a past fills in: often enough to watch it, seldom enough not to slow it down


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


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All the page shows."""

    firing: Sequence[FiringFeature]
    monitors: Sequence[MonitorRow]
    detailed: Sequence[MonitorRow]
    receivers: Sequence[ReceiverRow]
    dead: Sequence[StoredNotification]
    silences: Sequence[tuple[Silence, SilenceState]]
    trends: Mapping[Series, Markup]
    at: datetime

    @property
    def headline(self) -> str:
        """One sentence: what fires, or that nothing does."""
        match self.firing:
            case []:
                return "Nothing fires."
            case [one]:
                subject = f"{one.series.feature} of {one.series.monitor}" if one.series.feature else one.series.monitor
                said = [f"{subject} has been firing for {age(self.at - one.since)}"]
                said += [state for state in ("silenced", "acknowledged") if getattr(one, f"is_{state}")]
                return f"{', '.join(said)}."
            case _:
                where = len({one.series.monitor for one in self.firing})
                said = [f"{_subjects(self.firing)} fire in {_counted(where, 'monitor')}"]
                counts = {
                    "critical": sum(one.severity == Severity.CRITICAL.value for one in self.firing),
                    "silenced": sum(one.is_silenced for one in self.firing),
                    "acknowledged": sum(one.is_acknowledged for one in self.firing),
                }
                said += [f"{count} {word}" for word, count in counts.items() if count]
                return f"{', '.join(said)}."

    @property
    def troubles(self) -> Sequence[str]:
        """What keeps the answer from being whole."""
        words = {"failing": "can't be evaluated", "stale": "stopped being evaluated"}
        return [
            f"{_counted(count, 'monitor')} {text}."
            for state, text in words.items()
            if (count := sum(one.health == state for one in self.monitors))
        ]


def show_overview(request: Request, services: Readable) -> Response:
    """The page."""
    at = services.clock.now()
    with services.store.read() as conn:
        overview = read_overview(conn, services, at)
    reload_ok = services.telemetry.registry.get_sample_value("drift_config_last_reload_successful")
    return render(
        request,
        "overview.html",
        at=at,
        page=overview,
        most_features=MOST_FEATURES,
        reload_refused=reload_ok == 0,
        past=dict(services.past),  # it may change while the page is drawn
        refresh_seconds=_REFRESH_SECONDS_OF_THE_PAST if services.past else _REFRESH_SECONDS,
    )


def read_overview(conn: Transaction, services: Readable, at: datetime) -> Overview:
    """Everything in one transaction; the number of queries grows with neither monitors nor features."""
    configured, now = services.config.monitors, services.store.now(conn)
    standing = read_status(conn, configured)
    rows = [monitor_row(one, feature_rows(one, standing), standing, at) for one in configured]
    detailed = sorted(rows, key=_badness)[:MOST_MONITORS]
    firing = read_firing(conn, configured, standing)
    shown = {feature.series for one in detailed for feature in one.features[:MOST_FEATURES]}
    shown |= {one.series for one in firing[:MOST_WITH_BINS]}
    return Overview(
        firing=firing,
        monitors=rows,
        detailed=detailed,
        receivers=_receivers(conn, services, standing, at),
        dead=outbox.page(conn, NotificationFilter(state=NotificationState.DEAD), limit=MOST_DEAD),
        silences=[(one, one.state(now)) for one in silences.listed(conn, limit=MOST_SILENCES)],
        trends=_trends(conn, rows, shown, standing),
        at=at,
    )


def _badness(row: MonitorRow) -> tuple[tuple[int, float], str]:
    worst = min((feature.rank[:2] for feature in row.features), default=(0, 0.0))
    return (worst, row.monitor.name)


def _trends(
    conn: Transaction, monitors: Sequence[MonitorRow], shown: Collection[Series], standing: Status
) -> Mapping[Series, Markup]:
    features: list[FeatureRow] = []
    stretches = []
    for one in monitors:
        own = [row for row in one.features if row.series in shown]
        stretch = trend_stretch(one.monitor, standing, [row.series.feature for row in own])
        if own and stretch is not None:
            stretches.append(stretch)
            features.extend(own)
    histories = status.histories(conn, stretches)
    return {row.series: trend(row, histories) for row in features}


def _receivers(conn: Transaction, services: Readable, standing: Status, at: datetime) -> Sequence[ReceiverRow]:
    states = outbox.states(conn)
    queues = {queue.receiver: queue for queue in standing.queues}
    configured = {one.name: one.integration for one in services.config.receivers}
    gone = {queue.receiver: queue.integration for queue in standing.queues if queue.receiver not in configured}
    rows = []
    for name, integration in (configured | gone).items():
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
                is_late=oldest is not None and at - oldest > _LATE,
            )
        )
    return rows


def _subjects(firing: Sequence[FiringFeature]) -> str:
    features = sum(bool(one.series.feature) for one in firing)
    counts = {"feature": features, "whole monitor": len(firing) - features}
    return " and ".join(_counted(count, noun) for noun, count in counts.items() if count)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
