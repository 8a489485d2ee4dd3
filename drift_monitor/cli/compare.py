"""`drift-monitor compare`: two files, or two tables of a database, without any configuration."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click
from rich.console import RenderableType

from drift_monitor.cli.comparison_page import PER_NAT, comparison_page
from drift_monitor.cli.flags import units_flag
from drift_monitor.cli.output import emit, emit_json, tell
from drift_monitor.cli.tables import emit_shown, plain, table
from drift_monitor.clock import SystemClock
from drift_monitor.comparison.frames import compare as compare_frames
from drift_monitor.comparison.frames import read_files
from drift_monitor.comparison.report import ComparisonReport
from drift_monitor.comparison.tables import compare_tables
from drift_monitor.errors import DatasetError, InputError
from drift_monitor.sources.source import Source
from drift_monitor.words import count, number

_PATIENCE = timedelta(seconds=30)  # for one statement
_COLUMNS = (
    *("feature", "kind", "live rows", "KL live‖ref", "KL ref‖live", "noise floor", "PSI", "PSI 95 %"),
    *("JS", "missing ref", "missing live", "unseen", "direction"),
)


@click.command()
@click.argument("reference")
@click.argument("live")
@click.option("--source", "url", metavar="URL", help="REFERENCE and LIVE are tables of this database.")
@click.option("--features", metavar="NAME,NAME", help="Only these columns.")
@click.option("--format", "shape", type=click.Choice(["table", "json", "html"]), default="table", show_default=True)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write there, not to stdout."
)
@units_flag
def compare(
    reference: str, live: str, url: str | None, features: str | None, shape: str, output: Path | None, units: str
) -> None:
    """Compare LIVE with REFERENCE: two CSV or Parquet files, or with --source two tables.

    Bins are made from the reference. The numbers are those a monitor would store, without its rules.
    """
    names = None if features is None else [name.strip() for name in features.split(",") if name.strip()]
    report = _files(reference, live, names) if url is None else _tables(url, reference, live, names)
    for name, reason in report.skipped.items():
        tell(f"left out {name}: {reason}")
    match shape:
        case "json":
            emit_json({"reference": reference, "live": live, "units": units} | report.document(PER_NAT[units]), output)
        case "html":
            at = SystemClock().now()
            emit(comparison_page(report, reference=reference, live=live, units=units, at=at), output)
        case _:
            emit_shown(_table(report, units), output=output)


def _files(reference: str, live: str, features: Sequence[str] | None) -> ComparisonReport:
    return compare_frames(*read_files(Path(reference), Path(live)), features=features)


def _tables(url: str, reference: str, live: str, features: Sequence[str] | None) -> ComparisonReport:
    source = Source("source", url, max_connections=1, statement_timeout=_PATIENCE, clock=SystemClock())
    try:
        return compare_tables(source, reference, live, features=features)
    except DatasetError as error:
        raise InputError(str(error)) from error
    finally:
        source.close()


def _table(report: ComparisonReport, units: str) -> RenderableType:
    shown = table(_COLUMNS, numbers=_COLUMNS[2:12])
    documents = {one["feature"]: one for one in report.document(PER_NAT[units])["features"]}
    for one in report.worst_first():
        values = documents[one.feature]
        low, high = values["psi_low"], values["psi_high"]
        shown.add_row(
            plain(one.feature),
            values["kind"],
            count(values["live_rows"]),
            number(values["kl_live_reference"]),
            number(values["kl_reference_live"]),
            number(values["noise_floor"]),
            number(values["psi"]),
            "–" if low is None else f"{number(low)}..{number(high)}",
            number(values["js"]),
            number(values["reference_missing_ratio"]),
            number(values["live_missing_ratio"]),
            number(values["live_unseen_ratio"]),
            values["direction"] or values["status"],
        )
    return shown
