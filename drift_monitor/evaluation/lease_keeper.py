"""Leases kept alive while work goes on: one thread a process renews all that are held, for commands and the daemon.

A claim that ends by an exception, also Ctrl-C, is given back where it still holds. A process that was killed leaves
its leases to end by themselves. A renewal that comes too late changes nothing and is logged once; the work itself is
refused by its token when it is to be written.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

from drift_monitor.errors import StoreError
from drift_monitor.store import leases
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.leases import Claim
from drift_monitor.telemetry.logs import INFO, WARN, log

_logger = logging.getLogger(__name__)

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
            log(_logger, INFO, "released", "A window was given back.", **_nouns(claim))

    def _beat(self) -> None:
        while not self._stopped.wait(self.lease.total_seconds() / BEATS_PER_LEASE):
            held = self.held
            if held:
                self._renew(held)

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
                    _logger, WARN, "lease_lost", "The lease has passed on; the result will be refused.", **_nouns(claim)
                )


def _nouns(claim: Claim) -> dict[str, str]:
    return {"monitor": claim.key.monitor, "window_end": claim.key.window_end.isoformat()}
