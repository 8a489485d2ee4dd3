"""The real service in a process of its own, composed with an observer that ends or stops it at a named step."""

import os
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from drift_monitor.app import ServeOptions, Service
from drift_monitor.config.loading import load
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.errors import DriftMonitorError
from drift_monitor.telemetry.logs import LogFormat, Step, configure
from tests.processes.sabotage import SABOTAGE

# Leases are so long that no pause of a busy machine ends one: tests end those of the dead by hand (`Stage.bury`), or
# take BRIEF where the store is out of reach.
QUICK = DaemonSettings(
    workers=2,
    lease=timedelta(seconds=30),
    sending=timedelta(seconds=30),
    tick=timedelta(milliseconds=100),
)
BRIEF = replace(QUICK, lease=timedelta(seconds=4), sending=timedelta(seconds=4))
REFUSED_EXIT_CODE = 1  # as `drift-monitor run` ends on an error of our own tree


class Fate(StrEnum):
    """What happens to the process at its step."""

    KILLED = "killed"  # SIGKILL: nothing is cleaned up
    STOPPED = "stopped"  # SIGSTOP: the machine pauses, all threads at once
    HELD = "held"  # this thread alone waits until somebody opens the gate


@dataclass(frozen=True, kw_only=True)
class Halt:
    """At the n-th time a step is reached."""

    step: Step
    occurrence: int = 1
    fate: Fate = Fate.KILLED


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What one process is started with; it writes its trace, log and port into `folder`."""

    name: str
    config: Path
    folder: Path
    halt: Halt | None = None
    sabotage: tuple[str, ...] = ()
    settings: DaemonSettings = field(default=QUICK)

    @property
    def trace(self) -> Path:
        return self.folder / f"{self.name}.trace"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def port(self) -> Path:
        return self.folder / f"{self.name}.port"

    @property
    def gate(self) -> Path:
        return self.folder / f"{self.name}.gate"


class Observer:
    """Writes down every step before it does anything else, so that a killed process has told where it was."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._seen: Counter[Step] = Counter()
        self._lock = threading.Lock()
        self._trace = os.open(orders.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, step: Step, path: str) -> None:
        halt = self._orders.halt
        with self._lock:
            os.write(self._trace, f"{step.value} {path}\n".encode())
            self._seen[step] += 1
            reached = halt is not None and halt.step is step and self._seen[step] == halt.occurrence
            if halt is not None and reached and halt.fate is Fate.KILLED:
                # Under the lock: no other thread comes to a further step, or writes one down, before all are dead.
                os.kill(os.getpid(), signal.SIGKILL)
        if halt is not None and reached:
            self._meet(halt.fate)

    def _meet(self, fate: Fate) -> None:
        match fate:
            case Fate.KILLED:
                raise AssertionError("SIGKILL has ended this process")
            case Fate.STOPPED:
                # To this thread: sent to the process, it is another thread that stops, and this one goes on meanwhile.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            case Fate.HELD:
                os.close(os.open(self._orders.gate, os.O_RDONLY))  # a named pipe: waits for a writer


def serve(orders: Orders) -> None:
    """The whole life of the child process."""
    log = os.open(orders.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stderr.fileno())
    configure("info", LogFormat.JSON)
    for name in orders.sabotage:
        SABOTAGE[name]()
    options = ServeOptions(
        listen_address="127.0.0.1:0",
        external_url="http://drift.test",
        enable_lifecycle=True,
        settings=orders.settings,
        observe_step=Observer(orders),
    )
    try:
        code = Service(load(orders.config), options).run(lambda port: _publish(orders.port, port))
    except DriftMonitorError as error:
        print(f"error: {error}", file=sys.stderr)
        code = REFUSED_EXIT_CODE
    sys.exit(code)


def _publish(path: Path, port: int) -> None:
    """All of it at once: whoever waits for the file reads a whole number."""
    partial = path.with_suffix(".partial")
    partial.write_text(str(port))
    partial.rename(path)
