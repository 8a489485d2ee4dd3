"""Flags that commands share: the configuration, monitors, times, durations, units, the log.

Who says something, and why: the flags of commands that others will read about.

Stores opened beside a daemon, by commands that read or write a row: nothing is created, migrated or held.
"""

import functools
import getpass
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click

from drift_monitor.clock import SystemClock
from drift_monitor.config.schema import Config
from drift_monitor.config.urls import url_mistake
from drift_monitor.core.times import parse_duration, parse_instant
from drift_monitor.errors import InputError, OutOfRange
from drift_monitor.store import migrate
from drift_monitor.store.connection import Store
from drift_monitor.store.sqlite import create_private
from drift_monitor.telemetry.logs import LEVELS, LogFormat, configure

TIMES = "Times are written 2026-11-20T12:00:00Z, 2026-11-20, now, or back from now -7d, -1h30m; UTC unless said."
DEMO_LOG_FILE = "drift.log"  # in the directory of the demo
_YEARS = range(1970, 2200)  # beyond them arithmetic with windows may run out of dates


def _reader(read: Callable[[str], object]) -> Callable[..., object]:
    """What click calls with the text of a flag; its mistakes are those of the command line."""

    def callback(context: click.Context, parameter: click.Parameter, text: str | None) -> object:
        try:
            return None if text is None else read(text)
        except InputError as error:
            raise click.BadParameter(str(error), context, parameter) from error

    return callback


def _url(text: str) -> str:
    if found := url_mistake(text):
        raise InputError("; ".join(filter(None, found)))
    return text


database_url = _reader(_url)


def read_instant(text: str, now: datetime) -> datetime:
    """The moment a text means, in UTC: RFC 3339, a date, `now`, or `-7d`; raises InputError."""
    try:
        if text.startswith("-"):
            moment = now - parse_duration(text[1:])
        else:
            moment = now if text == "now" else parse_instant(text, UTC)
    except OutOfRange:
        raise
    except (InputError, OverflowError):
        if text.startswith("-"):
            raise InputError(f"{text!r} is no time back from now such as -7d or -1h30m") from None
        expected = "2026-11-20T12:00:00Z, 2026-11-20, now or -7d"
        raise InputError(f"{text!r} is no time; write it as one of {expected}") from None
    if moment.year not in _YEARS:
        raise InputError(f"{text!r} is out of range: expected a year from {_YEARS[0]} to {_YEARS[-1]}")
    return moment


config_flag = click.option(
    "--config.file",
    "config_file",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration.",
)
monitor_flag = click.option("--monitor", required=True, metavar="NAME", help="Which monitor.")
units_flag = click.option(
    "--units",
    type=click.Choice(["nats", "bits"]),
    default="nats",
    show_default=True,
    help="Of KL and JS divergences and the noise floor; 1 nat is 1.443 bits.",
)


def time_flag(name: str, help: str, *, required: bool = False, parameter: str | None = None) -> Callable[..., Any]:
    """A flag that takes a time."""
    read = _reader(lambda text: read_instant(text, SystemClock().now()))
    return click.option(name, parameter or name.strip("-"), callback=read, metavar="TIME", required=required, help=help)


def duration_flag(name: str, help: str) -> Callable[..., Any]:
    """A flag that takes a length of time."""
    return click.option(name, callback=_reader(parse_duration), metavar="DURATION", help=help)


def log_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the `--log.*` flags; the log goes to stderr before the command starts."""
    return _with_log(command, "info")


def quiet_log_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for commands whose output is read by people: only what went wrong, unless told otherwise."""
    return _with_log(command, "warn")


def demo_log_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for the demo: its log is a file in its `--dir`, the terminal is left to what it tells."""
    return _with_log(command, "info", lambda given: _log_file(given["directory"]))


def decorated(command: Callable[..., Any], flags: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """The command with these flags, in this order in its help."""
    for flag in reversed(flags):
        command = flag(command)
    return command


def _log_file(directory: Path) -> TextIO:
    directory.mkdir(parents=True, exist_ok=True)
    create_private(directory / DEMO_LOG_FILE)
    return (directory / DEMO_LOG_FILE).open("a", encoding="utf-8", buffering=1)


def _with_log(
    command: Callable[..., Any], level: str, stream: Callable[[Mapping[str, Any]], TextIO | None] = lambda given: None
) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_log(*args: Any, log_level: str, log_format: str, **given: Any) -> Any:
        configure(log_level, LogFormat(log_format), stream=stream(given))
        return command(*args, **given)

    formats = [form.value for form in LogFormat]
    return decorated(
        with_log,
        (
            click.option("--log.level", "log_level", type=click.Choice(list(LEVELS)), default=level, show_default=True),
            click.option(
                "--log.format", "log_format", type=click.Choice(formats), default=formats[0], show_default=True
            ),
        ),
    )


author_flag = click.option("--author", metavar="NAME", help="Who says so; by default the name you are logged in with.")
comment_flag = click.option("--comment", required=True, metavar="TEXT", help="Why; others will read it.")


def login_name(given: str | None) -> str:
    """The given name, else that of the login; raises InputError where there is none, as in many containers."""
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        raise InputError("this login has no name; say who you are with --author NAME") from None


@contextmanager
def open_store(config: Config) -> Iterator[Store]:
    """The store of a configuration, whatever its schema."""
    store = Store(config.store.url.get_secret_value(), SystemClock())
    try:
        yield store
    finally:
        store.close()


@contextmanager
def open_history(config: Config) -> Iterator[Store]:
    """A store whose schema fits; raises StoreOutdated."""
    with open_store(config) as store:
        migrate.check(store)
        yield store
