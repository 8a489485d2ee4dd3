"""`drift-monitor history`: stored measurements as a table, JSON, CSV or Parquet. Only the store is read.

Parquet has typed columns and times as UTC timestamps; it needs the extra `parquet`.
"""

import csv
import importlib
import io
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType

from drift_monitor.cli.flags import TIMES, config_flag, monitor_flag, open_history, time_flag, units_flag
from drift_monitor.cli.output import emit, emit_bytes, emit_json
from drift_monitor.cli.tables import emit_shown, in_bits, measured, plain, table
from drift_monitor.config.loading import load
from drift_monitor.config.report import close_match
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.divergence import Metric
from drift_monitor.errors import InputError
from drift_monitor.queries.evaluations import MEASUREMENT_COLUMNS, JsonObject, measurement_document
from drift_monitor.queries.evaluations import history as read_history
from drift_monitor.store import measurements
from drift_monitor.store.connection import Store
from drift_monitor.store.measurements import Measurement, MeasurementFilter
from drift_monitor.words import minute, number

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
        if not found and feature is not None:
            _check_feature(store, config.monitor(monitor), feature)
    if units == "bits":
        found = [in_bits(measurement) for measurement in found]
    _write(found, shape, units, output)


def _check_feature(store: Store, monitor: MonitorConfig, feature: str) -> None:
    """Raise InputError where a monitor has no such feature, neither configured nor stored."""
    configured = [] if monitor.features == "all" else [each.name for each in monitor.features]
    with store.read() as conn:
        known = list(dict.fromkeys([*configured, *measurements.features(conn, monitor.name)]))
    if feature not in known:
        hint = close_match(feature, known) or (f"it has {', '.join(known)}" if known else "nothing was measured yet")
        raise InputError(f"monitor {monitor.name!r} has no feature {feature!r}; {hint}")


def _write(found: Sequence[Measurement], shape: str, units: str, output: Path | None) -> None:
    documents = (measurement_document(measurement) for measurement in found)
    match shape:
        case "json":
            document: JsonObject = {"measurements": list(documents)} | ({"units": units} if units != "nats" else {})
            emit_json(document, output)
        case "csv":
            buffer = io.StringIO()
            writer = csv.DictWriter(buffer, MEASUREMENT_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(documents)
            emit(buffer.getvalue(), output)
        case "parquet":
            emit_bytes(parquet_bytes(found), output)
        case _:
            emit_shown(_table(found), output=output)


def _table(found: Sequence[Measurement]) -> RenderableType:
    shown = table(_COLUMNS, numbers=_COLUMNS[3:12])
    for measurement in found:
        shown.add_row(
            minute(measurement.window_end),
            plain(measurement.feature),
            *measured(measurement),
            number(measurement.value(Metric.JS)),
            number(measurement.live_missing_ratio),
            number(measurement.live_unseen_ratio),
            measurement.direction.value if measurement.direction else "–",
        )
    return shown


_TEXTS = frozenset({"monitor", "feature", "segment", "status", "direction", "bin_spec", "error"})
_TIMES = frozenset({"window_start", "window_end"})
_WHOLE = frozenset({"revision", "live_rows", "reference_rows"})


def parquet_bytes(found: Sequence[Measurement]) -> bytes:
    """The file; raises InputError where pyarrow is not installed."""
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError('Parquet needs an extra: pip install "drift-monitor[parquet]"') from error
    schema = arrow.schema([(name, _type(arrow, name)) for name in MEASUREMENT_COLUMNS])
    rows = [measurement.columns() for measurement in found]
    columns = {
        name: [value.value if isinstance(value := row[name], Enum) else value for row in rows]
        for name in MEASUREMENT_COLUMNS
    }
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(columns, schema=schema), buffer)
    return buffer.getvalue()


def _type(arrow: Any, name: str) -> Any:
    if name in _TEXTS:
        return arrow.string()
    if name in _TIMES:
        return arrow.timestamp("us", tz="UTC")
    return arrow.int64() if name in _WHOLE else arrow.float64()
