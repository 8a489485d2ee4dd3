"""The demo is killed with SIGKILL while it writes rows, measures and delivers: nothing is lost, nothing is repeated."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from drift_monitor.clock import SystemClock
from drift_monitor.store.connection import Store
from tests.notify.receivers import Received, Receiver, receiver
from tests.processes.demo_driver import MEASURED
from tests.processes.outcome import Outcome, read_outcome

NOW = datetime(2026, 11, 21, 9, 5, tzinfo=UTC)
LATER = timedelta(minutes=2)  # from one start to the next: the leases of the dead have ended
WINDOWS = MEASURED // timedelta(hours=1)
PATIENCE_SECONDS = 120.0
LOOK_AGAIN_SECONDS = 0.01


class Tripwire(list[Received]):
    """What a receiver got; the message awaited kills its sender before it is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = 0
        self.victim: subprocess.Popen[bytes] | None = None

    def append(self, one: Received) -> None:
        super().append(one)
        if len(self) == self.awaited and self.victim is not None:
            self.victim.kill()


class Demo:
    """A demo in a directory, started and killed; each start is a little later than the one before."""

    def __init__(self, directory: Path, hook: Receiver) -> None:
        self.directory = directory
        self._hook = hook
        self._starts = 0

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        now = NOW + self._starts * LATER
        self._starts += 1
        command = [sys.executable, "-m", "tests.processes.demo_driver", self.directory, now.isoformat(), self._hook.url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def run(self) -> None:
        with self.started() as process:
            _, told = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0, told.decode()

    def kill_when(self, reached: Callable[[], bool]) -> None:
        """Start, and kill once something is reached; that it ends by itself before would prove nothing."""
        with self.started() as process:
            pause = Event()
            while not reached():
                assert process.poll() is None, f"the demo ended with {process.returncode} before it was killed"
                pause.wait(LOOK_AGAIN_SECONDS)

    def kill_at_message(self, wire: Tripwire, number: int) -> None:
        """Start, and kill as the message arrives that is the `number`-th in all."""
        wire.awaited = number
        with self.started() as process:
            wire.victim = process
            if len(wire) >= number:
                process.kill()
            process.wait(PATIENCE_SECONDS)
        assert len(wire) >= number

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
    return [one.headers["webhook-id"] for one in messages]


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
        written = rng.randrange(1_000_000, 5_000_000)
        demo.kill_when(lambda: demo.bytes_written() > written)
        for done in sorted(rng.sample(range(1, WINDOWS), 3)):
            demo.kill_when(lambda reached=done: demo.windows_done() >= reached)  # type: ignore[misc]
        assert demo.windows_done() < WINDOWS
        for number in sorted(rng.sample(range(1, len(expected)), 2)):
            demo.kill_at_message(wire, number)
        demo.run()

    assert demo.rows() == undisturbed.rows()
    tables, found = undisturbed.outcome().tables, demo.outcome().tables
    assert found.keys() == tables.keys()
    assert [name for name in tables if found[name] != tables[name]] == []
    assert set(ids(wire)) == set(expected)
    assert len(wire) > len(expected)  # a message whose answer was lost comes again, with the id it had
