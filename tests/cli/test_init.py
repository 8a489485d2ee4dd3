"""`drift-monitor init`: what it prints loads, connects and evaluates as it is."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from drift_monitor.cli.main import main

ROWS = 4000
SPACING = timedelta(minutes=7)  # so that the history is about nineteen days


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def _rows() -> list[tuple[int, float, str, str]]:
    start = datetime.now(UTC) - ROWS * SPACING
    return [
        (i, float(i % 101), "DE" if i % 3 else "FR", f"{start + i * SPACING:%Y-%m-%d %H:%M:%S}") for i in range(ROWS)
    ]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with a table of orders; its URL is in the environment as the comments ask for."""
    ddl = "CREATE TABLE orders (id integer, amount double precision, country text, created_at timestamp)"
    monkeypatch.chdir(tmp_path)
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            connection.execute(ddl)
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", _rows())
            connection.commit()
        return f"sqlite:///{tmp_path / 'shop.db'}"
    made: str = request.getfixturevalue("postgresql_url")
    with psycopg.connect(made.replace("+psycopg", ""), autocommit=True) as server:
        server.execute(ddl)
        server.cursor().executemany("INSERT INTO orders VALUES (%s, %s, %s, %s)", _rows())
    monkeypatch.setenv("DRIFT_SOURCE_URL", made)
    return made


def test_what_it_prints_connects_and_evaluates_as_it_is(url: str, tmp_path: Path) -> None:
    proposed = _run("init", url, "orders")
    assert proposed.exit_code == 0, proposed.output
    config = tmp_path / "drift.yaml"
    config.write_text(proposed.stdout, encoding="utf-8")

    checked = _run("check-config", "--connect", str(config))
    evaluated = _run("evaluate", "--config.file", str(config), "--format", "json")

    assert checked.exit_code == 0, checked.output
    assert evaluated.exit_code == 0, evaluated.output
    assert '"status": "ok"' in evaluated.stdout
    assert '"status": "failed"' not in evaluated.stdout
    assert '"insufficient_data"' not in evaluated.stdout


def test_nothing_but_the_configuration_goes_to_stdout(url: str) -> None:
    result = _run("init", url, "orders")

    assert result.stdout.startswith("# Proposed by `drift-monitor init` for orders.")
    assert result.stderr == ""


def test_an_unknown_table_is_exit_code_2_with_near_names(url: str) -> None:
    result = _run("init", url, "order")

    assert result.exit_code == 2
    assert "'orders'" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("address", ["nothing", "oracle://db/shop", "sqlite:///nowhere/shop.db"])
def test_a_url_that_leads_nowhere_is_a_plain_message(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = _run("init", address, "orders")

    assert result.exit_code in (1, 2)
    assert result.stderr.startswith("drift-monitor: error: ")
