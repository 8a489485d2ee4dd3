"""The daemon as a whole: start, reload, drain, stop, and the two answers health checks ask for.

start     lease keeper, watchdog, ticks: dispatch and deliver every second, and tell Alertmanager what has changed;
          every minute check the monitors themselves, remind of what still fires, and tell Alertmanager how all stands;
          housekeeping every hour
reload    a new configuration is checked as a whole, then swapped in; a refused one changes nothing
drain     not ready at once; no further claims; running evaluations get `grace`, what is left is cancelled and
          its windows given back; the outbox is tried once more

APScheduler is the ticker: a few named ticks in memory, in UTC, never two of a kind at once. An interval trigger sleeps
until a wall-clock time; where the clock is set back, that time is far away and nothing would run, so ticks are armed
anew then.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from drift_monitor.alerting.alertmanager_sync import AlertmanagerSync
from drift_monitor.alerting.repeat import repeat_due
from drift_monitor.alerting.self_monitoring import check_monitors
from drift_monitor.alerting.services import Services
from drift_monitor.clock import Clock
from drift_monitor.core.times import rfc3339
from drift_monitor.daemon.delivery import DeliveryWorkers
from drift_monitor.daemon.dispatcher import Dispatcher
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.daemon.watchdog import GapDetector, Watchdog
from drift_monitor.errors import DriftMonitorError, StoreError
from drift_monitor.evaluation.attempt import LeaseKeeper
from drift_monitor.store import retention
from drift_monitor.store.health import Replica, StoreProbe
from drift_monitor.store.retention import RetentionLimits
from drift_monitor.telemetry.logs import ERROR, INFO, WARN, apart, log, log_failure
from drift_monitor.version import __version__

_logger = logging.getLogger(__name__)
# A tick that comes on time is no news, and one that is late is counted by the scheduler lag.
logging.getLogger("apscheduler").setLevel(logging.ERROR)
CHECK_FILE_EVERY = timedelta(days=1)  # what is broken in a SQLite file shows only where it is read
LOW_WATER_BYTES = 256 * 2**20  # free on the disk of the store
MISSED_ROUNDS = 5  # of checking the monitors: so late that nobody watched meanwhile


class Daemon:
    """Runs the evaluations and deliveries of one configuration until stopped."""

    def __init__(
        self,
        services: Services,
        rebuild: Callable[[Services], Services],
        settings: DaemonSettings | None = None,
        chore: Callable[[], None] | None = None,
    ) -> None:
        self._services = services
        self._rebuild = rebuild
        self._settings = settings or DaemonSettings()
        self._longest = timedelta(0)  # a statement may take
        # The file was checked when it was opened.
        self._check_file_at = services.clock.monotonic() + CHECK_FILE_EVERY.total_seconds()
        self._reloading = threading.Lock()
        self._draining = threading.Event()
        self._keeper = LeaseKeeper(services.store, self._settings.lease)
        self._dispatcher = Dispatcher(lambda: self._services, self._keeper, self._settings)
        self._delivery = DeliveryWorkers(lambda: self._services, self._settings)
        self._chore = self._guarded(chore) if chore else None
        self._ticker = Ticker(self._ticks(), services.clock)
        self._alertmanagers = AlertmanagerSync(self._settings.resend)
        own = Replica(owner=services.owner, version=__version__, config_hash=services.config.hash)
        self._probe = StoreProbe(services.store, own, services.clock, services.telemetry)
        self._gaps = GapDetector(MISSED_ROUNDS * self._settings.resend)
        self._watchdog = Watchdog(self._settings, services.clock, self._rearm, self._end_if_stuck)

    @property
    def services(self) -> Services:
        """The services of the configuration in force."""
        return self._services

    def start(self) -> None:
        telemetry = self._services.telemetry
        telemetry.workers(self._settings.workers)
        telemetry.config_loaded(self._services.clock.now())
        self._probe.start()
        self._keeper.start()
        self._dispatcher.turn()  # whatever was done before took its time
        self._watchdog.start()
        self._ticker.start()
        log(_logger, INFO, "started", "The daemon has started.", monitors=len(self._services.config.monitors))

    def reload(self) -> None:
        """Load the configuration anew; raises DriftMonitorError, with the old one still in force."""
        with self._reloading:
            old = self._services
            now = old.clock.now()
            try:
                new = self._rebuild(old)
            except DriftMonitorError as error:
                old.telemetry.config_refused()
                log(_logger, ERROR, "reload_refused", f"The configuration was refused, the old one stays: {error}")
                raise
            except Exception as error:
                old.telemetry.config_refused()
                log_failure(_logger, ERROR, "reload_refused", "An error of our own; the old one stays.", error)
                said = f"the configuration could not be loaded by an error of our own: {type(error).__name__}: {error}"
                raise DriftMonitorError(said) from error
            self._services = new
            self._probe.replica = replace(self._probe.replica, config_hash=new.config.hash)
            self._dispatcher.forget_plans()
            self._dispatcher.turn()
            new.telemetry.config_loaded(now)
            for source in old.sources.values():
                with apart(_logger, "A source of the old configuration could not be closed.", source=source.name):
                    source.close()
            log(_logger, INFO, "reloaded", "The configuration was loaded anew.", monitors=len(new.config.monitors))

    def is_healthy(self) -> bool:
        """Whether the process and its loops turn."""
        return self._watchdog.is_alive

    def is_ready(self) -> bool:
        """Whether work is taken and the store can be written."""
        return not self._draining.is_set() and self._services.store.problem is None

    def begin_drain(self) -> None:
        """Not ready from now on: shutdown was asked for."""
        self._draining.set()

    def stop(self) -> bool:
        """Drain and stop, within the grace time and a little; False where work that was cancelled still runs."""
        self.begin_drain()
        self._ticker.stop()
        self._watchdog.stop()
        is_finished = self._dispatcher.drain(self._settings.grace.total_seconds()) or self._abandon()
        self._keeper.stop()
        is_finished = self._delivery.flush(self._settings.farewell.total_seconds()) and is_finished
        self._probe.stop()
        log(_logger, INFO, "stopped", "The daemon has stopped.")
        return is_finished

    def _end_if_stuck(self) -> bool:
        """Whether work has been waiting and none has ended for longer than any statement may take, and a good while.

        What is held is given back then, as the restart to come is not the fault of those windows.
        """
        timeouts = [source.statement_timeout for source in self._services.config.sources]
        self._longest = max([self._longest, *timeouts])  # one of a configuration before may still be under way
        silence = self._dispatcher.silence
        if silence <= self._longest + self._settings.stuck_after:
            return False
        held = self._keeper.held
        windows = ", ".join(f"{claim.key.monitor} {rfc3339(claim.key.window_end)}" for claim in held) or "none"
        log(
            _logger,
            ERROR,
            "stuck",
            f"There is work, and none has ended for {silence}; the process ends.",
            under_way=windows,
        )
        with suppress(RuntimeError):  # no thread is to be had; in a thread, as the store may be what hangs
            giving_back = threading.Thread(target=self._keeper.give_back, args=[held], daemon=True)
            giving_back.start()
            giving_back.join(self._settings.farewell.total_seconds())
        return True

    def _abandon(self) -> bool:
        """Give back the windows that are still worked on, then cancel their statements; whether the workers ended.

        In this order: a worker that ends by the cancelling would put its window off, as if the source had failed.
        """
        self._keeper.stop()
        self._keeper.give_back(self._keeper.held)
        for source in self._services.sources.values():
            source.cancel()
        return self._dispatcher.drain(self._settings.farewell.total_seconds())

    def _ticks(self) -> dict[str, tuple[timedelta, Callable[[], None]]]:
        often, seldom = self._settings.tick, self._settings.housekeeping

        def check() -> None:
            check_monitors(self._services, self._gaps.watched_since(self._services.clock.now()))
            free = self._services.store.free_bytes
            if free is not None and free < LOW_WATER_BYTES:  # on a full disk nothing can be deleted either
                log(_logger, WARN, "disk_low", "There is little room for the store; old rows go now.", free_bytes=free)
                self._keep_house()

        return {
            "dispatch": (often, self._dispatch),
            "deliver": (often, self._guarded(self._delivery.deliver)),
            "check": (self._settings.resend, self._guarded(self._in_time(check))),
            "remind": (self._settings.resend, self._guarded(self._in_time(lambda: repeat_due(self._services)))),
            "resend": (often, self._guarded(lambda: self._alertmanagers.tick(self._services))),
            "housekeeping": (seldom, self._guarded(self._in_time(self._keep_house))),
        }

    def _rearm(self) -> None:
        self._dispatcher.forget_plans()
        self._dispatcher.turn()
        self._ticker.rearm()

    def _dispatch(self) -> None:
        """The chore comes first: after a long sleep its rows must be there before their windows are evaluated."""
        if self._chore is not None:
            self._chore()
        self._guarded(self._dispatcher.dispatch)()
        self._watchdog.beat()
        self._services.telemetry.ticked(self._services.clock.now())

    def _in_time(self, tick: Callable[[], None]) -> Callable[[], None]:
        """A tick that goes by the time of day, and waits for a clock that can be believed."""
        return lambda: tick() if self._dispatcher.trust.holds() else None

    def _guarded(self, tick: Callable[[], None]) -> Callable[[], None]:
        """A tick whose failure is told and does not end the ticks after it."""

        def run() -> None:
            try:
                tick()
            except StoreError as error:
                log(_logger, WARN, "store_unavailable", str(error))
            except Exception as error:  # noqa: BLE001 our own mistake: told with its stack, and tried again
                log_failure(_logger, ERROR, "tick_failed", "A tick failed by an error of our own.", error)

        return run

    def _keep_house(self) -> None:
        kept, now = self._services.config.store.retention, self._services.clock.now()
        limits = RetentionLimits(panes_before=now - kept.panes, measurements_before=now - kept.measurements)
        retention.purge(self._services.store, limits, keep_going=lambda: not self._draining.is_set())
        self._services.store.checkpoint()
        if self._services.clock.monotonic() >= self._check_file_at:
            self._check_file_at = self._services.clock.monotonic() + CHECK_FILE_EVERY.total_seconds()
            self._services.store.check_file()


class TickTrigger(BaseTrigger):  # type: ignore[misc]
    """A tick each interval; those that were missed are one.

    APScheduler's own interval goes through all that were missed, one by one: where the clock leaps ahead by years these
    are hundreds of millions, and nothing else turns meanwhile.
    """

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        following = now if previous is None else previous + self._interval
        return following if following > now else now + self._interval


class Ticker:
    """Runs each tick every so often in a thread of its own; `rearm` makes all due now."""

    def __init__(self, ticks: Mapping[str, tuple[timedelta, Callable[[], None]]], clock: Clock) -> None:
        self._clock = clock
        self._names = tuple(ticks)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=len(ticks))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for name, (every, tick) in ticks.items():
            self._scheduler.add_job(tick, TickTrigger(every), id=name, next_run_time=clock.now())

    def start(self) -> None:
        self._scheduler.start()

    def rearm(self) -> None:
        """Every tick is due now: the clock was set."""
        for name in self._names:
            self._scheduler.modify_job(name, next_run_time=self._clock.now())
        self._scheduler.wakeup()

    def stop(self) -> None:
        """No further ticks; one that runs now is not waited for."""
        self._scheduler.shutdown(wait=False)
