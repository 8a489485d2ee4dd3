"""Noise floor and interval against simulations and against the formulas worked by hand."""

import math

import numpy as np
import pytest

from drift_monitor import compare_counts
from drift_monitor.core.comparison import compare_histograms
from drift_monitor.core.distribution import FloatArray, Pair, Smoothing, SmoothingMethod, probabilities, smooth
from drift_monitor.core.divergence import DIVERGENCES, Metric
from drift_monitor.core.noise import estimates, null_moments, visible

each_divergence = pytest.mark.parametrize("metric", DIVERGENCES)
RUNS = 2000
EVEN = np.full(20, 1 / 20)
SKEWED = (lambda weights: weights / weights.sum())(1.0 / np.arange(1, 13))
SHAPES = {
    "sixteen quantiles and tails": np.array([0.001, 0.009, *[0.98 / 16] * 16, 0.009, 0.001]),
    "Zipf": (lambda weights: weights / weights.sum())(1.0 / np.arange(1, 31)),
    "95 % in one bin": np.array([0.95, *[0.005] * 10]),
}
SMOOTHED = (SmoothingMethod.ANCHORED, SmoothingMethod.ADDITIVE)


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
@pytest.mark.parametrize("method", SMOOTHED)
@pytest.mark.parametrize("rows", [(60, 20_000), (1_000, 100_000), (20_000, 20_000)])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_noise_floor_is_the_mean_divergence_without_drift(shape, rows, method, metric):
    pair = simulate(shape, shape, rows, Smoothing(method))
    assert null_moments(pair)[metric].mean.mean() == pytest.approx(DIVERGENCES[metric].total(pair).mean(), rel=0.05)


@each_divergence
@pytest.mark.parametrize("rows", [(200, 20_000), (2_000, 10_000)])
@pytest.mark.parametrize("shape", [EVEN, SKEWED, [0.9, 0.1]], ids=["even", "skewed", "two bins"])
def test_variance_without_drift_is_that_of_the_simulation(shape, rows, metric):
    pair = simulate(np.array(shape), np.array(shape), rows)
    spread = DIVERGENCES[metric].total(pair).var()
    # 2,000 runs know the variance of what has a long tail to a tenth
    assert null_moments(pair)[metric].variance.mean() == pytest.approx(spread, rel=0.17)


def enumerated(metric: Metric, n: int, counts: list[int]) -> tuple[float, float]:
    """Mean and variance over the bins, each summed over every count there can be: the formulas, word by word."""
    m, s = sum(counts), len(counts) / 2
    mean = variance = squares = 0.0
    for b in counts:
        q = (b + 0.5) / (m + s)
        p = (np.arange(n + 1) + s * q) / (n + s)
        terms = {
            Metric.KL_LIVE_REFERENCE: p * np.log(p / q) - p + q,
            Metric.KL_REFERENCE_LIVE: q * np.log(q / p) - q + p,
            Metric.PSI: (p - q) * np.log(p / q),
            Metric.HELLINGER: (np.sqrt(p) - np.sqrt(q)) ** 2 / 2,
            Metric.JS: (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))) / 2,
        }[metric]
        weights = np.array([math.comb(n, a) * q**a * (1 - q) ** (n - a) for a in range(n + 1)])
        mean += weights @ terms
        variance += weights @ terms**2 - (weights @ terms) ** 2
        squares += q * q
    w, free = n / (n + s), (len(counts) - 1) / 2
    multiple = {Metric.PSI: 2, Metric.JS: 0.25, Metric.HELLINGER: 0.25}.get(metric, 1)
    second_order = w**4 * (1 - squares) / (2 * n * n) + free * w**4 * (2 / (n * m) + 1 / m**2)
    return mean + multiple * free * w**2 / m, variance + multiple**2 * second_order


@each_divergence
@pytest.mark.parametrize("n", [1, 30, 400])
def test_floor_and_variance_are_the_sums_over_every_count(n, metric):
    """Thin bins are summed; a few points stand for the counts of the others, to half a percent of the mean."""
    counts = [1, 3, 40, 300, 2000]
    moments = null_moments(smooth(np.array([[n, 0, 0, 0, 0]]), np.array([counts]), Smoothing()))[metric]
    mean, variance = enumerated(metric, n, counts)
    assert moments.mean[0] == pytest.approx(mean, rel=0.005)
    assert moments.variance[0] == pytest.approx(variance, rel=0.03)


def test_what_is_remembered_is_what_is_computed():
    random = np.random.default_rng(5)
    live, reference = random.multinomial(700, SKEWED, 40), random.multinomial(9_000, SKEWED, 40)
    null_moments(smooth(live, reference, Smoothing(SmoothingMethod.ADDITIVE)))  # of equal shares q, and not the same
    first = null_moments(smooth(live, reference, Smoothing()))
    again = null_moments(smooth(live[::-1], reference[::-1], Smoothing()))
    for metric, moments in first.items():
        np.testing.assert_array_equal(moments.mean, again[metric].mean[::-1])
        np.testing.assert_array_equal(moments.variance, again[metric].variance[::-1])


def test_without_smoothing_there_is_no_floor():
    result = compare_counts(live=[60, 40, 0], reference=[200, 190, 10], smoothing="none")
    assert set(result.noise_floors.values()) == {0.0}
    assert result.corrected["js"] == result.js


def test_fewer_than_five_reference_rows_in_a_bin_are_uncertain():
    assert compare_counts(live=[60, 40, 3], reference=[200, 190, 4]).is_uncertain
    assert not compare_counts(live=[60, 40, 0], reference=[200, 190, 5]).is_uncertain
    assert not compare_counts(live=[60, 40, 2], reference=[200, 190, 0]).is_uncertain  # the bin is not in the sums


@pytest.mark.parametrize("rows", [(1_000, 100_000), (5_000, 5_000)])
def test_half_of_the_windows_show_a_drift_as_small_as_is_said_to_be_visible(rows):
    tilt = np.linspace(-1, 1, len(EVEN))
    pair = simulate(EVEN, EVEN, rows)
    floor = null_moments(pair)[Metric.KL_LIVE_REFERENCE].mean.mean()
    least = visible(floor, len(EVEN))
    live = EVEN * (1 + math.sqrt(2 * least / (EVEN @ tilt**2)) * tilt)  # near P = Q, KL is half of chi-squared
    clear = estimates(simulate(live, EVEN, rows))[Metric.KL_LIVE_REFERENCE].low > 0
    assert 0.4 <= clear.mean() <= 0.6


def test_noise_alone_seldom_clears_the_lower_bound():
    for found in estimates(simulate(EVEN, EVEN, (500, 20_000))).values():
        assert (found.low > 0).mean() < 0.025


@each_divergence
@pytest.mark.parametrize("rows", [(300, 20_000), (2_000, 20_000), (10_000, 10_000)])
@pytest.mark.parametrize("shape", [EVEN, SKEWED], ids=["even", "skewed"])
def test_intervals_cover_the_true_divergence(metric, rows, shape):
    tilted = shape * np.exp(np.linspace(-0.75, 0.75, len(shape)))
    live = tilted / tilted.sum()
    divergence = DIVERGENCES[metric]
    truth = divergence.published(divergence.total(probabilities(live[None, :], shape[None, :])))[0]
    pair = simulate(live, shape, rows)
    found = estimates(pair)[metric]
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
    # Two bins, n = 1000 (600, 400), m = 4000 (2000, 2000): s = 1, q = 1/2, p = 600.5/1001. Each bin expects 500, so
    # its term is (p - q)^2 / 2q: mean w^2 (1-q) / 2n, variance twice the square of that.
    n, m, p, w = 1000, 4000, 600.5 / 1001, 1000 / 1001
    floor = 2 * w**2 / (4 * n) + 0.5 * w**2 / m
    null = 2 * 2 * (w**2 / (4 * n)) ** 2 + w**4 / (4 * n**2) + 0.5 * w**4 * (2 / (n * m) + 1 / m**2)
    log_odds = math.log(p / (1 - p))
    forward = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    var = p * (1 - p) * log_odds**2 / n + 0.25 * (2 * p - 2 * (1 - p)) ** 2 / m + null
    result = compare_counts(live=[600, 400], reference=[2000, 2000])
    assert result.noise_floor == pytest.approx(floor, rel=1e-12)
    assert result.kl_live_reference == pytest.approx(forward, rel=1e-12)
    low, high = result.interval["kl_live_reference"] or (math.nan, math.nan)
    assert low == pytest.approx(forward - floor - 1.96 * math.sqrt(var), rel=1e-9)
    assert high == pytest.approx(forward - floor + 1.96 * math.sqrt(var), rel=1e-9)


def test_hellinger_interval_is_the_root_of_the_interval_of_its_square():
    # H^2 and its gradient -sqrt(q/p)/2 over two bins, worked by hand for the counts above.
    n, m, p, w = 1000, 4000, 600.5 / 1001, 1000 / 1001
    floor = 0.25 * (2 * w**2 / (4 * n) + 0.5 * w**2 / m)
    null = (2 * 2 * (w**2 / (4 * n)) ** 2 + w**4 / (4 * n**2) + 0.5 * w**4 * (2 / (n * m) + 1 / m**2)) / 16
    square = 1 - math.sqrt(p / 2) - math.sqrt((1 - p) / 2)
    g_p = [-math.sqrt(0.5 / share) / 2 for share in (p, 1 - p)]
    g_q = [-math.sqrt(share / 0.5) / 2 for share in (p, 1 - p)]
    var = p * (1 - p) * (g_p[0] - g_p[1]) ** 2 / n + 0.25 * (g_q[0] - g_q[1]) ** 2 / m + null
    result = compare_counts(live=[600, 400], reference=[2000, 2000])
    corrected = square - floor
    assert result.hellinger == pytest.approx(math.sqrt(square), rel=1e-12)
    assert result.noise_floors["hellinger"] == pytest.approx(math.sqrt(floor), rel=1e-9)
    assert result.corrected["hellinger"] == pytest.approx(math.sqrt(corrected), rel=1e-9)
    low, high = result.interval["hellinger"] or (math.nan, math.nan)
    assert low == pytest.approx(math.sqrt(corrected - 1.96 * math.sqrt(var)), rel=1e-9)
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
