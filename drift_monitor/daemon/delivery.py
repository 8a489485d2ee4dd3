"""Deliver: one thread a receiver at most, so that a dead receiver delays nobody but itself."""

import logging
import threading
from collections.abc import Callable

from drift_monitor.alerting.dispatch import deliver_next
from drift_monitor.alerting.services import Services
from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.errors import StoreError
from drift_monitor.telemetry.logs import ERROR, WARN, apart, log, log_failure

_logger = logging.getLogger(__name__)
THREADS = 8  # receivers served at a time


class DeliveryWorkers:
    """Sends what waits in the outbox."""

    def __init__(self, services: Callable[[], Services], settings: DaemonSettings) -> None:
        self._services = services
        self._lease = settings.sending
        self._busy: set[str] = set()
        self._turns = threading.Semaphore(THREADS)
        self._idle = threading.Condition()
        self._draining = threading.Event()

    def deliver(self) -> None:
        """One tick: a thread for every receiver that is not being served."""
        for receiver in self._services().senders:
            if not self._draining.is_set():
                self._start_one(receiver, once=False)

    def flush(self, seconds: float) -> bool:
        """Every receiver that is not being served once more: shutting down. False where some take longer than that."""
        self._draining.set()
        for receiver in self._services().senders:
            with apart(_logger, "A receiver could not be served.", receiver=receiver):
                self._start_one(receiver, once=True)
        with self._idle:
            return self._idle.wait_for(lambda: not self._busy, timeout=seconds)

    def _start_one(self, receiver: str, *, once: bool) -> None:
        with self._idle:
            if receiver in self._busy:
                return
            self._busy.add(receiver)
        try:
            threading.Thread(target=self._serve, args=[receiver, once], name="courier", daemon=True).start()
        except BaseException:
            self._rest(receiver)
            raise

    def _rest(self, receiver: str) -> None:
        with self._idle:
            self._busy.discard(receiver)
            self._idle.notify_all()

    def _serve(self, receiver: str, once: bool) -> None:
        """Send what waits for a receiver until nothing does, or the next message only."""
        try:
            with self._turns:  # those beyond the eighth wait here for theirs, also at shutdown
                while (once or not self._draining.is_set()) and deliver_next(
                    self._services(), receivers=[receiver], lease=self._lease
                ):
                    if once:
                        return
        except StoreError as error:
            log(_logger, WARN, "store_unavailable", str(error), receiver=receiver)
        except Exception as error:  # noqa: BLE001 our own mistake: told, and tried again at the next tick
            log_failure(_logger, ERROR, "courier_failed", "Delivery ended by an error of our own.", error)
        finally:
            self._rest(receiver)
