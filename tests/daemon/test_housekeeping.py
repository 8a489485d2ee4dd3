"""Room is made before the disk is full, the file is looked through now and then, and a wrong clock deletes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from drift_monitor.daemon import daemon as daemon_module
from drift_monitor.daemon.daemon import CHECK_FILE_EVERY, LOW_WATER_BYTES, Daemon, TickTrigger
from drift_monitor.errors import StoreError
from drift_monitor.store.connection import Store
from tests.evaluation.workbench import Workbench, even


class SetClock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.wall, self.elapsed = datetime(2026, 3, 1, tzinfo=UTC), 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, by: timedelta) -> None:
        self.wall += by
        self.elapsed += by.total_seconds()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def daemon(tmp_path: Path, clock: SetClock) -> Iterator[Daemon]:
    workbench = Workbench(tmp_path, f"sqlite:///{tmp_path / 'drift.db'}")
    workbench.people.train(even(400))
    with workbench.open() as bench:
        yield Daemon(replace(bench.services, clock=clock), lambda old: old)


@pytest.fixture
def purged(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What retention was asked for."""
    asked: list[object] = []
    monkeypatch.setattr(daemon_module.retention, "purge", lambda store, limits, **named: asked.append(limits))
    return asked


@pytest.mark.parametrize(("free", "goes"), [(LOW_WATER_BYTES - 1, 1), (LOW_WATER_BYTES, 0), (None, 0)])
def test_old_rows_go_before_the_disk_is_full(
    daemon: Daemon, purged: list[object], monkeypatch: pytest.MonkeyPatch, free: int | None, goes: int
) -> None:
    monkeypatch.setattr(Store, "free_bytes", property(lambda store: free))
    _, check = daemon._ticks()["check"]
    check()
    assert len(purged) == goes


def test_a_file_that_has_been_damaged_is_found_within_a_day(
    daemon: Daemon, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[datetime] = []

    def find_damage(store: Store) -> None:
        looked.append(clock.now())
        raise StoreError("damaged")

    monkeypatch.setattr(Store, "check_file", find_damage)
    _, keep_house = daemon._ticks()["housekeeping"]
    for _ in range(3 * 24):
        clock.advance(timedelta(hours=1))
        keep_house()  # whatever is found, the next round comes
    assert [later - before for before, later in pairwise(looked)] == [CHECK_FILE_EVERY] * 2


def test_a_clock_that_has_just_leapt_ahead_deletes_nothing(
    daemon: Daemon, clock: SetClock, purged: list[object]
) -> None:
    _, keep_house = daemon._ticks()["housekeeping"]
    clock.wall += timedelta(days=4000)
    keep_house()
    assert purged == []
    clock.wall -= timedelta(days=4000)
    keep_house()
    assert len(purged) == 1
    clock.wall += timedelta(days=1)  # and stays there, as after a machine has slept
    keep_house()
    clock.advance(timedelta(minutes=1))
    keep_house()
    assert len(purged) == 2


def test_ticks_that_were_missed_are_one_however_many() -> None:
    trigger, now = TickTrigger(timedelta(seconds=1)), datetime(2026, 3, 1, tzinfo=UTC)
    assert trigger.get_next_fire_time(now, now) == now + timedelta(seconds=1)
    assert trigger.get_next_fire_time(now - timedelta(days=4000), now) == now + timedelta(seconds=1)
    assert trigger.get_next_fire_time(None, now) == now + timedelta(seconds=1)
