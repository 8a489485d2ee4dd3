"""Divergences with intervals for 1,000 features x 32 bins: CPU seconds, and as a multiple of u.

Run by `python -m benchmarks divergence` as a script, in the checkout that is measured; prints JSON. Times
`compare_histograms` whole: from histograms to comparisons with all divergences, noise floors, intervals, contributions
and directions. It has no command of its own, so this imports from the package.
"""

import json
import statistics
import time

import numpy as np
from figures import unit  # beside this script: the checkout may have benchmarks of its own

from drift_monitor.core.bins import NumericBins, ValueType
from drift_monitor.core.comparison import compare_histograms
from drift_monitor.core.distribution import Histogram

FEATURES = 1_000
BINS = 32
WARM_UP = 10
RUNS = 100


def prepare() -> list[tuple[Histogram, Histogram]]:
    """Pairs of histograms of different shapes, with empty bins, some drifted and some not; seeded."""
    random = np.random.default_rng(1)
    spec = NumericBins(tuple(float(edge) for edge in range(BINS - 3)), ValueType.FLOAT)
    pairs = []
    for shape in random.dirichlet(np.full(BINS, 0.5), size=FEATURES):
        drifted = 0.9 * shape + 0.1 * random.dirichlet(np.full(BINS, 0.5))
        pairs.append(
            (
                Histogram(spec, random.multinomial(10_000, drifted / drifted.sum())),
                Histogram(spec, random.multinomial(1_000_000, shape / shape.sum())),
            )
        )
    return pairs


def main() -> None:
    """Every run between two units; the medians."""
    pairs = prepare()
    for _ in range(WARM_UP):
        compare_histograms(pairs)
    seconds, ratios, before = [], [], unit()
    for _ in range(RUNS):
        started = time.process_time()
        compare_histograms(pairs)
        seconds.append(time.process_time() - started)
        after = unit()
        ratios.append(2 * seconds[-1] / (before + after))
        before = after
    print(json.dumps({"seconds": statistics.median(seconds), "ratio": statistics.median(ratios)}))


if __name__ == "__main__":
    main()
