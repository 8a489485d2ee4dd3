"""The service as a process of its own under a clock of its own, watched from outside.

What happened is read from the views and tables of its SQLite store, from `/metrics` and from its log.
"""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from tests.processes.clock.shim import ShiftedClock

Found = TypeVar("Found")

PATIENCE = timedelta(seconds=120)  # of true time, on a busy machine; longer than a lease
ANSWER_SECONDS = 60.0  # for one answer of the listener or the store
LOOK_AGAIN_SECONDS = 0.05
LAST_TICK = "drift_scheduler_last_tick_timestamp_seconds"


class NeverHappened(AssertionError):
    """What a test waited for did not come."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A row of `drift_evaluations`."""

    monitor: str
    window_start: datetime
    window_end: datetime
    revision: int
    state: str
    health: str
    attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A row of `drift_episodes`."""

    monitor: str
    rule: str
    feature: str
    opened: datetime
    closed: datetime | None
    close_reason: str | None


@dataclass(frozen=True, kw_only=True)
class Told:
    """One alert of one notification in the outbox."""

    window_end: datetime
    status: str
    feature: str


DRIVER = ("-m", "tests.processes.clock.driver")
PROGRAM = ("-m", "drift_monitor", "run", "--log.format=json", "--web.listen-address=127.0.0.1:0", "--config.file")


class ClockedDaemon:
    """One service with its store, its configuration and its clock.

    `command` is what Python runs, followed by the configuration and, for the driver, the mistake to build in.
    """

    def __init__(
        self, folder: Path, config: str, clock: ShiftedClock, mistake: str = "", command: Sequence[str] = DRIVER
    ) -> None:
        self.store = folder / "drift.db"
        self._folder = folder
        self._config = folder / "drift-monitor.yml"
        self._config.write_text(config)
        self._clock = clock
        self._arguments = (*command, str(self._config), *([mistake] if mistake else []))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until what is due is done: a step of the clock would end the lease of work that runs."""
        starts = len(self.events("listening"))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments], env={**os.environ, **self._clock.environment}, stderr=log
            )
        listening = self.wait_for(lambda: self.events("listening")[starts:], "listening")
        self._port = int(listening[0]["port"])
        self.wait_until_idle()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE.total_seconds())

    def kill(self) -> None:
        """End it whatever it does: the test is over."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def advance_to(self, moment: datetime) -> None:
        """Set the clock, and wait until everything that has come due is done or put off."""
        self._clock.set(moment)
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Wait until the loop has turned and nothing that is due waits any more."""
        self.wait_for_turns()
        self.wait_for(self._is_idle, "nothing is due")

    def wait_for_steps(self, count: int) -> list[float]:
        """Wait until the service has noticed so many steps of its clock; their seconds.

        Before the next one: two steps between two looks at the clock are one, or none.
        """
        seen = self.wait_for(
            lambda: steps if len(steps := self.events("clock_step")) >= count else None, f"step {count} of the clock"
        )
        return [float(event["seconds"]) for event in seen]

    def wait_for_turns(self, patience: timedelta = PATIENCE) -> None:
        """Wait for two turns of the loop that end by the present clock: the second began after the first ended."""
        first = self.wait_for(
            self._tick_since(self._clock.now() - timedelta(seconds=1)), "a turn of the loop", patience
        )
        self.wait_for(self._tick_since(first + timedelta(milliseconds=1)), "another turn of the loop", patience)

    def wait_for(self, look: Callable[[], Found | None], what: str, patience: timedelta = PATIENCE) -> Found:
        """The first answer that is not empty."""
        deadline = time.monotonic() + patience.total_seconds()
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            if self._process is not None and self._process.poll() is not None:
                raise NeverHappened(f"{what}: the service ended with {self._process.returncode}\n{self._last_words()}")
            Event().wait(LOOK_AGAIN_SECONDS)
        raise NeverHappened(f"{what}: not within {patience}\n{self._last_words()}")

    def metric(self, name: str, **labels: str) -> float | None:
        """A sample of /metrics; None where there is none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=ANSWER_SECONDS) as answer:
            text = answer.read().decode()
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in text.splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name and wanted <= set((found[2] or "").split(",")):
                return float(found[3])
        return None

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the log tells under this name of an event."""
        text = self._log.read_text() if self._log.exists() else ""
        whole = text[: text.rfind("\n") + 1].splitlines()
        lines = (json.loads(line) for line in whole if line.startswith("{"))
        return [line for line in lines if line["event"] == name]

    def evaluations(self, monitor: str) -> list[Evaluation]:
        """Every evaluation of a monitor, by window."""
        rows = self._rows(
            "SELECT monitor, window_start, window_end, revision, state, health, attempts, started_at, finished_at,"
            " error FROM drift_evaluations WHERE monitor = ? ORDER BY window_end, revision",
            monitor,
        )
        return [Evaluation(**{name: _value(name, row[name]) for name in row.keys()}) for row in rows]  # noqa: SIM118

    def count(self, table: str) -> int:
        """How many rows a table of the store has."""
        return int(self._rows(f"SELECT count(*) FROM {table}")[0][0])

    def reasons(self, monitor: str) -> list[str | None]:
        """Why each skipped window was skipped."""
        rows = self._rows("SELECT reason FROM run WHERE monitor = ? AND state = 'skipped'", monitor)
        return [row["reason"] for row in rows]

    def episodes(self, monitor: str) -> list[Episode]:
        """Every episode of a monitor, in the order in which they opened."""
        rows = self._rows("SELECT * FROM drift_episodes WHERE monitor = ? ORDER BY opened_window, feature", monitor)
        return [
            Episode(
                rule=row["rule"],
                monitor=row["monitor"],
                feature=row["feature"],
                opened=datetime.fromisoformat(row["opened_window"]),
                closed=_moment(row["closed_window"]),
                close_reason=row["close_reason"],
            )
            for row in rows
        ]

    def told(self, monitor: str) -> list[Told]:
        """Every alert that was put into a notification, in order."""
        rows = self._rows("SELECT window_end, body FROM outbox WHERE monitor = ? ORDER BY seq", monitor)
        return [
            Told(
                window_end=datetime.fromisoformat(row["window_end"]),
                status=alert["status"],
                feature=alert["labels"].get("feature", ""),
            )
            for row in rows
            for alert in json.loads(row["body"])["alerts"]
        ]

    def alert_states(self, monitor: str) -> dict[datetime, list[dict[str, Any]]]:
        """The alerts after each window, as stored with it."""
        rows = self._rows("SELECT window_end, alert_states FROM run WHERE monitor = ? AND state = 'done'", monitor)
        return {datetime.fromisoformat(row["window_end"]): json.loads(row["alert_states"]) for row in rows}

    @property
    def _log(self) -> Path:
        return self._folder / "daemon.log"

    def _rows(self, statement: str, *values: object) -> Sequence[sqlite3.Row]:
        connection = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=ANSWER_SECONDS)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def _last_words(self) -> str:
        """What waits in the store, and the end of the log."""
        unfinished = "SELECT window_end, state, next_at, lease_until, error FROM run WHERE state IN ('due', 'running')"
        unsent = "SELECT window_end, state, next_at, lease_until, last_error FROM outbox WHERE state = 'pending'"
        waiting = [tuple(row) for row in (*self._rows(unfinished), *self._rows(unsent))] if self.store.exists() else []
        log = self._log.read_text().splitlines()[-20:]
        return "\n".join([f"clock: {self._clock.now()}", *map(str, waiting), *log])

    def _tick_since(self, moment: datetime) -> Callable[[], datetime | None]:
        def look() -> datetime | None:
            tick = self.metric(LAST_TICK)
            at = datetime.fromtimestamp(tick or 0, UTC)
            return at if moment <= at <= self._clock.now() + timedelta(seconds=2) else None

        return look

    def _is_idle(self) -> bool:
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        waiting = self._rows(
            "SELECT 1 FROM run WHERE state = 'running' OR (state = 'due' AND next_at <= ? AND NOT EXISTS ("
            " SELECT 1 FROM run o WHERE o.monitor = run.monitor AND o.state IN ('due', 'running')"
            " AND o.window_end < run.window_end))",
            now,
        )
        pending = self._rows("SELECT 1 FROM outbox WHERE state = 'pending' AND next_at <= ?", now)
        return not waiting and not pending


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _value(name: str, value: Any) -> Any:
    return _moment(value) if name in ("window_start", "window_end", "started_at", "finished_at") else value
