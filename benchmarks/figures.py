"""What every figure is made of: a checkout that runs commands, the unit beside it, a bar, a line of the table.

Processors differ and share their time, so CPU seconds are told as multiples of *u*: the CPU time of 100,000 times
`sum(range(100))`, taken again and again while the figure is measured, in a thread of its own.
"""

import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BASE = "7e1daeb"  # the commit whose figures the bars were drawn from
HERE = Path(__file__).parents[1]
BESIDE_SECONDS = 2.0  # between two units while a command runs: about a twentieth of one processor


def unit() -> float:
    """The CPU seconds of one u, now and in this thread."""
    started = time.thread_time()
    for _ in range(100_000):
        sum(range(100))
    return time.thread_time() - started


class Beside:
    """The unit during a block: once before, now and then meanwhile, once after. The mean, as the block has it too."""

    def __init__(self) -> None:
        self._units: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="unit", daemon=True)

    def __enter__(self) -> "Beside":
        self._units.append(unit())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._units.append(unit())

    def _repeat(self) -> None:
        while not self._ended.wait(BESIDE_SECONDS):
            self._units.append(unit())

    def of(self, seconds: float) -> "Measured":
        """So many seconds of this block as multiples of u."""
        return Measured(seconds / statistics.mean(self._units), seconds)


@dataclass(frozen=True)
class Measured:
    """A value in the unit of its bar; and the seconds behind it, where it is a ratio."""

    value: float
    seconds: float | None = None


@dataclass(frozen=True)
class Bar:
    """What a figure is and may be at most; None where it only explains another one."""

    name: str
    most: float | None
    unit: str = "u"


@dataclass(frozen=True)
class Spent:
    """What a command took, its own children included."""

    cpu: float
    megabytes: float


@dataclass(frozen=True)
class Checkout:
    """A folder with the package in it; commands are run with the interpreter of the benchmarks."""

    folder: Path

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONWARNINGS": "ignore"}

    def spend(self, arguments: Sequence[str], kept: Sequence[int] = (0,)) -> Spent:
        """Run the interpreter with these arguments to its end.

        The peak memory that Linux tells of a child is at least that of the process that started it: ours stays small.
        """
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environment(),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        told = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        if process.returncode not in kept:
            raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}:\n{told[-2000:]}")
        return Spent(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    def output(self, arguments: Sequence[str]) -> str:
        """What the interpreter prints with these arguments."""
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, env=self.environment(), cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def command(self, *arguments: str, kept: Sequence[int] = (0,)) -> Spent:
        """Run `drift-monitor` with these arguments to its end."""
        return self.spend(["-m", "drift_monitor", *arguments], kept)


Take = Callable[[Checkout, bool], Mapping[Bar, Measured]]
"""Measures one or several figures of a checkout once; on a small scale where the flag is set."""


def compare(take: Take, checkouts: Sequence[Checkout], *, repeats: int, quick: bool) -> bool:
    """Measure the checkouts in turns, print the medians of the first beside the others; whether all bars are kept."""
    takes = [[take(checkout, quick) for checkout in checkouts] for _ in range(1 if quick else repeats)]
    kept = True
    for bar in takes[0][0]:
        values = [statistics.median(turn[number][bar].value for turn in takes) for number in range(len(checkouts))]
        seconds = [turn[0][bar].seconds for turn in takes]
        print(line(bar, values, [second for second in seconds if second is not None]), flush=True)
        kept = kept and (bar.most is None or values[0] <= bar.most)
    return kept


def heading(is_compared: bool) -> str:
    against = f" {'before':>10} {'now/before':>10}" if is_compared else ""
    return f"{'figure':58} {'value':>10} {'unit':8} {'bar':>7} {'':6} {'seconds':>9}{against}"


def line(bar: Bar, values: Sequence[float], seconds: Sequence[float]) -> str:
    """One row of the table: the value, its bar, the seconds behind it, and what it was."""
    most = "" if bar.most is None else f"{bar.most:g}"
    verdict = "" if bar.most is None else "ok" if values[0] <= bar.most else "MISSED"
    spent = f"{statistics.median(seconds):.4f}" if seconds else ""
    before = f" {_short(values[1]):>10} {values[0] / values[1]:>10.3f}" if len(values) > 1 else ""
    return f"{bar.name:58} {_short(values[0]):>10} {bar.unit:8} {most:>7} {verdict:6} {spent:>9}{before}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.1 else f"{value:.4f}"


@contextmanager
def checkout_of(place: str) -> Iterator[Checkout]:
    """A folder as it is, or a commit in a worktree that is removed afterwards."""
    if Path(place).is_dir():
        yield Checkout(Path(place).absolute())
        return
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    git = ["git", "-C", str(HERE), "worktree"]
    try:
        subprocess.run([*git, "add", "--quiet", "--detach", str(folder / "then"), place], check=True)
        yield Checkout(folder / "then")
    finally:
        subprocess.run([*git, "remove", "--force", str(folder / "then")], check=False)
        shutil.rmtree(folder, ignore_errors=True)
