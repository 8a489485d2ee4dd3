"""`drift-monitor history`: stored measurements as a table, JSON, CSV or Parquet. Only the store is read."""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.console import RenderableType

from drift_monitor.cli.flags import TIMES, config_flag, monitor_flag, open_history, time_flag, units_flag
from drift_monitor.cli.output import emit, emit_bytes, emit_json
from drift_monitor.cli.parquet import parquet_bytes
from drift_monitor.cli.tables import emit_shown, in_bits, plain, table
from drift_monitor.config.loading import load
from drift_monitor.core.divergence import Metric
from drift_monitor.errors import InputError
from drift_monitor.queries.evaluations import MEASUREMENT_COLUMNS, JsonObject, measurement_document
from drift_monitor.queries.evaluations import history as read_history
from drift_monitor.store.measurements import Measurement, MeasurementFilter
from drift_monitor.words import count, minute, number

_COLUMNS = (
    *("window end", "feature", "status", "live rows", "reference rows", "KL live‖ref", "KL ref‖live"),
    *("noise floor", "PSI", "JS", "missing", "unseen", "direction"),
)


@click.command(epilog=TIMES)
@config_flag
@monitor_flag
@click.option("--feature", metavar="NAME", help="Only this feature.")
@click.option("--segment", metavar="NAME", help="Only this segment; the whole dataset has the empty name.")
@time_flag("--from", "Windows that end at this time or later.", parameter="start")
@time_flag("--to", "Windows that end at this time or earlier.", parameter="end")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table",
    show_default=True,
    help='Parquet needs `pip install "drift-monitor[parquet]"`.',
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write there, not to stdout."
)
@units_flag
def history(
    config_file: Path,
    monitor: str,
    feature: str | None,
    segment: str | None,
    start: datetime | None,
    end: datetime | None,
    shape: str,
    output: Path | None,
    units: str,
) -> None:
    """Print stored measurements of a monitor, oldest window first."""
    config = load(config_file)
    which = MeasurementFilter(
        monitor=config.monitor(monitor).name,
        feature=feature,
        segment=segment,
        since=start,
        until=None if end is None else end + timedelta(microseconds=1),
    )
    if shape == "parquet" and output is None and sys.stdout.isatty():
        raise InputError("Parquet is not for terminals; say where it goes with --output FILE")
    with open_history(config) as store:
        found = read_history(store, which)
    if units == "bits":
        found = [in_bits(one) for one in found]
    _write(found, shape, units, output)


def _write(found: Sequence[Measurement], shape: str, units: str, output: Path | None) -> None:
    documents = (measurement_document(one) for one in found)
    match shape:
        case "json":
            document: JsonObject = {"measurements": list(documents)} | ({"units": units} if units != "nats" else {})
            emit_json(document, output)
        case "csv":
            emit(_csv(documents), output)
        case "parquet":
            emit_bytes(parquet_bytes(found), output)
        case _:
            emit_shown(_table(found), output=output)


def _csv(documents: Iterator[JsonObject]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, MEASUREMENT_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(documents)
    return buffer.getvalue()


def _table(found: Sequence[Measurement]) -> RenderableType:
    shown = table(_COLUMNS, numbers=_COLUMNS[3:12])
    for one in found:
        shown.add_row(
            minute(one.window_end),
            plain(one.feature),
            one.status.value,
            count(one.live_rows),
            count(one.reference_rows),
            number(one.value(Metric.KL_LIVE_REFERENCE)),
            number(one.value(Metric.KL_REFERENCE_LIVE)),
            number(one.noise_floor),
            number(one.value(Metric.PSI)),
            number(one.value(Metric.JS)),
            number(one.live_missing_ratio),
            number(one.live_unseen_ratio),
            one.direction.value if one.direction else "–",
        )
    return shown
