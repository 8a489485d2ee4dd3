"""A monitor that looks at one hour each hour, for tests that count windows: window n ends n hours after `START`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.processes.clock.daemon import DRIVER, ClockedDaemon, Evaluation
from tests.processes.clock.shim import ShiftedClock
from tests.processes.clock.shop import HOUR, Drifts, open_shop

START = datetime(2026, 5, 4, tzinfo=UTC)
LATER = timedelta(minutes=7)  # settling and jitter
MONITOR = "orders"

CONFIG = """
store: {{url: "sqlite:///{folder}/drift.db"}}
sources: [{{name: shop, url: "sqlite:///{folder}/shop.db"}}]
receivers: [{{name: log, log: {{}}}}]
monitors:
  - name: orders
    source: shop
    table: events
    time_column: at
    every: 1h
    window: 1h
    reference: {{table: training}}
    features: [{features}]
    rules:
      - {{metric: psi, above: 0.25, for: 2, keep_firing_for: 2, severity: critical}}
      - {{metric: rows, below: 10}}
"""


def window(number: int) -> datetime:
    """The end of a window."""
    return START + number * HOUR


def due(number: int) -> datetime:
    """A moment at which this window is the last one that is due."""
    return window(number) + LATER


def drifts_in(*numbers: int) -> Drifts:
    """Drift in just these windows."""
    return lambda hour: (hour - START) // HOUR + 1 in numbers


def hourly_daemon(
    folder: Path,
    clock: ShiftedClock,
    features: Mapping[str, Drifts],
    *,
    hours: int,
    mistake: str = "",
    command: Sequence[str] = DRIVER,
) -> ClockedDaemon:
    """A daemon over a shop with so many hours, not yet started."""
    folder.mkdir(exist_ok=True)
    open_shop(folder / "shop.db", START, START + hours * HOUR, features, rows=240)
    config = CONFIG.format(folder=folder, features=", ".join(features))
    return ClockedDaemon(folder, config, clock, mistake, command)


def numbered(evaluations: list[Evaluation]) -> dict[int, str]:
    """The state of each window, by its number; a window that is there twice is a mistake."""
    assert len({one.window_end for one in evaluations}) == len(evaluations)
    return {(one.window_end - START) // HOUR: one.state for one in evaluations}


def is_oldest_first(evaluations: list[Evaluation]) -> bool:
    """Whether each of these was finished after all older ones."""
    ends = [one.finished_at for one in evaluations if one.finished_at is not None]
    return len(ends) == len(evaluations) and ends == sorted(ends)
