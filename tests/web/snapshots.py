"""A snapshot with everything in it, for tests."""

from datetime import UTC, datetime, timedelta

from drift_monitor.core.divergence import DIVERGENCES, Metric
from drift_monitor.queries.status import Unmeasured
from drift_monitor.store.calibrations import CalibrationState
from drift_monitor.web.metrics.snapshot import (
    FeatureSnapshot,
    MonitorSnapshot,
    QueueSnapshot,
    RowsSnapshot,
    RuleSnapshot,
    Snapshot,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def a_feature(name: str, *, psi: float = 0.02, segment: str = "") -> FeatureSnapshot:
    return FeatureSnapshot(
        feature=name,
        segment=segment,
        measured_at=NOON,
        divergences={
            Metric.KL_LIVE_REFERENCE: psi / 2,
            Metric.KL_REFERENCE_LIVE: psi / 2,
            Metric.PSI: psi,
            Metric.JS: psi / 8,
            Metric.HELLINGER: 0.05,
        },
        noise_floors=dict.fromkeys(DIVERGENCES, 0.001),
        live_missing_ratio=0.01,
        reference_missing_ratio=0.0,
        live_unseen_ratio=0.0,
        surprise=1.5,
        level=6.0,
    )


def a_rule(feature: str, *, firing: bool = False, severity: str = "warning", metric: str = "psi") -> RuleSnapshot:
    return RuleSnapshot(segment="", feature=feature, metric=metric, severity=severity, threshold=0.1, firing=firing)


def a_monitor(
    name: str = "credit_inputs", features: tuple[FeatureSnapshot, ...] = (), **changes: object
) -> MonitorSnapshot:
    values = {
        "monitor": name,
        "source": "warehouse",
        "table": "ml.predictions",
        "reference": "ml.training_set",
        "interval": timedelta(hours=1),
        "last_run_at": NOON,
        "last_run_successful": True,
        "last_success_at": NOON,
        "next_run_at": NOON + timedelta(hours=1),
        "last_duration": timedelta(seconds=1.5),
        "newest_record_at": NOON - timedelta(minutes=1),
        "window_end": NOON,
        "reference_built_at": NOON - timedelta(days=3),
        "calibration": CalibrationState.CALIBRATED,
        "features": features or (a_feature("age"), a_feature("income", psi=0.3)),
        "rows": (RowsSnapshot(segment="", live_rows=1000, reference_rows=20000, measured_at=NOON),),
        "rules": (a_rule("age"), a_rule("income", firing=True), a_rule("", metric="freshness")),
        **changes,
    }
    return MonitorSnapshot(**values)  # type: ignore[arg-type]


def a_snapshot() -> Snapshot:
    missing = FeatureSnapshot(segment="", feature="gone", unmeasured=Unmeasured.COLUMN_MISSING)
    return Snapshot(
        monitors=(
            a_monitor(features=(a_feature("age"), a_feature("income", psi=0.3), missing)),
            a_monitor("payments"),
        ),
        queues=(QueueSnapshot(receiver="hook", integration="webhook", length=2, oldest_at=NOON),),
    )
