"""Mistakes that the tests of crashes must catch, built into a child process; a test that passes with one is no proof.

Each is a thing that was, or might have been, written: nothing of the product can be told to do any of them.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

from drift_monitor.daemon.daemon import Daemon
from drift_monitor.daemon.dispatcher import Dispatcher
from drift_monitor.evaluation import commit
from drift_monitor.postgresql import PINNED, set_local
from drift_monitor.store import leases, outbox
from drift_monitor.store.outbox import Delivery, DeliveryOutcome


def no_fence() -> None:
    """Whoever once had a claim may write: the token is not looked at."""
    patch.object(leases, "_holds", lambda is_run, token: is_run).start()


def no_heartbeat() -> None:
    """Leases are not renewed, as if the machine had paused for so long."""
    patch.object(leases, "renew", lambda connection, held, ttl: True).start()


def two_transactions() -> None:
    """The run is done in one transaction, what it found is written in the next."""
    confirm_all = leases.confirm_all

    def confirm_and_commit(connection: Any, finished: Any) -> None:
        confirm_all(connection, finished)
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else "BEGIN")
        if connection.dialect.name == "postgresql":  # with the settings of every other one
            connection.exec_driver_sql(set_local({**PINNED}))

    patch.object(commit.leases, "confirm_all", confirm_and_commit).start()


def sent_before_sending() -> None:
    """A notification counts as sent from the moment somebody wants to send it."""
    claim = outbox.claim

    def claim_and_settle(connection: Any, *rest: Any, **named: Any) -> Any:
        claimed = claim(connection, *rest, **named)
        if claimed is not None:
            outbox.settle(connection, claimed, Delivery(outcome=DeliveryOutcome.SENT))
        return claimed

    patch.object(outbox, "claim", claim_and_settle).start()


def dead_loop() -> None:
    """The dispatcher's thread hangs for ever."""
    patch.object(Dispatcher, "dispatch", lambda self: threading.Event().wait()).start()


def dying_loop() -> None:
    """The dispatcher's ticks end in an error outside their guard, before the watchdog hears of them."""

    def die(self: Daemon) -> None:
        raise SystemError("the loop is broken")

    patch.object(Daemon, "_dispatch", die).start()


SABOTAGE: Mapping[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        no_fence,
        no_heartbeat,
        two_transactions,
        sent_before_sending,
        dead_loop,
        dying_loop,
    )
}
