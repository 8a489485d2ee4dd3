"""drift-monitor: watches features of database tables for distribution drift."""

from drift_monitor.comparison.frames import compare
from drift_monitor.comparison.report import ComparisonReport, FeatureComparison
from drift_monitor.core.comparison import Comparison, compare_counts, kl_divergence
from drift_monitor.version import __version__

__all__ = [
    "Comparison",
    "ComparisonReport",
    "FeatureComparison",
    "__version__",
    "compare",
    "compare_counts",
    "kl_divergence",
]
