"""How much the store grows: bytes a pane row and a measurement row take on SQLite, indexes included.

Run as `python -m benchmarks.storage`. Evaluates some days of the demo's payments (12 features, hourly) and asks
SQLite which table holds how many bytes; says what that means for 20 features with the default retention. No bar.
"""

import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drift_monitor.app import open_services
from drift_monitor.cli.demo import prepare
from drift_monitor.config.loading import load
from drift_monitor.demo.catalogue import CATALOGUE
from drift_monitor.demo.configuration import STORE_FILE
from drift_monitor.evaluation.backfill import backfill
from drift_monitor.telemetry.logs import configure
from tests.clocks import FixedClock

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DAYS = 5
FEATURES = 20
PANE_DAYS, MEASUREMENT_DAYS = 90, 400  # the defaults of store.retention
TABLES = {"pane row": "pane", "measurement": "measurement", "evaluation": "run"}


def main() -> int:
    """Print the sizes; always 0."""
    configure("warn")
    data = CATALOGUE["payments"]
    with tempfile.TemporaryDirectory() as folder:
        config, _ = prepare(data, Path(folder), seed=1, until=NOW)
        with open_services(load(config), clock=FixedClock(NOW)) as services:
            for monitor in services.config.monitors:
                for _ in backfill(services, monitor, NOW - timedelta(days=DAYS), NOW):
                    pass
        sizes = bytes_a_row(Path(folder) / STORE_FILE)
    for name, size in sizes.items():
        print(f"  one {name:12} {size:7,.0f} bytes")
    panes, measurements = FEATURES * 24 * PANE_DAYS, FEATURES * 24 * MEASUREMENT_DAYS
    total = (
        panes * sizes["pane row"] + measurements * sizes["measurement"] + 24 * MEASUREMENT_DAYS * sizes["evaluation"]
    )
    print(
        f"{FEATURES} features, hourly: {panes:,} pane rows in {PANE_DAYS} days and {measurements:,} measurements in "
        f"{MEASUREMENT_DAYS} days, about {total / 1e6:,.0f} MB"
    )
    return 0


def bytes_a_row(store: Path) -> dict[str, float]:
    """Bytes of each kind of row with its indexes, from SQLite's own count of pages."""
    with sqlite3.connect(store) as connection:
        return {
            name: connection.execute(
                "SELECT sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name WHERE s.tbl_name = ?",
                [table],
            ).fetchone()[0]
            / connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for name, table in TABLES.items()
        }


if __name__ == "__main__":
    sys.exit(main())
