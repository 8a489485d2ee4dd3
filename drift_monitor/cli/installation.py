"""Commands of whoever installs: `init`, `files`, `migrate`, `store`, `notify test`; and `check-config --connect`."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import click

from drift_monitor.app import open_sources, secrets_of
from drift_monitor.cli.flags import config_flag, database_url, open_store, quiet_log_flags
from drift_monitor.cli.output import emit, escape_lines
from drift_monitor.clock import SystemClock
from drift_monitor.config.loading import load
from drift_monitor.config.schema import Config
from drift_monitor.errors import DeliveryError, InputError, SourceError, StoreError, StoreOutdated
from drift_monitor.notify.factory import make_sender, sample_messages
from drift_monitor.setup.check import ConnectProblem, check_sources
from drift_monitor.setup.proposal import configuration, propose
from drift_monitor.shipped import shipped_files
from drift_monitor.sources.source import Source
from drift_monitor.store import migrate as migrations
from drift_monitor.store import upkeep
from drift_monitor.telemetry.logs import learn_secrets
from drift_monitor.words import megabytes

_PATIENCE = timedelta(minutes=5)  # for one statement: this is one look at everything, with a person who waits


@click.command()
@click.argument("url", callback=database_url)
@click.argument("table")
@click.option("--time-column", metavar="COLUMN", help="The column that says when a row was recorded.")
def init(url: str, table: str, time_column: str | None) -> None:
    """Look at TABLE of the database at URL and print a complete, commented configuration.

    URL is written sqlite:///shop.db or postgresql+psycopg://user@host/database. The database is only read. A URL that
    holds a password is written as ${DRIFT_SOURCE_URL}.
    """
    clock = SystemClock()
    source = Source("source", url, max_connections=1, statement_timeout=_PATIENCE, clock=clock)
    try:
        emit(configuration(propose(source, table, clock.now(), time_column), url, clock.now()))
    finally:
        source.close()


def ask_databases(config: Config) -> tuple[Sequence[ConnectProblem], Sequence[str]]:
    """What sources and store say of a configuration: what does not fit it, and remarks."""
    clock = SystemClock()
    findings: list[ConnectProblem] = []
    remarks: list[str] = []
    with ExitStack() as stack:
        try:
            sources = open_sources(config, clock)
            for source in sources.values():
                stack.callback(source.close)
            findings += check_sources(config, sources, clock.now())
        except SourceError as error:
            findings.append(ConnectProblem(path=("sources",), message=str(error)))
    findings += _ask_store(config, remarks)
    return findings, remarks


def _ask_store(config: Config, remarks: list[str]) -> Iterator[ConnectProblem]:
    try:
        with open_store(config) as store:
            if store.path is not None and not store.path.exists():
                # SQLite would create the file where we only look.
                folder = store.path.parent
                if not folder.is_dir() or not os.access(folder, os.W_OK):
                    message = f"the store can't be created: {folder} is no directory that may be written"
                    yield ConnectProblem(path=("store",), message=message)
                remarks.append(f"store {store.name} will be created")
                return
            store.check_file()
            migrations.check(store)
            remarks.append(f"store {store.name} answers, schema {migrations.head()}")
    except StoreOutdated as error:
        remarks.append(str(error))
    except StoreError as error:
        yield ConnectProblem(path=("store",), message=str(error))


@click.group()
def notify() -> None:
    """Receivers: try one out."""


@notify.command()
@click.argument("receiver", metavar="RECEIVER")
@config_flag
@quiet_log_flags
@click.pass_context
def test(context: click.Context, receiver: str, config_file: Path) -> None:
    """Send a sample alert that fires, and the same one resolved, and say what came of it.

    One try each, at once: nothing is stored and nothing is tried again. Exit code 1 if one was not accepted.
    """
    config = load(config_file)
    learn_secrets(secrets_of(config))
    tested, clock = config.receiver(receiver), SystemClock()
    sender, name = make_sender(tested, config.outbound), f"{tested.name} ({tested.integration})"
    for message in sample_messages(tested.name, clock.now()):
        status = message.body["status"]
        try:
            sender.send(message.id, message.body, clock.now())
        except DeliveryError as error:
            again = "the daemon would try again" if error.retryable else "the daemon would give it up"
            emit(escape_lines(f"{name}: {status} not accepted: {error}; {again}"))
            context.exit(1)
        emit(escape_lines(f"{name}: {status} accepted, id {message.id}"))


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Also write over files that have another content.")
def files(directory: Path, force: bool) -> None:
    """Write the configurations of Prometheus and Grafana that belong to this version into DIRECTORY.

    Rules, an example of a scrape configuration, data sources, providers and dashboards. A file there that has another
    content is left alone, and nothing is written at all, unless --force is given.
    """
    shipped = [(source.read_bytes(), directory / place) for source, place in shipped_files()]
    changed = [path for content, path in shipped if path.exists() and path.read_bytes() != content]
    if changed and not force:
        names = ", ".join(map(str, changed))
        raise InputError(f"there are files with another content: {names}; keep them elsewhere, or write with --force")
    for content, path in shipped:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        emit(escape_lines(str(path)))


@click.command()
@config_flag
@click.option("--check", is_flag=True, help="Only say whether it is up to date; exit code 1 where it is not.")
def migrate(config_file: Path, check: bool) -> None:
    """Bring the store's schema up to date. Safe to start from several machines at once."""
    with open_store(load(config_file)) as store:
        store.check_file()
        if check:
            migrations.check(store)
        changed = not check and migrations.upgrade(store)
        state = "brought up to date" if changed else "up to date"
        emit(escape_lines(f"store {store.name}: {state}, schema {migrations.head()}"))


@click.group()
def store() -> None:
    """Look after a SQLite store: copy it, and give room back to the disk. Both work beside a running service."""


@store.command("backup", short_help="Copy the store into FILE.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@config_flag
@click.option("--force", is_flag=True, help="Also write over a file that is there.")
def backup_(file: Path, config_file: Path, force: bool) -> None:
    """Copy the store into FILE, as it is at one moment, and check the copy.

    To restore it: stop the service, put the copy in the place of the store, start again.
    """
    with open_store(load(config_file)) as opened:
        size = upkeep.backup(opened, file, force=force)
        emit(escape_lines(f"{file}: a whole copy of {opened.name}, {megabytes(size)}"))


@store.command("vacuum", short_help="Give free room back to the disk.")
@config_flag
def vacuum_(config_file: Path) -> None:
    """Give the room of deleted rows back to the disk.

    In short steps, between which the service goes on. A store made before version 0.1.0 is rewritten once: the service
    waits for that.
    """
    with open_store(load(config_file)) as opened:
        before, after = upkeep.vacuum(opened)
        emit(escape_lines(f"store {opened.name}: {megabytes(before)} before, {megabytes(after)} now"))
