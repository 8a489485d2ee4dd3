"""Nothing that a step raises ends the work: whatever it took is free again, and what was due is done soon after.

Each step fails more often than there are workers, by an error of ours, of a driver, of memory, of the system, and by a
bug; then it is well again.
"""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from drift_monitor.alerting import alertmanager_sync, self_monitoring
from drift_monitor.alerting.services import Services
from drift_monitor.clock import SystemClock
from drift_monitor.daemon import daemon as daemon_module
from drift_monitor.daemon import delivery as delivery_module
from drift_monitor.daemon import dispatcher as dispatcher_module
from drift_monitor.daemon.daemon import Daemon
from drift_monitor.daemon.delivery import THREADS
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.daemon.watchdog import Watchdog
from drift_monitor.errors import DriftMonitorError, StoreError, StoreUnavailable
from drift_monitor.evaluation.planning import Planned, planned_run
from drift_monitor.notify.factory import LogSender
from drift_monitor.store import leases, notification_log, outbox, retention, runs
from drift_monitor.store.runs import RunState, Trigger
from tests.evaluation.workbench import HOUR, MONITOR, START, Bench, Workbench, even, high, hour

TICK = timedelta(milliseconds=50)
SETTINGS = DaemonSettings(
    workers=2,
    tick=TICK,
    resend=TICK,
    housekeeping=TICK,
    replan=TICK,
    lease=timedelta(seconds=1),
    sending=timedelta(seconds=0.5),
)
PATIENCE_SECONDS = 30.0  # for two ticks, on a busy machine

ERRORS: dict[str, Callable[[], Exception]] = {
    "ours": lambda: StoreUnavailable("gone"),
    "driver": lambda: OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk I/O error")),
    "memory": MemoryError,
    "system": lambda: OSError(24, "Too many open files"),
    "bug": lambda: KeyError("bug"),
}
STEPS: dict[str, tuple[Any, str]] = {
    "plan": (dispatcher_module, "plan_windows"),
    "claim": (leases, "claim"),
    "look at what waits": (runs, "backlog"),
    "evaluate": (dispatcher_module, "attempt"),
    "renew": (leases, "renew"),
    "claim a notification": (outbox, "claim"),
    "send": (LogSender, "send"),
    "settle": (outbox, "settle"),
    "keep house": (retention, "purge"),
    "check the monitors": (self_monitoring, "_examine"),
    "remind": (daemon_module, "repeat_due"),
}


class Failing:
    """Raises so many times, then does what it stands for."""

    def __init__(self, error: Callable[[], Exception], work: Callable[..., Any]) -> None:
        self.error = error
        self.work = work
        self.left = SETTINGS.workers + 2

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.left > 0:
            self.left -= 1
            raise self.error()
        return self.work(*arguments, **named)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The daemon plans the last window of the present; the hours around it have rows, as one may end meanwhile."""
    monkeypatch.setattr("tests.evaluation.workbench.FixedClock", lambda at: SystemClock())
    workbench = Workbench(tmp_path, f"sqlite:///{tmp_path}/drift.db")
    workbench.people.train(even(400))
    last = (datetime.now(UTC) - START) // HOUR
    for number in range(last - 2, last + 1):
        workbench.people.arrive(number, high(400))
    with workbench.open(settle="0s") as opened:
        yield opened


@contextmanager
def running(
    services: Services, rebuild: Callable[[Services], Services] = lambda services: services
) -> Iterator[Daemon]:
    one = Daemon(services, rebuild, SETTINGS)
    one.start()
    try:
        yield one
    finally:
        assert one.stop()


def wait_until(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def is_worked_off(bench: Bench) -> bool:
    """A window is done, and the notification of its drift is sent."""
    done = [run for run in bench.runs() if run.state is RunState.DONE]
    return bool(done) and bench.rows("SELECT DISTINCT state FROM outbox") == [("sent",)]


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("step", STEPS)
def test_whatever_a_step_raises_the_work_goes_on(
    bench: Bench, step: str, error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = STEPS[step]
    failing = Failing(error, getattr(owner, name))
    monkeypatch.setattr(owner, name, lambda *arguments, **named: failing(*arguments, **named))
    # Nothing is put off for longer than a test can wait.
    for delays in ("drift_monitor.evaluation.attempt.FIRST_DELAY", "drift_monitor.alerting.dispatch.MIN_DELAY"):
        monkeypatch.setattr(delays, TICK)
    monkeypatch.setattr("drift_monitor.alerting.dispatch.MAX_BROKEN_ATTEMPTS", 10)
    if step == "renew":  # work that lasts longer than its lease
        evaluate = dispatcher_module.attempt

        def slowly(*arguments: Any, **named: Any) -> Any:
            wait_until(lambda: failing.left == 0, "leases are renewed again and again")
            return evaluate(*arguments, **named)

        monkeypatch.setattr(dispatcher_module, "attempt", slowly)
    with running(bench.services) as daemon:
        wait_until(lambda: failing.left == 0, f"{step} is tried again and again")
        wait_until(lambda: is_worked_off(bench), "what was due is done")
        assert daemon.is_healthy()


@pytest.mark.parametrize("name", ["worker", "courier"])
def test_threads_that_can_not_be_started_cost_nothing(bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing(lambda: RuntimeError("can't start new thread"), threading.Thread.start)

    def start(thread: threading.Thread) -> None:
        (failing if thread.name == name else failing.work)(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with running(bench.services):
        wait_until(lambda: is_worked_off(bench), "what was due is done")
    assert failing.left == 0
    window = bench.runs()[0]
    assert window.attempts == 1  # what was claimed for a thread that never began is no attempt


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_a_reload_that_fails_leaves_the_old_configuration_at_work(bench: Bench, error: Callable[[], Exception]) -> None:
    with running(bench.services, Failing(error, lambda services: services)) as daemon:
        for _ in range(SETTINGS.workers + 2):
            with pytest.raises(DriftMonitorError):
                daemon.reload()
        wait_until(lambda: is_worked_off(bench), "what was due is done")
        daemon.reload()


def test_a_monitor_that_can_not_be_planned_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workbench = Workbench(tmp_path, f"sqlite:///{tmp_path}/drift.db")
    workbench.people.train(even(400))
    with workbench.open() as bench:
        (monitor,) = bench.services.config.monitors
        poison = monitor.model_copy(update={"name": "poison"})
        config = bench.services.config.model_copy(update={"monitors": (poison, monitor)})
        plan, planned = dispatcher_module.plan_windows, []

        def plan_some(services: Services, of: Any) -> Any:
            if of.name == "poison":
                raise KeyError("bug")
            planned.append(of.name)
            return plan(services, of)

        monkeypatch.setattr(dispatcher_module, "plan_windows", plan_some)
        with running(replace(bench.services, config=config, clock=SystemClock())):
            wait_until(lambda: MONITOR in planned, "the other monitor is planned")


def test_a_message_that_no_sender_can_handle_is_set_aside(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drift_monitor.alerting.dispatch.MIN_DELAY", TICK)
    monkeypatch.setattr("drift_monitor.alerting.dispatch.MAX_DELAY", TICK)
    monkeypatch.setattr(LogSender, "send", Failing(ERRORS["bug"], lambda *_: None))
    with running(bench.services):
        wait_until(lambda: bench.rows("SELECT state FROM outbox") == [("dead",)], "the message is given up")
    ((reason,),) = bench.rows("SELECT DISTINCT error FROM delivery")
    assert reason == "KeyError: 'bug'"


def test_work_that_never_ends_ends_the_process_and_costs_no_attempt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other sign is well meanwhile: ticks come, the store answers, the lease is renewed."""
    released, ended = threading.Event(), threading.Event()
    monkeypatch.setattr(dispatcher_module, "attempt", lambda *_, **__: released.wait(PATIENCE_SECONDS))
    services = bench.services
    (source,) = services.config.sources
    short = services.config.model_copy(
        update={"sources": (source.model_copy(update={"statement_timeout": timedelta(seconds=0.2)}),)}
    )
    # The only worker never comes back, so nobody claims anew what is given back.
    settings = replace(SETTINGS, workers=1, stuck_after=timedelta(seconds=1))
    one = Daemon(replace(services, config=short), lambda old: old, settings)
    monkeypatch.setattr(one._watchdog, "_end", ended.set)
    one.start()
    try:
        wait_until(ended.is_set, "the process ends")
        window = bench.runs()[0]
        assert (window.state, window.attempts) == (RunState.DUE, 0)
    finally:
        released.set()
        one.stop()


def test_a_store_that_is_down_and_windows_that_are_put_off_are_no_reason_to_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Planned(planned=0, skipped=0, next_due=datetime.now(UTC) + HOUR)
    monkeypatch.setattr(dispatcher_module, "plan_windows", lambda services, monitor: later)
    one = Daemon(bench.services, lambda old: old, SETTINGS)
    time.sleep(0.3)
    (monitor,) = bench.services.config.monitors
    planned = planned_run(monitor, hour(1), hour(1), Trigger.SCHEDULE)
    bench.services.store.transact(lambda conn: runs.plan(conn, [planned]))
    bench.services.store.transact(
        lambda conn: conn.exec_driver_sql("UPDATE run SET next_at = '2999-01-01T00:00:00.000000Z'").rowcount
    )
    one._dispatcher.dispatch()
    assert one._dispatcher.silence < timedelta(seconds=0.2)
    time.sleep(0.3)
    monkeypatch.setattr(leases, "claim", Failing(ERRORS["ours"], leases.claim))
    with pytest.raises(StoreUnavailable):
        one._dispatcher.dispatch()
    assert one._dispatcher.silence < timedelta(seconds=0.2)


def test_a_process_that_was_stopped_for_a_while_goes_on() -> None:
    """To itself it looks as if no tick had come; but its watchdog did not run, either."""

    class StoppedClock(SystemClock):
        slept, looks = 0.0, 0

        def monotonic(self) -> float:
            self.looks += 1
            return super().monotonic() + self.slept

    clock, ended, rearmed = StoppedClock(), threading.Event(), threading.Event()
    watchdog = Watchdog(SETTINGS, clock, rearmed.set, end=ended.set)
    watchdog.start()
    clock.slept = 3600.0
    wait_until(rearmed.is_set, "ticks are armed anew")
    seen = clock.looks
    wait_until(lambda: clock.looks > seen + 20, "the watchdog looks again and again")
    assert not ended.is_set()
    watchdog.stop()


def test_a_long_attempt_whose_statements_end_is_not_stuck(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement may take all its time, and an attempt has as many as its features need."""
    ended, is_done = threading.Event(), threading.Event()
    source = bench.services.sources["people"]

    def attempt_slowly(*_: Any, **__: Any) -> None:
        for _number in range(20):
            source.ping()
            time.sleep(0.1)
        is_done.set()

    monkeypatch.setattr(dispatcher_module, "attempt", attempt_slowly)
    monkeypatch.setattr(Daemon, "_end_if_stuck", lambda one: one._dispatcher.silence > timedelta(seconds=1))
    one = Daemon(bench.services, lambda old: old, SETTINGS)
    monkeypatch.setattr(one._watchdog, "_end", ended.set)
    one.start()
    wait_until(is_done.is_set, "the attempt ends")
    assert not ended.is_set()
    one.stop()


def test_a_watchdog_outlives_what_it_watches_for() -> None:
    ended, stuck = threading.Event(), threading.Event()

    def look() -> bool:
        if not stuck.is_set():
            stuck.set()
            raise RuntimeError("can't start new thread")
        return True

    watchdog = Watchdog(SETTINGS, SystemClock(), lambda: None, look, ended.set)
    watchdog.start()
    wait_until(ended.is_set, "the process ends all the same")


def test_receivers_have_their_turns_whatever_their_number(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"r{number:02}" for number in range(3 * THREADS)]
    served: Counter[str] = Counter()

    def look(services: Services, *, receivers: Sequence[str], lease: timedelta) -> bool:
        served.update(receivers)
        time.sleep(0.005)
        return False

    monkeypatch.setattr(delivery_module, "deliver_next", look)
    services = replace(bench.services, senders=dict.fromkeys(names, LogSender()))
    workers = delivery_module.DeliveryWorkers(lambda: services, SETTINGS)
    for _ in range(5):
        workers.deliver()
    wait_until(lambda: served.keys() == set(names), "each is served")
    assert workers.flush(PATIENCE_SECONDS)
    before = served.copy()
    workers = delivery_module.DeliveryWorkers(lambda: services, SETTINGS)
    assert workers.flush(PATIENCE_SECONDS)
    assert served - before == Counter(names)


def test_an_error_of_the_store_ends_a_round_of_alertmanagers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no error of the monitor's: a round that left its alerts out would count as done."""

    def fail(*_: Any) -> None:
        raise OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk I/O error"))

    (monitor,) = bench.services.config.monitors
    monkeypatch.setattr(notification_log, "of_open_episodes", fail)
    with pytest.raises(StoreError):
        alertmanager_sync._state(bench.services, monitor.receivers)
