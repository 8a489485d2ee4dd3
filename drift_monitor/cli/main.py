"""The program `drift-monitor`: its commands, and what their errors become.

Errors of our own tree turn into one line `drift-monitor: error: ...` on stderr and an exit code here and nowhere else:

    1  the configuration is not usable, or it could not be done     2  the command line was not understood
    `evaluate`: 1 drift, 2 usage or configuration, 3 could not be evaluated     `backfill`: 3 windows are missing
    130  interrupted     141  whoever read the output has gone

A traceback is a mistake in this program, never the answer to an input.
"""

import os
import sys
from typing import Any, NoReturn

import click

from drift_monitor import __version__
from drift_monitor.cli.alert import alert
from drift_monitor.cli.backfill import backfill
from drift_monitor.cli.check_config import check_config
from drift_monitor.cli.compare import compare
from drift_monitor.cli.demo import demo
from drift_monitor.cli.evaluate import evaluate
from drift_monitor.cli.explain import explain
from drift_monitor.cli.files import files
from drift_monitor.cli.history import history
from drift_monitor.cli.init import init
from drift_monitor.cli.migrate import migrate
from drift_monitor.cli.notify import notify
from drift_monitor.cli.printing import escape_lines, tell
from drift_monitor.cli.run import run
from drift_monitor.cli.silence import silence
from drift_monitor.errors import ConfigError, DriftMonitorError, InputError

COMMANDS: tuple[click.Command, ...] = (
    demo,
    init,
    check_config,
    run,
    evaluate,
    backfill,
    history,
    explain,
    compare,
    alert,
    silence,
    notify,
    files,
    migrate,
)

FAILED, USAGE, NOT_EVALUATED, INTERRUPTED, BROKEN_PIPE = 1, 2, 3, 130, 141
_CONFIG_EXIT = {"evaluate": USAGE}  # everywhere else FAILED
_FAILED_EXIT = {"evaluate": NOT_EVALUATED, "backfill": NOT_EVALUATED}  # everywhere else FAILED


class Program(click.Group):
    """The group of all commands, in the order they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as error:
            _refuse_usage(error)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except click.UsageError as error:
            _refuse_usage(error)
        except DriftMonitorError as error:
            _refuse(*_meaning(error, ctx.invoked_subcommand or ""))
        except BrokenPipeError:
            _close_stdout()
            ctx.exit(BROKEN_PIPE)
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            _refuse(f"{name}{error.strerror or error}", _failed(ctx.invoked_subcommand or ""))
        except KeyboardInterrupt:
            tell("interrupted")
            ctx.exit(INTERRUPTED)


def _refuse(message: str, exit_code: int) -> NoReturn:
    click.echo(f"drift-monitor: error: {escape_lines(message)}", err=True)
    raise click.exceptions.Exit(exit_code)


def _meaning(error: DriftMonitorError, command: str) -> tuple[str, int]:
    """What an error is told as, and its exit code."""
    if isinstance(error, ConfigError):
        found = len(error.problems)
        said = "1 mistake" if found == 1 else f"{found} mistakes"
        return f"the configuration has {said}:\n{error}", _CONFIG_EXIT.get(command, FAILED)
    return str(error), USAGE if isinstance(error, InputError) else _failed(command)


def _failed(command: str) -> int:
    return _FAILED_EXIT.get(command, FAILED)


def _refuse_usage(error: click.UsageError) -> NoReturn:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        raise error
    help_hint = f"; see `{error.ctx.command_path} --help`" if error.ctx is not None else ""
    _refuse(f"{error.format_message().rstrip('.')}{help_hint}", USAGE)


def _close_stdout() -> None:
    """Nobody reads it any more; without this the interpreter complains when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="drift-monitor", message="%(prog)s %(version)s")
def main() -> None:
    """Watches features of database tables for distribution drift.

    Results go to stdout, messages and logs to stderr. Exit codes: 0 done, 1 the configuration is not usable or it
    could not be done, 2 the command line was not understood; `evaluate` has its own.
    """
    _keep_printing()


def _keep_printing() -> None:
    """A terminal that can't show a character gets another one, not an end of the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and (stream.encoding or "").lower().replace("-", "") != "utf8":
            reconfigure(errors="replace")


for _command in COMMANDS:
    main.add_command(_command)
