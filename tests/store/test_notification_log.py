"""Who was told of which episode: one answer for each receiver, kept as long as the episode."""

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import delete

from drift_monitor.errors import StoreError
from drift_monitor.store import alerts, notification_log
from drift_monitor.store.alerts import AlertKey, Episode
from drift_monitor.store.connection import Store
from drift_monitor.store.notification_log import LogEntry, LogState
from drift_monitor.store.schema import episode
from tests.store.making import HOUR, add_monitor, hour, prepared

AGE = Episode(
    monitor="loans",
    key=AlertKey("age", "", "psi:warning"),
    metric="psi",
    severity="warning",
    opened_window=hour(0),
    opened_revision=0,
)
WAGE = replace(AGE, key=AlertKey("wage", "", "psi:warning"))
CARDS = replace(AGE, monitor="cards")
ALERT = {"labels": {"feature": "age", "größe": "ä"}, "annotations": {}, "bins": [{"live_share": 0.25}]}


@pytest.fixture(autouse=True)
def episodes(store: Store) -> None:
    prepared(store)
    store.transact(lambda connection: add_monitor(connection, "cards"))
    for one in (AGE, WAGE, CARDS):
        store.transact(lambda connection, one=one: alerts.open_episode(connection, one))


def an_entry(of: Episode = AGE, receiver: str = "hook", state: LogState = LogState.SENT) -> LogEntry:
    return LogEntry(episode_id=of.id, receiver=receiver, state=state, at=hour(1), alert=ALERT)


def save(store: Store, *those: LogEntry) -> None:
    store.transact(lambda connection: notification_log.save(connection, those))


def close(store: Store, one: Episode) -> None:
    store.transact(lambda connection: alerts.close_episode(connection, one.id, window=hour(5), reason="recovered"))


def of_episodes(store: Store, *those: Episode) -> tuple[LogEntry, ...]:
    with store.read() as connection:
        return notification_log.of_episodes(connection, [one.id for one in those])


def ended(store: Store, since: datetime, *receivers: str) -> list[tuple[LogEntry, datetime]]:
    with store.read() as connection:
        return list(notification_log.ended_since(connection, since, receivers))


def test_what_a_receiver_knows_comes_back_whole(store: Store) -> None:
    hook, mail = an_entry(), an_entry(receiver="mail", state=LogState.SILENCED)
    save(store, mail, hook)
    save(store)

    assert of_episodes(store, AGE) == (hook, mail)
    assert of_episodes(store, WAGE) == ()
    assert of_episodes(store) == ()


def test_what_a_receiver_knows_now_replaces_what_it_knew(store: Store) -> None:
    mail = an_entry(receiver="mail")
    save(store, an_entry(state=LogState.SILENCED), mail)
    now = replace(an_entry(), at=hour(9), alert={"labels": {}})
    save(store, now)

    assert of_episodes(store, AGE) == (now, mail)


def test_only_open_episodes_of_the_monitor_are_asked_after(store: Store) -> None:
    save(store, an_entry(), an_entry(WAGE), an_entry(CARDS))
    close(store, WAGE)

    with store.read() as connection:
        assert notification_log.of_open_episodes(connection, "loans") == (an_entry(),)


def test_those_who_were_told_of_an_episode_that_ended_are_found_with_its_end(store: Store) -> None:
    with store.read() as connection:
        before = store.now(connection)
    save(
        store,
        an_entry(),
        an_entry(receiver="mail"),
        an_entry(WAGE, state=LogState.WITHHELD),
        an_entry(WAGE, receiver="mail", state=LogState.SILENCED),
        an_entry(CARDS),
    )
    close(store, AGE)
    close(store, WAGE)

    assert ended(store, before, "hook") == [(an_entry(), hour(5))]
    assert ended(store, before, "hook", "mail") == [(an_entry(), hour(5)), (an_entry(receiver="mail"), hour(5))]
    assert ended(store, before, "other") == []
    assert ended(store, before) == []


def test_an_end_long_ago_is_not_told_again(store: Store) -> None:
    save(store, an_entry())
    close(store, AGE)
    with store.read() as connection:
        later = store.now(connection) + HOUR

    assert ended(store, later, "hook") == []


def test_nothing_is_known_of_an_episode_that_is_not_stored(store: Store) -> None:
    with pytest.raises(StoreError):
        save(store, replace(an_entry(), episode_id="nothing"))


def test_what_is_known_goes_with_the_episode(store: Store) -> None:
    save(store, an_entry(), an_entry(WAGE))
    store.transact(lambda connection: connection.execute(delete(episode).where(episode.c.id == AGE.id)))

    assert of_episodes(store, AGE, WAGE) == (an_entry(WAGE),)
