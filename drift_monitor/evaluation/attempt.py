"""One way to run a window, for commands and the daemon: plan, claim, attempt, and what a failure means.

done        committed
postponed   the source or the store failed: due again after a backoff, the attempt given back, alerts untouched
retried     an error of our own: due again, or failed after the last attempt
fenced      another replica holds the work now: nothing was written

Leases kept alive while work goes on: one thread a process renews all that are held, for commands and the daemon.

A claim that ends by an exception, also Ctrl-C, is given back where it still holds. A process that was killed leaves
its leases to end by themselves. A renewal that comes too late changes nothing and is logged once; the work itself is
refused by its token when it is to be written.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from types import TracebackType
from typing import Self

from drift_monitor.alerting.rules import EvaluationResult
from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.times import rfc3339
from drift_monitor.errors import LeaseLost, RunFailure, SourceError, SourceUnavailable, StoreError, StoreUnavailable
from drift_monitor.evaluation.commit import Committed
from drift_monitor.evaluation.evaluate import Gathered, evaluate, evaluate_together
from drift_monitor.store import leases, runs
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.leases import Claim
from drift_monitor.store.runs import RunKey, RunState
from drift_monitor.telemetry.logs import ERROR, INFO, WARN, log, log_failure

LEASE = timedelta(seconds=20)  # of a command: how long whoever kills it has to wait for its windows
BEATS_PER_LEASE = 4  # a lease outlives two renewals that fail or are late


class LeaseKeeper:
    """Renews the leases of held claims, from the first one on until it is stopped."""

    def __init__(self, store: Store, lease: timedelta = LEASE) -> None:
        self.lease = lease
        self._store = store
        # By run and token: a run whose lease ended while we were stalled may be claimed anew beside itself.
        self._held: dict[tuple[str, int], Claim] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def held(self) -> tuple[Claim, ...]:
        with self._lock:
            return tuple(self._held.values())

    @contextmanager
    def holding(self, *claims: Claim) -> Iterator[None]:
        """Renew these claims' leases until the block ends; an exception gives back what is not done."""
        named = {(claim.id, claim.token): claim for claim in claims}
        with self._lock:
            self._held |= named
        try:
            yield
        except BaseException:
            self.give_back(claims)
            raise
        finally:
            with self._lock:
                for name in named:
                    self._held.pop(name, None)

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Make these windows due again where they are still ours; what is done stays done."""

        def work(conn: Transaction) -> list[Claim]:
            return [claim for claim in claims if leases.release(conn, claim)]

        try:
            released = self._store.transact(work)
        except StoreError as error:
            log(_logger, WARN, "lease_not_released", str(error))
            return
        for claim in released:
            log(_logger, INFO, "released", "A window was given back.", **_lease_of(claim))

    def _beat(self) -> None:
        while not self._stopped.wait(self.lease.total_seconds() / BEATS_PER_LEASE):
            held = self.held
            if held:
                try:
                    self._renew(held)
                except Exception as error:  # noqa: BLE001 no beat may be the last: all leases would end
                    log_failure(_logger, ERROR, "lease_not_renewed", "Leases could not be renewed.", error)

    def _renew(self, held: tuple[Claim, ...]) -> None:
        try:
            with self._store.begin() as conn:
                gone = [
                    claim
                    for claim in held
                    if not leases.renew(conn, claim, self.lease) and not leases.already_done(conn, claim)
                ]
        except StoreError as error:
            log(_logger, WARN, "lease_not_renewed", str(error), windows=len(held))
            return
        for claim in gone:
            if claim in self.held:  # else its work has ended meanwhile
                log(
                    _logger,
                    WARN,
                    "lease_lost",
                    "The lease has passed on; the result will be refused.",
                    **_lease_of(claim),
                )


def _lease_of(claim: Claim) -> dict[str, str]:
    return {"monitor": claim.key.monitor, "window_end": claim.key.window_end.isoformat()}


_logger = logging.getLogger(__name__)

FIRST_DELAY = timedelta(seconds=30)  # after the first failure of a source or store; doubled each time
LONGEST_DELAY = timedelta(minutes=15)
PATIENCE = timedelta(seconds=30)  # for another process, or one that was killed, to let go: longer than a lease
_POLL_SECONDS = 0.25


class Result(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    POSTPONED = "postponed"
    RETRIED = "retried"
    FAILED = "failed"
    FENCED = "fenced"

    @property
    def is_done(self) -> bool:
        return self is Result.DONE


def run_window(
    services: Services, keeper: LeaseKeeper, monitor: MonitorConfig, planned: RunKey, *, notify_past: bool
) -> tuple[RunKey, Result] | None:
    """Evaluate a planned window, after older ones of its monitor that wait: what was attempted last, and how it ended.

    The window itself, or an older one that can't be done and holds it up; None where another process did it meanwhile.
    """
    while (claim := _claim_towards(services, keeper, planned)) is not None:
        with keeper.holding(claim):
            result = attempt(services, monitor, claim, notify_past=notify_past)
        if claim.key == planned or result is not Result.DONE:
            return claim.key, result
    return None


def _claim_towards(services: Services, keeper: LeaseKeeper, key: RunKey) -> Claim | None:
    """Claim the run, or the older one of its monitor that has to be evaluated before it; None where the run is done.

    Waits for other processes; raises StoreUnavailable when they take too long.
    """

    def look(conn: Transaction) -> tuple[Claim | None, bool]:
        run = runs.find(conn, key)
        if run is not None and run.state is RunState.DONE:
            return None, True
        before = leases.blocking(conn, key)
        wanted = key if before is None else before.key
        return leases.claim(conn, services.owner, keeper.lease, key=wanted), False

    pause = threading.Event()
    for _ in range(int(PATIENCE.total_seconds() / _POLL_SECONDS)):
        claim, is_done = services.store.transact(look)
        if claim is not None or is_done:
            return claim
        pause.wait(_POLL_SECONDS)
    raise StoreUnavailable(
        f"monitor {key.monitor!r}, window {rfc3339(key.window_end)}: this window or an earlier one is being evaluated "
        "by another process; wait for it, or stop it, and try again"
    )


def attempt(services: Services, monitor: MonitorConfig, claim: Claim, *, notify_past: bool = True) -> Result:
    """Evaluate the claimed window; every failure is settled in the store, logged and counted."""
    started = services.clock.monotonic()
    services.telemetry.run_started(monitor.name)
    try:
        outcome = evaluate(services, monitor, claim, notify_past=notify_past)
    except LeaseLost as error:
        return _fenced(services, monitor, claim, error)
    except SourceError as error:
        return _postponed(services, monitor, claim, error, error.reason.value)
    except StoreError as error:
        return _postponed(services, monitor, claim, error, RunFailure.STORE.value)
    except Exception as error:  # noqa: BLE001 our own mistake: it must not end the daemon, and must not be hidden
        return _retried(services, monitor, claim, error)
    finally:
        services.telemetry.run_finished(monitor.name, services.clock.monotonic() - started)
    _done(services, monitor, claim, outcome)
    return Result.DONE


def attempt_together(
    services: Services, monitor: MonitorConfig, claims: Sequence[Claim], gathered: Gathered, *, notify_past: bool
) -> Committed | None:
    """Evaluate the first of these windows in one transaction; None where they are to be attempted one by one.

    Whatever goes wrong in a batch undoes the batch. A window's own attempt then says whose failure it is.
    """
    started = services.clock.monotonic()
    try:
        committed = evaluate_together(services, monitor, claims, gathered, notify_past=notify_past)
    except Exception as error:  # noqa: BLE001 told by the attempt of the window that has it
        log(_logger, WARN, "batch_undone", f"Windows are evaluated one by one: {error}", monitor=monitor.name)
        return None
    each = (services.clock.monotonic() - started) / max(len(committed.outcomes), 1)
    for claim, outcome in zip(claims, committed.outcomes, strict=False):
        services.telemetry.run_started(monitor.name)
        services.telemetry.run_finished(monitor.name, each)
        _done(services, monitor, claim, outcome)
    return committed if committed.outcomes else None


def _done(services: Services, monitor: MonitorConfig, claim: Claim, outcome: EvaluationResult) -> None:
    services.telemetry.rows_read(monitor.name, outcome.rows_read)
    services.telemetry.source_up(monitor.source, up=True)
    log(_logger, INFO, "evaluated", "A window was evaluated.", rows=outcome.rows, **_nouns(claim))


def backoff(postponed: int) -> timedelta:
    """How long to wait after the n-th postponement in a row, counted from 0."""
    doublings = min(postponed, 10)  # far beyond the longest delay already
    return min(FIRST_DELAY * (1 << doublings), LONGEST_DELAY)


def _postponed(services: Services, monitor: MonitorConfig, claim: Claim, error: Exception, code: str) -> Result:
    services.telemetry.run_failed(monitor.name, code)
    if isinstance(error, SourceUnavailable):
        services.telemetry.source_up(monitor.source, up=False)
    delay = backoff(claim.postponed)
    log(
        _logger,
        WARN,
        "evaluation_postponed",
        f"A window could not be evaluated and is tried again in {delay}: {error}",
        reason=code,
        **_nouns(claim),
    )
    try:
        services.store.transact(lambda conn: leases.postpone(conn, claim, delay, error_code=code, error=str(error)))
    except LeaseLost as lost:
        return _fenced(services, monitor, claim, lost)
    return Result.POSTPONED


def _retried(services: Services, monitor: MonitorConfig, claim: Claim, error: Exception) -> Result:
    services.telemetry.run_failed(monitor.name, RunFailure.INTERNAL.value)
    log_failure(
        _logger, ERROR, "internal_error", "An evaluation failed by an error of our own.", error, **_nouns(claim)
    )
    message = f"{type(error).__name__}: {error}"
    delay = backoff(claim.attempt - 1)
    try:
        state = services.store.transact(
            lambda conn: leases.retry(conn, claim, delay, error_code=RunFailure.INTERNAL.value, error=message)
        )
    except LeaseLost as lost:
        return _fenced(services, monitor, claim, lost)
    log(_logger, ERROR, "evaluation_failed", f"{message}: the window is {state.value}.", **_nouns(claim))
    return Result.FAILED if state is RunState.FAILED else Result.RETRIED


def _fenced(services: Services, monitor: MonitorConfig, claim: Claim, error: LeaseLost) -> Result:
    services.telemetry.lease_lost()
    services.telemetry.run_failed(monitor.name, RunFailure.LEASE_LOST.value)
    log(_logger, WARN, "fenced", str(error), **_nouns(claim))
    return Result.FENCED


def _nouns(claim: Claim) -> dict[str, str]:
    return {
        "monitor": claim.key.monitor,
        "window_end": claim.key.window_end.isoformat(),
        "revision": str(claim.key.revision),
    }
