"""What the page of one feature asks for, and what the store says about it, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.schedule import interval
from drift_monitor.errors import InputError
from drift_monitor.store import alerts, measurements, references, runs, status
from drift_monitor.store.alerts import AlertRow, Episode
from drift_monitor.store.connection import Transaction
from drift_monitor.store.measurements import Measurement, MeasurementFilter
from drift_monitor.store.runs import Run
from drift_monitor.store.status import Range, Series
from drift_monitor.web.pages.verdict import Unit

DAYS = (2, 7, 30, 90, 365)  # lengths of the history one may ask for
_WINDOWS = 100  # the default history has at least so many
_MOST_EPISODES = 50
_LOOKBACK = timedelta(days=400)  # how far back a last good measurement is looked for
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class FeatureQuery:
    """The query of the page; `window_end` None is the last good window."""

    window_end: datetime | None
    unit: Unit
    days: int


@dataclass(frozen=True, kw_only=True)
class FeatureReading:
    """One feature as the store has it. `selected` has its counts; `spec` are its bins."""

    latest: Measurement | None
    tried: Run | None
    selected: Measurement | None
    spec: BinSpec | None
    history: Sequence[Measurement]
    episodes: Sequence[Episode]
    active: Sequence[AlertRow]
    start: datetime
    end: datetime

    @property
    def is_latest(self) -> bool:
        """Whether the selected window is the newest one."""
        return not (self.selected and self.latest) or self.selected.window_end == self.latest.window_end

    @property
    def earlier(self) -> datetime | None:
        """The window before the selected one, in the history shown."""
        ends = [one.window_end for one in self.history if self.selected and one.window_end < self.selected.window_end]
        return max(ends, default=None)

    @property
    def later(self) -> datetime | None:
        """The window after the selected one."""
        ends = [one.window_end for one in self.history if self.selected and one.window_end > self.selected.window_end]
        return min(ends, default=None)


def read_query(query: Mapping[str, str], monitor: MonitorConfig) -> FeatureQuery:
    """What is asked for; raises InputError, naming what can't be read."""
    try:
        window_end = datetime.fromisoformat(query["window_end"]) if query.get("window_end") else None
        unit = Unit(query.get("units", Unit.NATS))
        days = int(query["days"]) if "days" in query else default_days(monitor)
    except ValueError as error:
        raise InputError(f"The query can't be read: {error}.") from error
    if window_end is not None and window_end.tzinfo is None:
        raise InputError("The query's window_end needs a time zone: write 2026-11-20T12:00:00Z.")
    if days not in DAYS:
        raise InputError(f"The query's days must be one of {', '.join(map(str, DAYS))}.")
    return FeatureQuery(window_end=window_end, unit=unit, days=days)


def default_days(monitor: MonitorConfig) -> int:
    """The shortest history with enough windows."""
    return next((days for days in DAYS if timedelta(days=days) >= _WINDOWS * interval(monitor.schedule)), DAYS[-1])


def read_feature(conn: Transaction, series: Series, asked: FeatureQuery, at: datetime) -> FeatureReading:
    """Everything the page shows."""
    latest = _newest(conn, series, None)
    selected = _selected(conn, series, asked, latest)
    start, end = _range(asked, selected, latest, at)
    stretch = Range(monitor=series.monitor, since=start, until=end, features=(series.feature,))
    history = status.histories(conn, [stretch]).get(series, [])
    spec_ids = [selected.bin_spec] if selected and selected.bin_spec else []
    return FeatureReading(
        latest=latest,
        tried=runs.latest(conn).get(series.monitor),
        selected=selected,
        spec=next(iter(references.specs(conn, spec_ids).values()), None),
        history=history,
        episodes=alerts.episodes(conn, monitor=series.monitor, features=[series.feature], limit=_MOST_EPISODES),
        active=[row for row in alerts.active(conn, series.monitor) if (row.key.feature, row.key.segment) == series[1:]],
        start=_begin(start, end, history),
        end=end,
    )


def _newest(conn: Transaction, series: Series, window_end: datetime | None) -> Measurement | None:
    which = MeasurementFilter(
        monitor=series.monitor,
        feature=series.feature,
        segment=series.segment,
        since=window_end,
        until=None if window_end is None else window_end + _MOMENT,
    )
    return next(iter(measurements.history(conn, which, limit=1)), None)


def _selected(conn: Transaction, series: Series, asked: FeatureQuery, latest: Measurement | None) -> Measurement | None:
    """The window that was asked for, or the last good one, or whatever there is; with counts."""
    if asked.window_end is not None:
        chosen = _newest(conn, series, asked.window_end)
    elif latest is not None:
        good = status.last_good(conn, [series], latest.window_end - _LOOKBACK).get(series)
        chosen = good.measurement if good else latest
    else:
        chosen = None
    return status.counted(conn, [chosen])[series] if chosen else None


def _begin(start: datetime, end: datetime, history: Sequence[Measurement]) -> datetime:
    """Where a chart begins: with the first window, where most of the time asked for lies before it."""
    if not history or history[0].window_end < start + (end - start) / 2:
        return start
    return max(start, history[0].window_end - max((end - history[0].window_end) / 8, timedelta(hours=1)))


def _range(
    asked: FeatureQuery, selected: Measurement | None, latest: Measurement | None, at: datetime
) -> tuple[datetime, datetime]:
    """The history shown: up to the newest window, or around the selected one where that is older."""
    length = timedelta(days=asked.days)
    end = latest.window_end if latest else at
    if selected is not None and selected.window_end < end - length:
        end = selected.window_end + length / 4
    return end - length, end
