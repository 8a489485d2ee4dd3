"""Tables and charts in the terminal, made with rich, and what their cells are made of.

Foreign text is printed as it is, with control characters escaped, and never read as markup.

Nats to bits, for whoever reads results in bits: KL and JS divergences and the noise floor, nothing else. Ids as people
use them: short in tables, and the first characters are enough to say which one is meant.
"""

import io
import math
import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from drift_monitor.cli.output import emit
from drift_monitor.core.divergence import Metric
from drift_monitor.core.times import escape_unprintable
from drift_monitor.errors import InputError
from drift_monitor.store.measurements import Measurement
from drift_monitor.words import count, number

_WIDE = 240  # columns where nobody looks: lines in files and pipes are not cut


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
    for renderable in shown:
        console.print(renderable)
    emit("\n".join(line.rstrip() for line in buffer.getvalue().split("\n")), output)


def plain(text: str, style: str = "") -> Text:
    """Foreign text as a cell or line."""
    return Text(escape_unprintable(text), style=style)


def measured(measurement: Measurement) -> tuple[str, ...]:
    """The cells that tables of measurements share, from the status to PSI."""
    return (
        measurement.status.value,
        count(measurement.live_rows),
        count(measurement.reference_rows),
        number(measurement.value(Metric.KL_LIVE_REFERENCE)),
        number(measurement.value(Metric.KL_REFERENCE_LIVE)),
        number(measurement.estimate(Metric.KL_LIVE_REFERENCE).noise_floor),
        number(measurement.value(Metric.PSI)),
    )


def table(columns: Sequence[str], *, numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `numbers` are aligned to the right."""
    made = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(Text(column), justify="right" if column in numbers else "left", overflow="fold")
    return made


BITS_PER_NAT = 1 / math.log(2)


def in_bits(measurement: Measurement) -> Measurement:
    """The measurement with everything that is in nats in bits; some divergences have no unit."""
    changed: dict[str, Any] = {
        "estimates": {
            metric: estimate.scaled(BITS_PER_NAT) if metric.unit == "nats" else estimate
            for metric, estimate in measurement.estimates.items()
        },
    }
    for name in ("contribution_live_reference", "contribution_reference_live"):
        values = getattr(measurement, name)
        changed[name] = None if values is None else tuple(value * BITS_PER_NAT for value in values)
    return replace(measurement, **changed)


SHORTEST: Final = 8  # characters of an id in a table


def shortened(ids: Collection[str]) -> Mapping[str, str]:
    """Each id to its first characters, as many as tell all of them apart."""
    longest = max(map(len, ids), default=SHORTEST)
    length = next((n for n in range(SHORTEST, longest) if len({id[:n] for id in ids}) == len(set(ids))), longest)
    return {id: id[:length] for id in ids}


def completed(text: str, ids: Collection[str]) -> str | None:
    """The id that is or begins with a text, None where there is none; raises InputError where there are several."""
    if text in ids:
        return text
    found = sorted({id for id in ids if text and id.startswith(text)})
    if len(found) > 1:
        raise InputError(f"the id {text!r} is that of several: {', '.join(found)}")
    return found[0] if found else None
