"""One attempt at a claimed run, and what its failure means.

done        committed
postponed   the source or the store failed: due again after a backoff, the attempt given back, alerts untouched
retried     an error of our own: due again, or failed after the last attempt
fenced      another replica holds the work now: nothing was written
"""

import logging
from datetime import timedelta
from enum import StrEnum

from drift_monitor.alerting.services import Services
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.errors import LeaseLost, SourceError, SourceUnavailable, StoreError
from drift_monitor.evaluation.evaluate import evaluate
from drift_monitor.store import leases
from drift_monitor.store.leases import Claim
from drift_monitor.store.runs import RunState
from drift_monitor.telemetry.logs import ERROR, INFO, WARN, log, log_failure
from drift_monitor.telemetry.reasons import RunFailure

_logger = logging.getLogger(__name__)

FIRST_DELAY = timedelta(seconds=30)  # after the first failure of a source or store; doubled each time
LONGEST_DELAY = timedelta(minutes=15)


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


def attempt(services: Services, monitor: MonitorConfig, claim: Claim, *, notify: bool = True) -> Result:
    """Evaluate the claimed window; every failure is settled in the store, told to the log and counted."""
    started = services.clock.monotonic()
    services.telemetry.run_started(monitor.name)
    try:
        outcome = evaluate(services, monitor, claim, notify=notify)
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
    services.telemetry.rows_read(monitor.name, outcome.rows_read)
    services.telemetry.source_up(monitor.source, up=True)
    log(_logger, INFO, "evaluated", "A window was evaluated.", rows=outcome.rows, **_nouns(claim))
    return Result.DONE


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
