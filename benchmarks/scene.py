"""What the figures are measured on: tables in SQLite, configurations over them, and a daemon that runs.

Only surfaces that users have: YAML, commands, HTTP and the views of the store. So the same benchmark measures checkouts
whose modules have other names. Made with the standard library alone, since the harness has to stay small.
"""

import random
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from benchmarks.figures import Checkout
from tests.ports import lasting_port

HOUR = timedelta(hours=1)
LABELS = "abcdefgh"
REFERENCE_ROWS = 5_000
PATIENCE = 900.0  # seconds until a daemon must have done what it was started for


def last_hour() -> datetime:
    """The last full hour: windows of an hour that end then are the newest which can be evaluated."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def fill_source(folder: Path, *, features: int, start: datetime, hours: int, rows: int) -> None:
    """`source.db`: `events` with so many rows an hour from start on, and `training`; every fifth feature has labels."""
    drawn = random.Random(7)
    kinds = [("TEXT" if number % 5 == 4 else "REAL") for number in range(features)]
    columns = ", ".join(f"f{number} {kind}" for number, kind in enumerate(kinds))
    marks = ", ".join("?" * (features + 1))

    def row() -> list[object]:
        return [drawn.choice(LABELS) if kind == "TEXT" else drawn.lognormvariate(0, 1) for kind in kinds]

    times = (start + HOUR * (number + 0.5) / rows for number in range(hours * rows))
    with closing(sqlite3.connect(folder / "source.db")) as connection, connection:
        connection.execute(f"CREATE TABLE events (at TEXT, {columns})")
        connection.execute(f"CREATE TABLE training ({columns})")
        connection.executemany(f"INSERT INTO events VALUES ({marks})", ([at.isoformat(), *row()] for at in times))
        connection.executemany(f"INSERT INTO training VALUES ({marks[3:]})", (row() for _ in range(REFERENCE_ROWS)))
        connection.execute("CREATE INDEX events_at ON events (at)")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A configuration over the tables of a folder, as text and as a file."""

    folder: Path
    features: int
    name: str = "drift"  # of the files of configuration and store
    monitors: int = 1
    every: str = "1h"
    pane: str = "1h"
    window: str = "24h"
    min_rows: int = 50
    store_url: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / f"{self.name}.db"

    def write(self) -> str:
        """Write the file; its name."""
        listed = ", ".join(f"f{number}" for number in range(self.features))
        monitors = "".join(self._monitor(number, listed) for number in range(self.monitors))
        path = self.folder / f"{self.name}.yaml"
        path.write_text(
            f"store: {{url: '{self.store_url or f'sqlite:///{self.store}'}'}}\n"
            f"sources: [{{name: source, url: 'sqlite:///{self.folder}/source.db', time_zone: UTC}}]\n"
            f"monitors:\n{monitors}"
        )
        return str(path)

    def _monitor(self, number: int, listed: str) -> str:
        keys = {
            "name": f"m{number}",
            "source": "source",
            "table": "events",
            "time_column": "at",
            "every": self.every,
            "pane": self.pane,
            "window": self.window,
            "settle": "0s",
            "min_rows": str(self.min_rows),
            "reference": "{table: training}",
            "features": f"[{listed}]",
            **self.extra,
        }
        return "  - " + "\n    ".join(f"{key}: {value}" for key, value in keys.items()) + "\n"

    def backfill(self, checkout: Checkout, start: datetime, end: datetime) -> float:
        """Fill the windows that end in (start, end]; the CPU seconds of the command."""
        times = ("--from", start.isoformat(), "--to", end.isoformat())
        return checkout.command("backfill", "--config.file", self.write(), *times, "--log.level=error").cpu

    def states(self) -> dict[str, int]:
        """How many evaluations are in which state, by the view of a SQLite store."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=30)) as connection:
            return dict(connection.execute("SELECT state, count(*) FROM drift_evaluations GROUP BY state").fetchall())

    def size(self) -> int:
        """Bytes of a SQLite store without free pages."""
        with closing(sqlite3.connect(self.store, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.store.stat().st_size


class Daemon:
    """A service that runs: what it answers, and the CPU it has used."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.port = port
        self._process = process
        self._usage = psutil.Process(process.pid)

    def cpu(self) -> float:
        times = self._usage.cpu_times()
        return times.user + times.system

    def get(self, path: str, **headers: str) -> bytes:
        """The body as it came over the wire."""
        address = f"http://127.0.0.1:{self.port}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with urllib.request.urlopen(urllib.request.Request(address, headers=named), timeout=120) as answer:
            body: bytes = answer.read()
        return body

    def answers(self, path: str) -> bool:
        try:
            self.get(path)
        except OSError:
            return False
        return True

    def wait(self, is_so: Callable[[], bool], pause: float = 0.1) -> None:
        """Until it is so; an error where the process ends or too much time goes by."""
        last = time.monotonic() + PATIENCE
        while not is_so():
            if self._process.poll() is not None or time.monotonic() > last:
                raise RuntimeError(f"the service ended or hangs: {self._process.args!r}")
            time.sleep(pause)


@contextmanager
def serving(checkout: Checkout, folder: Path, *arguments: str) -> Iterator[Daemon]:
    """A command that serves, on a free port, stopped in order at the end; its log is in the folder."""
    port = lasting_port()
    command = [sys.executable, "-m", "drift_monitor", *arguments, f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, env=checkout.environment(), cwd=folder, stdout=log, stderr=log)
        try:
            yield Daemon(port, process)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
