"""Evaluations in this process: a SQLite source that tests fill, a store, and a clock that stands still.

Panes are hours; hour n begins n hours after `START`, and window n ends where hour n begins.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import make_url

from drift_monitor.alerting.services import Services
from drift_monitor.app import open_services
from drift_monitor.config.loading import load
from drift_monitor.evaluation.attempt import Result, attempt
from drift_monitor.evaluation.planning import planned_run
from drift_monitor.store import alerts, leases, measurements, runs
from drift_monitor.store.alerts import AlertRecord, Episode
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.runs import Run, RunFilter, RunKey, Trigger
from tests.clocks import FixedClock
from tests.migrated import lay_out
from tests.postgresql import PostgresqlServer

# Long past, so that a PostgreSQL store, which has the server's clock, finds all of it due.
START = datetime(2024, 3, 4, tzinfo=UTC)
PRESENT = datetime(2024, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MONITOR = "people"
EDGES = (0, 10, 20, 30, 40)
AGE = {"name": "age", "bins": {"edges": list(EDGES)}}

Ages = Sequence[float | None]


def hour(number: int) -> datetime:
    """When an hour begins, and the window of this number ends."""
    return START + number * HOUR


def even(count: int) -> Ages:
    """As many ages in each bin."""
    return [40 * (number + 0.5) / count for number in range(count)]


def high(count: int) -> Ages:
    """All in the last bin."""
    return [35.0] * count


def counted(ages: Ages) -> list[int]:
    """Counts as the contract orders them: below, the bins, above, invalid, missing."""
    values = np.array([age for age in ages if age is not None])
    inside = [int(((values >= low) & (values < up)).sum()) for low, up in pairwise(EDGES)]
    below, above = int((values < EDGES[0]).sum()), int((values >= EDGES[-1]).sum())
    return [below, *inside, above, 0, len(ages) - len(values)]


@dataclass(frozen=True)
class People:
    """The source: a table `people` with a time, `age` and `country`, and a table `training` without times."""

    path: Path

    def __post_init__(self) -> None:
        self.execute("CREATE TABLE IF NOT EXISTS people (at DATETIME, age REAL, country TEXT)")
        self.execute("CREATE TABLE IF NOT EXISTS training (age REAL, country TEXT)")

    def arrive(self, number: int, ages: Ages, countries: Sequence[str | None] = ()) -> None:
        """Rows of this hour are written now."""
        named = countries or ["DE"] * len(ages)
        step = HOUR / max(len(ages), 1)
        rows = [
            (f"{hour(number) + position * step:%Y-%m-%dT%H:%M:%S.%fZ}", age, country)
            for position, (age, country) in enumerate(zip(ages, named, strict=True))
        ]
        self._write("INSERT INTO people VALUES (?, ?, ?)", rows)

    def train(self, ages: Ages, countries: Sequence[str | None] = ()) -> None:
        named = countries or ["DE"] * len(ages)
        self._write("INSERT INTO training VALUES (?, ?)", list(zip(ages, named, strict=True)))

    def execute(self, statement: str) -> None:
        self._write(statement, [()])

    def _write(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany(statement, rows)


@dataclass(frozen=True)
class Bench:
    """Opened services with one monitor, and what its store holds."""

    services: Services
    people: People

    def evaluate(self, *windows: int) -> None:
        """Evaluate these windows, and the revisions they bring about, as the daemon would."""
        for number in windows:
            monitor = self.services.config.monitor(MONITOR)
            planned = planned_run(monitor, hour(number), hour(number), Trigger.SCHEDULE)
            assert self.services.store.transact(lambda conn, one=planned: runs.plan(conn, [one])) == 1
            while self._attempt_next():
                pass

    def runs(self) -> list[Run]:
        """Every evaluation, by window and revision."""
        with self.services.store.read() as conn:
            found = runs.history(conn, RunFilter(monitor=MONITOR))
        return sorted(found, key=lambda one: (one.key.window_end, one.key.revision))

    def revisions(self) -> dict[int, int]:
        """The last revision of each window; all evaluations have to be done."""
        assert all(one.state is runs.RunState.DONE for one in self.runs())
        return {(one.key.window_end - START) // HOUR: one.key.revision for one in self.runs()}

    def rows_read(self, window: int) -> int | None:
        with self.services.store.read() as conn:
            run = runs.find(conn, RunKey(monitor=MONITOR, window_end=hour(window)))
        assert run is not None
        return run.rows_read

    def measured(self, window: int, feature: str = "age", revision: int = 0) -> Measurement:
        key = RunKey(monitor=MONITOR, window_end=hour(window), revision=revision)
        with self.services.store.read() as conn:
            return next(one for one in measurements.of_run(conn, key) if one.feature == feature)

    def pane_counts(self, number: int, feature: str = "age") -> list[list[int]]:
        """The counts of the pane of this hour, one list for each of its revisions."""
        rows = self.rows(
            "SELECT p.pane_start, p.revision, p.counts FROM pane p JOIN pane_series s ON s.id = p.series"
            f" WHERE s.feature = '{feature}' ORDER BY p.series, p.revision"
        )
        return [_plain(counts) for start, _, counts in rows if _moment(start) == hour(number)]

    def episodes(self) -> list[Episode]:
        """Every episode, oldest first."""
        with self.services.store.read() as conn:
            return list(reversed(alerts.episodes(conn, monitor=MONITOR)))

    def told(self) -> list[tuple[int, int, str]]:
        """(window, revision, status) of every alert in a notification."""
        rows = self.rows("SELECT window_end, revision, body FROM outbox ORDER BY seq")
        return [
            ((_moment(end) - START) // HOUR, revision, alert["status"])
            for end, revision, body in rows
            for alert in _plain(body)["alerts"]
        ]

    def phase_after(self, window: int) -> str:
        """Where the only alert stood after the last revision of a window."""
        with self.services.store.read() as conn:
            last = runs.latest_done_of(conn, MONITOR, hour(window))
        assert last is not None
        (state,) = last.alert_states
        return AlertRecord.from_json(state).alert.phase.value

    def rows(self, statement: str) -> list[Any]:
        with self.services.store.read() as conn:
            return list(conn.exec_driver_sql(statement))

    def _attempt_next(self) -> bool:
        services = self.services
        claim = services.store.transact(lambda conn: leases.claim(conn, services.owner, timedelta(minutes=1)))
        if claim is None:
            return False
        assert attempt(services, services.config.monitor(MONITOR), claim) is Result.DONE
        return True


@dataclass
class Workbench:
    """A folder with a source and a store, which may be opened with one configuration after another."""

    folder: Path
    store_url: str
    receivers: Sequence[dict[str, Any]] = ({"name": "log", "log": {}},)
    people: People = field(init=False)

    def __post_init__(self) -> None:
        self.people = People(self.folder / "people.db")
        path = make_url(self.store_url).database if self.store_url.startswith("sqlite:") else None
        if path and not Path(path).exists():
            lay_out(Path(path))

    @contextmanager
    def copied(self, folder: Path, server: PostgresqlServer | None = None) -> Iterator["Workbench"]:
        """A workbench with the same rows and the same store, which is on this server or else a file. None is open."""
        name = make_url(self.store_url).database or ""
        shutil.copy(self.people.path, folder)
        if server is None:
            yield Workbench(folder, f"sqlite:///{shutil.copy(name, folder)}", self.receivers)
        else:
            copy = server.create_database(name)
            yield Workbench(folder, server.url(copy), self.receivers)
            server.drop_database(copy)

    @contextmanager
    def open(self, **monitor: Any) -> Iterator[Bench]:
        """Services of a monitor with these keys; the others are the shortest that work."""
        common = {
            "name": MONITOR,
            "source": "people",
            "table": "people",
            "time_column": "at",
            "every": "1h",
            "window": "1h",
            "min_rows": 50,
            "reference": {"table": "training"},
            "features": [AGE],
            "rules": [{"metric": "psi", "above": 0.25}],
        }
        document = {
            "store": {"url": self.store_url},
            "sources": [{"name": "people", "url": f"sqlite:///{self.people.path}"}],
            "receivers": list(self.receivers),
            "monitors": [{**common, **monitor}],
        }
        path = self.folder / "drift-monitor.yml"
        path.write_text(json.dumps(document))  # JSON is YAML
        with open_services(load(path), clock=FixedClock(PRESENT), migrate_store=True) as services:
            yield Bench(services, self.people)


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _moment(value: Any) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
