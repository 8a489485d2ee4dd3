"""Stores for pages: windows committed as the daemon commits them, from counts written by hand."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from pydantic import SecretStr

from drift_monitor.alerting.rules import EvaluationResult, Watched, measured_monitor
from drift_monitor.alerting.services import Services
from drift_monitor.config.receivers import LogConfig, ReceiverConfig
from drift_monitor.config.schema import Config, FeatureConfig, FixedTable, MonitorConfig, StoreConfig
from drift_monitor.core.bins import BinSpec
from drift_monitor.core.distribution import Histogram
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Rule, Severity
from drift_monitor.evaluation.commit import commit
from drift_monitor.evaluation.evaluate import Sides, WindowSides, measure
from drift_monitor.evaluation.planning import planned_run, register_monitors
from drift_monitor.evaluation.read import PaneTable
from drift_monitor.evaluation.reference import window_of
from drift_monitor.store import leases, references, runs
from drift_monitor.store.connection import Store
from drift_monitor.store.leases import Claim
from drift_monitor.store.runs import Trigger
from drift_monitor.telemetry.logs import log_step
from drift_monitor.telemetry.metrics import Telemetry
from tests.migrated import lay_out
from tests.web.snapshots import NOON

HOUR = timedelta(hours=1)
TTL = timedelta(minutes=1)


@dataclass
class Counted:
    """The two sides of one feature in one window; None: the feature failed with that reason."""

    spec: BinSpec | None
    live: Sequence[int] = ()
    reference: Sequence[int] = ()
    failure: str | None = None
    error: str | None = None


@dataclass
class ManualClock:
    """A clock that tests set."""

    moment: datetime = field(default=NOON)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


def a_rule(metric: Metric, above: float, severity: Severity = Severity.WARNING) -> Rule:
    return Rule(id=f"{metric.value}:{severity.value}", metric=metric, above=above, severity=severity)


def a_monitor(name: str = "loans", features: Sequence[str] = ("age",), **changes: object) -> MonitorConfig:
    values = {
        "name": name,
        "source": "warehouse",
        "table": "predictions",
        "time_column": "at",
        "every": HOUR,
        "reference": FixedTable(table="training", source="warehouse"),
        "features": tuple(FeatureConfig(name=feature) for feature in features),
        "receivers": ("log",),
        **changes,
    }
    return MonitorConfig(**values)  # type: ignore[arg-type]


def open_store(folder: Path, *monitors: MonitorConfig, clock: ManualClock | None = None) -> Services:
    """Services over a SQLite store, by default a fresh one, that knows these monitors; no sources, nothing is sent."""
    clock = clock or ManualClock()
    url = f"sqlite:///{folder / 'drift.db'}"
    if not (folder / "drift.db").exists():
        lay_out(folder / "drift.db")
    store = Store(url, clock)
    config = Config(
        store=StoreConfig(url=SecretStr(url)),
        sources=(),
        monitors=monitors,
        receivers=(ReceiverConfig(name="log", log=LogConfig()),),
    )
    telemetry = Telemetry(process_metrics=False)
    telemetry.config_loaded(clock.now())
    services = Services(
        config=config,
        store=store,
        sources={},
        senders={},
        clock=clock,
        telemetry=telemetry,
        owner="test",
        external_url="",
        observe_step=log_step,
    )
    register_monitors(services, whole=True)
    return services


def filled(folder: Path, monitor: MonitorConfig, windows: Mapping[datetime, Mapping[str, Counted]]) -> Services:
    """Services over a store with these windows; they are evaluated once and copied for the tests that follow."""
    key = repr((monitor, windows))
    if key not in _FILLED:
        with tempfile.TemporaryDirectory() as first:
            services = open_store(Path(first), monitor)
            for window_end, counted in windows.items():
                evaluate(services, monitor, window_end, counted)
            services.store.close()
            _FILLED[key] = (Path(first) / "drift.db").read_bytes()
    (folder / "drift.db").write_bytes(_FILLED[key])
    return open_store(folder, monitor)


_FILLED: dict[str, bytes] = {}


def hold(services: Services, monitor: MonitorConfig, window_end: datetime) -> Claim:
    """Plan and claim one window."""

    def work(conn: object) -> Claim | None:
        run = planned_run(monitor, window_end, services.clock.now(), Trigger.SCHEDULE)
        runs.plan(conn, [run])  # type: ignore[arg-type]
        return leases.claim(conn, "test", TTL, key=run.key)  # type: ignore[arg-type]

    claim = services.store.transact(work)
    assert claim is not None
    return claim


def evaluate(services: Services, monitor: MonitorConfig, window_end: datetime, counted: Mapping[str, Counted]) -> None:
    """One window, measured and committed."""
    window = window_of(monitor, window_end)
    sides = [_sides(feature, one) for feature, one in counted.items()]
    rows = max((one.live.rows for one in sides if one.live), default=0)
    (measurements,) = measure(monitor, [WindowSides(window=window, revision=0, rows=rows, features=sides)])
    specs = {one.spec.id: one.spec for one in counted.values() if one.spec}
    with services.store.begin() as conn:
        references.save_specs(conn, specs.values())
    outcome = EvaluationResult(
        window=window,
        revision=0,
        rows=rows,
        rows_read=rows,
        newest=window.end - timedelta(minutes=1),
        watched=Watched(measurements=measurements, monitor=measured_monitor(rows, None, window.end)),
        specs=specs,
    )
    commit(
        services, monitor, [hold(services, monitor, window_end)], [outcome], PaneTable(span=window), notify_past=True
    )


def postpone(services: Services, monitor: MonitorConfig, window_end: datetime, code: str, error: str) -> None:
    """One window that could not be read."""
    claim = hold(services, monitor, window_end)
    services.store.transact(lambda conn: leases.postpone(conn, claim, HOUR, error_code=code, error=error))


def reconfigured(services: Services, *monitors: MonitorConfig) -> Services:
    """The same store under another configuration."""
    changed = services.config.model_copy(update={"monitors": monitors})
    return replace(services, config=changed)


def _sides(feature: str, one: Counted) -> Sides:
    if one.spec is None:
        return Sides(feature=feature, failure=one.failure, error=one.error)
    return Sides(
        feature=feature,
        live=Histogram(one.spec, np.array(one.live, dtype=np.int64)),
        reference=Histogram(one.spec, np.array(one.reference, dtype=np.int64)),
    )
