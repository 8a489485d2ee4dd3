"""A SQLite source whose hours are all alike, except where a test wants a feature to drift."""

import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

HOUR = timedelta(hours=1)

# Whether a feature has drifted in the hour that begins then.
Drifts = Callable[[datetime], bool]


def never(hour: datetime) -> bool:
    return False


def always(hour: datetime) -> bool:
    return True


def open_shop(path: Path, start: datetime, end: datetime, features: Mapping[str, Drifts], *, rows: int) -> None:
    """`events` has so many rows in each hour from `start` to `end`; `training` is what the hours look like.

    Values are evenly spread over 0 to 1; where a feature drifts they are all in the upper half.
    """
    names = tuple(features)
    columns = ", ".join(f"{name} REAL" for name in names)
    marks = ", ".join("?" * (len(names) + 1))
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE events (at DATETIME, {columns})")
        connection.execute("CREATE INDEX events_at ON events (at)")
        connection.execute(f"CREATE TABLE training ({columns})")
        training = [(number / 1000,) * len(names) for number in range(1000)]
        connection.executemany(f"INSERT INTO training VALUES ({', '.join('?' * len(names))})", training)
        hour = start
        while hour < end:
            drifting = [drifts(hour) for drifts in features.values()]
            for number in range(rows):
                even = number / rows
                at = (hour + HOUR * even).strftime("%Y-%m-%dT%H:%M:%SZ")
                values = [(1 + even) / 2 if drifted else even for drifted in drifting]
                connection.execute(f"INSERT INTO events VALUES ({marks})", (at, *values))
            hour += HOUR
    connection.close()
