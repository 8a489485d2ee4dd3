"""The program `drift-monitor`: its commands, and what their errors become.

A command is imported when it is called: `--version` and `--help` need none of them, and no command pays for what
another one needs. So the table below names modules as text; it and `drift_monitor.__getattr__` are the only places
that import while the program runs.

Errors of our own tree turn into one line `drift-monitor: error: ...` on stderr and an exit code here and nowhere else:

    1  the configuration is not usable, or it could not be done     2  the command line was not understood
    `evaluate`: 1 drift, 2 usage or configuration, 3 could not be evaluated     `backfill`: 3 windows are missing
    130  interrupted     141  whoever read the output has gone

A traceback is a mistake in this program, never the answer to an input.
"""

import os
import sys
from importlib import import_module
from typing import Any, Final, NamedTuple, NoReturn

import click

from drift_monitor.cli.output import escape_lines, tell
from drift_monitor.errors import ConfigError, DriftMonitorError, InputError
from drift_monitor.version import __version__


class Entry(NamedTuple):
    """Where a command is found, and its first sentence of help."""

    module: str
    name: str
    help: str


# In the order they are needed. The help is that of the command itself; a test holds the two equal.
COMMANDS: Final = {
    "demo": Entry("demo", "demo", "See drift being found, on data with known incidents or on real flights."),
    "init": Entry(
        "installation",
        "init",
        "Look at TABLE of the database at URL and print a complete, commented configuration.",
    ),
    "check-config": Entry(
        "check_config",
        "check_config",
        "Check configuration files and print all their mistakes, each with its line, what was found and a hint.",
    ),
    "run": Entry("run", "run", "Watch the configured monitors until told to stop."),
    "evaluate": Entry(
        "evaluate", "evaluate", "Evaluate one window now, and say by the exit code whether there is drift."
    ),
    "backfill": Entry(
        "backfill", "backfill", "Evaluate the windows of the past, oldest first, as if the daemon had been running."
    ),
    "history": Entry("history", "history", "Print stored measurements of a monitor, oldest window first."),
    "explain": Entry(
        "explain",
        "explain",
        "Show where a feature drifted: reference and live share of each bin, and what each adds to both divergences.",
    ),
    "compare": Entry(
        "compare",
        "compare",
        "Compare LIVE with REFERENCE: two CSV or Parquet files, or with --source two tables.",
    ),
    "alert": Entry("alert", "alert", "What fires now, and who looks after it."),
    "silence": Entry("silence", "silence", "Keep alerts from being told for a while: add, list and end silences."),
    "notify": Entry("installation", "notify", "Receivers: try one out."),
    "reference": Entry("reference", "reference", "What live rows are compared with: build it anew."),
    "calibration": Entry("calibration", "calibration", "What surprise is judged by: show it, calibrate anew."),
    "files": Entry(
        "installation",
        "files",
        "Write the configurations of Prometheus and Grafana that belong to this version into DIRECTORY.",
    ),
    "migrate": Entry("installation", "migrate", "Bring the store's schema up to date."),
    "store": Entry("installation", "store", "Look after a SQLite store: copy it, and give room back to the disk."),
}
# What only a flag of a command needs.
_PARTS: Final = {"check-config --connect": ("installation", "ask_databases")}

FAILED, USAGE, NOT_EVALUATED, INTERRUPTED, BROKEN_PIPE = 1, 2, 3, 130, 141
_CONFIG_EXIT = {"evaluate": USAGE}  # everywhere else FAILED
_FAILED_EXIT = {"evaluate": NOT_EVALUATED, "backfill": NOT_EVALUATED}  # everywhere else FAILED


def load_part(of: str) -> Any:
    """The function that a flag of a command needs."""
    return _load(*_PARTS[of])


def _load(module: str, name: str) -> Any:
    return getattr(import_module(f"drift_monitor.cli.{module}"), name)


class Program(click.Group):
    """The group of all commands, in the order they are needed; each is loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            entry = COMMANDS[cmd_name]
            self.add_command(_load(entry.module, entry.name), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands as click writes it, which would load them all for their help."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        stand_ins = [click.Command(name, help=entry.help) for name, entry in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl([(str(command.name), command.get_short_help_str(limit)) for command in stand_ins])

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
            # Nobody reads stdout any more; without this the interpreter complains when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            _refuse(f"{name}{error.strerror or error}", _FAILED_EXIT.get(ctx.invoked_subcommand or "", FAILED))
        except KeyboardInterrupt:
            tell("interrupted")
            ctx.exit(INTERRUPTED)


def _meaning(error: DriftMonitorError, command: str) -> tuple[str, int]:
    """What an error is told as, and its exit code."""
    if isinstance(error, ConfigError):
        count = len(error.problems)
        mistakes = "1 mistake" if count == 1 else f"{count} mistakes"
        return f"the configuration has {mistakes}:\n{error}", _CONFIG_EXIT.get(command, FAILED)
    return str(error), USAGE if isinstance(error, InputError) else _FAILED_EXIT.get(command, FAILED)


def _refuse_usage(error: click.UsageError) -> NoReturn:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        raise error
    help_hint = f"; see `{error.ctx.command_path} --help`" if error.ctx is not None else ""
    _refuse(f"{error.format_message().rstrip('.')}{help_hint}", USAGE)


def _refuse(message: str, exit_code: int) -> NoReturn:
    click.echo(f"drift-monitor: error: {escape_lines(message)}", err=True)
    raise click.exceptions.Exit(exit_code)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="drift-monitor", message="%(prog)s %(version)s")
def main() -> None:
    """Watches features of database tables for distribution drift.

    Results go to stdout, messages and logs to stderr. Exit codes: 0 done, 1 the configuration is not usable or it
    could not be done, 2 the command line was not understood; `evaluate` has its own.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character gets another one, not an end of the program.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and (stream.encoding or "").lower().replace("-", "") != "utf8":
            reconfigure(errors="replace")
