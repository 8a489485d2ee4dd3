"""The program as a process: how it answers what it does not understand, and ends that are not its fault."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import drift_monitor
from drift_monitor import __version__
from drift_monitor.cli.main import COMMANDS, main
from tests.cli.shop import Shop


def _process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "drift_monitor", *arguments]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | environment)


@pytest.mark.processes
def test_the_version_is_told() -> None:
    done = _process("--version")

    assert done.returncode == 0
    assert done.stdout.decode().split() == ["drift-monitor", __version__]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["--bogus"], "No such option '--bogus'"),
        (["evaluate", "--bogus"], "No such option '--bogus'"),
        (["evaluate"], "Missing option '--config.file'"),
        (["migrate", "--config.file", "a", "b"], "unexpected extra argument"),
    ],
)
def test_a_command_line_that_is_not_understood_is_exit_code_2(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith("drift-monitor: error: ")
    assert said in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {command} ")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_commands_says_of_each_what_it_says_itself(command: str) -> None:
    loaded = main.get_command(click.Context(main), command)

    assert loaded is not None
    assert loaded.name == command
    assert loaded.get_short_help_str(1000) == COMMANDS[command].help


def _imported(*arguments: str) -> set[str]:
    """What a call of the program imports: our modules, and the names of other people's packages."""
    program = (
        "import sys\nbefore = set(sys.modules)\nfrom drift_monitor.cli.main import main\n"
        f"main({list(arguments)!r}, standalone_mode=False)\n"
        "print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    names = done.stderr.split()
    ours = {name for name in names if name.startswith("drift_monitor")}
    roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"drift_monitor"}
    return ours | {root for root in roots if not root.startswith("_")}


@pytest.mark.processes
@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_the_version_and_the_help_import_next_to_nothing(flag: str) -> None:
    assert _imported(flag) == {
        "click",
        "drift_monitor",
        "drift_monitor.cli",
        "drift_monitor.cli.main",
        "drift_monitor.cli.output",
        "drift_monitor.core",
        "drift_monitor.core.times",
        "drift_monitor.errors",
        "drift_monitor.version",
    }


@pytest.mark.processes
def test_a_configuration_is_checked_without_what_runs_it() -> None:
    imported = _imported("check-config", "config/example.yaml")

    rooms = {name.split(".")[1] for name in imported if name.startswith("drift_monitor.")}
    assert rooms <= {"cli", "config", "core", "errors", "telemetry", "version", "words"}
    heavy = {"alembic", "httpx", "jinja2", "pandas", "pyarrow", "rich", "scipy", "sqlalchemy", "starlette", "uvicorn"}
    assert not imported & heavy


def test_the_names_of_the_package_are_loaded_when_they_are_asked_for() -> None:
    listed = dir(drift_monitor)

    assert set(drift_monitor.__all__) <= set(listed)
    assert all(getattr(drift_monitor, name) is not None for name in drift_monitor.__all__)
    assert drift_monitor.compare.__module__ == "drift_monitor.comparison.frames"
    with pytest.raises(AttributeError, match="has no attribute 'compared'"):
        _ = drift_monitor.compared  # type: ignore[attr-defined]


def test_both_ways_to_write_a_flag_are_understood(shop: Shop) -> None:
    joined = CliRunner().invoke(main, ["migrate", f"--config.file={shop.config}"])
    apart = CliRunner().invoke(main, ["migrate", "--config.file", str(shop.config), "--check"])

    assert (joined.exit_code, apart.exit_code) == (0, 0)
    assert "up to date" in apart.stdout


def test_a_store_that_is_not_up_to_date_is_exit_code_1_of_a_check(shop: Shop) -> None:
    result = shop.run("migrate", "--check")

    assert result.exit_code == 1
    assert "has not been set up; run `drift-monitor migrate`" in result.stderr


@pytest.mark.parametrize(("command", "code"), [("migrate", 1), ("history", 1), ("backfill", 1), ("evaluate", 2)])
def test_a_configuration_that_is_not_there_is_told_in_one_line(command: str, code: int, tmp_path: Path) -> None:
    needed = {"history": ["--monitor=x"], "backfill": ["--from=-2d", "--to=now"]}.get(command, [])

    result = CliRunner().invoke(main, [command, f"--config.file={tmp_path}/nothing.yaml", *needed])

    assert result.exit_code == code
    assert "the file can't be read" in result.stderr


@pytest.mark.processes
def test_a_store_that_cannot_be_opened_is_told_without_a_traceback(shop: Shop) -> None:
    shop.change_config("drift.db", "nowhere/drift.db")

    done = _process("evaluate", f"--config.file={shop.config}")

    assert done.returncode == 3
    assert done.stderr.decode().startswith("drift-monitor: error: ")
    assert b"Traceback" not in done.stderr


@pytest.mark.processes
def test_a_reader_that_goes_away_is_no_error_of_ours(shop: Shop) -> None:
    shop.evaluate(f"--at={shop.end.isoformat()}")
    command = [sys.executable, "-m", "drift_monitor", "evaluate", f"--config.file={shop.config}", "--format=json"]
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [*command, f"--at={shop.end.isoformat()}"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.processes
def test_a_terminal_without_the_characters_of_a_chart_still_gets_one(shop: Shop) -> None:
    shop.evaluate(f"--at={shop.end.isoformat()}")

    done = _process(
        "explain", f"--config.file={shop.config}", "--monitor=orders", "--feature=country", PYTHONIOENCODING="latin-1"
    )

    assert done.returncode == 0
    assert b"KL(live?reference)" in done.stdout
