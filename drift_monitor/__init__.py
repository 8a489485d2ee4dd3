"""drift-monitor: watches features of database tables for distribution drift.

The names below are loaded when they are asked for: numpy and pandas cost more time than most commands of the program
need. The room of `compare` is called `comparison`, so that `drift_monitor.compare` is always the function.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from drift_monitor.version import __version__

if TYPE_CHECKING:  # what `__getattr__` gives, for type checkers and editors
    from drift_monitor.comparison.frames import compare
    from drift_monitor.comparison.report import ComparisonReport, FeatureComparison
    from drift_monitor.core.comparison import Comparison, compare_counts, kl_divergence

__all__ = [
    "Comparison",
    "ComparisonReport",
    "FeatureComparison",
    "__version__",
    "compare",
    "compare_counts",
    "kl_divergence",
]
_MODULES = {
    "Comparison": "drift_monitor.core.comparison",
    "ComparisonReport": "drift_monitor.comparison.report",
    "FeatureComparison": "drift_monitor.comparison.report",
    "compare": "drift_monitor.comparison.frames",
    "compare_counts": "drift_monitor.core.comparison",
    "kl_divergence": "drift_monitor.core.comparison",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
