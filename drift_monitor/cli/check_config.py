"""`drift-monitor check-config`: every mistake of every file at once, and with `--connect` those the databases know."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click

from drift_monitor.app import open_sources
from drift_monitor.cli.flags import open_store
from drift_monitor.cli.printing import emit, escape_lines
from drift_monitor.clock import SystemClock
from drift_monitor.config.document import Document
from drift_monitor.config.loading import load_with_places
from drift_monitor.config.schema import Config
from drift_monitor.errors import ConfigError, Problem, SourceError, StoreError, StoreOutdated
from drift_monitor.setup.check import ConnectProblem, check_sources
from drift_monitor.store import migrate


@dataclass(kw_only=True)
class Checked:
    """What was found in one file."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@click.command("check-config")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--connect", is_flag=True, help="Also ask the databases: do tables and columns exist, may they be read?")
@click.pass_context
def check_config(context: click.Context, files: Sequence[Path], connect: bool) -> None:
    """Check configuration files and print all their mistakes, each with its line, what was found and a hint.

    Exit code 1 where there is one.
    """
    failed = False
    for file in files:
        checked = _check(file, connect)
        failed = failed or bool(checked.problems)
        emit(escape_lines("\n".join(_lines(file, checked))))
    context.exit(1 if failed else 0)


def _check(file: Path, connect: bool) -> Checked:
    try:
        config, document = load_with_places(file)
    except ConfigError as error:
        return Checked(problems=list(error.problems))
    checked = Checked(notes=list(config.notes))
    if connect:
        _connect(config, document, checked)
    return checked


def _connect(config: Config, document: Document, checked: Checked) -> None:
    """Ask the sources and the store, and place what they say in the file."""
    for finding in (*_ask_sources(config), *_ask_store(config, checked)):
        place = document.place(finding.path)
        told = checked.problems if finding.is_mistake else checked.notes
        told.append(Problem(document.file, place.line, place.column, finding.message))
    checked.problems.sort(key=lambda one: (one.line, one.column))


def _ask_sources(config: Config) -> Iterator[ConnectProblem]:
    clock = SystemClock()
    with ExitStack() as stack:
        try:
            sources = open_sources(config, clock, stack)
        except SourceError as error:
            yield ConnectProblem(path=("sources",), message=str(error))
            return
        yield from check_sources(config, sources, clock.now())


def _ask_store(config: Config, checked: Checked) -> Iterator[ConnectProblem]:
    try:
        with open_store(config) as store:
            if store.path is not None and not store.path.exists():
                yield from _check_folder(store.path.parent)
                checked.remarks.append(f"store {store.name} will be created")
                return
            store.check_file()
            migrate.check(store)
            checked.remarks.append(f"store {store.name} answers, schema {migrate.head()}")
    except StoreOutdated as error:
        checked.remarks.append(str(error))
    except StoreError as error:
        yield ConnectProblem(path=("store",), message=str(error))


def _check_folder(folder: Path) -> Iterator[ConnectProblem]:
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        message = f"the store can't be created: {folder} is no directory that may be written"
        yield ConnectProblem(path=("store",), message=message)


def _lines(file: Path, checked: Checked) -> Iterator[str]:
    yield f"Checking {file}"
    for problem in checked.problems:
        yield str(problem)
    for note in checked.notes:
        yield f"{note.file}:{note.line}:{note.column}: note: {note.message}" + (f" ({note.hint})" if note.hint else "")
    for remark in checked.remarks:
        yield f"  {remark}"
    found = len(checked.problems)
    yield f"  FAILED: {found} mistake{'s' if found != 1 else ''}" if found else "  SUCCESS"
