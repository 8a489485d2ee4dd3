"""A service that goes on from a copy of its store, or from what a killed one left behind, loses nothing."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from drift_monitor.store.upkeep import backup
from drift_monitor.telemetry.logs import Step
from tests.processes.outcome import Outcome, differences
from tests.processes.service_process import QUICK, Fate, Halt
from tests.processes.stage import Stage, Template


@pytest.mark.parametrize("step", [Step.CLAIM_AFTER_COMMIT, Step.FINISH_AFTER_COMMIT, Step.SEND_POSTED])
def test_a_service_goes_on_from_a_copy_of_its_store(
    sqlite_template: Template, open_stage: Callable[..., Stage], undisturbed: Callable[[Template], Outcome], step: Step
) -> None:
    stage = open_stage(sqlite_template)
    path = stage.store.path
    assert path is not None
    copy = path.with_name("copy.db")
    with stage.started(stage.orders("first", Halt(step=step, fate=Fate.HELD))) as (first,):
        first.wait_for_step(step)
        backup(stage.store, copy)
        first.send(signal.SIGKILL)
        first.wait()
    stage.run_until_quiet(stage.orders("later"))  # what happens after the copy is lost with the store
    stage.store.close()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.move(copy, path)
    stage.run_until_quiet(stage.orders("restored"))
    found = stage.outcome()
    # What was done after the copy is done again: under the same ids, so that receivers can tell.
    assert {post.id for post in found.posts} == {row["id"] for row in found.outbox}
    assert differences(undisturbed(sqlite_template), found) == []


def test_what_a_killed_process_held_is_taken_over_at_once(
    sqlite_template: Template, open_stage: Callable[..., Stage], undisturbed: Callable[[Template], Outcome]
) -> None:
    """The lock of the file proves that it is gone: nobody waits for its leases, which would take an hour here."""
    patient = replace(QUICK, lease=timedelta(hours=1), sending=timedelta(hours=1))
    for step in (Step.PANES_READ, Step.SEND_CLAIMED):
        stage = open_stage(sqlite_template, step.value)
        with stage.started(stage.orders("first", Halt(step=step, fate=Fate.HELD), settings=patient)) as (first,):
            first.wait_for_step(step)
            first.send(signal.SIGKILL)
            first.wait()
        stage.run_until_quiet(stage.orders("second", settings=patient))
        assert differences(undisturbed(sqlite_template), stage.outcome()) == []
