"""At most one person looks after an episode, and only while it is stored."""

from dataclasses import replace

import pytest
from sqlalchemy import delete

from drift_monitor.errors import StoreError
from drift_monitor.store import acknowledgements, alerts
from drift_monitor.store.acknowledgements import Acknowledgement
from drift_monitor.store.alerts import AlertKey, Episode
from drift_monitor.store.connection import Store
from drift_monitor.store.schema import episode
from tests.store.making import hour, prepared

EPISODE = Episode(
    monitor="loans",
    key=AlertKey("age", "", "psi:warning"),
    metric="psi",
    severity="warning",
    opened_window=hour(0),
    opened_revision=0,
)
OTHER = replace(EPISODE, key=AlertKey("wage", "", "psi:warning"))


@pytest.fixture(autouse=True)
def episodes(store: Store) -> None:
    prepared(store)
    for one in (EPISODE, OTHER):
        store.transact(lambda connection, one=one: alerts.open_episode(connection, one))


def acknowledge(store: Store, id: str = EPISODE.id, author: str = "ada", comment: str = "mine") -> Acknowledgement:
    return store.transact(lambda c: acknowledgements.acknowledge(c, id, author=author, comment=comment))


def known(store: Store, *ids: str) -> dict[str, Acknowledgement]:
    with store.read() as connection:
        return dict(acknowledgements.of_episodes(connection, ids or (EPISODE.id, OTHER.id)))


def test_an_acknowledgement_comes_back_whole_and_belongs_to_its_episode_alone(store: Store) -> None:
    with store.read() as connection:
        before = store.now(connection)
    made = acknowledge(store)

    assert made.at >= before
    assert known(store) == {EPISODE.id: made}
    assert known(store, OTHER.id) == {}


def test_whoever_says_it_later_takes_it_over(store: Store) -> None:
    acknowledge(store)
    taken = acknowledge(store, author="bob", comment="my shift")

    assert known(store) == {EPISODE.id: taken}


def test_an_acknowledgement_is_withdrawn_once(store: Store) -> None:
    acknowledge(store)

    def withdraw() -> bool:
        return store.transact(lambda connection: acknowledgements.withdraw(connection, EPISODE.id))

    assert [withdraw(), withdraw()] == [True, False]
    assert known(store) == {}


def test_an_episode_that_is_not_stored_can_not_be_acknowledged(store: Store) -> None:
    with pytest.raises(StoreError):
        acknowledge(store, id="nothing")


def test_those_of_open_episodes_are_read_at_once(store: Store) -> None:
    made = acknowledge(store)
    acknowledge(store, OTHER.id)
    store.transact(lambda c: alerts.close_episode(c, OTHER.id, window=hour(1), reason="recovered"))

    with store.read() as connection:
        assert acknowledgements.of_open_episodes(connection) == {EPISODE.id: made}
    assert set(known(store)) == {EPISODE.id, OTHER.id}, "what was said of an episode outlasts its end"


def test_an_acknowledgement_goes_with_its_episode(store: Store) -> None:
    acknowledge(store)
    store.transact(lambda connection: connection.execute(delete(episode).where(episode.c.id == EPISODE.id)))

    assert known(store) == {}
