"""How long values may be shown."""

from datetime import UTC, datetime, timedelta

import pytest

from drift_monitor.core.divergence import Metric
from drift_monitor.queries.status import Unmeasured, is_stale
from drift_monitor.web.metrics.snapshot import (
    FeatureSnapshot,
    MonitorSnapshot,
    RowsSnapshot,
    RuleSnapshot,
    Snapshot,
    without_stale,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("interval", "age", "stale"),
    [
        (timedelta(hours=1), timedelta(hours=3), False),
        (timedelta(hours=1), timedelta(hours=3, seconds=1), True),
        (timedelta(minutes=1), timedelta(hours=1), False),  # never less than an hour
        (timedelta(minutes=1), timedelta(hours=1, seconds=1), True),
        (timedelta(days=1), timedelta(days=2), False),
    ],
)
def test_values_go_after_three_intervals_but_not_within_an_hour(
    interval: timedelta, age: timedelta, *, stale: bool
) -> None:
    assert is_stale(NOON, interval, NOON + age) is stale


def test_stale_values_go_but_alerts_reasons_and_times_stay() -> None:
    rule = RuleSnapshot(segment="", feature="age", metric="psi", severity="critical", threshold=0.25, firing=True)
    monitor = MonitorSnapshot(
        monitor="m",
        source="s",
        table="t",
        reference="r",
        interval=timedelta(hours=1),
        last_success_at=NOON,
        features=(
            FeatureSnapshot(
                segment="",
                feature="age",
                measured_at=NOON,
                divergences={Metric.PSI: 0.4},
                unmeasured=Unmeasured.SOURCE_ERROR,
            ),
            FeatureSnapshot(
                segment="", feature="income", measured_at=NOON + timedelta(hours=3), divergences={Metric.PSI: 0.1}
            ),
            FeatureSnapshot(segment="", feature="score"),
        ),
        rows=(RowsSnapshot(segment="", live_rows=10, reference_rows=20, measured_at=NOON),),
        rules=(rule,),
    )
    (shown,) = without_stale(Snapshot(monitors=(monitor,)), NOON + timedelta(hours=4)).monitors
    assert [(feature.divergences.get(Metric.PSI), feature.unmeasured) for feature in shown.features] == [
        (None, Unmeasured.SOURCE_ERROR),
        (0.1, None),
        (None, None),
    ]
    assert shown.rows == ()
    assert shown.rules == (rule,)
    assert shown.last_success_at == NOON
