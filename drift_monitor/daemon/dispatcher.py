"""Dispatch: plan what has come due, claim it, and have a worker evaluate it.

Workers go on claiming until nothing is due, so a backlog is worked off without waiting for ticks. Each claim is the
store's decision; two replicas that dispatch at once share the work without talking.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from drift_monitor.alerting.services import Services
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.daemon.watchdog import ClockTrust
from drift_monitor.errors import InputError, StoreError
from drift_monitor.evaluation.attempt import LeaseKeeper, attempt
from drift_monitor.evaluation.planning import plan_windows
from drift_monitor.store import leases, runs
from drift_monitor.store.leases import Claim
from drift_monitor.telemetry.logs import ERROR, WARN, Step, apart, log, log_failure

_logger = logging.getLogger(__name__)


class Dispatcher:
    """Keeps up to `workers` evaluations going while any is due."""

    def __init__(self, services: Callable[[], Services], keeper: LeaseKeeper, settings: DaemonSettings) -> None:
        self._services = services
        self._keeper = keeper
        self._settings = settings
        self._free = threading.Semaphore(settings.workers)
        self._draining = threading.Event()
        self.trust = ClockTrust(services().clock, settings)
        self._ended = 0  # workers that a drain has seen at rest
        self._look_at: dict[str, datetime] = {}
        self._turned = services().clock.monotonic()  # when work last ended, or there was none

    def dispatch(self) -> None:
        """One tick: plan, then give each free worker something to do."""
        if self._draining.is_set() or not self.trust.holds():
            return
        services = self._services()
        try:
            self._plan(services)
            while not self._draining.is_set() and self._free.acquire(blocking=False):
                if not self._start_one(services):
                    # Nothing that could be begun is waiting, and nothing is under way.
                    if not self._keeper.held:
                        self.turn()
                    break
            with services.store.read() as conn:
                waiting = runs.backlog(conn)
                now = services.store.now(conn)
        except StoreError:
            self.turn()  # without a store nothing can end, and a new process would do no better
            raise
        oldest = min((backlog.oldest_due for backlog in waiting.values() if backlog.oldest_due), default=now)
        services.telemetry.lagging((now - oldest).total_seconds())

    @property
    def silence(self) -> timedelta:
        """For how long there has been work, and neither an attempt nor a statement of one has ended, however it did.

        An attempt may have many statements: each that ends shows that it goes on.
        """
        services = self._services()
        last = max([self._turned, *(source.last_ended for source in services.sources.values())])
        return timedelta(seconds=services.clock.monotonic() - last)

    def turn(self) -> None:
        """Work has ended, or nobody could have done any."""
        self._turned = self._services().clock.monotonic()

    def _plan(self, services: Services) -> None:
        now = services.clock.now()
        for monitor in services.config.monitors:
            if now < self._look_at.get(monitor.name, now):
                continue
            upcoming = now + self._settings.replan
            with apart(_logger, "The windows of a monitor could not be planned.", monitor=monitor.name):
                upcoming = min(plan_windows(services, monitor).next_due, upcoming)
            self._look_at[monitor.name] = upcoming

    def _start_one(self, services: Services) -> bool:
        """Claim a run and hand it to a worker, who has the permit then; False where there is none."""
        claim, is_handed_over = None, False
        try:
            claim = self._claim(services)
            if claim is not None:
                threading.Thread(target=self._work, args=[claim], name="worker", daemon=True).start()
                is_handed_over = True
        finally:
            # Whatever went wrong: a permit that is kept after a failed claim is a worker fewer until the restart.
            if not is_handed_over:
                self._free.release()
                if claim is not None:  # no thread could be started
                    self._keeper.give_back([claim])
        return is_handed_over

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

    def _claim(self, services: Services) -> Claim | None:
        if not self.trust.holds():
            return None
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
        except Exception as error:  # noqa: BLE001 our own mistake: told, and the next tick starts another worker
            log_failure(_logger, ERROR, "worker_failed", "A worker ended by an error of our own.", error)
        finally:
            self._free.release()

    def _evaluate(self, services: Services, claim: Claim) -> None:
        try:
            monitor = services.config.monitor(claim.key.monitor)
        except InputError:  # the configuration was reloaded between claim and work, without this monitor
            services.store.transact(lambda conn: leases.release(conn, claim))
            return
        try:
            with services.telemetry.busy_worker(), self._keeper.holding(claim):
                attempt(services, monitor, claim, notify_past=False)
        finally:
            self.turn()
