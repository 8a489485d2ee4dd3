"""Fill panes and measurements of the past, oldest first; can be interrupted and goes on where it stopped.

    a week of windows ──► reference, specs and panes, once ──► a batch: claim ──► compute ──► one transaction ──► ...

Panes are read ahead, one statement per chunk of features and a week, and slide through the windows as sums. Windows
are claimed and committed in batches, each exactly as the daemon would have, present once, fenced by its own token; a
process that is killed loses its batch, and whoever goes on evaluates those windows again. Windows that are done already
are left alone. Alerts advance in order and open and close episodes; their notifications are kept as `suppressed`
unless asked for.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.schedule import slots
from drift_monitor.evaluation.attempt import LeaseKeeper, Result, attempt, attempt_together, run_window
from drift_monitor.evaluation.evaluate import Gathered, gather
from drift_monitor.evaluation.planning import plan_asked
from drift_monitor.evaluation.reference import ensure_reference, reference_spans, window_of
from drift_monitor.store import leases, runs
from drift_monitor.store import panes as pane_store
from drift_monitor.store.connection import Transaction
from drift_monitor.store.leases import Claim
from drift_monitor.store.runs import Trigger

PANES_AHEAD = 168  # read by one round of statements: a week of hours
WAITING_AHEAD = 12  # where a feature has no bins yet: rows enough for them may come with any window
FIRST_BATCH = 8  # windows, before it is known how long they take
LOCKED = timedelta(seconds=0.3)  # what a batch should take of the write lock; twice as much still harms nobody


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
    done = 0
    with LeaseKeeper(services.store) as keeper:
        filler = _Filler(services, monitor, keeper, notify=notify)
        while done < len(ends):
            for result in filler.go_on(ends[done:]):
                done += 1
                yield Progress(window_end=ends[done - 1], done=done, total=len(ends), result=result)


@contextmanager
def _without_collector() -> Iterator[None]:
    """A batch makes many objects that live to its end: looking for garbage among them takes a third of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Filler:
    """Goes through the windows of one monitor, with what it has read ahead and how many it takes at a time."""

    def __init__(self, services: Services, monitor: MonitorConfig, keeper: LeaseKeeper, *, notify: bool) -> None:
        self._services = services
        self._monitor = monitor
        self._keeper = keeper
        self._notify = notify
        self._size = FIRST_BATCH
        self._ahead: Gathered | None = None
        self._until: datetime | None = None  # the last window that suffices for

    def go_on(self, ends: Sequence[datetime]) -> Sequence[Result | None]:
        """Evaluate the first few of these windows; how each of them ended, None where it was done before."""
        near = ends[:PANES_AHEAD]
        with self._services.store.read() as conn:
            known = runs.latest_of(conn, self._monitor.name, near[0], near[-1])
        is_open = [not (end in known and known[end].is_done) for end in near]
        if not is_open[0]:
            return [None] * (is_open.index(True) if any(is_open) else len(near))
        if self._ahead is None or self._until is None or near[0] > self._until:
            self._read_ahead([end for end, wanted in zip(near, is_open, strict=True) if wanted])
        assert self._ahead is not None
        assert self._until is not None
        if self._ahead.reference.waiting and reference_spans(self._monitor, window_of(self._monitor, near[0])):
            return [self._alone(near[0])]
        batch = [end for end, wanted in zip(near, is_open, strict=True) if wanted and end <= self._until]
        claims = self._services.store.transact(lambda conn: self._claim(conn, batch[: self._size]))
        return self._together(claims, self._ahead) if claims else [self._alone(near[0])]

    def _read_ahead(self, ends: Sequence[datetime]) -> None:
        """Read and store the panes of the next windows together, and keep their sums."""
        services, monitor = self._services, self._monitor
        first = window_of(monitor, ends[0])
        reference = ensure_reference(services, monitor, first)
        panes = WAITING_AHEAD if reference.waiting else PANES_AHEAD
        windows = [window_of(monitor, end) for end in ends if end <= monitor.grid.shift(first.end, panes)]
        gathered = gather(services, monitor, reference, windows)
        table = gathered.table

        def save(conn: Transaction) -> int:
            pane_store.save(conn, monitor.name, table.fresh_counts, table.fresh_rows)
            return pane_store.revisions(conn, monitor.name, table.span)

        table.revisions = services.store.transact(save)
        table.fresh_counts, table.fresh_rows = [], []
        table.rows_read = 0  # read for all of these windows: none of them counts them as its own
        self._ahead, self._until = gathered, windows[-1].end

    def _claim(self, conn: Transaction, ends: Sequence[datetime]) -> Sequence[Claim]:
        """Plan and claim these windows, or the first of them; none where others have to be evaluated before."""
        keys = plan_asked(conn, self._monitor, ends, Trigger.BACKFILL)
        ours = [key for key in takewhile(lambda key: key is not None, keys) if key is not None]
        return leases.claim_together(conn, self._services.owner, self._keeper.lease, ours) if ours else ()

    def _together(self, claims: Sequence[Claim], ahead: Gathered) -> Sequence[Result | None]:
        done = 0
        with self._keeper.holding(*claims):
            while done < len(claims):
                batch = claims[done : done + self._size]
                with _without_collector():
                    committed = attempt_together(self._services, self._monitor, batch, ahead, notify_past=self._notify)
                if committed is None:
                    self._ahead = None  # what another process has changed is read again
                    return [Result.DONE] * done + self._one_by_one(claims[done:])
                self._fit(len(committed.outcomes), len(batch), committed.seconds)
                done += len(committed.outcomes)
        return [Result.DONE] * done

    def _fit(self, done: int, of: int, seconds: float) -> None:
        """Take as many next time as a batch should last; fewer where most had to be computed anew."""
        if done < of:
            self._size = done
        elif of == self._size:
            fitting = int(of * LOCKED.total_seconds() / seconds) if seconds else PANES_AHEAD
            self._size = max(1, min(fitting, 2 * of, PANES_AHEAD))

    def _one_by_one(self, claims: Sequence[Claim]) -> list[Result | None]:
        """Each claimed window in a transaction of its own, up to one that fails; later ones are given back."""
        results: list[Result | None] = []
        for position, claim in enumerate(claims):
            results.append(attempt(self._services, self._monitor, claim, notify_past=self._notify))
            if results[-1] is not Result.DONE:
                self._keeper.give_back(claims[position + 1 :])
                break
        return results

    def _alone(self, end: datetime) -> Result | None:
        """One window with what it needs, after older ones of its monitor that wait, or for another process."""
        services, monitor = self._services, self._monitor
        (key,) = services.store.transact(lambda conn: plan_asked(conn, monitor, [end], Trigger.BACKFILL))
        if key is None:
            return None
        ended = run_window(services, self._keeper, monitor, key, notify_past=self._notify)
        return None if ended is None else ended[1]
