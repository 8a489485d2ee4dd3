"""One delivery: claim an outbox row, send it outside any transaction, settle it.

A crash between sending and settling sends it again with the same id: at least once, and the receiver can tell. Order
holds for each monitor and receiver. A refusal for good and a day without success are `dead`, counted and shown.
"""

import logging
import random
from collections.abc import Collection
from datetime import timedelta

from drift_monitor.alerting.services import Services
from drift_monitor.errors import DeliveryError
from drift_monitor.notify.backoff import next_attempt
from drift_monitor.store import outbox
from drift_monitor.store.outbox import ClaimedNotification, Delivery, DeliveryOutcome
from drift_monitor.telemetry.logs import INFO, WARN, log
from drift_monitor.telemetry.steps import Step

_logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)  # longer than the total deadline of a sender, so that nobody else sends meanwhile


def deliver_next(
    services: Services,
    *,
    receivers: Collection[str] | None = None,
    monitors: Collection[str] | None = None,
    lease: timedelta = LEASE,
) -> bool:
    """Send the next notification that may be sent (to the receivers, of the monitors named); False if there is none."""
    served = tuple(services.senders) if receivers is None else tuple(receivers)
    claimed = services.store.transact(
        lambda conn: outbox.claim(conn, services.owner, lease, receivers=served, monitors=monitors)
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
    one = claimed.notification
    services.telemetry.notification_attempted(one.receiver, one.integration)
    nouns = {"monitor": one.monitor, "receiver": one.receiver, "notification": one.id, "attempt": claimed.attempt}
    try:
        services.senders[one.receiver].send(one.id, one.body, services.clock.now())
    except DeliveryError as error:
        result = _refused(services, claimed, error)
        log(_logger, WARN, "notification_not_accepted", f"{error}; {result.outcome.value}.", **nouns)
        return result
    log(_logger, INFO, "notification_sent", "A notification was accepted.", **nouns)
    return Delivery(outcome=DeliveryOutcome.SENT)


def _refused(services: Services, claimed: ClaimedNotification, error: DeliveryError) -> Delivery:
    one = claimed.notification
    services.telemetry.notification_failed(one.receiver, one.integration, error.reason)
    now = services.clock.now()
    again = (
        next_attempt(
            claimed.attempt,
            created_at=claimed.created_at,
            at=now,
            retry_after=error.retry_after,
            draw=random.random,
        )
        if error.retryable
        else None
    )
    if again is None:
        services.telemetry.notification_dropped(one.receiver, one.integration)
        return Delivery(outcome=DeliveryOutcome.DEAD, status_code=error.status_code, error=str(error))
    return Delivery(outcome=DeliveryOutcome.RETRY, status_code=error.status_code, error=str(error), delay=again - now)
