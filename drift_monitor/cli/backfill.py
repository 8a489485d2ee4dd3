"""`drift-monitor backfill`: the past, oldest window first, in pieces if need be; and how far a long command has come.

Progress is bars on a terminal, a line now and then elsewhere.

Ctrl-C is not lost. Python raises KeyboardInterrupt wherever it happens to be. Inside a finaliser or a weak reference's
callback, and there are many of them in a loop of short transactions, it is printed and forgotten. So it is also noted,
and raised again at the next place that asks.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from drift_monitor.alerting.services import Services
from drift_monitor.app import open_services
from drift_monitor.cli.flags import TIMES, config_flag, quiet_log_flags, time_flag
from drift_monitor.cli.output import tell
from drift_monitor.cli.tables import plain
from drift_monitor.config.loading import load
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.times import rfc3339
from drift_monitor.errors import InputError, SourceError
from drift_monitor.evaluation.attempt import Result
from drift_monitor.evaluation.backfill import Progress as Step
from drift_monitor.evaluation.backfill import backfill as fill
from drift_monitor.words import minute

_LINES = 20  # of progress a monitor, where nobody watches a bar


class Show(Protocol):
    """Tells how far a monitor has come."""

    def __call__(self, monitor: str, step: Step) -> None: ...


@contextmanager
def showing_progress() -> Iterator[Show]:
    """What tells each step on stderr until the block ends. A Ctrl-C ends the work at the next step at the latest."""
    with interruptible() as check, _shown() as show:

        def show_step(monitor: str, step: Step) -> None:
            show(monitor, step)
            check()

        yield show_step


@contextmanager
def _shown() -> Iterator[Show]:
    if not sys.stderr.isatty():
        yield _tell_step
        return
    console = Console(stderr=True, markup=False, highlight=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[window]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, monitor: str, step: Step) -> None:
        if monitor not in self._tasks:
            self._tasks[monitor] = self._progress.add_task(plain(monitor).plain, window="")
        window = minute(step.window_end)
        self._progress.update(self._tasks[monitor], completed=step.done, total=step.total, window=window)


def _tell_step(monitor: str, step: Step) -> None:
    every = max(1, step.total // _LINES)
    if step.done % every == 0 or step.done == step.total:
        tell(f"{monitor}: {step.done:,} of {step.total:,} windows, up to {rfc3339(step.window_end)}")


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Until the block ends, Ctrl-C raises KeyboardInterrupt at once, and the function yielded raises it again."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # signals come to the main thread only
        return
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()
        raise KeyboardInterrupt

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


DONE, INCOMPLETE, INTERRUPTED = 0, 3, 130


@dataclass
class BackfillCounts:
    """How the windows of one monitor ended."""

    monitor: str
    evaluated: int = 0
    there: int = 0
    problem: str | None = None

    def add(self, step: Step) -> None:
        if step.result is None:
            self.there += 1
        elif step.result is Result.DONE:
            self.evaluated += 1
        else:
            self.problem = f"the window that ends at {rfc3339(step.window_end)} is {step.result.value}; see the log"

    def __str__(self) -> str:
        return f"{self.monitor}: {self.evaluated:,} windows evaluated, {self.there:,} already there"


@click.command(epilog=f"{TIMES} Exit code 3: some windows could not be evaluated; start it again.")
@config_flag
@click.option("--monitor", "monitors", multiple=True, metavar="NAME", help="Only this monitor; can be repeated.")
@time_flag("--from", "Windows that end after this time ...", required=True, parameter="start")
@time_flag("--to", "... and not after this one.", required=True, parameter="end")
@click.option("--notify", is_flag=True, help="Send the messages about what fired in the past, too.")
@quiet_log_flags
@click.pass_context
def backfill(
    context: click.Context, config_file: Path, monitors: Sequence[str], start: datetime, end: datetime, notify: bool
) -> None:
    """Evaluate the windows of the past, oldest first, as if the daemon had been running.

    Can be interrupted and started again: what is stored is not read or evaluated twice.
    """
    if start >= end:
        raise InputError(f"--from {rfc3339(start)} must be before --to {rfc3339(end)}")
    config = load(config_file)
    chosen = [config.monitor(name) for name in dict.fromkeys(monitors)] if monitors else config.monitors
    try:
        with open_services(config) as services, showing_progress() as show:
            tallies = [_fill(services, monitor, start, end, notify, show) for monitor in chosen]
    except KeyboardInterrupt:
        tell("interrupted; the windows that are done are kept: start the same command again to go on")
        context.exit(INTERRUPTED)
    for tally in tallies:
        tell(str(tally))
        if tally.problem is not None:
            tell(f"{tally.monitor}: {tally.problem}; start the same command again to go on")
    context.exit(INCOMPLETE if any(tally.problem for tally in tallies) else DONE)


def _fill(
    services: Services, monitor: MonitorConfig, start: datetime, end: datetime, notify: bool, show: Show
) -> BackfillCounts:
    """One monitor, up to the first window that fails: later ones have to wait for it. Others are not affected."""
    tally = BackfillCounts(monitor.name)
    try:
        for step in fill(services, monitor, start, end, notify=notify):
            tally.add(step)
            show(monitor.name, step)
            if tally.problem is not None:
                break
    except SourceError as error:
        tally.problem = str(error)
    return tally
