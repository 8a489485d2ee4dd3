"""The demo as `drift-monitor demo --once` runs it, at a time that stands still and over the last days only.

python -m tests.processes.demo_driver DIRECTORY NOW WEBHOOK_URL [row|batch NUMBER]

With the last two it kills itself: in the transaction that writes the rows, or in the middle of a batch of windows.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from drift_monitor.app import open_services
from drift_monitor.cli.demo import begin, fill
from drift_monitor.config.loading import load
from drift_monitor.demo.database import History
from drift_monitor.demo.payments import PaymentsData
from drift_monitor.telemetry.logs import Step
from tests.clocks import FixedClock

SEED = 2013
MEASURED = timedelta(days=5)  # two incidents, one of them over by the end


class LastDays(PaymentsData):
    """The payments, of whose history only the end is measured, in several pieces."""

    piece = timedelta(days=2)

    def first_window(self, history: History) -> datetime:
        return history.planned_until - MEASURED


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_row(number: int) -> None:
    connect, rows = sqlite3.connect, count(1)

    def trace(statement: str) -> None:
        if statement.startswith("INSERT INTO payments") and next(rows) == number:
            die()

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(trace)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]  # the demo's own connections; the store's are made elsewhere


def dying_at_batch(number: int) -> Callable[[Step, str], None]:
    """Before the n-th batch of windows is committed."""
    batches = count(1)

    def observe(step: Step, path: str) -> None:
        if step is Step.FINISH_BEFORE_COMMIT and next(batches) == number:
            die()

    return observe


def main(directory: str, now: str, webhook_url: str, death: str = "", number: str = "0") -> None:
    data, at = LastDays(), datetime.fromisoformat(now)
    if death == "row":
        die_at_row(int(number))
    observe = dying_at_batch(int(number) if death == "batch" else 0)
    config = begin(data, Path(directory), seed=SEED, until=at, webhook_url=webhook_url)
    with open_services(load(config), clock=FixedClock(at), observe_step=observe) as services:
        fill(services, data, Path(directory), lambda monitor, step: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
