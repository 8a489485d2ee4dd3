"""Notifications are sent at least once, in order for each monitor and receiver, always under the same id."""

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import pytest

from drift_monitor.store import outbox
from drift_monitor.store.connection import Store
from drift_monitor.store.outbox import (
    ClaimedNotification,
    Delivery,
    DeliveryOutcome,
    Notification,
    NotificationFilter,
    NotificationState,
    StoredNotification,
)
from tests.processes.processes import FORKS
from tests.store.hammer import send_notifications
from tests.store.making import EXPIRED, HOUR, TTL, add_monitor, notification, prepared

SENT = Delivery(outcome=DeliveryOutcome.SENT, status_code=200)
REFUSED = Delivery(outcome=DeliveryOutcome.RETRY, status_code=503, error="busy", delay=HOUR)


@pytest.fixture(autouse=True)
def monitor(store: Store) -> None:
    prepared(store)


def add(store: Store, *notifications: Notification) -> int:
    return store.transact(lambda connection: outbox.add(connection, notifications))


def claim(store: Store, owner: str = "one", ttl: timedelta = TTL) -> ClaimedNotification | None:
    return store.transact(lambda connection: outbox.claim(connection, owner, ttl))


def held(store: Store, owner: str = "one", ttl: timedelta = TTL) -> ClaimedNotification:
    found = claim(store, owner, ttl)
    assert found is not None
    return found


def settle(store: Store, claimed: ClaimedNotification, result: Delivery) -> bool:
    return store.transact(lambda connection: outbox.settle(connection, claimed, result))


def test_a_notification_is_added_once_and_comes_back_whole(store: Store) -> None:
    assert add(store, notification(1)) == 1
    assert add(store, notification(1)) == 0
    claimed = held(store)
    assert (claimed.notification, claimed.attempt) == (notification(1), 1)
    assert claim(store) is None


def test_what_was_sent_is_not_sent_again(store: Store) -> None:
    add(store, notification(1))
    claimed = held(store)
    assert settle(store, claimed, SENT)
    assert claim(store) is None
    with store.read() as connection:
        (found,) = outbox.page(connection, NotificationFilter(monitor="loans"), limit=2)
        assert found.notification.state is NotificationState.SENT
        assert found.sent_at is not None
        (tries,) = outbox.last_tries(connection, [claimed.notification.id], 9).values()
        assert [(one.attempt, one.outcome) for one in tries] == [(1, DeliveryOutcome.SENT)]


def test_a_sender_that_dies_leaves_its_notification_to_another_under_the_same_id(store: Store) -> None:
    add(store, notification(1))
    dead = held(store, "dead", EXPIRED)
    heir = held(store, "heir")
    assert (heir.notification.id, heir.attempt) == (dead.notification.id, 2)
    assert not settle(store, dead, SENT)
    assert settle(store, heir, SENT)
    with store.read() as connection:
        (tries,) = outbox.last_tries(connection, [dead.notification.id], 9).values()
    assert [one.attempt for one in tries] == [1, 2]


def test_later_notifications_of_the_same_monitor_and_receiver_wait_behind_a_retry(store: Store) -> None:
    store.transact(lambda connection: add_monitor(connection, "cards"))
    add(store, notification(1), notification(2), notification(1, "mail"), notification(1, monitor="cards"))
    first = held(store)
    assert first.notification == notification(1)
    assert settle(store, first, REFUSED)
    assert {held(store).notification.id, held(store).notification.id} == {"loans/mail/1", "cards/hook/1"}
    assert claim(store) is None


def test_a_dead_notification_no_longer_holds_up_the_next(store: Store) -> None:
    add(store, notification(1), notification(2))
    settle(store, held(store), Delivery(outcome=DeliveryOutcome.DEAD, status_code=404, error="gone"))
    assert held(store).notification == notification(2)
    with store.read() as connection:
        assert outbox.states(connection) == {
            ("hook", NotificationState.DEAD): 1,
            ("hook", NotificationState.PENDING): 1,
        }


def test_a_retry_comes_when_its_time_has_come(store: Store) -> None:
    add(store, notification(1))
    settle(store, held(store), replace(REFUSED, delay=timedelta(0)))
    assert held(store).attempt == 2
    with store.read() as connection:
        assert outbox.page(connection, NotificationFilter(), limit=9)[0].last_error == "busy"


def test_a_suppressed_notification_is_kept_and_never_sent(store: Store) -> None:
    add(store, replace(notification(1), state=NotificationState.SUPPRESSED), notification(2))
    assert held(store).notification == notification(2)
    assert claim(store) is None
    with store.read() as connection:
        assert outbox.states(connection)[("hook", NotificationState.SUPPRESSED)] == 1


def test_a_released_notification_is_sent_as_if_it_had_not_been_claimed(store: Store) -> None:
    add(store, notification(1))
    claimed = held(store)
    assert store.transact(lambda connection: outbox.release(connection, claimed))
    assert not settle(store, replace(claimed, token=claimed.token - 1), SENT)
    assert held(store).attempt == 1


def test_a_sender_takes_only_what_it_was_asked_for(store: Store) -> None:
    store.transact(lambda connection: add_monitor(connection, "cards"))
    add(store, notification(1), notification(1, "mail"), notification(1, monitor="cards"))
    mail = store.transact(lambda c: outbox.claim(c, "one", TTL, receivers=["mail"]))
    cards = store.transact(lambda c: outbox.claim(c, "one", TTL, monitors=["cards"]))
    assert mail is not None
    assert cards is not None
    assert (mail.notification.id, cards.notification.id) == ("loans/mail/1", "cards/hook/1")


def test_queues_say_how_much_waits_for_whom_and_since_when(store: Store) -> None:
    add(store, notification(1), notification(2), notification(1, "mail"))
    settle(store, held(store), SENT)
    with store.read() as connection:
        queues = outbox.queues(connection)
        oldest = min(one.created_at for one in outbox.page(connection, NotificationFilter(), limit=9))
    assert [(one.receiver, one.integration, one.length) for one in queues] == [
        ("hook", "webhook", 1),
        ("mail", "webhook", 1),
    ]
    assert queues[0].oldest == oldest


def test_notifications_are_paged_newest_first_and_filtered(store: Store) -> None:
    store.transact(lambda connection: add_monitor(connection, "cards"))
    add(store, notification(1), notification(1, "mail"), notification(1, monitor="cards"), notification(2))
    settle(store, held(store), SENT)

    def found(asked: NotificationFilter, limit: int = 10, before: int | None = None) -> list[StoredNotification]:
        with store.read() as connection:
            return list(outbox.page(connection, asked, limit=limit, before=before))

    def ids(those: list[StoredNotification]) -> list[str]:
        return [one.notification.id for one in those]

    first = found(NotificationFilter(), limit=3)
    assert ids(first) == ["loans/hook/2", "cards/hook/1", "loans/mail/1"]
    assert ids(found(NotificationFilter(), before=first[-1].seq)) == ["loans/hook/1"]
    assert ids(found(NotificationFilter(state=NotificationState.SENT))) == ["loans/hook/1"]
    assert ids(found(NotificationFilter(receiver="mail"))) == ["loans/mail/1"]
    assert ids(found(NotificationFilter(monitor="cards", receiver="hook"))) == ["cards/hook/1"]


def test_the_last_tries_of_each_notification_are_read_at_once(store: Store) -> None:
    add(store, notification(1), notification(1, "mail"))
    again = replace(REFUSED, delay=timedelta(0))
    for receiver in ["hook"] * 3 + ["mail"]:
        claimed = store.transact(lambda c, name=receiver: outbox.claim(c, "one", TTL, receivers=[name]))
        assert claimed is not None
        settle(store, claimed, again)

    with store.read() as connection:
        tries = outbox.last_tries(connection, ["loans/hook/1", "loans/mail/1", "nothing"], 2)
    assert {id: [one.attempt for one in those] for id, those in tries.items()} == {
        "loans/hook/1": [2, 3],
        "loans/mail/1": [1],
    }
    for one in tries["loans/hook/1"]:
        assert (one.outcome, one.status_code, one.error) == (DeliveryOutcome.RETRY, 503, "busy")


@pytest.mark.slow
@pytest.mark.processes
def test_replicas_send_every_notification_once_and_in_order(store: Store, store_url: str) -> None:
    store.transact(lambda connection: add_monitor(connection, "cards"))
    everything = [
        notification(number, receiver, monitor)
        for number in range(12)
        for receiver in ("hook", "mail")
        for monitor in ("loans", "cards")
    ]
    add(store, *everything)
    with FORKS.Pool(4) as pool:
        sent = pool.starmap(send_notifications, [(store_url, f"replica {n}") for n in range(4)], chunksize=1)
    assert sorted(id for replica in sent for id in replica) == sorted(one.id for one in everything)
    for replica in sent:
        numbers: dict[str, list[int]] = defaultdict(list)
        for id in replica:
            queue, number = id.rsplit("/", 1)
            numbers[queue].append(int(number))
        assert all(one == sorted(one) for one in numbers.values())
