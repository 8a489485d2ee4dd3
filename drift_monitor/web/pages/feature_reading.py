"""What the page of one feature asks for, and what the store says about it, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.rules import Health
from drift_monitor.core.schedule import interval
from drift_monitor.errors import InputError
from drift_monitor.queries.status import why_unmeasured
from drift_monitor.store import alerts, measurements, references, runs
from drift_monitor.store.alerts import AlertRow, Episode
from drift_monitor.store.connection import Transaction
from drift_monitor.store.measurements import Measurement, MeasurementFilter
from drift_monitor.store.runs import Run
from drift_monitor.store.status import Range, Series, counted, histories, last_good
from drift_monitor.web.api.requests import read_instant, shown
from drift_monitor.web.pages.rendering import query_text
from drift_monitor.web.pages.verdict import Unit
from drift_monitor.web.phrases import UNMEASURED_TEXTS, iso_text

DAYS: Final = (2, 7, 30, 90, 365)  # lengths of the history one may ask for
_WINDOWS: Final = 100  # the default history has at least so many
_MOST_EPISODES: Final = 50
_LOOKBACK: Final = timedelta(days=400)  # how far back a last good measurement is looked for
_MOMENT: Final = timedelta(microseconds=1)  # filters end before `until`; this makes one window of them


@dataclass(frozen=True, kw_only=True)
class FeatureQuery:
    """The query of the page; `window_end` None is the last good window."""

    window_end: datetime | None
    unit: Unit
    days: int

    def address(self, **change: str | None) -> str:
        """This page's query with something changed; what has its default is left out."""
        query: dict[str, str | None] = {
            "window_end": iso_text(self.window_end) if self.window_end else None,
            "days": str(self.days),
            "units": None if self.unit is Unit.NATS else self.unit.value,
            **change,
        }
        return query_text(query)


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
        selected = self.selected
        ends = (window.window_end for window in self.history if selected and window.window_end < selected.window_end)
        return max(ends, default=None)

    @property
    def later(self) -> datetime | None:
        """The window after the selected one."""
        selected = self.selected
        ends = (window.window_end for window in self.history if selected and window.window_end > selected.window_end)
        return min(ends, default=None)

    @property
    def trouble(self) -> str:
        """Why the newest values are not there; empty where they are."""
        if self.tried is not None and self.tried.health is Health.ERROR:
            return f"The last evaluation failed: {self.tried.error or self.tried.error_code}."
        if self.latest is None:
            return "It has not been measured yet."
        reason = why_unmeasured(self.latest)
        if reason is None:
            return ""
        said = f" {self.latest.error}" if self.latest.error else ""
        return f"The last evaluation gave no value: {UNMEASURED_TEXTS[reason]}.{said}"


def read_query(query: Mapping[str, str], monitor: MonitorConfig) -> FeatureQuery:
    """What is asked for; raises InputError, naming what can't be read."""
    # The shortest history with enough windows.
    shortest = _WINDOWS * interval(monitor.schedule)
    default_days = next((days for days in DAYS if timedelta(days=days) >= shortest), DAYS[-1])
    try:
        unit = Unit(query.get("units", Unit.NATS))
        days = int(query["days"]) if "days" in query else default_days
    except ValueError as error:
        raise InputError(f"The query can't be read: {shown(str(error))}.") from error
    window_end = read_instant(query["window_end"]) if query.get("window_end") else None
    if window_end is None and query.get("window_end"):
        text = shown(query["window_end"])
        raise InputError(f"The query's window_end is {text}: write a time with its zone, as 2026-11-20T12:00:00Z.")
    if days not in DAYS:
        raise InputError(f"The query's days must be one of {', '.join(map(str, DAYS))}.")
    return FeatureQuery(window_end=window_end, unit=unit, days=days)


def read_feature(conn: Transaction, series: Series, query: FeatureQuery, at: datetime) -> FeatureReading:
    """Everything the page shows, in one transaction."""
    latest = _newest(conn, series, None)
    # The window that was asked for, or the last good one, or whatever there is.
    if query.window_end is not None:
        chosen = _newest(conn, series, query.window_end)
    elif latest is not None:
        good = last_good(conn, [series], latest.window_end - _LOOKBACK).get(series)
        chosen = good.measurement if good else latest
    else:
        chosen = None
    selected = counted(conn, [chosen])[series] if chosen else None
    # Up to the newest window, or around the selected one where that is older.
    length = timedelta(days=query.days)
    end = latest.window_end if latest else at
    if selected is not None and selected.window_end < end - length:
        end = selected.window_end + length / 4
    start = end - length
    stretch = Range(monitor=series.monitor, since=start, until=end, features=(series.feature,))
    history = histories(conn, [stretch]).get(series, [])
    if history and history[0].window_end >= start + (end - start) / 2:
        # Most of the time asked for lies before the first window: the chart begins shortly before that one.
        first = history[0].window_end
        start = max(start, first - max((end - first) / 8, timedelta(hours=1)))
    spec_ids = [selected.bin_spec] if selected and selected.bin_spec else []
    return FeatureReading(
        latest=latest,
        tried=runs.latest(conn).get(series.monitor),
        selected=selected,
        spec=next(iter(references.specs(conn, spec_ids).values()), None),
        history=history,
        episodes=alerts.episodes(conn, monitor=series.monitor, features=[series.feature], limit=_MOST_EPISODES),
        active=[row for row in alerts.active(conn, series.monitor) if (row.key.feature, row.key.segment) == series[1:]],
        start=start,
        end=end,
    )


def _newest(conn: Transaction, series: Series, window_end: datetime | None) -> Measurement | None:
    """The measurement of that window, or the newest of all."""
    which = MeasurementFilter(
        monitor=series.monitor,
        feature=series.feature,
        segment=series.segment,
        since=window_end,
        until=None if window_end is None else window_end + _MOMENT,
    )
    return next(iter(measurements.history(conn, which, limit=1)), None)
