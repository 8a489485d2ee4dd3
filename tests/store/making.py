"""Values for the tests of the store: a monitor, its runs, its measurements, all on round hours."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from drift_monitor.core.alerting import AlertPhase, AlertState
from drift_monitor.core.bins import CategoricalBins, NumericBins, ValueType
from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.core.schedule import Span
from drift_monitor.store import leases, monitors, references, runs
from drift_monitor.store.alerts import AlertKey, AlertRow
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.measurements import Measurement
from drift_monitor.store.outbox import Notification
from drift_monitor.store.panes import PaneCounts

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TTL = timedelta(seconds=60)
EXPIRED = timedelta(seconds=-1)  # a lease that has ended before it began

AGES = NumericBins((0, 18, 65), ValueType.INTEGER)
COUNTRIES = CategoricalBins(("DE", "FR"))


@dataclass
class ManualClock:
    """A clock that tests set; a hundred hours after noon, so that the windows of the tests are due."""

    moment: datetime = field(default=NOON + 100 * HOUR)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


def hour(number: int) -> datetime:
    """The moment so many hours after noon."""
    return NOON + number * HOUR


def pane(number: int) -> Span:
    """The pane that ends so many hours after noon."""
    return Span(hour(number - 1), hour(number))


def add_monitor(
    connection: Transaction, name: str = "loans", enabled: bool = True, smoothing: str = "anchored"
) -> None:
    row = monitors.StoredMonitor(name=name, source="warehouse", config_hash="c1", enabled=enabled)
    monitors.save(connection, row, {"monitor": name, "smoothing": {"method": smoothing, "pseudocount": 0.5}})


def planned(
    number: int, monitor: str = "loans", revision: int = 0, trigger: runs.Trigger = runs.Trigger.SCHEDULE
) -> runs.PlannedRun:
    """The run of the day-long window that ends so many hours after noon, due since then."""
    return runs.PlannedRun(
        monitor=monitor,
        window_start=hour(number - 24),
        window_end=hour(number),
        next_at=hour(number),
        config_hash="c1",
        revision=revision,
        trigger=trigger,
    )


def finish(connection: Transaction, number: int, monitor: str = "loans", revision: int = 0) -> runs.RunKey:
    """Plan, claim and confirm a run."""
    one = planned(number, monitor, revision)
    runs.plan(connection, [one])
    held = leases.claim(connection, "test", TTL, key=one.key)
    assert held is not None
    leases.confirm(connection, held, leases.RunResult(rows_read=100))
    return one.key


def prepared(store: Store, *windows: int, smoothing: str = "anchored") -> None:
    """A monitor with done runs for these windows, and the specs of two features."""

    def work(connection: Transaction) -> None:
        add_monitor(connection, smoothing=smoothing)
        references.save_specs(connection, [AGES, COUNTRIES])
        for number in windows:
            finish(connection, number)

    store.transact(work)


def measurement(number: int, feature: str = "age", revision: int = 0, monitor: str = "loans") -> Measurement:
    return Measurement(
        segment="",
        monitor=monitor,
        feature=feature,
        window_start=hour(number - 24),
        window_end=hour(number),
        revision=revision,
        status=MeasurementStatus.OK,
        live_rows=10,
        reference_rows=20,
        estimates={Metric.KL_LIVE_REFERENCE: Estimate(0.5, 0.25, 0.75)},
        bin_spec=AGES.id,
        live_counts=(0, 3, 7, 0, 0, 0),
        reference_counts=(1, 10, 9, 0, 0, 0),
        compared_bins=3,
    )


def pane_counts(number: int, counts: list[int], feature: str = "age", definition: str = "d1") -> PaneCounts:
    return PaneCounts(
        segment="", feature=feature, span=pane(number), definition=definition, spec_id=AGES.id, counts=np.array(counts)
    )


def firing(number: int) -> AlertState:
    """An alert that fired with the window that ends so many hours after noon."""
    return AlertState(
        phase=AlertPhase.FIRING, breaches=1, since=hour(number), fired_at=hour(number), fired_revision=0,
        peak=0.4, value=0.3,
    )  # fmt: skip


def alert_row(number: int, revision: int = 0, feature: str = "age") -> AlertRow:
    return AlertRow(
        monitor="loans",
        key=AlertKey(feature, "", "psi:warning"),
        metric="psi",
        severity="warning",
        threshold=0.1,
        alert=firing(number),
        last_window=hour(number),
        last_revision=revision,
    )


def notification(number: int, receiver: str = "hook", monitor: str = "loans") -> Notification:
    return Notification(
        id=f"{monitor}/{receiver}/{number}",
        monitor=monitor,
        receiver=receiver,
        integration="webhook",
        window_end=hour(number),
        revision=0,
        part=0,
        body={"number": number},
    )


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'drift.db'}"
