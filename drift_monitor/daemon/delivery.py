"""Deliver: one thread a receiver at most, so that a dead receiver delays nobody but itself."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from drift_monitor.alerting.dispatch import deliver_next
from drift_monitor.alerting.services import Services
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.errors import StoreError
from drift_monitor.telemetry.logs import WARN, log

_logger = logging.getLogger(__name__)
THREADS = 8  # receivers served at a time


class DeliveryWorkers:
    """Sends what waits in the outbox."""

    def __init__(self, services: Callable[[], Services], settings: DaemonSettings) -> None:
        self._services = services
        self._lease = settings.sending
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="courier")
        self._busy: set[str] = set()
        self._idle = threading.Condition()
        self._draining = threading.Event()

    def deliver(self) -> None:
        """One tick: a thread for every receiver that is not being served."""
        for receiver in self._services().senders:
            with self._idle:
                if receiver in self._busy or self._draining.is_set():
                    continue
                self._busy.add(receiver)
            self._pool.submit(self._serve, receiver, once=False)

    def flush(self, seconds: float) -> bool:
        """Every receiver that is not being served once more: shutting down. False where some take longer than that."""
        self._draining.set()
        for receiver in self._services().senders:
            with self._idle:
                if receiver in self._busy:
                    continue
                self._busy.add(receiver)
            self._pool.submit(self._serve, receiver, once=True)
        with self._idle:
            return self._idle.wait_for(lambda: not self._busy, timeout=seconds)

    def close(self) -> None:
        self._draining.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _serve(self, receiver: str, *, once: bool) -> None:
        """Send what waits for a receiver until nothing does, or the next message only."""
        try:
            while (once or not self._draining.is_set()) and deliver_next(
                self._services(), receivers=[receiver], lease=self._lease
            ):
                if once:
                    return
        except StoreError as error:
            log(_logger, WARN, "store_unavailable", str(error), receiver=receiver)
        finally:
            with self._idle:
                self._busy.discard(receiver)
                self._idle.notify_all()
