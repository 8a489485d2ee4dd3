"""Silences hold from a moment to a moment of the store's clock, end once, and stay readable."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from drift_monitor.core.matching import parse_matcher
from drift_monitor.errors import StoreError
from drift_monitor.store import silences
from drift_monitor.store.connection import Store
from drift_monitor.store.silences import Silence, SilenceState
from tests.store.making import HOUR

RISK = {"team": "risk", "feature": "age", "severity": "warning"}


@pytest.fixture
def present(store: Store) -> datetime:
    """The moment at which the test begins, by the store's clock."""
    with store.read() as connection:
        return store.now(connection)


def add(store: Store, starts_at: datetime, ends_at: datetime, *matchers: str) -> Silence:
    asked = [parse_matcher(one) for one in matchers or ("team=risk",)]
    return store.transact(
        lambda connection: silences.add(
            connection, matchers=asked, starts_at=starts_at, ends_at=ends_at, author="ada", comment="load test"
        )
    )


def active(store: Store) -> list[str]:
    with store.read() as connection:
        return [one.id for one in silences.active(connection)]


def listed(store: Store, *, with_expired: bool = False) -> list[str]:
    with store.read() as connection:
        return [one.id for one in silences.listed(connection, with_expired=with_expired)]


def paged(store: Store, *states: SilenceState) -> set[str]:
    with store.read() as connection:
        return {one.id for one in silences.page(connection, states, limit=100)}


def test_a_silence_comes_back_whole(store: Store, present: datetime) -> None:
    made = add(store, present, present + HOUR, "team=risk", 'feature=~"a.*|\\"b"', "rule!=x", 'segment!~"DE|FR"')

    with store.read() as connection:
        assert silences.find(connection, made.id) == made
        assert silences.find(connection, "nothing") is None
    assert made.created_at >= present
    assert [str(one) for one in made.matchers] == [
        'team="risk"',
        'feature=~"a.*|\\"b"',
        'rule!="x"',
        'segment!~"DE|FR"',
    ]


def test_a_silence_covers_alerts_that_fulfil_all_its_matchers(store: Store, present: datetime) -> None:
    made = add(store, present, present + HOUR, "team=risk", "severity!=critical")

    assert made.covers(RISK)
    assert not made.covers({**RISK, "severity": "critical"})
    assert not made.covers({"severity": "warning"})


def test_a_silence_holds_from_its_start_up_to_its_end_and_not_at_it(present: datetime) -> None:
    one = Silence(
        id="a", matchers=(), starts_at=present, ends_at=present + HOUR, author="a", comment="c", created_at=present
    )

    moments = (present - timedelta(microseconds=1), present, present + HOUR - timedelta(microseconds=1), present + HOUR)
    assert [one.state(moment).value for moment in moments] == ["pending", "active", "active", "expired"]


def test_only_those_that_hold_now_are_active_and_those_that_end_last_come_first(
    store: Store, present: datetime
) -> None:
    short = add(store, present - HOUR, present + HOUR)
    long = add(store, present - HOUR, present + 9 * HOUR)
    later = add(store, present + HOUR, present + 2 * HOUR)
    over = add(store, present - 2 * HOUR, present - HOUR)

    assert active(store) == [long.id, short.id]
    assert listed(store) == [short.id, later.id, long.id]
    assert listed(store, with_expired=True) == [long.id, later.id, short.id, over.id]
    assert paged(store, SilenceState.PENDING) == {later.id}
    assert paged(store, SilenceState.ACTIVE) == {short.id, long.id}
    assert paged(store, SilenceState.EXPIRED) == {over.id}
    assert paged(store, *SilenceState) == {short.id, long.id, later.id, over.id}


def test_pages_follow_one_another_without_gap_or_repeat(store: Store, present: datetime) -> None:
    # On SQLite the clock stands still: all of them are made at the same moment, and their ids decide.
    made = {add(store, present, present + HOUR).id for _ in range(5)}

    found: list[Silence] = []
    with store.read() as connection:
        while page := silences.page(
            connection, [SilenceState.ACTIVE], limit=2, after=found[-1].place if found else None
        ):
            found += page

    assert len(found) == 5
    assert {one.id for one in found} == made
    assert found == sorted(found, key=lambda one: (-one.created_at.timestamp(), one.id))


def test_a_silence_that_is_ended_no_longer_holds_and_keeps_its_start(store: Store, present: datetime) -> None:
    made = add(store, present - HOUR, present + HOUR)

    assert store.transact(lambda connection: silences.expire(connection, made.id))

    with store.read() as connection:
        found = silences.find(connection, made.id)
        assert found is not None
        assert found.state(store.now(connection)) is SilenceState.EXPIRED
    assert found.starts_at == present - HOUR
    assert present <= found.ends_at < present + HOUR
    assert active(store) == []


def test_a_silence_that_has_not_begun_never_does_once_it_is_ended(store: Store, present: datetime) -> None:
    made = add(store, present + HOUR, present + 2 * HOUR)

    assert store.transact(lambda connection: silences.expire(connection, made.id))

    with store.read() as connection:
        found = silences.find(connection, made.id)
    assert found is not None
    assert found.starts_at == found.ends_at < present + HOUR


def test_a_silence_is_ended_once_and_none_that_is_not_there(store: Store, present: datetime) -> None:
    made = add(store, present - HOUR, present + HOUR)
    over = add(store, present - 2 * HOUR, present - HOUR)

    def end(id: str) -> bool:
        return store.transact(lambda connection: silences.expire(connection, id))

    assert [end(made.id), end(made.id), end(over.id), end("nothing")] == [True, False, False, False]


def test_replicas_that_end_the_same_silence_at_once_end_it_once(store: Store, other: Store, present: datetime) -> None:
    made = add(store, present - HOUR, present + HOUR)
    start = threading.Barrier(4)

    def end(which: Store) -> bool:
        start.wait(60)
        return which.transact(lambda connection: silences.expire(connection, made.id))

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(end, [store, other, store, other])) == [False, False, False, True]


def test_text_that_no_store_can_hold_is_cleaned(store: Store, present: datetime) -> None:
    made = store.transact(
        lambda connection: silences.add(
            connection,
            matchers=[parse_matcher('team="a\0b"')],
            starts_at=present,
            ends_at=present + HOUR,
            author="a\0da",
            comment="\ud800",
        )
    )

    with store.read() as connection:
        found = silences.find(connection, made.id)
    assert found is not None
    assert (found.author, found.comment, found.matchers[0].value) == ("a\ufffdda", "\ufffd", "a\ufffdb")


def test_a_silence_without_time_zone_is_refused(store: Store, present: datetime) -> None:
    with pytest.raises(StoreError):
        add(store, present.replace(tzinfo=None), present + HOUR)
    assert listed(store, with_expired=True) == []
