"""Runs are planned once, claimed in order by one at a time, and finished only by who holds the claim."""

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import pytest

from drift_monitor.core.rules import Health
from drift_monitor.errors import LeaseLost
from drift_monitor.store import leases, measurements, runs
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.leases import MAX_ATTEMPTS, Claim, RunResult
from drift_monitor.store.runs import RunState
from tests.processes.processes import FORKS
from tests.store.hammer import finish_runs
from tests.store.making import EXPIRED, HOUR, TTL, add_monitor, hour, measurement, planned, prepared


def plan(store: Store, *planned_runs: runs.PlannedRun) -> int:
    return store.transact(lambda connection: runs.plan(connection, planned_runs))


def claim(store: Store, owner: str = "one", ttl: timedelta = TTL) -> Claim | None:
    return store.transact(lambda connection: leases.claim(connection, owner, ttl))


def held(store: Store, owner: str = "one", ttl: timedelta = TTL) -> Claim:
    found = claim(store, owner, ttl)
    assert found is not None
    return found


def confirm(store: Store, one: Claim) -> None:
    store.transact(lambda connection: leases.confirm(connection, one, RunResult(rows_read=7)))


def find(store: Store, key: runs.RunKey) -> runs.Run:
    with store.read() as connection:
        found = runs.find(connection, key)
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def monitor(store: Store) -> None:
    store.transact(add_monitor)


def test_planning_again_changes_nothing(store: Store) -> None:
    assert plan(store, planned(0), planned(1)) == 2
    confirm(store, held(store))
    assert plan(store, planned(0), planned(1), planned(2)) == 1
    assert find(store, planned(0).key).state is RunState.DONE


def test_the_oldest_window_of_a_monitor_comes_first_and_alone(store: Store) -> None:
    plan(store, planned(1), planned(0), planned(2))
    first = held(store)
    assert first.key == planned(0).key
    assert claim(store) is None
    confirm(store, first)
    assert held(store).key == planned(1).key


def test_a_revision_of_an_earlier_window_comes_before_the_next_window(store: Store) -> None:
    plan(store, planned(1), planned(0, revision=1))
    assert held(store).key == planned(0, revision=1).key


def test_a_revision_waits_while_a_later_window_is_running(store: Store) -> None:
    plan(store, planned(1))
    running = held(store)
    plan(store, planned(0, revision=1))
    assert claim(store) is None
    confirm(store, running)
    assert held(store).key.revision == 1


def test_monitors_do_not_wait_for_each_other(store: Store) -> None:
    store.transact(lambda connection: add_monitor(connection, "cards"))
    plan(store, planned(0), planned(0, "cards"))
    assert {held(store).key.monitor, held(store).key.monitor} == {"loans", "cards"}


def test_runs_that_are_not_due_yet_are_left_alone(store: Store) -> None:
    plan(store, planned(10_000_000))
    assert claim(store) is None


def test_dispatch_leaves_disabled_and_unnamed_monitors_alone(store: Store) -> None:
    store.transact(lambda connection: add_monitor(connection, "cards", enabled=False))
    plan(store, planned(0), planned(0, "cards"))
    assert store.transact(lambda c: leases.claim(c, "one", TTL, monitors=["cards"])) is None
    assert held(store).key.monitor == "loans"
    assert claim(store) is None


def test_a_run_is_claimed_by_its_key_before_its_time(store: Store) -> None:
    future = planned(10_000_000)
    plan(store, future)
    found = store.transact(lambda c: leases.claim(c, "one", TTL, key=future.key))
    assert found is not None
    assert found.key == future.key


def test_a_run_behind_an_older_one_is_not_claimed_by_its_key_and_says_what_it_waits_for(store: Store) -> None:
    plan(store, planned(0), planned(1))
    assert store.transact(lambda c: leases.claim(c, "one", TTL, key=planned(1).key)) is None
    with store.read() as connection:
        blocker = leases.blocking(connection, planned(1).key)
        assert leases.blocking(connection, planned(0).key) is None
    assert blocker is not None
    assert blocker.key == planned(0).key


def test_a_confirmed_run_is_done_and_healthy(store: Store) -> None:
    plan(store, planned(0))
    one = held(store)
    result = RunResult(rows_read=7, newest=hour(-1), result={"ratio": float("nan")}, alert_states=[{"rule": "a\x00b"}])
    store.transact(lambda connection: leases.confirm(connection, one, result))
    done = find(store, one.key)
    assert (done.state, done.health, done.rows_read, done.newest) == (RunState.DONE, Health.OK, 7, hour(-1))
    assert done.result == {"ratio": None}
    assert done.alert_states == ({"rule": "a�b"},)
    assert done.lease_until is None
    assert done.finished_at is not None


def test_who_lost_the_lease_writes_nothing_at_all(store: Store) -> None:
    prepared(store)
    plan(store, planned(0))
    stalled = held(store, "stalled", EXPIRED)
    successor = held(store, "successor")
    assert successor.token == stalled.token + 1

    def finish(connection: Transaction) -> None:
        measurements.save(connection, [measurement(0)])
        leases.confirm(connection, stalled, RunResult(rows_read=7))

    with pytest.raises(LeaseLost, match="monitor loans, window 2026-03-02T12:00:00"):
        store.transact(finish)
    with store.read() as connection:
        assert measurements.of_run(connection, stalled.key) == ()
        assert not leases.already_done(connection, stalled)
    confirm(store, successor)


@pytest.mark.parametrize("end", ["confirm", "postpone", "retry", "fail", "release", "renew"])
def test_no_way_of_ending_a_run_is_open_to_a_stale_claim(store: Store, end: str) -> None:
    plan(store, planned(0))
    stalled = held(store, "stalled", EXPIRED)
    successor = held(store, "successor")
    ways = {
        "confirm": lambda c: leases.confirm(c, stalled, RunResult(rows_read=1)),
        "postpone": lambda c: leases.postpone(c, stalled, HOUR, error_code="x", error="x"),
        "retry": lambda c: leases.retry(c, stalled, HOUR, error_code="x", error="x"),
        "fail": lambda c: leases.fail(c, stalled, error_code="x", error="x"),
        "release": lambda c: leases.release(c, stalled),
        "renew": lambda c: leases.renew(c, stalled, TTL),
    }
    if end in ("release", "renew"):
        assert not store.transact(ways[end])
    else:
        with pytest.raises(LeaseLost):
            store.transact(ways[end])
    run = find(store, planned(0).key)
    assert (run.state, run.owner, run.token) == (RunState.RUNNING, "successor", successor.token)


def test_confirming_twice_is_refused_and_known_to_be_done(store: Store) -> None:
    # The answer to the first commit was lost: the holder asks before it tries again.
    plan(store, planned(0))
    one = held(store)
    confirm(store, one)
    with store.read() as connection:
        assert leases.already_done(connection, one)
    with pytest.raises(LeaseLost):
        confirm(store, one)


def test_a_renewed_lease_is_nobody_elses(store: Store) -> None:
    plan(store, planned(0))
    one = held(store)
    assert store.transact(lambda connection: leases.renew(connection, one, TTL))
    assert claim(store, "two") is None


def test_a_lease_that_has_ended_can_not_be_renewed(store: Store) -> None:
    plan(store, planned(0))
    late = held(store, ttl=EXPIRED)
    assert not store.transact(lambda connection: leases.renew(connection, late, TTL))


def test_an_outage_of_the_source_uses_up_no_attempt(store: Store) -> None:
    plan(store, planned(0))
    for time in range(MAX_ATTEMPTS + 3):
        one = held(store)
        assert (one.attempt, one.postponed) == (1, time)
        store.transact(
            lambda c, one=one: leases.postpone(c, one, timedelta(0), error_code="unreachable", error="refused")
        )
    run = find(store, planned(0).key)
    assert (run.state, run.health, run.error_code, run.error) == (
        RunState.DUE, Health.ERROR, "unreachable", "refused",
    )  # fmt: skip


def test_a_postponed_run_waits_and_later_windows_wait_behind_it(store: Store) -> None:
    plan(store, planned(0), planned(1))
    one = held(store)
    store.transact(lambda c: leases.postpone(c, one, 24 * HOUR, error_code="timeout", error="slow"))
    assert claim(store) is None


def test_a_run_that_kills_its_process_is_given_up_and_the_next_one_comes(store: Store) -> None:
    plan(store, planned(0), planned(1))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert held(store, ttl=EXPIRED).attempt == attempt
    assert held(store).key == planned(1).key
    poison = find(store, planned(0).key)
    assert (poison.state, poison.health, poison.error_code) == (RunState.FAILED, Health.ERROR, leases.CRASHED)


def test_our_own_errors_are_tried_again_until_the_attempts_are_used_up(store: Store) -> None:
    plan(store, planned(0))
    ends = []
    for _ in range(MAX_ATTEMPTS):
        one = held(store)
        ends.append(store.transact(lambda c, one=one: leases.retry(c, one, timedelta(0), error_code="bug", error="x")))
    assert ends == [RunState.DUE] * (MAX_ATTEMPTS - 1) + [RunState.FAILED]
    assert claim(store) is None


def test_a_released_run_is_as_it_was(store: Store) -> None:
    plan(store, planned(0))
    assert store.transact(lambda connection, one=held(store): leases.release(connection, one))
    assert held(store, "two").attempt == 1


def test_skipped_windows_are_kept_with_their_reason_and_never_run(store: Store) -> None:
    store.transact(lambda connection: runs.skip(connection, [planned(0), planned(1)], "downtime"))
    assert claim(store) is None
    with store.read() as connection:
        assert runs.skipped(connection) == {("loans", "downtime"): 2}
        assert runs.last_planned(connection, "loans") == hour(1)


def test_waiting_windows_beyond_the_limit_are_skipped_oldest_first(store: Store) -> None:
    plan(store, *(planned(number) for number in range(5)))
    assert store.transact(lambda c: leases.skip_overdue(c, "loans", keep=2, reason="outage")) == 3
    assert held(store).key == planned(3).key
    assert store.transact(lambda c: leases.skip_overdue(c, "loans", keep=2, reason="outage")) == 0


def test_the_backlog_says_since_when_the_oldest_run_has_been_due(store: Store) -> None:
    plan(store, planned(-2), planned(-1), planned(10_000_000))
    held(store)
    with store.read() as connection:
        assert runs.backlog(connection) == {"loans": runs.Backlog(due=2, running=1, oldest_due=hour(-1))}


@pytest.mark.slow
@pytest.mark.processes
def test_replicas_claim_every_run_once_and_in_order(store: Store, store_url: str) -> None:
    names = [f"monitor {number}" for number in range(6)]
    windows = range(-8, 0)

    def fill(connection: Transaction) -> None:
        for name in names:
            add_monitor(connection, name)
            runs.plan(connection, [planned(number, name) for number in windows])

    store.transact(fill)
    with FORKS.Pool(4) as pool:
        claimed = pool.starmap(finish_runs, [(store_url, f"replica {number}") for number in range(4)], chunksize=1)
    everything = [one for replica in claimed for one in replica]
    assert sorted(everything) == sorted((name, hour(number).isoformat()) for name in names for number in windows)
    for replica in claimed:
        by_monitor: dict[str, list[str]] = defaultdict(list)
        for name, window_end in replica:
            by_monitor[name].append(window_end)
        assert all(ends == sorted(ends) for ends in by_monitor.values())
    with store.read() as connection:
        history = runs.history(connection, runs.RunFilter())
    assert {(one.state, one.attempts, one.token) for one in history} == {(RunState.DONE, 1, 1)}


def together(store: Store, *numbers: int, owner: str = "one") -> list[int]:
    """Which of these windows are claimed at once, as hours after noon."""
    keys = [planned(number).key for number in numbers]
    claims = store.transact(lambda connection: leases.claim_together(connection, owner, TTL, keys))
    return [(claim.key.window_end - hour(0)) // HOUR for claim in claims]


def test_windows_are_claimed_together_in_order_each_with_a_token(store: Store) -> None:
    prepared(store)
    store.transact(lambda connection: runs.plan(connection, [planned(number) for number in (1, 2, 3, 4)]))
    keys = [planned(number).key for number in (1, 2, 3)]
    claims = store.transact(lambda connection: leases.claim_together(connection, "one", TTL, keys))
    assert [(claim.key, claim.token, claim.attempt) for claim in claims] == [(key, 1, 1) for key in keys]
    done = [(claim, RunResult(rows_read=0)) for claim in claims]
    store.transact(lambda connection: leases.confirm_all(connection, done))
    assert together(store, 4) == [4]


def test_older_windows_and_those_of_others_come_before_a_batch(store: Store) -> None:
    prepared(store)
    store.transact(lambda connection: runs.plan(connection, [planned(number) for number in (1, 2, 3, 4)]))
    assert together(store, 2, 3) == []  # 1 waits
    assert together(store, 1, 3) == [1]  # 2 waits between them
    assert together(store, 2, 3, owner="two") == []  # 1 is evaluated


def test_a_batch_is_confirmed_as_a_whole_or_not_at_all(store: Store) -> None:
    prepared(store)
    store.transact(lambda connection: runs.plan(connection, [planned(number) for number in (1, 2, 3)]))
    keys = [planned(number).key for number in (1, 2, 3)]
    claims = store.transact(lambda connection: leases.claim_together(connection, "one", TTL, keys))
    lost = [(replace(claim, token=7) if claim.key == keys[1] else claim, RunResult(rows_read=0)) for claim in claims]
    with pytest.raises(LeaseLost, match="token 7"):
        store.transact(lambda connection: leases.confirm_all(connection, lost))
    with store.read() as connection:
        assert {runs.find(connection, key).state for key in keys} == {RunState.RUNNING}  # type: ignore[union-attr]


def test_a_window_that_was_tried_before_is_claimed_alone(store: Store) -> None:
    """One that kills its process must not use up the attempts of those beside it."""
    prepared(store)
    store.transact(lambda connection: runs.plan(connection, [planned(number) for number in (1, 2, 3)]))
    keys = [planned(number).key for number in (1, 2)]
    store.transact(lambda connection: leases.claim_together(connection, "dead", EXPIRED, keys))
    assert together(store, 1, 2, 3) == [1]
