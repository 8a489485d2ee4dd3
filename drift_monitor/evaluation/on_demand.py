"""One evaluation now, because somebody asks: a pipeline, a person.

    window ──► stored already? ──► plan ──► older windows that wait, in order ──► attempt ──► what the store has now

It is the daemon's own evaluation: claimed by lease and token, committed once, alerts advanced. A window that is done is
not evaluated again, what is stored is shown. A window at or before the last one changes no alert.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from drift_monitor.alerting.dispatch import deliver_next
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.schedule import last_slot
from drift_monitor.core.times import format_duration, rfc3339
from drift_monitor.errors import InputError, StoreError
from drift_monitor.evaluation.attempt import LeaseKeeper, Result, run_window
from drift_monitor.evaluation.planning import plan_asked
from drift_monitor.queries.evaluations import Evaluation, read_evaluation
from drift_monitor.store import runs
from drift_monitor.store.runs import Run, RunKey, Trigger

DELIVERY_BUDGET = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What became of it. `problem` says why the window is not evaluated; None where it is."""

    monitor: MonitorConfig
    evaluation: Evaluation
    was_stored: bool = False
    problem: str | None = None


def evaluate_now(services: Services, monitor: MonitorConfig, at: datetime | None = None) -> Evaluated:
    """Evaluate the last settled window, or the one that ends at `at`. Raises InputError where there is no such window.

    A source that fails is told in `problem`; StoreError is raised.
    """
    window_end = requested_window(services, monitor, at)
    (key,) = services.store.transact(lambda conn: plan_asked(conn, monitor, [window_end], Trigger.MANUAL))
    if key is None:
        return Evaluated(monitor=monitor, evaluation=_stored(services, monitor, window_end), was_stored=True)
    with LeaseKeeper(services.store) as keeper:
        ended = run_window(services, keeper, monitor, key, notify_past=True)
    problem = None if ended is None or ended[1] is Result.DONE else _failure(services, ended[0], key)
    return Evaluated(monitor=monitor, evaluation=_stored(services, monitor, window_end), problem=problem)


def requested_window(services: Services, monitor: MonitorConfig, at: datetime | None) -> datetime:
    """The end of the window that is asked for: settled, and a bound of the monitor's panes."""
    with services.store.read() as conn:
        now = services.store.now(conn)
    if at is None:
        slot = last_slot(monitor.schedule, monitor.grid, settle=monitor.settle, at=now)
        if slot is None:
            raise InputError(f"monitor {monitor.name!r}: its schedule had no window yet; say which one with --at")
        return slot.window_end
    before = monitor.grid.floor(at)
    if before != at:
        after = monitor.grid.shift(before, 1)
        raise InputError(
            f"monitor {monitor.name!r}: no window ends at {rfc3339(at)}; with panes of "
            f"{format_duration(monitor.pane)} one ends at {rfc3339(before)} and one at {rfc3339(after)}"
        )
    if at + monitor.settle > now:
        raise InputError(
            f"monitor {monitor.name!r}: the window that ends at {rfc3339(at)} is settled at "
            f"{rfc3339(at + monitor.settle)}; ask for an earlier one, or again then"
        )
    return at


def deliver_once(services: Services, monitors: Collection[str], budget: timedelta = DELIVERY_BUDGET) -> bool:
    """Send what waits of these monitors, each notification once; False where time ran out: a daemon sends the rest."""
    thread = threading.Thread(target=_deliver, args=(services, monitors), name="delivery", daemon=True)
    thread.start()
    thread.join(budget.total_seconds())
    return not thread.is_alive()


def _deliver(services: Services, monitors: Collection[str]) -> None:
    try:
        while deliver_next(services, monitors=monitors):
            pass
    except StoreError:  # what waits is still in the outbox
        return


def _failure(services: Services, failed: RunKey, key: RunKey) -> str:
    run = _find(services, failed)
    said = run.error or f"the evaluation is {run.state.value}"
    if failed == key:
        return said
    return f"the window that ends at {rfc3339(failed.window_end)} waits to be evaluated first: {said}"


def _find(services: Services, key: RunKey) -> Run:
    with services.store.read() as conn:
        run = runs.find(conn, key)
    if run is None:
        raise StoreError(f"monitor {key.monitor!r}: its window {rfc3339(key.window_end)} has gone from the store")
    return run


def _stored(services: Services, monitor: MonitorConfig, window_end: datetime) -> Evaluation:
    """The latest done revision of the window, or the latest one if none is done."""
    with services.store.read() as conn:
        run = runs.latest_done_of(conn, monitor.name, window_end) or runs.latest_revision(
            conn, monitor.name, window_end
        )
        if run is None:
            raise StoreError(f"monitor {monitor.name!r}: its window {rfc3339(window_end)} has gone from the store")
        return read_evaluation(conn, run)
