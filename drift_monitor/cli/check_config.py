"""`drift-monitor check-config`: every mistake of every file at once, and with `--connect` those the databases know.

Runs in editors and hooks at every save, so it loads the configuration's rooms only; what asks the databases is
loaded for `--connect`.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from drift_monitor.cli.main import load_part
from drift_monitor.cli.output import emit, escape_lines
from drift_monitor.config.loading import load_with_places
from drift_monitor.errors import ConfigError, Problem


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
        mistakes, remarks = _check(file, connect)
        verdict = f"FAILED: {len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}" if mistakes else "SUCCESS"
        emit(escape_lines("\n".join((f"Checking {file}", *map(str, mistakes), *remarks, f"  {verdict}"))))
        failed = failed or bool(mistakes)
    context.exit(1 if failed else 0)


def _check(file: Path, connect: bool) -> tuple[Sequence[Problem], Sequence[str]]:
    """The mistakes of a file, in its order, and what is to be said besides."""
    try:
        config, document = load_with_places(file)
    except ConfigError as error:
        return error.problems, ()
    mistakes: list[Problem] = []
    notes = list(config.notes)
    remarks: Sequence[str] = ()
    if connect:
        findings, remarks = load_part("check-config --connect")(config)
        for finding in findings:
            place = document.place(finding.path)
            problems = mistakes if finding.is_mistake else notes
            problems.append(Problem(document.file, place.line, place.column, finding.message))
    mistakes.sort(key=lambda mistake: (mistake.line, mistake.column))
    return mistakes, [*map(_note_line, notes), *(f"  {remark}" for remark in remarks)]


def _note_line(note: Problem) -> str:
    hint = f" ({note.hint})" if note.hint else ""
    return f"{note.file}:{note.line}:{note.column}: note: {note.message}{hint}"
