"""What an evaluation found, before it is committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drift_monitor.core.bins import BinSpec
from drift_monitor.core.panes import Span
from drift_monitor.core.rules import Measured
from drift_monitor.store.measurements import Measurement


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a window's alerts are judged on: every feature's measurement, and the monitor's own numbers."""

    measurements: Sequence[Measurement]
    monitor: Measured


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """One window of a monitor, read and measured. `rows` are its live rows, `rows_read` those counted just now."""

    window: Span
    revision: int
    rows: int
    rows_read: int
    newest: datetime | None
    watched: Watched
    specs: Mapping[str, BinSpec]
