"""A service that is killed at any named step, and started again, leaves behind what an undisturbed one does."""

from collections import Counter
from collections.abc import Sequence

import pytest

from drift_monitor.telemetry.logs import Step
from tests.processes.outcome import Outcome, differences, late_repeats, violations
from tests.processes.processes import ServiceProcess
from tests.processes.service_process import Halt
from tests.processes.stage import Stage
from tests.processes.world import SECRET, WINDOWS

# Planning happens once a monitor, and the first process has planned one of the two; every other step comes often.
LATER = {Step.PLAN_BEFORE_COMMIT: 2, Step.PLAN_AFTER_COMMIT: 1}


def test_an_undisturbed_service_evaluates_every_window_and_tells_of_every_change(
    stage: Stage, expected: Outcome
) -> None:
    assert violations(expected) == []
    revisions = Counter((one["monitor"], one["revision"]) for one in expected.runs)
    assert revisions == {("orders", 0): WINDOWS + 1, ("visits", 0): WINDOWS + 1, ("orders", 1): 1}
    ends = {one["window_end"] for one in expected.runs if one["monitor"] == "visits"}
    assert ends == {stage.timeline.window(number) for number in range(WINDOWS + 1)}
    statuses = Counter((post.monitor, post.receiver, '"status": "firing"' in post.body) for post in expected.posts)
    assert set(statuses) == {
        (monitor, receiver, firing)
        for monitor in ("orders", "visits")
        for receiver in ("first", "second")
        for firing in (True, False)
    }
    assert len(expected.posts) == len({post.id for post in expected.posts})
    assert not any(SECRET in str(rows) for rows in expected.tables.values())


@pytest.mark.parametrize("step", list(Step))
def test_kills_at_any_step_lose_nothing_and_repeat_nothing(stage: Stage, expected: Outcome, step: Step) -> None:
    """One process is killed the first time it comes there, the next one at a later time, the third one goes on."""
    first, later = Halt(step=step), Halt(step=step, occurrence=LATER.get(step, 3))
    with stage.started(stage.orders("killed", first)) as (killed,):
        stage.bury(killed)
    with stage.started(stage.orders("killed_again", later)) as (killed_again,):
        stage.bury(killed_again)

    stage.run_until_quiet(stage.orders("restarted"))

    found = stage.outcome()
    assert violations(found) == []
    assert differences(expected, found) == []
    assert_only_the_unsettled_came_again(step, found, [killed, killed_again])


def assert_only_the_unsettled_came_again(step: Step, found: Outcome, killed: Sequence[ServiceProcess]) -> None:
    """A notification is sent again only where a process died between sending it and writing that down."""
    times = Counter(post.id for post in found.posts)
    assert late_repeats(found) == []
    assert len(found.deliveries) == len(found.outbox)
    unsettled = Counter(id for process in killed for id in on_their_way(process))
    assert all(times[id] <= 1 + unsettled[id] for id in times)
    if step is Step.SEND_POSTED:
        assert all(times[last_path(process, step)] > 1 for process in killed)


def on_their_way(process: ServiceProcess) -> set[str]:
    by_step = {step: {path for one, path in process.steps if one == step} for step in Step}
    return by_step[Step.SEND_CLAIMED] - by_step[Step.SEND_SETTLED]


def last_path(process: ServiceProcess, step: Step) -> str:
    return [path for one, path in process.steps if one == step][-1]
