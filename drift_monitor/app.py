"""Composition root: a checked configuration becomes one wired process.

Everything that has to be closed is closed by the `with` block. Tests compose the same program with another clock or
with an observer that stops it at a named step; nothing in the product asks which it is.

A running service starts its HTTP listener first, then the store, then the daemon: a store that is still down shows as
not ready, not as a crash loop. SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads.
"""

import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from urllib.parse import urlsplit

from drift_monitor import __version__
from drift_monitor.alerting.services import Services
from drift_monitor.clock import Clock, SystemClock
from drift_monitor.config.loading import load
from drift_monitor.config.schema import Config
from drift_monitor.config.web import WebConfig
from drift_monitor.daemon.daemon import Daemon
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.errors import DriftMonitorError, InputError, StoreUnavailable
from drift_monitor.evaluation.planning import register_monitors
from drift_monitor.notify.factory import Sender, make_sender
from drift_monitor.sources.source import Source
from drift_monitor.store import migrate
from drift_monitor.store.connection import Store
from drift_monitor.store.health import take_over
from drift_monitor.telemetry.logs import ERROR, INFO, WARN, StepObserver, learn_secrets, log, log_step
from drift_monitor.telemetry.metrics import Telemetry
from drift_monitor.web.access import bind_problem
from drift_monitor.web.api.routes import api_routes
from drift_monitor.web.metrics.exposition import DEFAULT_MAX_SERIES
from drift_monitor.web.metrics.routes import ServerDependencies, operational_routes
from drift_monitor.web.metrics.snapshot import read_snapshot
from drift_monitor.web.pages.routes import page_routes
from drift_monitor.web.protection import Protection
from drift_monitor.web.server import WebServer, try_address

_logger = logging.getLogger(__name__)
READERS = 4  # connections for requests: more than the listener lets in at a time
READING = timedelta(seconds=10)  # a statement of a page may take
LOOK_SECONDS = 1.0  # between looks at the listener, whatever the signals say
STORE_RETRY_SECONDS = 2.0  # between tries while the store is not there yet
STORE_TELL_SECONDS = 30.0  # between two lines about that


@contextmanager
def open_services(
    config: Config,
    *,
    clock: Clock | None = None,
    observe_step: StepObserver = log_step,
    external_url: str = "",
    migrate_store: bool = False,
    telemetry: Telemetry | None = None,
    given_up: Callable[[], bool] | None = None,
) -> Iterator[Services]:
    """Store (migrated where that is allowed), sources and senders of a configuration, open until the block ends.

    Once `given_up`, no answer of the store is waited for.
    """
    clock = clock or SystemClock()
    with ExitStack() as stack:
        store = Store(config.store.url.get_secret_value(), clock, given_up=given_up)
        stack.callback(store.close)
        store.check_file()
        # SQLite has one user, so it is migrated at once; a PostgreSQL store may serve an older replica meanwhile.
        if migrate_store or store.dialect == "sqlite":
            migrate.upgrade(store)
        else:
            migrate.check(store)
        sources = open_sources(config, clock)
        for source in sources.values():
            stack.callback(source.close)
        services = Services(
            config=config,
            store=store,
            sources=sources,
            senders=make_senders(config),
            clock=clock,
            telemetry=telemetry or Telemetry(version=__version__),
            owner=str(uuid.uuid4()),
            external_url=external_url,
            observe_step=observe_step,
        )
        declare(services)
        yield services


def open_sources(config: Config, clock: Clock) -> Mapping[str, Source]:
    """One engine a source; nothing is connected yet."""
    return {
        source.name: Source(
            source.name,
            source.url.get_secret_value(),
            max_connections=source.max_connections,
            statement_timeout=source.statement_timeout,
            clock=clock,
        )
        for source in config.sources
    }


def make_senders(config: Config) -> Mapping[str, Sender]:
    """One sender a receiver."""
    return {receiver.name: make_sender(receiver, config.outbound) for receiver in config.receivers}


def declare(services: Services, *, whole: bool = False) -> None:
    """Make the series of this configuration at 0, and tell the store its monitors."""
    config = services.config
    learn_secrets(secrets_of(config))
    services.telemetry.declare(
        monitors=[monitor.name for monitor in config.monitors],
        receivers=[(receiver.name, receiver.integration) for receiver in config.receivers],
        sources=[source.name for source in config.sources],
    )
    register_monitors(services, whole=whole)


def secrets_of(config: Config) -> set[str]:
    """What must not show in a log line: passwords in URLs, addresses of webhooks, and the keys that sign."""
    urls = [config.store.url, *(source.url for source in config.sources)]
    passwords = {urlsplit(url.get_secret_value()).password or "" for url in urls}
    of_receivers = (secret for receiver in config.receivers for secret in receiver.kind.secrets())
    return {*passwords, *(secret.get_secret_value() for secret in of_receivers)} - {""}


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What `run` is told on the command line. `external_url` is where users reach the pages."""

    listen_address: str = "127.0.0.1:8765"
    web_config: WebConfig = field(default_factory=WebConfig)
    web_config_file: Path | None = None  # read anew when it changes
    external_url: str = ""
    enable_lifecycle: bool = False
    enable_admin_api: bool = False
    allow_unauthenticated: bool = False
    max_series: int | None = None
    migrate_store: bool = False
    settings: DaemonSettings = field(default_factory=DaemonSettings)
    observe_step: StepObserver = log_step
    # What is done first, while pages are served and nothing is scheduled yet; it asks whether the service is ending.
    before: Callable[[Services, Callable[[], bool]], None] | None = None
    chore: Callable[[], None] | None = None  # of the daemon, before each look at what is due


def check_listen_address(options: ServeOptions) -> None:
    """Raise InputError where the address can't be listened on, before anything is done that would be in vain."""
    problem = bind_problem(options.listen_address, options.web_config, options.allow_unauthenticated)
    if problem is not None:
        raise InputError(problem)
    try:
        try_address(options.listen_address)
    except OSError as error:
        raise _not_listening(options, error) from error


def _not_listening(options: ServeOptions, error: OSError) -> InputError:
    return InputError(
        f"can't listen on {options.listen_address}: {error.strerror or error}; "
        "choose another address with --web.listen-address"
    )


class Service:
    """One running service: listener, daemon, and the signals that reload and end them."""

    def __init__(self, config: Config, options: ServeOptions, clock: Clock | None = None) -> None:
        problem = bind_problem(options.listen_address, options.web_config, options.allow_unauthenticated)
        if problem is not None:
            raise InputError(problem)
        self._config = config
        self._options = options
        self._clock = clock or SystemClock()
        self._telemetry = Telemetry(version=__version__)
        self._daemon: Daemon | None = None
        self._protection: Protection | None = None
        self._readers: Store | None = None
        # Written by signal handlers, which must not take a lock that the thread they interrupt may hold: plain values,
        # and a queue that a handler may put into at any time.
        self._ending = False
        self._reload_asked = False
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self._ended = threading.Event()

    def run(self, on_listening: Callable[[int], None] = lambda port: None) -> int:
        """Serve until a signal ends it; the process's exit code."""
        with ExitStack() as stack:
            stack.callback(self._ended.set)
            threading.Thread(target=self._end_at_last, name="last-seconds", daemon=True).start()
            server, protection = self._listen(stack, on_listening)
            stack.enter_context(self._signals())
            services = self._open_store(stack)
            if services is None:
                return 0
            daemon = self._daemon = Daemon(services, self._rebuild, self._options.settings, self._options.chore)
            if self._options.before is not None:
                self._options.before(services, lambda: self._ending)
                if self._ending:
                    return 0
            daemon.start()
            while not self._ending:
                self._sleep(LOOK_SECONDS)
                protection.notice()
                if services.store.outdated is not None and not self._ending:
                    log(_logger, ERROR, "outdated", services.store.outdated)
                    self.end()
                if self._reload_asked:
                    self._reload_asked = False
                    try:
                        self.reload()
                    except DriftMonitorError as error:
                        log(
                            _logger,
                            WARN,
                            "reload_refused",
                            "SIGHUP changed nothing.",
                            problems=str(error).count("\n") + 1,
                        )
                if not server.is_alive and not self._ending:
                    log(_logger, ERROR, "listener_dead", "The HTTP listener has died; the process ends.")
                    os._exit(1)
            is_finished = daemon.stop()
        if not is_finished:
            log(_logger, WARN, "left_behind", "Work that does not end is left behind; the process ends without it.")
            os._exit(0)  # the interpreter would wait for its threads, however long they take
        return 0 if services.store.outdated is None else 1

    def end(self) -> None:
        """Drain and end, as SIGTERM does."""
        self._ending = True
        self._wakeups.put(None)

    def reload(self) -> None:
        """Load the configuration anew, as SIGHUP does; raises DriftMonitorError if it is refused."""
        if self._daemon is None or self._protection is None:
            raise StoreUnavailable("the service is still starting: its store does not answer yet; try again later")
        self._protection.reload()
        self._daemon.reload()

    def _end_at_last(self) -> None:
        """End the process a while after it was asked to, whatever hangs."""
        while not self._ending:
            if self._ended.wait(LOOK_SECONDS):
                return
        settings = self._options.settings
        if not self._ended.wait((settings.grace + 2 * settings.farewell).total_seconds()):
            hung = sorted(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())
            log(_logger, ERROR, "hung", "The process was asked to end and ends now, with work left.", threads=hung)
            os._exit(0)  # nothing is lost: leases end by themselves

    def _listen(self, stack: ExitStack, on_listening: Callable[[int], None]) -> tuple[WebServer, Protection]:
        options = self._options
        operational = ServerDependencies(
            telemetry=self._telemetry,
            clock=self._clock,
            healthy=lambda: self._daemon is None or self._daemon.is_healthy(),
            ready=lambda: self._daemon is not None and self._daemon.is_ready(),
            snapshot=lambda: read_snapshot(self._for_readers()),
            reload=self.reload if options.enable_lifecycle else None,
            max_series=options.max_series or DEFAULT_MAX_SERIES,
        )

        def may_change() -> bool:
            return options.enable_admin_api or server.web_config.authenticates

        server = WebServer(
            [
                *operational_routes(operational),
                *page_routes(self._for_readers, self._clock),
                *api_routes(self._for_readers, may_change=may_change),
            ],
            options.web_config,
            address=options.listen_address,
            on_refused=self._telemetry.request_refused,
            external_urls=(options.external_url,) if options.external_url else (),
        )
        try:
            port = server.start()
        except OSError as error:
            raise _not_listening(options, error) from error
        stack.callback(server.stop)
        protection = self._protection = Protection(
            server,
            options.web_config_file,
            options.listen_address,
            allow_unauthenticated=options.allow_unauthenticated,
        )
        log(_logger, INFO, "listening", "The HTTP listener has started.", address=options.listen_address, port=port)
        on_listening(port)
        return server, protection

    def _open_store(self, stack: ExitStack) -> Services | None:
        """The services, once the store answers; None where the service was ended before."""
        tell_at = self._clock.monotonic()
        while not self._ending:
            try:
                with ExitStack() as trial:
                    services = trial.enter_context(
                        open_services(
                            self._config,
                            clock=self._clock,
                            observe_step=self._options.observe_step,
                            external_url=self._options.external_url,
                            migrate_store=self._options.migrate_store,
                            telemetry=self._telemetry,
                            given_up=lambda: self._ending and self._daemon is None,
                        )
                    )
                    trial.enter_context(services.store.lock())
                    if services.store.path is not None:  # the lock proves that no other process of the service lives
                        services.store.transact(partial(take_over, owner=services.owner))
                    declare(services, whole=True)
                    self._telemetry.store_up(up=True)
                    url = self._config.store.url.get_secret_value()
                    self._readers = Store(url, self._clock, pool_size=READERS, deadline=READING)
                    trial.callback(self._readers.close)
                    stack.push(trial.pop_all())
                    return services
            except StoreUnavailable as error:
                self._telemetry.store_up(up=False)
                if self._clock.monotonic() >= tell_at:
                    tell_at = self._clock.monotonic() + STORE_TELL_SECONDS
                    log(_logger, WARN, "waiting_for_store", f"Waiting for the store: {error}")
                self._sleep(STORE_RETRY_SECONDS)
        return None

    def _rebuild(self, old: Services) -> Services:
        """The services of the configuration file as it is now; store and listener stay."""
        if self._config.path is None:
            raise InputError("this service was not started from a file, so there is nothing to load anew")
        config = load(self._config.path)
        if config.store.url != old.config.store.url:
            raise InputError("the store's url has changed: that needs a restart, a reload keeps the store")
        new = replace(old, config=config, sources=open_sources(config, self._clock), senders=make_senders(config))
        declare(new, whole=True)
        return new

    def _for_readers(self) -> Services:
        """The services as pages and metrics have them: with connections of their own, so that work keeps the others."""
        if self._daemon is None or self._readers is None:
            raise StoreUnavailable("the service is still starting: its store does not answer yet")
        services = self._daemon.services
        self._readers.problem = services.store.problem
        services.store.damage = services.store.damage or self._readers.damage  # whoever finds it
        return replace(services, store=self._readers)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._end_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._reload_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end_signal(self, number: int, frame: FrameType | None) -> None:
        if self._ending:
            os._exit(1)  # the second signal: now, the store is left as after a crash
        if self._daemon is not None:
            self._daemon.begin_drain()
        self.end()

    def _reload_signal(self, number: int, frame: FrameType | None) -> None:
        self._reload_asked = True
        self._wakeups.put(None)

    def _sleep(self, seconds: float) -> None:
        """Until that time has passed, or until something is asked for."""
        with suppress(Empty):
            self._wakeups.get(timeout=seconds)
