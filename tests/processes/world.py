"""What the processes of these tests watch: two tables with known drifts, a configuration, and windows that hold still.

Windows end on full hours and are an hour apart. `settle` is chosen so that the newest one came due a few minutes ago
and the next one comes due in most of an hour: whatever happens meanwhile, two runs see the same windows, by the real
clock of the process and of the PostgreSQL server.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

HOUR = timedelta(hours=1)
WINDOWS = 5  # come due at once when the service starts; one more was evaluated before
ROWS = 240  # in each hour of each table
REFERENCE_HOURS = 12
SECRET = "canary-5f1c"  # stands in the webhook's URL and must never be shown

CONFIGURATION = """
store: {{url: "{store}"}}
sources:
  - {{name: shop, url: "sqlite:///{source}"}}
receivers:
  - {{name: first, webhook: {{url: "{receiver}/first/{secret}"}}}}
  - {{name: second, webhook: {{url: "{receiver}/second/{secret}", max_alerts: 1}}}}
rules:
  - {{metric: psi, above: 0.1, severity: warning}}
  - {{metric: psi, above: 0.25, severity: critical}}
monitors:
{monitors}"""


MONITOR = """
  - name: {name}
    source: shop
    table: {name}
    time_column: at
    features: [{features}]
    every: 1h
    pane: 1h
    window: 2h
    settle: {settle}m
    revise: 1
    min_rows: 100
    reference: {{from: "{reference_from}", to: "{reference_to}"}}
"""
FEATURES = {"orders": "amount, country", "visits": "pages, device"}


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Which windows there are. `first` ends the one that is evaluated before the service starts."""

    newest: datetime
    settle: timedelta

    @classmethod
    def at(cls, now: datetime) -> "Timeline":
        hour = now.replace(minute=0, second=0, microsecond=0)
        return cls(newest=hour - HOUR, settle=timedelta(minutes=now.minute + 55))

    @property
    def first(self) -> datetime:
        return self.newest - WINDOWS * HOUR

    @property
    def reference(self) -> tuple[datetime, datetime]:
        end = self.first - 4 * HOUR
        return end - REFERENCE_HOURS * HOUR, end

    def window(self, number: int) -> datetime:
        """The end of the n-th window after the first."""
        return self.first + number * HOUR


def text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def configuration(timeline: Timeline, *, store: str, source: Path, receiver: str) -> str:
    """The text of a configuration file."""
    reference_from, reference_to = timeline.reference
    monitors = [
        MONITOR.format(
            name=name,
            features=features,
            settle=int(timeline.settle.total_seconds() // 60),
            reference_from=text(reference_from),
            reference_to=text(reference_to),
        )
        for name, features in FEATURES.items()
    ]
    return CONFIGURATION.format(
        store=store, source=source, receiver=receiver, secret=SECRET, monitors="".join(monitors)
    )


def build_source(path: Path, timeline: Timeline) -> None:
    """Orders drift in the hours before windows 1 and 2, visits in those before 2 and 3, and both are well before 5."""
    start, _ = timeline.reference
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE orders (at TIMESTAMP, amount REAL, country TEXT)")
        database.execute("CREATE TABLE visits (at TIMESTAMP, pages INTEGER, device TEXT)")
        for table in ("orders", "visits"):
            database.execute(f"CREATE INDEX {table}_at ON {table} (at)")
        hour = start
        while hour < timeline.newest:
            number = (hour - timeline.first) // HOUR
            insert_hour(database, "orders", hour, drifting=number in (0, 1))
            insert_hour(database, "visits", hour, drifting=number in (1, 2))
            hour += HOUR


def insert_hour(database: sqlite3.Connection, table: str, hour: datetime, *, drifting: bool, rows: int = ROWS) -> None:
    """Rows spread over one hour; the same ones whenever the hour and the numbers are the same."""
    random = np.random.default_rng([len(table), int(hour.timestamp()), rows])
    moments = [text(hour + HOUR * position / rows) for position in range(rows)]
    if table == "orders":
        numbers = [float(one) for one in random.normal(80.0 if drifting else 50.0, 10.0, rows).round(2)]
        labels = [str(one) for one in random.choice(["DE", "FR", "PL"], rows, p=[0.5, 0.3, 0.2])]
    else:
        numbers = [int(one) for one in random.poisson(12 if drifting else 4, rows)]
        labels = [str(one) for one in random.choice(["phone", "desktop"], rows, p=[0.6, 0.4])]
    database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", list(zip(moments, numbers, labels, strict=True)))


def add_late_rows(path: Path, table: str, hour: datetime, *, drifting: bool = False, rows: int = 61) -> None:
    """Rows of an hour that come after it was read."""
    with closing(sqlite3.connect(path)) as database, database:
        insert_hour(database, table, hour, drifting=drifting, rows=rows)
