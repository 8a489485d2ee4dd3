"""What a comparison of two tables says, feature by feature, without a store: values, bins, and what was left out.

Names are those of `drift_measurements` and `drift_histograms`, so that a notebook and a dashboard speak of the same
columns. Divergences are in nats; what does not exist is None here and NaN in a frame.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from drift_monitor.core.comparison import Comparison, compare_histograms
from drift_monitor.core.distribution import Histogram, Smoothing
from drift_monitor.core.divergence import DIVERGENCES, Estimate
from drift_monitor.core.rules import MeasurementStatus, Rule, held_value

_DIRECTIONS = ("live_reference", "reference_live")


@dataclass(frozen=True, kw_only=True)
class ComparedBin:
    """One bin with its rows and what it adds to both KL divergences; None where nothing was compared."""

    label: str
    lower: float | None
    upper: float | None
    live_count: int
    reference_count: int
    contribution_live_reference: float | None
    contribution_reference_live: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureComparison:
    """Live and reference of one feature. `comparison` is None where one side has fewer rows than were asked for."""

    feature: str
    live: Histogram
    reference: Histogram
    comparison: Comparison | None

    @property
    def status(self) -> MeasurementStatus:
        return MeasurementStatus.OK if self.comparison else MeasurementStatus.INSUFFICIENT_DATA

    @property
    def psi(self) -> float:
        """PSI to sort by; 0 where nothing was compared."""
        return self.comparison.psi if self.comparison else 0.0

    @property
    def live_missing_ratio(self) -> float:
        return self.live.missing_rows / self.live.rows

    @property
    def reference_missing_ratio(self) -> float:
        return self.reference.missing_rows / self.reference.rows

    @property
    def live_unseen_ratio(self) -> float:
        """Share of live rows outside everything the reference held."""
        return self.live.unknown_rows / self.live.rows

    @property
    def bins(self) -> tuple[ComparedBin, ...]:
        """Every bin in the order of its spec, reserved ones last (`below` comes first)."""
        return tuple(
            ComparedBin(
                label=str(bin_.label),
                lower=None if bin_.lower is None else _float(bin_.lower),
                upper=None if bin_.upper is None else _float(bin_.upper),
                live_count=int(self.live.counts[ordinal]),
                reference_count=int(self.reference.counts[ordinal]),
                contribution_live_reference=self._contribution("live_reference", ordinal),
                contribution_reference_live=self._contribution("reference_live", ordinal),
            )
            for ordinal, bin_ in enumerate(self.live.spec.bins)
        )

    def values(self) -> dict[str, Any]:
        """The columns of `drift_measurements` that a comparison has."""
        compared = self.comparison
        values: dict[str, Any] = {
            "kind": self.live.spec.kind.value,
            "status": self.status.value,
            "live_rows": self.live.rows,
            "reference_rows": self.reference.rows,
        }
        for metric in DIVERGENCES:
            estimate = compared.estimates[metric] if compared else Estimate(None)
            values |= {
                metric.value: estimate.value,
                f"{metric.value}_low": estimate.low,
                f"{metric.value}_high": estimate.high,
            }
        return values | {
            **{metric.noise_floor: compared and compared.estimates[metric].noise_floor for metric in DIVERGENCES},
            "uncertain": compared and compared.is_uncertain,
            "live_missing_ratio": self.live_missing_ratio,
            "reference_missing_ratio": self.reference_missing_ratio,
            "live_unseen_ratio": self.live_unseen_ratio,
            "direction": compared and compared.direction.value,
        }

    def _contribution(self, direction: str, ordinal: int) -> float | None:
        return float(self.comparison.contributions[direction][ordinal]) if self.comparison else None


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparisonReport:
    """All features by name, in the order of the reference, and the columns left out with the reason.

    `keys`: features that name rows rather than say something of them; they differ in any two tables.
    """

    features: Mapping[str, FeatureComparison]
    skipped: Mapping[str, str]
    keys: frozenset[str] = frozenset()

    def to_frame(self) -> pd.DataFrame:
        """One row a feature."""
        rows = {name: feature.values() for name, feature in self.features.items()}
        index = pd.Index(list(rows), name="feature", dtype=object)
        frame = pd.DataFrame(list(rows.values()), index=index)
        texts = {"kind", "status", "direction"}
        return frame.astype({name: float for name in frame.columns if name not in texts and "rows" not in name})

    def worst_first(self) -> list[FeatureComparison]:
        """Features by PSI, largest first, keys at the end."""
        return sorted(self.features.values(), key=lambda feature: (feature.feature in self.keys, -feature.psi))

    def drifted(self, rule: Rule) -> list[FeatureComparison]:
        """The features that break a rule, worst first; no key is among them."""
        return [
            feature
            for feature in self.worst_first()
            if feature.comparison is not None
            and feature.feature not in self.keys
            and (held := held_value(rule, feature.comparison.estimates[rule.metric])) is not None
            and rule.is_breached_by(held)
        ]

    def document(self, per_nat: float = 1.0) -> dict[str, Any]:
        """The report as JSON; `per_nat` changes the unit of everything in nats. Infinities are None, like NaN."""
        return {
            "features": [_document(feature, per_nat) for feature in self.features.values()],
            "keys": sorted(self.keys),
            "skipped": [{"feature": name, "reason": reason} for name, reason in self.skipped.items()],
        }


def make_report(
    sides: Sequence[tuple[str, Histogram, Histogram]],
    skipped: Mapping[str, str],
    smoothing: Smoothing,
    min_rows: int,
    keys: Iterable[str] = (),
) -> ComparisonReport:
    """Compare (feature, live, reference); `insufficient_data` where one side has fewer than `min_rows`."""
    enough = [side for side in sides if min(side[1].rows, side[2].rows) >= min_rows]
    found = compare_histograms([(live, reference) for _, live, reference in enough], smoothing)
    comparisons = dict(zip((name for name, _, _ in enough), found, strict=True))
    features = {
        name: FeatureComparison(feature=name, live=live, reference=reference, comparison=comparisons.get(name))
        for name, live, reference in sides
    }
    return ComparisonReport(features=features, skipped=dict(skipped), keys=frozenset(features.keys() & set(keys)))


def _document(feature: FeatureComparison, per_nat: float) -> dict[str, Any]:
    values = feature.values()
    in_nats = {
        f"{metric.value}{end}" for metric in DIVERGENCES if metric.unit == "nats" for end in ("", "_low", "_high")
    }
    for name in (*in_nats, *(metric.noise_floor for metric in DIVERGENCES if metric.unit == "nats")):
        values[name] = _scaled(values[name], per_nat)
    bins = [
        vars(bin_)
        | {f"contribution_{name}": _scaled(getattr(bin_, f"contribution_{name}"), per_nat) for name in _DIRECTIONS}
        for bin_ in feature.bins
    ]
    return {
        "feature": feature.feature,
        **_finite(values),
        "bins": [{"bin": number} | _finite(values_of_bin) for number, values_of_bin in enumerate(bins)],
    }


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


def _float(number: Any) -> float:
    """An edge as a float; beyond all floats it is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
