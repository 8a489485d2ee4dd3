"""Fill panes and measurements of the past, oldest first; can be interrupted and goes on where it stopped.

Panes are read ahead in batches, one statement per chunk of features and a batch; each window is then evaluated from the
store, exactly as the daemon would have, and is present once. Windows that are done already are left alone. Alerts
advance in order and open and close episodes; their notifications are kept as `suppressed` unless asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.panes import Span
from drift_monitor.core.schedule import slots
from drift_monitor.evaluation.attempt import Result, attempt
from drift_monitor.evaluation.lease_keeper import claim_towards, holding
from drift_monitor.evaluation.planning import open_key, planned_run
from drift_monitor.evaluation.read import read_panes
from drift_monitor.evaluation.reference import ensure_reference, reference_spans, window_of
from drift_monitor.store import panes as pane_store
from drift_monitor.store import runs
from drift_monitor.store.connection import Transaction
from drift_monitor.store.runs import RunKey, Trigger

PANES_AHEAD = 168  # read by one round of statements: a week of hours


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One window of a backfill: which, how many there are, and how it ended (None: it was done before)."""

    window_end: datetime
    done: int
    total: int
    result: Result | None


def backfill_windows(monitor: MonitorConfig, start: datetime, end: datetime, now: datetime) -> Sequence[datetime]:
    """The ends of the scheduled windows in (start, end] that are settled by now."""
    found = slots(
        monitor.schedule,
        monitor.grid,
        settle=monitor.settle,
        jitter=timedelta(0),
        after=start,
        until=min(end, now - monitor.settle),
    )
    return [slot.window_end for slot in found]


def backfill(
    services: Services, monitor: MonitorConfig, start: datetime, end: datetime, *, notify: bool = False
) -> Iterator[Progress]:
    """Evaluate every settled window in (start, end], oldest first, telling each as it is done.

    A window that could not be evaluated stays due, and blocks the later ones: stop there.
    """
    ends = backfill_windows(monitor, start, end, services.clock.now())
    ahead: datetime | None = None
    for position, window_end in enumerate(ends):
        key = _plan(services, monitor, window_end)
        if key is None:
            yield Progress(window_end=window_end, done=position + 1, total=len(ends), result=None)
            continue
        if ahead is None or window_end > ahead:
            ahead = _read_ahead(services, monitor, ends[position:])
        result = _evaluate(services, monitor, key, notify=notify)
        yield Progress(window_end=window_end, done=position + 1, total=len(ends), result=result)


def _plan(services: Services, monitor: MonitorConfig, window_end: datetime) -> RunKey | None:
    """Plan the run of a window, also of one that was skipped or given up; None where it is done."""

    def work(conn: Transaction) -> RunKey | None:
        key = open_key(conn, monitor, window_end)
        if key is not None:
            due = services.store.now(conn)
            runs.plan(conn, [planned_run(monitor, window_end, due, Trigger.BACKFILL, key.revision)])
        return key

    return services.store.transact(work)


def _evaluate(services: Services, monitor: MonitorConfig, key: RunKey, *, notify: bool) -> Result | None:
    """Evaluate the window, after older ones of its monitor that wait; None where another process did it meanwhile."""
    while (claim := claim_towards(services, key)) is not None:
        with holding(services, claim):
            result = attempt(services, monitor, claim, notify=notify or claim.trigger is not Trigger.BACKFILL)
        if claim.key == key or result is not Result.DONE:
            return result
    return None


def _read_ahead(services: Services, monitor: MonitorConfig, ends: Sequence[datetime]) -> datetime:
    """Read and store the panes of the next windows together; the end of the last window they suffice for."""
    first = window_of(monitor, ends[0])
    last = next((end for end in reversed(ends) if end <= monitor.grid.shift(first.end, PANES_AHEAD)), ends[0])
    reference = ensure_reference(services, monitor, first)
    live = monitor.grid.panes(Span(first.start, last))
    sliding = [
        pane
        for end in ends
        if end <= last
        for span in reference_spans(monitor, window_of(monitor, end))
        for pane in monitor.grid.panes(span)
    ]
    table = read_panes(services, monitor, reference, live=live, sliding=tuple(dict.fromkeys(sliding)))

    def save(conn: Transaction) -> None:
        pane_store.save(conn, monitor.name, table.fresh_counts, table.fresh_rows)

    services.store.transact(save)
    return last
