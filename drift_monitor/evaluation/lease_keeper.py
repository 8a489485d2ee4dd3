"""A claim held by a command: its lease is renewed while the work goes on, and given back when it is interrupted.

A command that was killed leaves its lease to end by itself, which takes no longer than `LEASE`. Windows of a monitor
are evaluated in order, so whoever wants one may have to evaluate an older one first, or wait for another process.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from drift_monitor.alerting.services import Services
from drift_monitor.core.times import rfc3339
from drift_monitor.errors import StoreError, StoreUnavailable
from drift_monitor.store import leases, runs
from drift_monitor.store.connection import Transaction
from drift_monitor.store.leases import Claim
from drift_monitor.store.runs import RunKey, RunState
from drift_monitor.telemetry.logs import WARN, log

_logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
_BEATS_PER_LEASE = 4
PATIENCE = timedelta(seconds=30)  # for another process, or one that was killed, to let go: longer than a lease
_POLL_SECONDS = 0.25


def claim_towards(services: Services, key: RunKey) -> Claim | None:
    """Claim the run, or the older one of its monitor that has to be evaluated before it; None where the run is done.

    Waits for other processes; raises StoreUnavailable when they take too long.
    """
    pause = threading.Event()
    for _ in range(int(PATIENCE.total_seconds() / _POLL_SECONDS)):
        claim, is_done = services.store.transact(lambda conn: _look(conn, services.owner, key))
        if claim is not None or is_done:
            return claim
        pause.wait(_POLL_SECONDS)
    raise StoreUnavailable(
        f"monitor {key.monitor!r}, window {rfc3339(key.window_end)}: this window or an earlier one is being evaluated "
        "by another process; wait for it, or stop it, and try again"
    )


def _look(conn: Transaction, owner: str, key: RunKey) -> tuple[Claim | None, bool]:
    run = runs.find(conn, key)
    if run is not None and run.state is RunState.DONE:
        return None, True
    before = leases.blocking(conn, key)
    return leases.claim(conn, owner, LEASE, key=key if before is None else before.key), False


@contextmanager
def holding(services: Services, claim: Claim) -> Iterator[None]:
    """Renew the lease until the block ends; an exception, also Ctrl-C, gives the claim back if it still holds."""
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(services, claim, ended), name="lease", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        _release(services, claim)
        raise
    finally:
        ended.set()
        thread.join()


def _renew(services: Services, claim: Claim, ended: threading.Event) -> None:
    while not ended.wait(LEASE.total_seconds() / _BEATS_PER_LEASE):
        try:
            with services.store.begin() as conn:
                leases.renew(conn, claim, LEASE)
        except StoreError as error:
            log(_logger, WARN, "lease_not_renewed", str(error), monitor=claim.key.monitor)


def _release(services: Services, claim: Claim) -> None:
    try:
        services.store.transact(lambda conn: leases.release(conn, claim))
    except StoreError as error:
        log(_logger, WARN, "lease_not_released", str(error), monitor=claim.key.monitor)
