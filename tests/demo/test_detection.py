"""With the demo's own rules each incident is found in time, and nothing is found where nothing happened.

The rows are drawn, binned with numpy and compared by the core over every hourly window after the reference, for some
seeds and dates. That the whole service finds the same, through its database and its alerts, is tested with the
daemon; here many windows cost little.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from drift_monitor.core.distribution import Smoothing, smooth
from drift_monitor.core.divergence import Metric
from drift_monitor.core.noise import estimates
from drift_monitor.demo.database import History
from drift_monitor.demo.incidents import Incident
from drift_monitor.demo.payments import FEATURES, PaymentsData, draw_hour
from tests.demo.quiet import quiet_stretches

HOUR = timedelta(hours=1)
HOURS = 60 * 24
REFERENCE_HOURS = 28 * 24
WINDOW = 24
ENDS = np.arange(REFERENCE_HOURS + WINDOW, HOURS + 1)
LABELS = ("is_recurring", "country", "payment_method", "device", "merchant_category")

Rules = Sequence[Mapping[str, Any]]
Breaches = dict[str, set[datetime]]
Bins = NDArray[np.int64]


def label_bins(values: Sequence[Any], reference: int) -> tuple[Bins, tuple[int, ...]]:
    """The thirty most frequent labels, rare, missing, unseen."""
    known = Counter(value for value in values[:reference] if value is not None)
    ordinals: dict[Any, int] = dict.fromkeys(known, 30) | {None: 31}
    ordinals |= {label: ordinal for ordinal, (label, _) in enumerate(known.most_common(30))}
    return np.array([ordinals.get(value, 32) for value in values]), (32,)


def number_bins(values: Sequence[Any], reference: int) -> tuple[Bins, tuple[int, ...]]:
    """Sixteen quantiles with tail edges, an own bin for frequent values, below, above, missing."""
    numbers = np.array([np.nan if value is None else value for value in values], dtype=float)
    known = numbers[:reference][~np.isnan(numbers[:reference])]
    shares = [*np.arange(1, 16) / 16, 0.001, 0.01, 0.99, 0.999]
    distinct, rows = np.unique(known, return_counts=True)
    frequent = distinct[rows >= len(known) / 32]
    inner = np.quantile(known, shares, method="inverted_cdf")
    edges = np.unique(
        [known.min(), *inner, *frequent, *np.nextafter(frequent, np.inf), np.nextafter(known.max(), np.inf)]
    )
    bins = np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="right"))
    return bins, (0, len(edges))


def breached(rule: Mapping[str, Any], live: Bins, reference: Bins, missing: Bins, unknown: Bins) -> NDArray[np.bool_]:
    """Where the rule is breached, a value for each window."""
    match rule["metric"]:
        case "missing_ratio":
            value = missing / live.sum(axis=1)
        case "unseen_ratio":
            value = unknown / live.sum(axis=1)
        case "rows":
            return np.asarray(live.sum(axis=1) < rule["below"])
        case metric:
            pair = smooth(live, np.broadcast_to(reference, live.shape), Smoothing())
            value = estimates(pair)[Metric(metric)].low
    return np.asarray(value > rule["above"])


def breaches(history: History, incidents: Sequence[Incident], rules: Rules) -> Breaches:
    """The ends of the windows in which any rule is breached, for each feature."""
    drawn = [draw_hour(history.seed, history.start + n * HOUR, incidents) for n in range(HOURS)]
    hour = np.repeat(np.arange(HOURS), [len(rows) for rows in drawn])
    reference = int((hour < REFERENCE_HOURS).sum())
    found: Breaches = {}
    for feature, values in zip(
        FEATURES, list(zip(*(row for rows in drawn for row in rows), strict=True))[1:], strict=True
    ):
        bins, unknown = (label_bins if feature in LABELS else number_bins)(values, reference)
        counts = np.zeros((HOURS + 1, int(bins.max()) + 34), dtype=np.int64)
        np.add.at(counts, (hour + 1, bins), 1)
        absent = np.bincount(hour[[value is None for value in values]] + 1, minlength=HOURS + 1)
        total, missing = counts.cumsum(axis=0), absent.cumsum()
        live, gone = total[ENDS] - total[ENDS - WINDOW], missing[ENDS] - missing[ENDS - WINDOW]
        outside = live[:, list(unknown)].sum(axis=1)
        hit = np.any([breached(rule, live, total[REFERENCE_HOURS], gone, outside) for rule in rules], axis=0)
        found[feature] = {history.start + int(end) * HOUR for end in ENDS[hit]}
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "until"),
    [
        (1, datetime(2026, 11, 21, 4, tzinfo=UTC)),
        (2, datetime(2024, 2, 29, 23, tzinfo=UTC)),
        (77_001, datetime(2025, 3, 31, 12, tzinfo=UTC)),
    ],
)
def test_each_incident_is_found_within_a_day_on_its_feature_and_nothing_else_is(seed: int, until: datetime) -> None:
    start = until - HOURS * HOUR
    history = History(seed=seed, start=start, planned_until=until, written_until=until)
    document = yaml.safe_load(PaymentsData().config_yaml(Path("demo"), history))
    incidents = PaymentsData().incidents(history)
    found = breaches(history, incidents, document["monitors"][0]["rules"])
    for incident in incidents:
        first = min(found[incident.feature])
        assert incident.start < first <= incident.start + WINDOW * HOUR, incident
        assert max(found[incident.feature]) < incident.end + WINDOW * HOUR, incident
    assert {feature for feature in found if found[feature]} == {incident.feature for incident in incidents}
    quiet = quiet_stretches(incidents, until=until)
    assert not [end for ends in found.values() for end in ends for one in quiet if one.start <= end < one.end]
