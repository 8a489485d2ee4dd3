"""The clock shim shifts the wall clock of a Python process, and nothing else."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.processes.clock.shim import ShiftedClock

pytestmark = pytest.mark.processes

# Answers each line on stdin with everything that the service may ask the time of.
CHILD = """
import json, sqlite3, sys, threading, time
from datetime import UTC, datetime
connection = sqlite3.connect(":memory:")
for line in sys.stdin:
    started = time.monotonic()
    timed_out = not threading.Event().wait(0.2)
    waited = time.monotonic() - started
    print(json.dumps({
        "datetime": datetime.now(UTC).timestamp(),
        "time": time.time(),
        "sqlite": connection.execute("SELECT strftime('%s', 'now')").fetchone()[0],
        "monotonic": time.monotonic(),
        "waited": waited if timed_out else None,
    }), flush=True)
"""
LATE = 120  # seconds that a question and its answer may take on a busy machine


class Child:
    """A Python process under the shim that says what time it is."""

    def __init__(self, clock: ShiftedClock) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            env={**os.environ, **clock.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def times(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("now\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()


@pytest.mark.parametrize("shift", [timedelta(0), timedelta(days=-237, hours=3), timedelta(days=40)])
def test_a_python_process_sees_the_shifted_wall_clock_and_the_true_monotonic_one(
    clock: ShiftedClock, shift: timedelta
) -> None:
    child = Child(clock)
    child.times()  # running, with the clock right
    clock.shift(shift)
    before, monotonic = datetime.now(UTC) + shift, time.monotonic()
    seen = child.times()
    child.close()
    for name in ("datetime", "time", "sqlite"):
        assert -1 <= float(seen[name]) - before.timestamp() <= LATE, name
    assert 0 <= seen["monotonic"] - monotonic <= LATE


def test_time_outs_keep_their_true_length_while_the_clock_is_set_back(clock: ShiftedClock) -> None:
    clock.shift(timedelta(days=-300))
    child = Child(clock)
    waited = child.times()["waited"]
    child.close()
    assert 0.2 <= waited <= LATE


def test_a_running_process_sees_each_step_of_its_clock(clock: ShiftedClock) -> None:
    child = Child(clock)
    start = child.times()["time"]
    clock.move(timedelta(hours=-1))
    back = child.times()["time"]
    clock.move(timedelta(hours=1))
    again = child.times()["time"]
    child.close()
    assert -3600 <= back - start <= LATE - 3600
    assert 0 <= again - start <= 2 * LATE
