"""What goes to the terminal: results to stdout, everything else to stderr.

Names and labels come from users' tables, so whoever may write there chooses them: they are printed as plain text, with
control characters escaped, and never read as markup.
"""

import io
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from drift_monitor.telemetry.text import escape_unprintable

MINUTE = "%Y-%m-%d %H:%M"  # of a moment in UTC
_WIDE = 240  # columns where nobody looks: lines in files and pipes are not cut


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


def emit_shown(*shown: RenderableType, output: Path | None = None) -> None:
    """Write tables and lines: coloured and as wide as the terminal on one, plain and wide elsewhere."""
    buffer = io.StringIO()
    terminal = output is None and sys.stdout.isatty()
    console = Console(
        file=buffer,
        force_terminal=terminal,
        no_color=not terminal or "NO_COLOR" in os.environ,
        width=shutil.get_terminal_size().columns if terminal else _WIDE,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    for one in shown:
        console.print(one)
    emit("\n".join(line.rstrip() for line in buffer.getvalue().split("\n")), output)


def tell(message: str) -> None:
    """A message to the person at the terminal."""
    click.echo(f"drift-monitor: {escape_lines(message)}", err=True)


def escape_lines(message: str) -> str:
    """The message with its own line breaks, and nothing else that moves a cursor."""
    return "\n".join(escape_unprintable(line) for line in message.split("\n"))


def plain(text: str, style: str = "") -> Text:
    """Foreign text as a cell or line."""
    return Text(escape_unprintable(text), style=style)


def table(columns: Sequence[str], *, numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `numbers` are aligned to the right."""
    made = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(Text(column), justify="right" if column in numbers else "left", overflow="fold")
    return made


def number(value: float | None) -> str:
    """A divergence or ratio, short."""
    if value is None:
        return "–"
    return f"{value:.4f}" if 0.0001 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


def count(value: int | None) -> str:
    """A number of rows."""
    return "–" if value is None else f"{value:,}"
