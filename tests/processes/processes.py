"""Start, watch and end processes, and receive their webhooks. Everything waits for what happened, with a deadline."""

import json
import multiprocessing
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.notify.receivers import Receiver
from tests.processes.service_process import Orders, serve

Found = TypeVar("Found")

PATIENCE_SECONDS = 120.0  # on a busy machine; a work that was put off once comes again after 30
ANSWER_SECONDS = 60.0  # for one answer of the listener
LOOK_AGAIN_SECONDS = 0.02
SIGKILLED = -9

# A process of its own that has imported the service once; children are forked from it, in milliseconds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.processes.service_process"])


class NeverHappened(AssertionError):
    """What a test waited for did not come."""


def wait_until(look: Callable[[], Found], what: str, seconds: float = PATIENCE_SECONDS) -> Found:
    """What `look` finds, as soon as it is anything but None or False."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise NeverHappened(f"not within {seconds:g} s: {what}")
        time.sleep(LOOK_AGAIN_SECONDS)


class ServiceProcess:
    """One started service."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        if not orders.gate.exists():
            os.mkfifo(orders.gate)
        self._process = FORKS.Process(target=serve, args=(orders,), name=orders.name)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def steps(self) -> list[tuple[str, str]]:
        """(step, path), in the order they were reached."""
        lines = (line.partition(" ") for line in _whole_lines(self.orders.trace))
        return [(step, path) for step, _, path in lines]

    @property
    def log(self) -> str:
        return "\n".join(_whole_lines(self.orders.log))

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def events(self, name: str) -> list[Mapping[str, Any]]:
        """The log's entries of one event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit code, once it has ended; negative where a signal ended it."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise NeverHappened(f"{self.orders.name} did not end within {seconds:g} s:\n{self.log[-3000:]}")
        return self._process.exitcode

    def wait_for_event(self, name: str, seconds: float = PATIENCE_SECONDS) -> Mapping[str, Any]:
        try:
            return wait_until(lambda: next(iter(self.events(name)), None), f"event {name}", seconds)
        except NeverHappened as error:
            raise NeverHappened(f"{error}; the log ends:\n{self.log[-3000:]}") from None

    def wait_for_step(self, step: str) -> str:
        """The path of the first time this step was reached."""
        return wait_until(lambda: next((path for one, path in self.steps if one == step), None), f"step {step}")

    def wait_stopped(self) -> None:
        """Until the kernel says that the process is stopped."""
        stat = Path(f"/proc/{self.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", f"{self.orders.name} is stopped")

    def open_gate(self) -> None:
        """Let a thread that is held go on."""
        os.close(os.open(self.orders.gate, os.O_WRONLY))

    def get(self, path: str, *, post: bool = False) -> tuple[int, str]:
        """Ask the process's own listener; (status, body)."""
        port = wait_until(lambda: self.orders.port.exists() and self.orders.port.read_text(), "the listener")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}",
            data=b"" if post else None,
            headers={"Content-Type": "application/json"} if post else {},
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        lines = self.get("/metrics")[1].splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def close(self) -> None:
        """End it whatever it does."""
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()


def _whole_lines(path: Path) -> Sequence[str]:
    """The lines of a file that somebody may be writing to."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


@contextmanager
def started(*orders: Orders) -> Iterator[Sequence[ServiceProcess]]:
    """Processes that are gone after the block, however it ends."""
    running: list[ServiceProcess] = []
    try:
        for one in orders:
            running.append(ServiceProcess(one))
        yield running
    finally:
        for process in running:
            process.close()


@dataclass(frozen=True, kw_only=True)
class Post:
    """One webhook as it came in."""

    id: str
    receiver: str
    monitor: str
    body: str


def posts(receiver: Receiver) -> list[Post]:
    """Everything received, in order; the receiver is strict about what a webhook has to look like."""
    return [_post(one.path, one.headers, one.body) for one in receiver.received]


def _post(path: str, headers: Mapping[str, str], content: bytes) -> Post:
    body = json.loads(content)
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == headers["idempotency-key"]
    assert int(headers["webhook-timestamp"]) > 0
    assert body["version"] == "4"
    assert body["alerts"]
    monitors = {alert["labels"]["monitor"] for alert in body["alerts"]}
    assert len(monitors) == 1
    return Post(
        id=headers["webhook-id"],
        receiver=path.split("/")[1],
        monitor=monitors.pop(),
        body=json.dumps(body, sort_keys=True),
    )
