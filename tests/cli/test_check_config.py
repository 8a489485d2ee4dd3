"""`check-config`: all mistakes of all files at once; with `--connect` those only the databases know."""

import sqlite3
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner, Result

from drift_monitor.cli.main import main
from tests.cli.shop import Shop


def _check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["check-config", *map(str, arguments)])


def _line_of(shop: Shop, text: str) -> int:
    lines = shop.config.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_sound_file_is_a_success(shop: Shop) -> None:
    result = _check(shop.config)

    assert result.exit_code == 0
    first, note, last = result.stdout.splitlines()
    assert (first, last) == (f"Checking {shop.config}", "  SUCCESS")
    assert note.startswith(f"{shop.config}:{_line_of(shop, 'edges')}:54: note: ")  # about the last edge


def test_every_mistake_of_every_file_is_told_with_its_place(shop: Shop, tmp_path: Path) -> None:
    shop.change_config("window: 4h", "windw: 4h")
    shop.change_config("settle: 1m", "settle: soon")
    other = tmp_path / "empty.yaml"
    other.write_text("", encoding="utf-8")

    result = _check(shop.config, other)

    assert result.exit_code == 1
    assert f"{shop.config}:{_line_of(shop, 'windw')}:5:" in result.stdout
    assert "did you mean 'window'?" in result.stdout
    assert f"{shop.config}:{_line_of(shop, 'soon')}:13:" in result.stdout
    assert "FAILED: 2 mistakes" in result.stdout
    assert f"{other}:1:1: the file is empty" in result.stdout
    assert "FAILED: 1 mistake" in result.stdout


def test_connecting_finds_nothing_wrong_and_changes_nothing(shop: Shop) -> None:
    result = _check("--connect", shop.config)

    assert result.exit_code == 0
    assert "will be created" in result.stdout
    assert not (shop.folder / "drift.db").exists()


def test_connecting_finds_columns_that_do_not_exist_where_they_are_named(shop: Shop) -> None:
    shop.change_config("name: amount", "name: amuont")

    result = _check("--connect", shop.config)

    assert result.exit_code == 1
    assert f"{shop.config}:{_line_of(shop, 'amuont')}:9:" in result.stdout
    assert "did you mean" in result.stdout
    assert "reference:" in result.stdout  # the reference table has no such column either


def test_connecting_finds_a_table_that_does_not_exist(shop: Shop) -> None:
    shop.change_config("table: orders", "table: order")

    result = _check("--connect", shop.config)

    assert result.exit_code == 1
    assert f"{shop.config}:{_line_of(shop, 'table: order')}:12:" in result.stdout


def test_connecting_finds_a_time_column_that_holds_no_times(shop: Shop) -> None:
    shop.change_config("time_column: created_at", "time_column: country")

    result = _check("--connect", shop.config)

    assert result.exit_code == 1
    assert f"{shop.config}:{_line_of(shop, 'time_column')}:18:" in result.stdout


def test_connecting_finds_a_condition_that_cannot_be_run(shop: Shop) -> None:
    shop.change_config("table: orders\n", "table: orders\n    where: amount > nothing\n")

    result = _check("--connect", shop.config)

    assert result.exit_code == 1
    assert "FAILED: 1 mistake" in result.stdout


def test_connecting_tells_a_source_that_is_gone_once(shop: Shop) -> None:
    shop.hide()

    result = _check("--connect", shop.config)

    assert result.exit_code == 1
    assert "FAILED: 1 mistake" in result.stdout
    assert not shop.database.exists()


def test_a_store_that_needs_a_migration_is_no_mistake(shop: Shop) -> None:
    (shop.folder / "drift.db").touch()

    result = _check("--connect", shop.config)

    assert result.exit_code == 0
    assert "run `drift-monitor migrate`" in result.stdout


def test_columns_that_cannot_be_watched_are_noted_with_features_all(shop: Shop) -> None:
    text = shop.config.read_text(encoding="utf-8")
    listed = text[text.index("    features:") : text.index("    rules:")]
    shop.change_config(listed, "    features: all\n    exclude: [note]\n")

    result = _check("--connect", shop.config)

    assert result.exit_code == 0
    assert "note: monitor 'orders': excluded column 'note' does not exist" in result.stdout


def test_connecting_notes_what_a_monitor_will_never_see(shop: Shop) -> None:
    note = "CASE rowid % 10 WHEN 0 THEN 1 ELSE 'n/a' END"
    shop.change_config("features:", f'features:\n      - {{name: note, expression: "{note}"}}')
    with closing(sqlite3.connect(shop.database)) as file, file:
        file.execute("UPDATE orders SET created_at = replace(created_at, '2026-', '2019-')")
        file.execute("INSERT INTO orders VALUES ('2099-12-31T00:00:00+00:00', 1, 'DE')")

    result = _check("--connect", shop.config)

    assert result.exit_code == 0, result.stdout
    assert "the last window has no rows, the newest is of 2019-" in result.stdout
    assert "rows dated later: 1, up to 2099-12-31 00:00" in result.stdout
    assert "feature 'note': " in result.stdout and "rows are no numeric values" in result.stdout


def test_connecting_notes_rows_of_the_future_also_where_there_are_newer_ones(shop: Shop) -> None:
    with closing(sqlite3.connect(shop.database)) as file, file:
        file.execute("INSERT INTO orders VALUES ('2099-12-31T00:00:00+00:00', 1, 'DE')")

    result = _check("--connect", shop.config)

    assert "rows dated later: 1, up to 2099-12-31 00:00; nothing sees them" in result.stdout
    assert "the last window has no rows" not in result.stdout


def test_connecting_runs_the_counting_statement(shop: Shop) -> None:
    shop.change_config("features:", 'features:\n      - {name: total, expression: "sum(amount)"}')

    result = _check("--connect", shop.config)

    assert result.exit_code == 1
    assert "an expression aggregates them; write it without sum(), max() and the like" in result.stdout
