"""Leases of running work are renewed while it runs, by the token they were claimed with."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drift_monitor.evaluation.attempt import LeaseKeeper
from drift_monitor.store.connection import Store
from drift_monitor.store.leases import Claim
from drift_monitor.store.runs import RunKey, Trigger
from tests.clocks import FixedClock

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CLAIM = Claim(
    id="run",
    key=RunKey(monitor="people", window_end=NOON),
    window_start=NOON - timedelta(hours=1),
    trigger=Trigger.SCHEDULE,
    config_hash="",
    owner="me",
    token=1,
    attempt=1,
    postponed=0,
    next_at=NOON,
    claimed_at=NOON,
    lease_until=NOON + timedelta(seconds=30),
)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[LeaseKeeper]:
    store = Store(f"sqlite:///{tmp_path}/drift.db", FixedClock(NOON))
    yield LeaseKeeper(store)
    store.close()


def test_a_claim_is_held_for_as_long_as_its_work(keeper: LeaseKeeper) -> None:
    with keeper.holding(CLAIM):
        assert keeper.held == (CLAIM,)
    assert keeper.held == ()


def test_the_end_of_a_stalled_attempt_lets_go_of_nothing_but_its_own_claim(keeper: LeaseKeeper) -> None:
    again = replace(CLAIM, token=2, attempt=2)
    stalled = keeper.holding(CLAIM)
    stalled.__enter__()
    with keeper.holding(again):
        stalled.__exit__(None, None, None)
        assert keeper.held == (again,)
