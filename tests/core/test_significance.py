"""Noise floor and interval against simulations and against the formulas worked by hand."""

import math

import numpy as np
import pytest

from drift_monitor import compare_counts
from drift_monitor.core.comparison import compare_histograms, estimated, kl_floor, variance
from drift_monitor.core.distribution import FloatArray, Pair, Smoothing, SmoothingMethod, probabilities, smooth
from drift_monitor.core.divergence import DIVERGENCES, Metric

KL = DIVERGENCES[Metric.KL_LIVE_REFERENCE]
each_divergence = pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=DIVERGENCES)
RUNS = 2000
EVEN = np.full(20, 1 / 20)
SKEWED = (lambda weights: weights / weights.sum())(1.0 / np.arange(1, 13))


def simulate(
    live: FloatArray, reference: FloatArray, rows: tuple[int, int], smoothing: Smoothing | None = None
) -> Pair:
    random = np.random.default_rng(20261121)
    return smooth(
        random.multinomial(rows[0], live, size=RUNS),
        random.multinomial(rows[1], reference, size=RUNS),
        smoothing or Smoothing(),
    )


@each_divergence
@pytest.mark.parametrize("rows", [(1_000, 100_000), (2_000, 2_000)])
def test_noise_floor_is_the_mean_divergence_without_drift(divergence, rows):
    pair = simulate(EVEN, EVEN, rows)
    floor = divergence.curvature * kl_floor(pair)
    assert floor.mean() == pytest.approx(divergence.total(pair).mean(), rel=0.05)


@pytest.mark.parametrize("method", list(SmoothingMethod))
def test_noise_floor_holds_for_every_smoothing(method):
    pair = simulate(EVEN, EVEN, (3_000, 5_000), Smoothing(method))
    assert kl_floor(pair).mean() == pytest.approx(KL.total(pair).mean(), rel=0.06)


@each_divergence
def test_variance_without_drift_is_that_of_the_simulation(divergence):
    # Corrected values before the cut at 0; the first-order part is not quite 0 for samples, so a little too wide.
    pair = simulate(EVEN, EVEN, (2_000, 10_000))
    spread = divergence.total(pair).var()
    assert spread <= variance(pair, divergence).mean() <= 4 * spread


def test_noise_alone_seldom_clears_the_lower_bound():
    pair = simulate(EVEN, EVEN, (500, 20_000))
    for divergence in DIVERGENCES.values():
        assert (estimated(pair, divergence).low > 0).mean() < 0.025


@each_divergence
@pytest.mark.parametrize("rows", [(300, 20_000), (2_000, 20_000), (10_000, 10_000)])
@pytest.mark.parametrize("shape", [EVEN, SKEWED], ids=["even", "skewed"])
def test_intervals_cover_the_true_divergence(divergence, rows, shape):
    tilted = shape * np.exp(np.linspace(-0.75, 0.75, len(shape)))
    live = tilted / tilted.sum()
    truth = divergence.published(divergence.total(probabilities(live[None, :], shape[None, :])))[0]
    pair = simulate(live, shape, rows)
    found = estimated(pair, divergence)
    assert (found.low <= truth).mean() >= 0.965  # nominal 97.5 %, less the scatter of 2,000 runs
    assert ((found.low <= truth) & (truth <= found.high)).mean() >= 0.90


@pytest.mark.parametrize(
    ("metric", "multiple"),
    [
        (Metric.KL_LIVE_REFERENCE, 1.0),
        (Metric.KL_REFERENCE_LIVE, 1.0),
        (Metric.PSI, 2.0),
        (Metric.JS, 0.25),
        (Metric.HELLINGER, 0.25),
    ],
)
def test_near_no_drift_a_divergence_is_a_multiple_of_kl(metric, multiple):
    # second derivatives by p at p = q, times q: of p ln(p/q) it is 1; half of (sqrt p - sqrt q)^2 has 1/4
    assert DIVERGENCES[metric].curvature == multiple


def test_floor_and_interval_follow_the_formulas_worked_by_hand():
    # Two bins, n = 100 (60, 40), m = 400 (200, 200), anchored 1/2: s = 1, q = 1/2, p = 60.5/101; e = w^2 (1/n + 1/m).
    n, m, p, w = 100, 400, 60.5 / 101, 100 / 101
    e = w**2 * (1 / n + 1 / m)
    log_odds = math.log(p / (1 - p))
    forward = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    var = p * (1 - p) * log_odds**2 / n + 0.25 * (2 * p - 2 * (1 - p)) ** 2 / m + 0.5 * e**2
    result = compare_counts(live=[60, 40], reference=[200, 200])
    assert result.noise_floor == pytest.approx(0.5 * e, rel=1e-12)
    assert result.kl_live_reference == pytest.approx(forward, rel=1e-12)
    low, high = result.interval["kl_live_reference"] or (math.nan, math.nan)
    assert low == pytest.approx(max(0.0, forward - 0.5 * e - 1.96 * math.sqrt(var)), rel=1e-9)
    assert high == pytest.approx(forward - 0.5 * e + 1.96 * math.sqrt(var), rel=1e-9)


def test_hellinger_interval_is_the_root_of_the_interval_of_its_square():
    # H^2 and its gradient -sqrt(q/p)/2 over two bins, worked by hand for the counts above.
    n, m, p, w = 100, 400, 60.5 / 101, 100 / 101
    e = w**2 * (1 / n + 1 / m)
    square = 1 - math.sqrt(p / 2) - math.sqrt((1 - p) / 2)
    g_p = [-math.sqrt(0.5 / share) / 2 for share in (p, 1 - p)]
    g_q = [-math.sqrt(share / 0.5) / 2 for share in (p, 1 - p)]
    var = p * (1 - p) * (g_p[0] - g_p[1]) ** 2 / n + 0.25 * (g_q[0] - g_q[1]) ** 2 / m + 0.5 * (e / 4) ** 2
    result = compare_counts(live=[60, 40], reference=[200, 200])
    corrected = max(0.0, square - e / 8)
    assert result.hellinger == pytest.approx(math.sqrt(square), rel=1e-12)
    assert result.corrected["hellinger"] == pytest.approx(math.sqrt(corrected), rel=1e-9)
    low, high = result.interval["hellinger"] or (math.nan, math.nan)
    assert low == pytest.approx(math.sqrt(max(0.0, corrected - 1.96 * math.sqrt(var))), abs=1e-9)
    assert high == pytest.approx(math.sqrt(corrected + 1.96 * math.sqrt(var)), rel=1e-9)


def test_ten_times_the_rows_narrow_the_interval():
    few = compare_counts(live=[60, 40], reference=[2000, 2000]).interval["psi"]
    many = compare_counts(live=[600, 400], reference=[20_000, 20_000]).interval["psi"]
    assert few is not None
    assert many is not None
    assert many[1] - many[0] < few[1] - few[0]


def test_one_bin_left_says_nothing_drifted():
    result = compare_counts(live=[5, 0], reference=[9, 0])
    assert (result.kl_live_reference, result.noise_floor, result.interval["psi"]) == (0.0, 0.0, (0.0, 0.0))
    assert compare_histograms([]) == []
