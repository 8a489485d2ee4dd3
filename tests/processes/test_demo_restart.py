"""The demo is killed with SIGKILL while it writes rows, measures and delivers: nothing is lost, nothing is repeated.

It kills itself, or its receiver does before it answers: nobody has to be quick enough to see it somewhere.
"""

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue

import pytest

from drift_monitor.clock import SystemClock
from drift_monitor.evaluation.backfill import FIRST_BATCH
from drift_monitor.store.connection import Store
from tests.notify.receivers import Received, Receiver, receiver
from tests.processes.demo_driver import MEASURED
from tests.processes.outcome import Outcome, read_outcome
from tests.processes.processes import SIGKILLED

NOW = datetime(2026, 11, 21, 9, 5, tzinfo=UTC)
LATER = timedelta(minutes=2)  # from one start to the next: the leases of the dead have ended
WINDOWS = MEASURED // timedelta(hours=1)
PATIENCE_SECONDS = 300.0  # a whole demo on a busy machine


class Tripwire(list[Received]):
    """What a receiver got; the message awaited kills its sender before it is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = 0
        self.victims: Queue[subprocess.Popen[bytes]] = Queue()

    def append(self, message: Received) -> None:
        super().append(message)
        if len(self) == self.awaited:
            self.victims.get(timeout=PATIENCE_SECONDS).kill()


class Demo:
    """A demo in a directory, started and killed; each start is a little later than the one before."""

    def __init__(self, directory: Path, hook: Receiver) -> None:
        self.directory = directory
        self._hook = hook
        self._starts = 0

    def start(self, *death: object) -> "subprocess.Popen[bytes]":
        now = NOW + self._starts * LATER
        self._starts += 1
        command = [sys.executable, "-m", "tests.processes.demo_driver", self.directory, now.isoformat(), self._hook.url]
        return subprocess.Popen([*command, *map(str, death)], stderr=subprocess.PIPE)

    def run(self) -> None:
        assert self._end_of(self.start()) == 0

    def die_at(self, what: str, number: int) -> None:
        """Start, and let it kill itself at its `number`-th row or batch of windows."""
        assert self._end_of(self.start(what, number)) == SIGKILLED

    def die_at_message(self, wire: Tripwire, number: int) -> None:
        """Start, and kill as the message arrives that is the `number`-th in all."""
        wire.awaited = number
        process = self.start()
        wire.victims.put(process)
        assert self._end_of(process) == SIGKILLED

    def _end_of(self, process: "subprocess.Popen[bytes]") -> int:
        """How it ended; what it said is shown where the test fails."""
        try:
            _, told = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
        print(told.decode())
        return process.returncode

    def bytes_written(self) -> int:
        """How much of the rows lies in the write-ahead log, uncommitted."""
        log = self.directory / "payments.db-wal"
        return log.stat().st_size if log.exists() else 0

    def windows_done(self) -> int:
        try:
            with closing(sqlite3.connect(f"file:{self.directory / 'drift.db'}?mode=ro", uri=True)) as connection:
                (done,) = connection.execute("SELECT count(*) FROM drift_evaluations WHERE state = 'done'").fetchone()
                return int(done)
        except sqlite3.OperationalError:  # not made yet
            return 0

    def outcome(self) -> Outcome:
        store = Store(f"sqlite:///{self.directory / 'drift.db'}", SystemClock())
        try:
            return read_outcome(store, (), ())
        finally:
            store.close()

    def rows(self) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.directory / "payments.db")) as connection:
            return connection.execute("SELECT * FROM payments ORDER BY id").fetchall()


def ids(messages: list[Received]) -> list[str]:
    return [message.headers["webhook-id"] for message in messages]


@pytest.mark.slow
def test_a_demo_killed_again_and_again_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    rng = random.Random(20261121)
    with receiver() as hook:
        undisturbed = Demo(tmp_path / "undisturbed", hook)
        undisturbed.run()
        expected = ids(hook.received)
    assert len(expected) == len(set(expected)) >= 4

    wire = Tripwire()
    with receiver(received=wire) as hook:
        demo = Demo(tmp_path / "killed", hook)
        demo.die_at("row", rng.randrange(50_000, 100_000))
        assert demo.bytes_written() > 1_000_000
        demo.die_at_message(wire, 1)  # after the first piece of the past, whose finds are sent before the next one
        for _ in range(3):
            done = demo.windows_done()
            demo.die_at("batch", 2)  # it is lost, and the one before it is not
            assert done < demo.windows_done() <= done + FIRST_BATCH < WINDOWS
        demo.die_at_message(wire, len(wire) + 1)
        demo.run()

    assert demo.rows() == undisturbed.rows()
    tables, found = undisturbed.outcome().tables, demo.outcome().tables
    assert found.keys() == tables.keys()
    assert [name for name in tables if found[name] != tables[name]] == []
    assert set(ids(wire)) == set(expected)
    assert len(wire) > len(expected)  # a message whose answer was lost comes again, with the id it had
