"""`backfill`: every window once, also after an interruption; what it leaves quiet, and its exit codes."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shop import HOUR, Shop

# The program, to which Ctrl-C comes in its second batch of windows: from outside one would have to be quick.
INTERRUPTED = """
import itertools, os, signal
from drift_monitor.cli.main import main
from drift_monitor.evaluation import backfill

attempt, numbers = backfill.attempt_together, itertools.count(1)

def interrupted(*arguments, **named):
    if next(numbers) == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return attempt(*arguments, **named)

backfill.attempt_together = interrupted
main()
"""


# The program, which is killed while its second batch is written: nothing of it may be seen afterwards.
KILLED = """
import itertools, os, signal
from drift_monitor.cli.main import main
from drift_monitor.store import measurements

save, numbers = measurements.save, itertools.count(1)

def killed(*arguments):
    written = save(*arguments)
    if next(numbers) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return written

measurements.save = killed
main()
"""


def _range(shop: Shop, hours: int = 12) -> tuple[str, str]:
    return f"--from={(shop.end - hours * HOUR).isoformat()}", f"--to={shop.end.isoformat()}"


def _runs(shop: Shop) -> list[tuple[str, int, str, int]]:
    found = shop.query("SELECT window_end, revision, state, attempts FROM run ORDER BY window_end, revision")
    return [(str(end)[:13], revision, state, attempts) for end, revision, state, attempts in found]


def _expected(shop: Shop, hours: int) -> list[tuple[str, int, str, int]]:
    ends = [shop.end - back * HOUR for back in range(hours - 1, -1, -1)]
    return [(f"{end:%Y-%m-%dT%H}", 0, "done", 1) for end in ends]


def test_every_window_of_the_range_is_evaluated_once(shop: Shop) -> None:
    result = shop.run("backfill", *_range(shop))

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "orders: 12 windows evaluated, 0 already there" in result.stderr
    assert _runs(shop) == _expected(shop, 12)


def test_started_again_it_evaluates_nothing_twice(shop: Shop) -> None:
    shop.run("backfill", *_range(shop, 5))

    result = shop.run("backfill", *_range(shop))

    # The later windows were there: the earlier ones are filled in beside them.
    assert "orders: 7 windows evaluated, 5 already there" in result.stderr
    assert _runs(shop) == _expected(shop, 12)


def test_the_drift_is_found_in_the_window_it_began_to_show(shop: Shop) -> None:
    shop.run("backfill", *_range(shop))

    began = dict(shop.query("SELECT feature, opened_window FROM episode"))

    # Six hours have drifted; a window of four has the first of them a quarter full.
    assert set(began) == {"amount", "country"}
    for opened in began.values():
        assert f"{shop.end - 5 * HOUR:%Y-%m-%dT%H}" <= opened <= f"{shop.end - 3 * HOUR:%Y-%m-%dT%H:30}"


def test_messages_about_the_past_are_kept_but_not_sent(shop: Shop) -> None:
    result = shop.run("backfill", *_range(shop))

    assert "alert_firing" not in result.stderr
    assert {state for (state,) in shop.query("SELECT DISTINCT state FROM outbox")} == {"suppressed"}


def test_messages_wait_for_the_daemon_where_they_are_asked_for(shop: Shop) -> None:
    shop.run("backfill", *_range(shop), "--notify")

    assert {state for (state,) in shop.query("SELECT DISTINCT state FROM outbox")} == {"pending"}


@pytest.mark.processes
def test_interrupted_it_says_how_to_go_on_and_then_does(shop: Shop) -> None:
    arguments = [f"--config.file={shop.config}", *_range(shop, 26)]
    command = [sys.executable, "-c", INTERRUPTED, "backfill", *arguments]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"NO_COLOR": "1"}, check=False)
    assert " windows, up to " in ended.stderr
    assert ended.returncode == 130
    assert "start the same command again to go on" in ended.stderr
    assert "Traceback" not in ended.stderr
    first = len(shop.query("SELECT * FROM run WHERE state = 'done'"))
    assert 0 < first < 26

    result = shop.run("backfill", *_range(shop, 26))

    assert result.exit_code == 0
    assert f"orders: {26 - first} windows evaluated, {first} already there" in result.stderr
    assert _runs(shop) == _expected(shop, 26)


@pytest.mark.processes
def test_killed_it_loses_its_batch_and_repeats_nothing(shop: Shop) -> None:
    arguments = [f"--config.file={shop.config}", *_range(shop, 26)]
    ended = subprocess.run([sys.executable, "-c", KILLED, "backfill", *arguments], stderr=subprocess.PIPE, check=False)
    assert ended.returncode == -signal.SIGKILL
    states = [state for _, _, state, _ in _runs(shop)]
    first = states.count("done")
    assert 0 < first < 26
    assert set(states[first:]) == {"running"}
    assert shop.query("SELECT count(DISTINCT window_end) FROM measurement") == [(first,)]
    with sqlite3.connect(shop.folder / "drift.db") as connection:  # as after a while
        connection.execute("UPDATE run SET lease_until = '2000-01-01T00:00:00.000000Z' WHERE state = 'running'")

    result = shop.run("backfill", *_range(shop, 26))

    assert f"orders: {26 - first} windows evaluated, {first} already there" in result.stderr
    assert [row[:3] for row in _runs(shop)] == [row[:3] for row in _expected(shop, 26)]
    assert {attempts for _, _, _, attempts in _runs(shop)} == {1, 2}
    assert shop.query("SELECT count(*), count(DISTINCT id) FROM outbox")[0][0] > 0


def test_a_source_that_is_gone_is_exit_code_3_and_leaves_a_way_to_go_on(shop: Shop) -> None:
    shop.run("backfill", *_range(shop, 12)[:1], f"--to={(shop.end - 9 * HOUR).isoformat()}")
    shop.hide()

    result = shop.run("backfill", *_range(shop, 12))

    assert result.exit_code == 3
    assert "orders: 0 windows evaluated, 3 already there" in result.stderr
    assert "start the same command again to go on" in result.stderr
    shop.show()
    assert shop.run("backfill", *_range(shop, 12)).exit_code == 0
    assert {row[1:3] for row in _runs(shop)} == {(0, "done")}


def test_windows_that_an_outage_skipped_are_filled(shop: Shop) -> None:
    shop.run("backfill", *_range(shop, 3))
    with sqlite3.connect(shop.folder / "drift.db") as connection:
        connection.execute("DELETE FROM measurement WHERE window_end = (SELECT min(window_end) FROM run)")
        connection.execute("UPDATE run SET state = 'skipped' WHERE window_end = (SELECT min(window_end) FROM run)")

    result = shop.run("backfill", *_range(shop, 3))

    assert result.exit_code == 0
    assert [row[1:3] for row in _runs(shop)][:2] == [(0, "skipped"), (1, "done")]


def test_a_range_that_ends_before_it_begins_is_a_usage_error(shop: Shop, tmp_path: Path) -> None:
    result = shop.run("backfill", "--from=2026-02-01", "--to=2026-01-01")

    assert result.exit_code == 2
    assert "must be before" in result.stderr
    assert not (tmp_path / "drift.db").exists()
