"""Leases of the evaluations that run now, renewed from a thread of their own while the work goes on.

A renewal that comes too late changes nothing and is told once; the work itself is refused by its token at the end.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.errors import StoreError
from drift_monitor.store import leases
from drift_monitor.store.connection import Store
from drift_monitor.store.leases import Claim
from drift_monitor.telemetry.logs import WARN, log

_logger = logging.getLogger(__name__)
BEATS_PER_LEASE = 4


class Heartbeat:
    """Keeps the leases of held claims alive."""

    def __init__(self, store: Store, settings: DaemonSettings) -> None:
        self._store = store
        self._settings = settings
        # By run and token: a run whose lease ended while we were stalled may be claimed anew beside itself.
        self._held: dict[tuple[str, int], Claim] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """Renew this claim's lease until the block ends."""
        with self._lock:
            self._held[claim.id, claim.token] = claim
        try:
            yield
        finally:
            with self._lock:
                self._held.pop((claim.id, claim.token), None)

    @property
    def held(self) -> tuple[Claim, ...]:
        with self._lock:
            return tuple(self._held.values())

    def _beat(self) -> None:
        while not self._stopped.wait(self._settings.lease.total_seconds() / BEATS_PER_LEASE):
            for claim in self.held:
                self._renew(claim)

    def _renew(self, claim: Claim) -> None:
        nouns = {"monitor": claim.key.monitor, "window_end": claim.key.window_end.isoformat()}
        try:
            with self._store.begin() as conn:
                renewed = leases.renew(conn, claim, self._settings.lease)
        except StoreError as error:
            log(_logger, WARN, "lease_not_renewed", str(error), **nouns)
            return
        if not renewed and claim in self.held:
            log(_logger, WARN, "lease_lost", "The lease has passed on; the result will be refused.", **nouns)
