"""How far a long command has come: bars on a terminal, a line now and then elsewhere.

Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever it happens to be. Inside a finaliser or a weak reference's callback, and
there are many of them in a loop of short transactions, it is printed and forgotten. So it is also noted, and raised
again at the next place that asks.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from drift_monitor.cli.output import tell
from drift_monitor.cli.tables import plain
from drift_monitor.core.times import rfc3339
from drift_monitor.evaluation.backfill import Progress as Step
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
