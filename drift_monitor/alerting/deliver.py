"""One delivery: claim an outbox row, send it outside any transaction, settle it; and when to try again.

A crash between sending and settling sends it again with the same id: at least once, and the receiver can tell. Order
holds for each monitor and receiver. A refusal for good and a day without success are `dead`, counted and shown.

A failed delivery waits with full jitter: the ceiling doubles from 2 s to 5 min, and the wait is drawn between 1 s and
the ceiling, so that many notifications that failed together don't come back together. A receiver that says
`Retry-After` is given that time, up to an hour.
"""

import logging
import random
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from drift_monitor.alerting.services import Services
from drift_monitor.errors import DeliveryError
from drift_monitor.store import outbox
from drift_monitor.store.outbox import ClaimedNotification, Delivery, DeliveryOutcome
from drift_monitor.telemetry.logs import INFO, WARN, log
from drift_monitor.telemetry.steps import Step

_logger = logging.getLogger(__name__)

SEND_LEASE = timedelta(seconds=60)  # longer than the total deadline of a sender, so that nobody else sends meanwhile
MIN_DELAY = timedelta(seconds=1)
MAX_DELAY = timedelta(minutes=5)  # a receiver that is back is found within minutes
MAX_RETRY_AFTER = timedelta(hours=1)  # whatever a receiver asks for: it must not park a page for a day
MAX_AGE = timedelta(hours=24)  # nobody is helped by yesterday's page


def deliver_next(
    services: Services,
    *,
    receivers: Collection[str] | None = None,
    monitors: Collection[str] | None = None,
    lease: timedelta = SEND_LEASE,
) -> bool:
    """Send the next notification that may be sent (to the receivers, of the monitors named); False if there is none."""
    names = tuple(services.senders) if receivers is None else tuple(receivers)
    claimed = services.store.transact(
        lambda conn: outbox.claim(conn, services.owner, lease, receivers=names, monitors=monitors)
    )
    if claimed is None:
        return False
    services.observe_step(Step.SEND_CLAIMED, claimed.notification.id)
    result = _send(services, claimed)
    services.observe_step(Step.SEND_POSTED, claimed.notification.id)
    services.store.transact(lambda conn: outbox.settle(conn, claimed, result))
    services.observe_step(Step.SEND_SETTLED, claimed.notification.id)
    return True


def _send(services: Services, claimed: ClaimedNotification) -> Delivery:
    notification = claimed.notification
    receiver, integration = notification.receiver, notification.integration
    services.telemetry.notification_attempted(receiver, integration)
    nouns = {
        "monitor": notification.monitor,
        "receiver": receiver,
        "notification": notification.id,
        "attempt": claimed.attempt,
    }
    try:
        services.senders[receiver].send(notification.id, notification.body, services.clock.now())
    except DeliveryError as error:
        services.telemetry.notification_failed(receiver, integration, error.reason)
        result = _retry_or_drop(services, claimed, error)
        if result.outcome is DeliveryOutcome.DEAD:
            services.telemetry.notification_dropped(receiver, integration)
        log(_logger, WARN, "notification_not_accepted", f"{error}; {result.outcome.value}.", **nouns)
        return result
    log(_logger, INFO, "notification_sent", "A notification was accepted.", **nouns)
    return Delivery(outcome=DeliveryOutcome.SENT)


def _retry_or_drop(services: Services, claimed: ClaimedNotification, error: DeliveryError) -> Delivery:
    now = services.clock.now()
    again = next_attempt(
        claimed.attempt,
        created_at=claimed.created_at,
        at=now,
        retry_after=error.retry_after,
        draw=random.random,
    )
    if not error.retryable or again is None:
        return Delivery(outcome=DeliveryOutcome.DEAD, status_code=error.status_code, error=str(error))
    return Delivery(outcome=DeliveryOutcome.RETRY, status_code=error.status_code, error=str(error), delay=again - now)


def next_attempt(
    attempt: int, *, created_at: datetime, at: datetime, retry_after: float | None, draw: Callable[[], float]
) -> datetime | None:
    """The moment of the next try after a failure at `at`, or None: too old by then, give it up."""
    asked = timedelta(seconds=min(max(retry_after or 0.0, 0.0), MAX_RETRY_AFTER.total_seconds()))
    moment = at + max(delay(attempt, draw), asked)
    return moment if moment < created_at + MAX_AGE else None


def delay(attempt: int, draw: Callable[[], float]) -> timedelta:
    """The wait after the `attempt`-th failure (from 1); `draw` gives a number in [0, 1)."""
    doublings = min(max(attempt, 1), 16)  # far above the ceiling, and no huge powers
    ceiling = min(MAX_DELAY, MIN_DELAY * (1 << doublings))
    return MIN_DELAY + (ceiling - MIN_DELAY) * draw()
