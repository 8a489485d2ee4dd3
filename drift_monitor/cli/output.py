"""What goes to the terminal as text: results to stdout, everything else to stderr.

Names and labels come from users' tables, so whoever may write there chooses them: they are printed as plain text, with
control characters escaped. Every command needs this file, also `--version`: it imports nothing that takes long.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from drift_monitor.core.times import escape_unprintable
from drift_monitor.errors import InputError


def emit(text: str, output: Path | None = None) -> None:
    """Write a result, whole, to stdout or to a file."""
    ended = text if text.endswith("\n") else f"{text}\n"
    if output is not None:
        output.write_text(ended, encoding="utf-8", newline="")
    else:
        click.echo(ended, nl=False)


def emit_bytes(content: bytes, output: Path | None = None) -> None:
    """Write a result that is no text."""
    if output is not None:
        output.write_bytes(content)
    else:
        click.echo(content, nl=False)


def emit_json(document: Mapping[str, Any], output: Path | None = None) -> None:
    """Write a document. NaN would be no JSON, so it is an error of ours."""
    emit(json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False), output)


def tell(message: str) -> None:
    """A message to the person at the terminal."""
    click.echo(f"drift-monitor: {escape_lines(message)}", err=True)


def tell_each(texts: Iterable[str], work: Callable[[str], str]) -> None:
    """Do the work for each text and tell what it gives. One mistake does not keep the others from being done.

    Raises one InputError with all mistakes, at the end.
    """
    mistakes = []
    for text in dict.fromkeys(texts):
        try:
            tell(work(text))
        except InputError as error:
            mistakes.append(str(error))
    if mistakes:
        raise InputError("\n".join(mistakes))


def escape_lines(message: str) -> str:
    """The message with its own line breaks, and nothing else that moves a cursor."""
    return "\n".join(escape_unprintable(line) for line in message.split("\n"))
