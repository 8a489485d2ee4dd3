"""How the service ends: on a signal, on a second one, and by itself when its loop is dead."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from drift_monitor.store.schema import run
from drift_monitor.telemetry.logs import Step
from tests.processes.outcome import Outcome, differences, violations
from tests.processes.processes import PATIENCE_SECONDS, ServiceProcess, wait_until
from tests.processes.service_process import QUICK, Fate, Halt
from tests.processes.stage import Stage, Template

HELD = Halt(step=Step.PANES_READ, fate=Fate.HELD)
PATIENT = replace(QUICK, workers=20, grace=timedelta(seconds=60))
SHARE_SECONDS = PATIENT.grace.total_seconds() / PATIENT.workers
HURRIED = replace(QUICK, workers=1, grace=timedelta(seconds=1))
SLOW_VIEW = """
CREATE VIEW orders AS SELECT * FROM fast_orders WHERE
  (WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 1000000000) SELECT max(n) FROM up) > 0
"""


def is_unready(process: ServiceProcess) -> bool:
    return process.get("/-/ready")[0] == 503


def states(stage: Stage) -> set[tuple[str, int, bool]]:
    """(state, attempts, has a lease) of the windows that are not done."""
    with stage.store.read() as connection:
        rows = connection.execute(select(run).where(run.c.state != "done"))
        return {(row.state, row.attempts, row.lease_until is not None) for row in rows}


def assert_a_restart_completes(stage: Stage, expected: Outcome) -> None:
    stage.run_until_quiet(stage.orders("restarted"))
    found = stage.outcome()
    assert violations(found) == []
    assert differences(expected, found) == []


def test_sigterm_lets_a_running_evaluation_finish(stage: Stage, expected: Outcome) -> None:
    """Longer than its share of the grace time, if that were divided by the number of workers."""
    with stage.started(stage.orders("told", HELD, settings=PATIENT)) as (told,):
        path = told.wait_for_step(Step.PANES_READ)
        assert told.get("/-/ready")[0] == 200
        told.send(signal.SIGTERM)
        wait_until(lambda: is_unready(told), "not ready")
        asked = time.monotonic()
        wait_until(lambda: time.monotonic() - asked > SHARE_SECONDS + 0.5, "more than its share of the grace time")
        told.open_gate()
        assert told.wait() == 0

    assert (Step.FINISH_AFTER_COMMIT.value, path) in told.steps
    assert states(stage) <= {("due", 0, False)}
    assert_a_restart_completes(stage, expected)


def test_sigterm_cancels_a_slow_query_and_gives_its_window_back(
    template: Template, open_stage: Callable[..., Stage], tmp_path: Path, expected: Outcome
) -> None:
    source = Path(shutil.copy(template.source, tmp_path / "source.db"))
    stage = open_stage(template, "stage", source)
    with closing(sqlite3.connect(source)) as database:
        database.execute("ALTER TABLE orders RENAME TO fast_orders")
        database.execute("ALTER TABLE visits RENAME TO fast_visits")
        database.execute(SLOW_VIEW)
        database.execute(SLOW_VIEW.replace("orders", "visits"))
    with stage.started(stage.orders("told", settings=HURRIED)) as (told,):
        told.wait_for_step(Step.CLAIM_AFTER_COMMIT)
        told.send(signal.SIGTERM)
        assert told.wait() == 0

    assert states(stage) == {("due", 0, False)}
    assert len(told.events("released")) == 1
    with closing(sqlite3.connect(source)) as database:
        for name in ("orders", "visits"):
            database.execute(f"DROP VIEW {name}")
            database.execute(f"ALTER TABLE fast_{name} RENAME TO {name}")
    assert_a_restart_completes(stage, expected)


def test_sigterm_ends_a_process_whose_evaluation_never_ends(stage: Stage, expected: Outcome) -> None:
    with stage.started(stage.orders("told", HELD, settings=HURRIED)) as (told,):
        told.wait_for_step(Step.PANES_READ)
        told.send(signal.SIGTERM)
        assert told.wait() == 0

    assert states(stage) == {("due", 0, False)}
    assert_a_restart_completes(stage, expected)


def test_a_second_sigterm_ends_at_once_as_a_crash_does(stage: Stage, expected: Outcome) -> None:
    settings = replace(HURRIED, grace=timedelta(seconds=300))
    with stage.started(stage.orders("told", HELD, settings=settings)) as (told,):
        told.wait_for_step(Step.PANES_READ)
        told.send(signal.SIGTERM)
        wait_until(lambda: is_unready(told), "not ready")
        told.send(signal.SIGTERM)
        assert told.wait() == 1

    assert ("running", 1, True) in states(stage)
    assert_a_restart_completes(stage, expected)


@pytest.mark.parametrize("mistake", ["dead_loop", "dying_loop"])
def test_a_process_whose_loop_is_dead_ends_with_an_error(
    sqlite_template: Template, open_stage: Callable[..., Stage], mistake: str
) -> None:
    stage = open_stage(sqlite_template)
    settings = replace(QUICK, stalled_after=timedelta(seconds=2))
    with stage.started(stage.orders("dead", None, mistake, settings=settings)) as (dead,):
        assert dead.wait() == 70

    assert dead.events("stalled")


def test_the_command_ends_with_0_on_sigterm(
    sqlite_template: Template, open_stage: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = open_stage(sqlite_template)
    command = [sys.executable, "-m", "drift_monitor", "run", f"--config.file={stage.config}"]
    log = tmp_path / "command.log"
    with (
        log.open("w") as sink,
        subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stderr=sink, env=dict(os.environ)) as process,
    ):
        try:
            stage.wait_until_quiet()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE_SECONDS) == 0, log.read_text()
        finally:
            process.kill()
    assert "event=stopped" in log.read_text()
