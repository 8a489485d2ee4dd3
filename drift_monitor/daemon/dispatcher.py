"""Dispatch: plan what has come due, claim it, and have a worker evaluate it.

Workers go on claiming until nothing is due, so a backlog is worked off without waiting for ticks. Each claim is the
store's decision; two replicas that dispatch at once share the work without talking.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from drift_monitor.alerting.services import Services
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.errors import InputError, StoreError
from drift_monitor.evaluation.attempt import LeaseKeeper, attempt
from drift_monitor.evaluation.planning import plan_windows
from drift_monitor.store import leases, runs
from drift_monitor.store.leases import Claim
from drift_monitor.telemetry.logs import WARN, Step, log

_logger = logging.getLogger(__name__)


class Dispatcher:
    """Keeps up to `workers` evaluations going while any is due."""

    def __init__(self, services: Callable[[], Services], keeper: LeaseKeeper, settings: DaemonSettings) -> None:
        self._services = services
        self._keeper = keeper
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="worker")
        self._free = threading.Semaphore(settings.workers)
        self._draining = threading.Event()
        self._ended = 0  # workers that a drain has seen at rest
        self._look_at: dict[str, datetime] = {}

    def dispatch(self) -> None:
        """One tick: plan, then give each free worker something to do."""
        if self._draining.is_set():
            return
        services = self._services()
        now = services.clock.now()
        for monitor in services.config.monitors:
            if now >= self._look_at.get(monitor.name, now):
                planned = plan_windows(services, monitor)
                self._look_at[monitor.name] = min(planned.next_due, now + self._settings.replan)
        with services.store.read() as conn:
            waiting = runs.backlog(conn)
            now = services.store.now(conn)
        oldest = min((backlog.oldest_due for backlog in waiting.values() if backlog.oldest_due), default=now)
        services.telemetry.lagging((now - oldest).total_seconds())
        while not self._draining.is_set() and self._free.acquire(blocking=False):
            is_handed_over = False
            try:
                claim = self._claim(services)
                if claim is not None:
                    self._pool.submit(self._work, claim)
                    is_handed_over = True
            finally:
                # Whatever went wrong: a permit that is kept after a failed claim is a worker fewer until the restart.
                if not is_handed_over:
                    self._free.release()
            if not is_handed_over:
                return

    def forget_plans(self) -> None:
        """Look at every schedule again: the configuration or the clock has changed."""
        self._look_at = {}

    def drain(self, seconds: float) -> bool:
        """No further claims; wait for running evaluations. False where some still run after that time."""
        self._draining.set()
        clock = self._services().clock
        deadline = clock.monotonic() + seconds
        while self._ended < self._settings.workers:
            if not self._free.acquire(timeout=max(0.0, deadline - clock.monotonic())):
                return False
            self._ended += 1
        return True

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _claim(self, services: Services) -> Claim | None:
        monitors = [monitor.name for monitor in services.config.monitors]
        claim = services.store.transact(
            lambda conn: leases.claim(conn, services.owner, self._keeper.lease, monitors=monitors)
        )
        if claim is not None:
            services.observe_step(Step.CLAIM_AFTER_COMMIT, f"{claim.key.monitor}/{claim.key.window_end.isoformat()}")
        return claim

    def _work(self, claim: Claim | None) -> None:
        try:
            while claim is not None:
                services = self._services()
                self._evaluate(services, claim)
                claim = None if self._draining.is_set() else self._claim(services)
        except StoreError as error:
            log(_logger, WARN, "store_unavailable", str(error))
            self._services().telemetry.store_up(up=False)
        finally:
            self._free.release()

    def _evaluate(self, services: Services, claim: Claim) -> None:
        try:
            monitor = services.config.monitor(claim.key.monitor)
        except InputError:  # the configuration was reloaded between claim and work, without this monitor
            services.store.transact(lambda conn: leases.release(conn, claim))
            return
        with services.telemetry.busy_worker(), self._keeper.holding(claim):
            attempt(services, monitor, claim, notify_past=False)
