"""Alert rows only move forward, and at most one episode of an alert is open."""

from dataclasses import replace

import pytest

from drift_monitor.core.alerting import INACTIVE
from drift_monitor.core.rules import Observation, Verdict
from drift_monitor.errors import StoreError
from drift_monitor.store import alerts, leases, runs
from drift_monitor.store.alerts import AlertKey, AlertRecord, AlertRow, Episode, EpisodeFilter
from drift_monitor.store.connection import Store
from tests.store.making import TTL, alert_row, firing, hour, planned, prepared

KEY = AlertKey("age", "", "psi:warning")
EPISODE = Episode(
    monitor="loans", key=KEY, metric="psi", severity="warning", opened_window=hour(0), opened_revision=0, peak_value=0.3
)


@pytest.fixture(autouse=True)
def monitor(store: Store) -> None:
    prepared(store)


def save(store: Store, *rows: AlertRow) -> tuple[AlertKey, ...]:
    return store.transact(lambda connection: alerts.save(connection, rows))


def locked(store: Store) -> dict[AlertKey, AlertRow]:
    return store.transact(lambda connection: alerts.lock(connection, "loans"))


def opened(store: Store, episode: Episode = EPISODE) -> bool:
    return store.transact(lambda connection: alerts.open_episode(connection, episode))


def test_an_alert_row_comes_back_whole(store: Store) -> None:
    opened(store)
    row = replace(alert_row(0), episode_id=EPISODE.id, reason="psi 0.3 above 0.1")
    assert save(store, row) == ()
    assert locked(store) == {KEY: row}


def test_an_infinite_value_is_remembered_exactly(store: Store) -> None:
    row = replace(alert_row(0), alert=replace(firing(0), value=float("inf"), peak=float("inf")))
    save(store, row)
    assert locked(store) == {KEY: row}


@pytest.mark.parametrize(("window", "revision"), [(0, 0), (0, 1), (-1, 0), (-1, 7)])
def test_a_write_for_an_earlier_window_or_revision_changes_nothing_and_says_so(
    store: Store, window: int, revision: int
) -> None:
    stored = alert_row(0, revision=1)
    save(store, stored)
    assert save(store, alert_row(window, revision)) == (KEY,)
    assert locked(store) == {KEY: stored}


@pytest.mark.parametrize(("window", "revision"), [(0, 2), (1, 0)])
def test_a_write_for_a_later_window_or_revision_moves_the_row_on(store: Store, window: int, revision: int) -> None:
    save(store, alert_row(0, revision=1))
    assert save(store, alert_row(window, revision)) == ()
    assert locked(store) == {KEY: alert_row(window, revision)}


def test_rows_are_written_one_by_one_beside_those_that_are_refused(store: Store) -> None:
    save(store, alert_row(1, feature="age"))
    refused = save(store, alert_row(0, feature="age"), alert_row(0, feature="wage"))
    assert refused == (KEY,)
    assert {key.feature for key in locked(store)} == {"age", "wage"}


def test_an_evaluation_stamps_what_it_writes_so_that_it_passes_the_guard_once() -> None:
    assert alerts.stamp(None, hour(0), 0) == (hour(0), 0)
    assert alerts.stamp(alert_row(0), hour(1), 0) == (hour(1), 0)
    assert alerts.stamp(alert_row(1), hour(0), 1) == (hour(1), 1)
    assert alerts.stamp(alert_row(1, revision=1), hour(1), 1) == (hour(1), 2)


def test_active_alerts_are_pending_or_firing(store: Store) -> None:
    quiet = replace(alert_row(0, feature="quiet"), alert=INACTIVE)
    save(store, alert_row(0), quiet)
    with store.read() as connection:
        assert [row.key for row in alerts.active(connection)] == [KEY]
        assert [row.key for row in alerts.firing(connection, "loans")] == [KEY]
        assert alerts.firing(connection, "cards") == ()


def test_the_same_episode_is_opened_once_under_the_same_id(store: Store) -> None:
    assert opened(store)
    assert not opened(store)
    with store.read() as connection:
        assert alerts.find_episode(connection, EPISODE.id) == EPISODE


def test_two_episodes_of_one_alert_are_never_open_at_once(store: Store) -> None:
    opened(store)
    second = replace(EPISODE, opened_window=hour(1))
    assert not opened(store, second)
    store.transact(lambda c: alerts.close_episode(c, EPISODE.id, window=hour(1), reason="recovered"))
    assert opened(store, second)


def test_an_episode_is_closed_once(store: Store) -> None:
    opened(store)
    assert store.transact(lambda c: alerts.note_peak(c, EPISODE.id, 0.9))
    assert store.transact(lambda c: alerts.close_episode(c, EPISODE.id, window=hour(2), reason="recovered"))
    assert not store.transact(lambda c: alerts.close_episode(c, EPISODE.id, window=hour(3), reason="removed"))
    assert not store.transact(lambda c: alerts.note_peak(c, EPISODE.id, 99.0))
    with store.read() as connection:
        (closed,) = alerts.episodes(connection, monitor="loans")
        assert closed.closed_at is not None
        expected = replace(EPISODE, peak_value=0.9, closed_window=hour(2), close_reason="recovered")
        assert replace(closed, closed_at=None) == expected
        assert alerts.open_episodes(connection, "loans") == ()


def test_episodes_are_listed_newest_first_and_filtered(store: Store) -> None:
    old = replace(EPISODE, closed_window=hour(1), close_reason="recovered")
    new = replace(EPISODE, opened_window=hour(5))
    other = replace(EPISODE, key=AlertKey("wage", "", "psi:warning"), opened_window=hour(3))
    for episode in (old, new, other):
        opened(store, episode)
    with store.read() as connection:
        assert alerts.episodes(connection) == (new, other, old)
        assert alerts.episodes(connection, since=hour(2), features=["age"]) == (new,)
        assert alerts.episodes(connection, limit=1) == (new,)
        assert alerts.open_episodes(connection) == (other, new)


def test_a_monitor_that_is_gone_takes_its_alerts_with_it(store: Store) -> None:
    opened(store)
    save(store, replace(alert_row(0), episode_id=EPISODE.id))
    (ended,) = store.transact(lambda c: alerts.close_episodes(c, "loans", window=hour(4), reason="removed"))
    assert ended.closed_at is not None
    assert replace(ended, closed_at=None) == replace(EPISODE, closed_window=hour(4), close_reason="removed")
    assert locked(store) == {}
    assert store.transact(lambda c: alerts.close_episodes(c, "loans", window=hour(4), reason="removed")) == ()


def test_an_alert_can_not_point_to_an_episode_that_is_not_stored(store: Store) -> None:
    with pytest.raises(StoreError):
        save(store, replace(alert_row(0), episode_id=EPISODE.id))


RECORDS = (
    AlertRecord(key=KEY, alert=firing(0), observation=Observation(Verdict.BREACH, float("inf"))),
    AlertRecord(
        key=AlertKey("wage", "", "psi:warning"),
        alert=INACTIVE,
        observation=Observation(Verdict.UNKNOWN, None, cause="no_data"),
    ),
)


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_survives_its_json(record: AlertRecord) -> None:
    assert AlertRecord.from_json(record.to_json()) == record


def test_the_states_before_a_window_are_those_after_the_done_window_before(store: Store) -> None:
    store.transact(lambda connection: runs.plan(connection, [planned(0)]))
    held = store.transact(lambda connection: leases.claim(connection, "one", TTL))
    assert held is not None
    result = leases.RunResult(rows_read=1, alert_states=[record.to_json() for record in RECORDS])
    store.transact(lambda connection: leases.confirm(connection, held, result))
    with store.read() as connection:
        assert alerts.states_before(connection, "loans", hour(1)) == {KEY: firing(0)}
        assert alerts.states_before(connection, "loans", hour(0)) == {}


def test_episodes_are_paged_newest_first_and_those_that_opened_together_by_id(store: Store) -> None:
    together = [replace(EPISODE, key=AlertKey(name, "", "psi:warning")) for name in ("age", "b", "c")]
    new = replace(EPISODE, key=AlertKey("new", "", "psi:warning"), opened_window=hour(7))
    for episode in (*together, new):
        opened(store, episode)

    found: list[Episode] = []
    with store.read() as connection:
        while page := alerts.episode_page(
            connection, EpisodeFilter(), limit=2, after=found[-1].place if found else None
        ):
            assert len(page) <= 2
            found += page

    assert found == [new, *sorted(together, key=lambda one: one.id)]


@pytest.mark.parametrize(
    ("asked", "features"),
    [
        (EpisodeFilter(), {"open", "closed", "later"}),
        (EpisodeFilter(is_open=True), {"open", "later"}),
        (EpisodeFilter(is_open=False), {"closed"}),
        (EpisodeFilter(feature="open"), {"open"}),
        (EpisodeFilter(feature=""), set()),
        (EpisodeFilter(monitor="loans", feature="closed"), {"closed"}),
        (EpisodeFilter(monitor="cards"), set()),
        (EpisodeFilter(since=hour(2)), {"open", "closed", "later"}),
        (EpisodeFilter(since=hour(3)), {"open", "later"}),
        (EpisodeFilter(until=hour(4)), {"open", "closed"}),
        (EpisodeFilter(until=hour(0)), set()),
        (EpisodeFilter(since=hour(3), until=hour(4)), {"open"}),
    ],
)
def test_episodes_are_asked_for_by_monitor_feature_state_and_time(
    store: Store, asked: EpisodeFilter, features: set[str]
) -> None:
    for name, begin, end in (("open", 0, None), ("closed", 0, 2), ("later", 4, None)):
        episode = replace(
            EPISODE,
            key=AlertKey(name, "", "psi:warning"),
            opened_window=hour(begin),
            closed_window=None if end is None else hour(end),
        )
        opened(store, episode)

    with store.read() as connection:
        assert {one.key.feature for one in alerts.episode_page(connection, asked, limit=10)} == features
