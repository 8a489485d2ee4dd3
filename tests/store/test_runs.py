"""What was evaluated, when, and in which revision."""

from drift_monitor.store import leases, runs
from drift_monitor.store.connection import Store
from drift_monitor.store.runs import RunFilter, RunState
from tests.store.making import TTL, add_monitor, finish, hour, planned, prepared


def ends(found: tuple[runs.Run, ...]) -> list[tuple[int, int]]:
    return [(round((one.key.window_end - hour(0)).total_seconds() / 3600), one.key.revision) for one in found]


def test_the_id_of_a_run_is_derived_from_its_key(store: Store, other: Store) -> None:
    prepared(store, 0)
    with other.read() as connection:
        first = runs.find(connection, planned(0).key)
        assert first is not None
    with store.begin() as connection:
        connection.exec_driver_sql("DELETE FROM run")
        finish(connection, 0)
        again = runs.find(connection, planned(0).key)
    assert again is not None
    assert again.id == first.id


def test_the_past_of_a_window_is_the_latest_revision_of_the_done_window_before(store: Store) -> None:
    prepared(store, 0, 2)
    store.transact(lambda connection: finish(connection, 0, revision=1))
    store.transact(lambda connection: runs.skip(connection, [planned(1)], "downtime"))
    with store.read() as connection:
        before = runs.done_before(connection, "loans", hour(2))
        assert before is not None
        assert before.key == planned(0, revision=1).key
        assert runs.done_before(connection, "loans", hour(0)) is None


def test_the_windows_after_one_are_each_in_their_latest_revision(store: Store) -> None:
    prepared(store, 0, 1, 3)
    store.transact(lambda connection: finish(connection, 1, revision=1))
    store.transact(lambda connection: runs.plan(connection, [planned(3, revision=1)]))
    with store.read() as connection:
        assert ends(runs.done_after(connection, "loans", hour(0))) == [(1, 1), (3, 0)]


def test_the_windows_that_used_a_pane_overlap_it(store: Store) -> None:
    prepared(store, 0, 1, 24, 25)
    with store.read() as connection:
        using = runs.windows_using(connection, "loans", hour(0), hour(1))
    assert ends(using) == [(1, 0), (24, 0)]


def test_the_latest_run_of_each_monitor_is_the_last_one_that_was_tried(store: Store) -> None:
    prepared(store, 0, 1)
    store.transact(lambda connection: add_monitor(connection, "cards"))
    store.transact(lambda connection: runs.plan(connection, [planned(2), planned(0, "cards")]))
    held = store.transact(lambda connection: leases.claim(connection, "one", TTL, key=planned(2).key))
    assert held is not None
    store.transact(lambda c: leases.fail(c, held, error_code="unreachable", error="refused"))
    with store.read() as connection:
        latest, done = runs.latest(connection), runs.latest_done(connection)
    assert {name: one.state for name, one in latest.items()} == {"loans": RunState.FAILED}
    assert {name: one.key for name, one in done.items()} == {"loans": planned(1).key}


def test_history_is_paged_newest_first(store: Store) -> None:
    prepared(store, 0, 1, 2)
    store.transact(lambda connection: finish(connection, 1, revision=1))
    with store.read() as connection:
        first = runs.history(connection, RunFilter(monitor="loans"), limit=2)
        second = runs.history(connection, RunFilter(monitor="loans"), limit=2, before=first[-1].key)
        inside = runs.history(connection, RunFilter(since=hour(1), until=hour(2), states=(RunState.DONE,)))
    assert ends(first + second) == [(2, 0), (1, 1), (1, 0), (0, 0)]
    assert ends(inside) == [(1, 1), (1, 0)]


def test_the_alert_states_after_a_done_run_can_be_rewritten(store: Store) -> None:
    prepared(store, 0)
    store.transact(lambda connection: runs.plan(connection, [planned(1)]))
    with store.begin() as connection:
        done, due = runs.find(connection, planned(0).key), runs.find(connection, planned(1).key)
        assert done is not None
        assert due is not None
        assert runs.rewrite_alert_states(connection, done.id, [{"rule": "psi:warning"}])
        assert not runs.rewrite_alert_states(connection, due.id, [{"rule": "psi:warning"}])
        again = runs.find(connection, planned(0).key)
    assert again is not None
    assert again.alert_states == ({"rule": "psi:warning"},)
