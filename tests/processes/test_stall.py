"""Whoever loses its lease writes nothing: a holder that stalls is refused by its token, and nothing counts twice."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from signal import SIGCONT

import pytest
from sqlalchemy import select, update

from drift_monitor.app import open_services
from drift_monitor.config.loading import load
from drift_monitor.evaluation.on_demand import deliver_once, evaluate_now
from drift_monitor.store.connection import Transaction
from drift_monitor.store.schema import run
from drift_monitor.telemetry.logs import Step
from tests.processes.outcome import Outcome, differences, violations
from tests.processes.processes import ServiceProcess, wait_until
from tests.processes.service_process import BRIEF, QUICK, Fate, Halt, Orders
from tests.processes.stage import Stage, Template, end
from tests.processes.world import HOUR, add_late_rows

ONE_WORKER = replace(QUICK, workers=1, sending=BRIEF.sending)


def halted_window(process: ServiceProcess, step: Step) -> tuple[str, datetime]:
    """The monitor and window at which a process was halted."""
    path = [path for one, path in process.steps if one == step][-1]
    monitor, window_end, _ = path.split("/")
    return monitor, datetime.fromisoformat(window_end)


def end_lease(stage: Stage, monitor: str, window_end: datetime) -> None:
    """As if the time of the lease had passed."""

    def work(connection: Transaction) -> int:
        held = (run.c.monitor == monitor) & (run.c.window_end == window_end) & (run.c.state == "running")
        over = stage.store.now(connection) - timedelta(seconds=1)
        return connection.execute(update(run).where(held).values(lease_until=over)).rowcount

    assert stage.store.transact(work) == 1


def wait_for_end_of_lease(stage: Stage, monitor: str, window_end: datetime) -> None:
    def is_over() -> bool:
        with stage.store.read() as connection:
            until = connection.execute(
                select(run.c.lease_until).where(
                    run.c.monitor == monitor, run.c.window_end == window_end, run.c.state == "running"
                )
            ).scalar_one()
            return until < stage.store.now(connection)

    wait_until(is_over, "the lease is over")


def change_rows(stage: Stage, monitor: str, window_end: datetime) -> None:
    """From now on whoever reads that window sees other rows than the stalled holder did."""
    add_late_rows(stage.source, monitor, window_end - HOUR, drifting=True)


def undisturbed_now(open_stage: Callable[..., Stage], stage: Stage) -> Outcome:
    """What one service alone makes of the source as it is now."""
    other = open_stage(stage.template, "alone", stage.source)
    other.run_until_quiet(other.orders("alone"))
    return other.outcome()


def stalled_orders(stage: Stage, fate: Fate, *mistakes: str) -> Orders:
    halt = Halt(step=Step.COMPUTE_DONE, occurrence=5, fate=fate)
    return stage.orders("stalled", halt, *mistakes, settings=ONE_WORKER)


def ended_attempt(stalled: ServiceProcess, monitor: str, window_end: datetime) -> bool:
    """Whether the stalled attempt is over: refused, failed, or committed all the same."""
    path = f"{monitor}/{window_end.isoformat()}/0"
    refused = {one["event"] for one in map(dict, all_events(stalled)) if one.get("monitor") == monitor}
    return (Step.FINISH_AFTER_COMMIT.value, path) in stalled.steps or bool(
        refused & {"fenced", "internal_error", "evaluation_postponed"}
    )


def all_events(process: ServiceProcess) -> list[dict[str, object]]:
    return [dict(one) for name in ("fenced", "internal_error", "evaluation_postponed") for one in process.events(name)]


@pytest.mark.parametrize("is_refused", [True, False], ids=["fenced", "no fence"])
def test_a_paused_replica_is_refused_after_another_took_over(
    postgresql_template: Template, open_stage: Callable[..., Stage], tmp_path: Path, is_refused: bool
) -> None:
    source = Path(shutil.copy(postgresql_template.source, tmp_path / "source.db"))
    stage = open_stage(postgresql_template, "stage", source)
    mistakes = () if is_refused else ("no_fence",)
    with stage.started(stalled_orders(stage, Fate.STOPPED, *mistakes)) as (stalled,):
        stalled.wait_stopped()
        monitor, window_end = halted_window(stalled, Step.COMPUTE_DONE)
        change_rows(stage, monitor, window_end)
        expected = undisturbed_now(open_stage, stage)
        end_lease(stage, monitor, window_end)
        with stage.started(stage.orders("heir")) as (heir,):
            stage.wait_until_quiet()
            stalled.send(SIGCONT)
            wait_until(lambda: ended_attempt(stalled, monitor, window_end), "the stalled attempt ends")
            if is_refused:
                assert stalled.metric("drift_lease_lost_total") == 1
            end(heir)
        end(stalled)
    found = stage.outcome()
    if is_refused:
        assert len(stalled.events("fenced")) == 1
        assert violations(found) == []
        assert differences(expected, found) == []
    else:
        assert differences(expected, found)
        assert any("took effect 2 times" in line for line in violations(found))


@pytest.mark.parametrize("is_refused", [True, False], ids=["fenced", "no fence"])
def test_a_stalled_thread_is_refused_after_a_command_took_over(
    sqlite_template: Template, open_stage: Callable[..., Stage], tmp_path: Path, is_refused: bool
) -> None:
    """On SQLite there is one daemon a file; commands beside it claim windows as replicas do."""
    source = Path(shutil.copy(sqlite_template.source, tmp_path / "source.db"))
    stage = open_stage(sqlite_template, "stage", source)
    mistakes = ("no_heartbeat",) if is_refused else ("no_heartbeat", "no_fence")
    with stage.started(stalled_orders(stage, Fate.HELD, *mistakes)) as (stalled,):
        wait_until(lambda: count(stalled, Step.COMPUTE_DONE) == 5, "five computed windows")
        monitor, window_end = halted_window(stalled, Step.COMPUTE_DONE)
        change_rows(stage, monitor, window_end)
        expected = undisturbed_now(open_stage, stage)
        end_lease(stage, monitor, window_end)
        steps = take_over(stage, monitor, window_end)
        stalled.open_gate()
        wait_until(lambda: ended_attempt(stalled, monitor, window_end), "the stalled attempt ends")
        stage.wait_until_quiet()
        end(stalled)
    found = replace(stage.outcome(), steps=[*stage.outcome().steps, *steps])
    if is_refused:
        assert len(stalled.events("fenced")) == 1
        assert violations(found) == []
        assert differences(expected, found) == []
    else:
        assert differences(expected, found)
        assert any("took effect 2 times" in line for line in violations(found))


def count(process: ServiceProcess, step: Step) -> int:
    return sum(one == step for one, _ in process.steps)


def take_over(stage: Stage, monitor: str, window_end: datetime) -> list[tuple[str, str]]:
    """Evaluate the window as the command does; the steps it went through."""
    steps: list[tuple[str, str]] = []
    config = load(stage.config)
    with open_services(
        config, external_url="http://drift.test", observe_step=lambda step, path: steps.append((step.value, path))
    ) as services:
        evaluated = evaluate_now(services, config.monitor(monitor), window_end)
        assert evaluated.problem is None
        assert deliver_once(services, [monitor])
    return steps


def test_a_service_paused_beyond_its_lease_goes_on_where_it_was(stage: Stage, expected: Outcome) -> None:
    halt = Halt(step=Step.COMPUTE_DONE, occurrence=3, fate=Fate.STOPPED)
    with stage.started(stage.orders("paused", halt, settings=replace(BRIEF, workers=1))) as (paused,):
        paused.wait_stopped()
        wait_for_end_of_lease(stage, *halted_window(paused, Step.COMPUTE_DONE))
        paused.send(SIGCONT)
        stage.wait_until_quiet()
        end(paused)

    found = stage.outcome()
    assert violations(found) == []
    assert differences(expected, found) == []


def test_replicas_go_on_when_the_host_of_one_dies_inside_a_transaction(
    postgresql_template: Template, open_stage: Callable[..., Stage], undisturbed: Callable[[Template], Outcome]
) -> None:
    """A stopped process is a dead host to the server: the session stays open, and keeps its row locked.

    The server ends it after `idle_in_transaction_session_timeout`, and the window goes to another replica.
    """
    expected, stage = undisturbed(postgresql_template), open_stage(postgresql_template)
    halt = Halt(step=Step.FINISH_BEFORE_COMMIT, occurrence=3, fate=Fate.STOPPED)
    with stage.started(stage.orders("dead", halt, settings=BRIEF)) as (dead,):
        dead.wait_stopped()
        with stage.started(stage.orders("heir")) as (heir,):
            stage.wait_until_quiet()
            end(heir)
        dead.send(SIGCONT)
        dead.wait_for_event("fenced")
        end(dead)

    found = stage.outcome()
    assert violations(found) == []
    assert differences(expected, found) == []
