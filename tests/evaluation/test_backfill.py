"""A backfill writes windows in batches: what it leaves is what one window after the other leaves, whatever happens."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from drift_monitor.alerting import rules
from drift_monitor.evaluation import backfill as backfill_module
from drift_monitor.evaluation.attempt import Result
from drift_monitor.evaluation.backfill import backfill
from drift_monitor.store.connection import Transaction
from drift_monitor.store.runs import RunState
from drift_monitor.store.schema import run
from drift_monitor.telemetry.logs import Step, StepObserver
from tests.evaluation.workbench import AGE, MONITOR, Bench, Workbench, even, high, hour

HOURS = 40
# What a store says of its windows, without when it was written, by whom and for whom.
TABLES = {
    "measurement": "*",
    "run": "window_end, revision, state, rows_read * 0, newest, result, alert_states",
    "alert": "*",
    "episode": "id, feature, rule, opened_window, opened_revision, closed_window, close_reason, peak_value",
    "outbox": "id, seq, receiver, window_end, revision, part, body, state, reason",
    "notification_log": "episode_id, receiver, state, alert",
}


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path, f"sqlite:///{tmp_path}/drift.db", ({"name": "log", "log": {}},))


def fill(workbench: Workbench) -> None:
    """Rows that drift for a while, twice, with an hour without rows between."""
    workbench.people.train(even(400))
    for number in range(HOURS):
        drifts = 12 <= number < 18 or 25 <= number < 28
        ages = [] if number == 21 else high(120) if drifts else even(100 + number)
        workbench.people.arrive(number, ages)


def evaluated(bench: Bench, first: int, last: int, notify: bool = True) -> list[Result | None]:
    monitor = bench.services.config.monitor(MONITOR)
    results = []
    for step in backfill(bench.services, monitor, hour(first - 1), hour(last), notify=notify):
        results.append(step.result)
        if step.result not in (None, Result.DONE):  # it holds up the later ones, as the command knows
            break
    return results


def left(bench: Bench) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: sorted((tuple(row) for row in bench.rows(f"SELECT {columns} FROM {table}")), key=repr)
        for table, columns in TABLES.items()
    }


@pytest.mark.parametrize(
    "reference", [{"table": "training"}, {"trailing": "8h", "gap": "1h"}], ids=["fixed", "sliding"]
)
def test_batches_leave_what_one_window_after_the_other_leaves(tmp_path: Path, reference: dict[str, str]) -> None:
    rule = {"name": "held", "metric": "psi", "above": 0.1, "for": 2, "keep_firing_for": 1}
    keys: dict[str, Any] = {"window": "3h", "reference": reference, "rules": [{"metric": "psi", "above": 0.25}, rule]}
    stores = []
    for name in ("batches", "singles"):
        folder = tmp_path / name
        folder.mkdir()
        workbench = Workbench(folder, f"sqlite:///{folder}/drift.db")
        fill(workbench)
        with workbench.open(**keys) as bench:
            if name == "batches":
                assert evaluated(bench, 10, HOURS) == [Result.DONE] * (HOURS - 9)
            else:
                bench.evaluate(*range(10, HOURS + 1))
            assert len(bench.episodes()) >= 2
            stores.append(left(bench))
    assert stores[0] == stores[1]


def test_windows_before_stored_ones_replay_none_of_them(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(workbench)
    steps = []
    advance = rules.advance
    monkeypatch.setattr(rules, "advance", lambda *arguments: steps.append(1) or advance(*arguments))
    with workbench.open(window="3h") as bench:
        evaluated(bench, 24, HOURS)
        before, episodes = len(steps), bench.episodes()
        assert evaluated(bench, 4, 23) == [Result.DONE] * 20
        assert len(steps) - before == 20  # one rule, one feature, one step a window
        assert bench.episodes() == episodes
        # The verdict of each old window is its own, from the one before it.
        assert (bench.phase_after(15), bench.phase_after(20)) == ("firing", "inactive")


@pytest.fixture
def batches_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Batches of five windows, however long they take."""
    monkeypatch.setattr(backfill_module, "FIRST_BATCH", 5)
    monkeypatch.setattr(backfill_module, "PANES_AHEAD", 5)
    monkeypatch.setattr(backfill_module, "LOCKED", timedelta(hours=1))
    yield


class Interference:
    """Does something to the store once, when a window of a batch has been read."""

    def __init__(self, window: int, work: Any) -> None:
        self._window = f"{MONITOR}/{hour(window).isoformat()}/0"
        self._work = work

    def watching(self, bench: Bench) -> Bench:
        return replace(bench, services=replace(bench.services, observe_step=self._observer(bench)))

    def _observer(self, bench: Bench) -> StepObserver:
        def observe(step: Step, path: str) -> None:
            if step is Step.PANES_READ and path == self._window and self._work is not None:
                work, self._work = self._work, None
                bench.services.store.transact(work)

        return observe


@pytest.mark.usefixtures("batches_of")
def test_a_window_that_another_process_took_is_left_to_it(workbench: Workbench) -> None:
    """Those before it are done, those after it are given back, and nothing of it was written."""
    fill(workbench)

    def take(connection: Transaction) -> None:
        theirs = run.c.window_end == hour(8)
        connection.execute(update(run).where(theirs).values(token=run.c.token + 1, owner="another"))

    with workbench.open() as bench:
        results = evaluated(Interference(6, take).watching(bench), 5, 20)
        assert results == [Result.DONE, Result.DONE, Result.DONE, Result.FENCED]
        states = {one.key.window_end: (one.state, one.owner == "another") for one in bench.runs()}
        assert [states[hour(number)] for number in (5, 6, 7, 8, 9)] == [
            *[(RunState.DONE, False)] * 3, (RunState.RUNNING, True), (RunState.DUE, False),
        ]  # fmt: skip
        assert windows(bench) == [5, 6, 7]


@pytest.mark.usefixtures("batches_of")
def test_panes_that_another_process_corrects_meanwhile_are_read_again(workbench: Workbench) -> None:
    fill(workbench)

    def correct(connection: Transaction) -> None:
        connection.exec_driver_sql(
            "INSERT INTO pane SELECT series, pane_start, pane_end, 1, '[0,7,0,0,0,0,0,0]', read_at FROM pane"
            " WHERE pane_end = (SELECT min(window_end) FROM run)"
        )

    with workbench.open(features=[AGE]) as bench:
        results = evaluated(Interference(5, correct).watching(bench), 5, 9)
        assert results == [Result.DONE] * 5
        assert sum(bench.measured(5).live_counts or ()) == 7


@pytest.mark.usefixtures("batches_of")
def test_an_interruption_gives_back_what_is_not_committed(workbench: Workbench) -> None:
    fill(workbench)

    def interrupt(connection: Transaction) -> None:
        raise KeyboardInterrupt

    with workbench.open() as bench:
        with pytest.raises(KeyboardInterrupt):
            evaluated(Interference(12, interrupt).watching(bench), 5, 20)
        states = [one.state for one in bench.runs()]
        assert states == [RunState.DONE] * 5 + [RunState.DUE] * 5
        assert {one.attempts for one in bench.runs() if one.state is RunState.DUE} == {0}
        assert evaluated(bench, 5, 20) == [None] * 5 + [Result.DONE] * 11


def windows(bench: Bench) -> Sequence[int]:
    rows = bench.rows("SELECT DISTINCT window_end FROM measurement ORDER BY window_end")
    return [number for number in range(HOURS + 1) for (end,) in rows if end.startswith(f"{hour(number):%Y-%m-%dT%H}")]
