"""Work for the processes that a test lets loose on one store."""

import time
from collections.abc import Callable
from typing import TypeVar

from drift_monitor.errors import StoreUnavailable
from drift_monitor.store import leases, outbox, runs
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.outbox import Delivery, DeliveryOutcome
from tests.store.conftest import opened
from tests.store.making import TTL

Result = TypeVar("Result")


def finish_runs(url: str, owner: str) -> list[tuple[str, str]]:
    """Claim and confirm until nothing is due: (monitor, window_end) of each, in the order of its claims."""
    done = []
    with opened(url) as store:
        while _is_due(store):
            held = _patiently(store, lambda connection: leases.claim(connection, owner, TTL))
            if held is not None:
                _patiently(store, _confirming(held))
                done.append((held.key.monitor, held.key.window_end.isoformat()))
    return done


def send_notifications(url: str, owner: str) -> list[str]:
    """Claim and settle until the outbox is empty: the id of each, in the order of its claims."""
    sent = []
    with opened(url) as store:
        while _is_waiting(store):
            claimed = _patiently(store, lambda connection: outbox.claim(connection, owner, TTL))
            if claimed is not None:
                sent.append(claimed.notification.id)
                _patiently(store, _settling(claimed))
    return sent


def _patiently(store: Store, work: Callable[[Transaction], Result]) -> Result:
    """Try again where the file is busy for longer than a transaction waits, as the daemon does at its next tick."""
    deadline = time.monotonic() + TTL.total_seconds() / 2
    while True:
        try:
            return store.transact(work)
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise


def _is_due(store: Store) -> bool:
    with store.read() as connection:
        return any(one.due for one in runs.backlog(connection).values())


def _is_waiting(store: Store) -> bool:
    with store.read() as connection:
        return bool(outbox.queues(connection))


def _confirming(held: leases.Claim) -> Callable[[Transaction], None]:
    def work(connection: Transaction) -> None:
        leases.confirm(connection, held, leases.RunResult(rows_read=1))

    return work


def _settling(claimed: outbox.ClaimedNotification) -> Callable[[Transaction], bool]:
    def work(connection: Transaction) -> bool:
        return outbox.settle(connection, claimed, Delivery(outcome=DeliveryOutcome.SENT))

    return work
