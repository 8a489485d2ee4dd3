"""The comparison that the crash tests rest on finds each mistake it is there for."""

import pytest

from drift_monitor.telemetry.logs import Step
from tests.processes.outcome import Outcome, differences, violations
from tests.processes.service_process import Halt
from tests.processes.stage import Stage


def crash_and_restart(stage: Stage, step: Step, mistake: str) -> Outcome:
    """What a service with a mistake leaves behind that is killed at a step and started again, still with it."""
    halt = Halt(step=step)
    with stage.started(stage.orders("killed", halt, mistake)) as (killed,):
        stage.bury(killed)
    stage.run_until_quiet(stage.orders("restarted", None, mistake))
    return stage.outcome()


def test_a_result_written_in_two_transactions_is_noticed(stage: Stage, expected: Outcome) -> None:
    found = crash_and_restart(stage, Step.FINISH_BEFORE_COMMIT, "two_transactions")

    missing = differences(expected, found)
    assert any(line.startswith("measurement: missing") for line in missing)


def test_a_notification_marked_as_sent_before_it_is_sent_is_noticed(stage: Stage, expected: Outcome) -> None:
    found = crash_and_restart(stage, Step.SEND_CLAIMED, "sent_before_sending")

    assert any("never arrived" in line for line in violations(found))
    assert any(line.startswith("never received") for line in differences(expected, found))


def test_an_altered_row_a_lost_row_and_a_lost_webhook_are_noticed(expected: Outcome) -> None:
    for name, rows in expected.tables.items():
        if rows:
            without = Outcome(**{**vars(expected), "tables": {**expected.tables, name: rows[1:]}})
            assert any(line.startswith(f"{name}: missing") for line in differences(expected, without)), name
    silent = Outcome(**{**vars(expected), "posts": expected.posts[1:]})
    assert any(line.startswith("never received") for line in differences(expected, silent))
    swapped = Outcome(**{**vars(expected), "posts": expected.posts[::-1]})
    assert any("received in the order" in line for line in violations(swapped))
    assert violations(expected) == []


@pytest.mark.parametrize("state", ["due", "running", "failed", "skipped"])
def test_a_window_that_is_not_done_is_noticed(expected: Outcome, state: str) -> None:
    runs = [{**one, "state": state} for one in expected.runs]

    assert violations(Outcome(**{**vars(expected), "runs": runs}))
