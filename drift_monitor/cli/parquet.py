"""Measurements as a Parquet file: typed columns, times as UTC timestamps. Needs the extra `parquet`."""

import importlib
import io
from collections.abc import Sequence
from enum import Enum
from typing import Any

from drift_monitor.errors import InputError
from drift_monitor.queries.evaluations import MEASUREMENT_COLUMNS
from drift_monitor.store.measurements import Measurement

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
    columns = {name: [_value(row[name]) for row in rows] for name in MEASUREMENT_COLUMNS}
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(columns, schema=schema), buffer)
    return buffer.getvalue()


def _type(arrow: Any, name: str) -> Any:
    if name in _TEXTS:
        return arrow.string()
    if name in _TIMES:
        return arrow.timestamp("us", tz="UTC")
    return arrow.int64() if name in _WHOLE else arrow.float64()


def _value(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
