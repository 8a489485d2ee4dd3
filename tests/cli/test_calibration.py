"""`calibration show` and `update`: levels where there is history enough, and else what is missing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.shop import Shop, open_shop

RULE = ("- {metric: psi, above: 0.1, severity: warning}", "- {false_alarms: 1 per 28d}")


def test_a_monitor_without_a_budget_is_told_how_to_get_one(quiet_shop: Shop) -> None:
    for command in ("calibration show", "calibration update"):
        result = quiet_shop.run(command, "--monitor=orders")
        assert result.exit_code == 2
        assert "has no budget of false alarms; give it a rule such as `false_alarms: 1 per 28d`" in result.stderr


def test_too_short_a_history_is_learning(quiet_shop: Shop) -> None:
    quiet_shop.change_config(*RULE)
    quiet_shop.run("migrate")
    before = quiet_shop.run("calibration show", "--monitor=orders")
    assert before.exit_code == 2 and "has no calibration yet: its first evaluation makes one" in before.stderr
    for command in ("calibration update", "calibration show"):
        result = quiet_shop.run(command, "--monitor=orders")
        assert result.exit_code == 0, result.stderr
        assert "orders: learning, 1 false alarm per 28d" in result.stdout
        assert "There is no level before 14 days of history." in result.stdout


def test_a_reference_without_rows_is_told(quiet_shop: Shop) -> None:
    quiet_shop.change_config(*RULE)
    quiet_shop.run("migrate")
    with closing(sqlite3.connect(quiet_shop.database)) as file, file:
        file.execute("DELETE FROM training")
    result = quiet_shop.run("calibration update", "--monitor=orders")
    assert (result.exit_code == 1 and result.exception is None) or isinstance(result.exception, SystemExit)
    assert "monitor 'orders' has no feature with bins yet" in result.stderr


@pytest.mark.slow
def test_levels_are_shown_for_each_length_of_window(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, drifted_hours=0, hours=30 * 24)
    shop.change_config(*RULE)
    shop.run("migrate")
    for command in ("calibration update", "calibration show"):
        result = shop.run(command, "--monitor=orders")
        assert result.exit_code == 0, result.stderr
        assert "orders: calibrated, 1 false alarm per 28d" in result.stdout and "28 days" in result.stdout
        levels = {line.split()[0]: float(line.split()[3]) for line in result.stdout.splitlines() if " h " in line}
        assert set(levels) == {"1", "6", "24"} and min(levels.values()) > 0
