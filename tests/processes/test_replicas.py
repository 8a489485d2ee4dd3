"""One daemon for a SQLite file, as many as one likes for a PostgreSQL store."""

from collections.abc import Callable
from dataclasses import replace

from drift_monitor.telemetry.logs import Step
from tests.processes.outcome import Outcome, differences, violations
from tests.processes.processes import SIGKILLED
from tests.processes.service_process import BRIEF, QUICK, REFUSED_EXIT_CODE, Fate, Halt
from tests.processes.stage import Stage, Template, end

ONE_WORKER = replace(QUICK, workers=1)


def test_a_second_daemon_on_a_sqlite_file_is_refused_until_the_first_has_gone(
    sqlite_template: Template, open_stage: Callable[..., Stage], undisturbed: Callable[[Template], Outcome]
) -> None:
    stage = open_stage(sqlite_template)
    held = Halt(step=Step.PANES_READ, fate=Fate.HELD)
    with stage.started(stage.orders("first", held)) as (first,):
        first.wait_for_step(Step.PANES_READ)
        with stage.started(stage.orders("second")) as (second,):
            assert second.wait() == REFUSED_EXIT_CODE
        assert f"in use by pid {first.pid}" in second.log
        assert second.steps == []
        assert first.exit_code is None
        first.close()
        assert first.exit_code == SIGKILLED

    stage.run_until_quiet(stage.orders("third"))  # at once: the lock has ended with its process
    found = stage.outcome()
    assert violations(found) == []
    assert differences(undisturbed(sqlite_template), found) == []


def test_replicas_share_the_work_and_no_window_is_evaluated_twice(
    postgresql_template: Template, open_stage: Callable[..., Stage], undisturbed: Callable[[Template], Outcome]
) -> None:
    stage = open_stage(postgresql_template)
    held = Halt(step=Step.CLAIM_AFTER_COMMIT, fate=Fate.HELD)
    names = ("one", "two")
    with stage.started(*(stage.orders(name, held, settings=ONE_WORKER) for name in names)) as replicas:
        first = [replica.wait_for_step(Step.CLAIM_AFTER_COMMIT) for replica in replicas]
        assert len(set(first)) == 2
        for replica in replicas:
            replica.open_gate()
        stage.wait_until_quiet()
        for replica in replicas:
            end(replica)

    for replica in replicas:
        assert any(step == Step.FINISH_AFTER_COMMIT for step, _ in replica.steps)
    found = stage.outcome()
    assert violations(found) == []
    assert differences(undisturbed(postgresql_template), found) == []


def test_a_replica_takes_over_what_a_killed_one_held(
    postgresql_template: Template, open_stage: Callable[..., Stage], undisturbed: Callable[[Template], Outcome]
) -> None:
    stage = open_stage(postgresql_template)
    killed = Halt(step=Step.COMPUTE_DONE, occurrence=2)
    # Where the other one is so quick that this one never comes to its second window, it is killed at the end.
    with stage.started(stage.orders("one", killed, settings=BRIEF), stage.orders("two")) as (_, two):
        stage.wait_until_quiet()
        end(two)

    found = stage.outcome()
    assert violations(found) == []
    assert differences(undisturbed(postgresql_template), found) == []
