"""Comparisons against numbers computed elsewhere, and what holds for any counts.

`data/kl_cases.json` was computed with mpmath at 80 digits. Published values come from the documentation of SciPy and of
the D standard library, and from Kullback (1959); each test names its own.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from drift_monitor import compare_counts, kl_divergence
from drift_monitor.core.bins import NumericBins, ValueType
from drift_monitor.core.comparison import Comparison, Direction, compare_histograms
from drift_monitor.core.distribution import Histogram, Smoothing, SmoothingMethod, histogram, merge, probabilities
from drift_monitor.core.noise import estimates
from drift_monitor.errors import InputError

CASES = json.loads((Path(__file__).parent / "data" / "kl_cases.json").read_text(encoding="utf-8"))
PLAIN = [case for case in CASES["cases"] if case["kind"] == "probs"]
COUNTED = [case for case in CASES["cases"] if case["kind"] == "counts"]
KEYS = {
    "kl_live_reference": "kl_live_ref_nats",
    "kl_reference_live": "kl_ref_live_nats",
    "psi": "psi",
    "js": "js",
    "hellinger": "hellinger",
}
METHODS = st.sampled_from(["anchored", "additive", "none"])
SMOOTHED = st.sampled_from(["anchored", "additive"])


@st.composite
def two_sides(draw, largest: int = 10**12):
    size = draw(st.integers(1, 12))
    counts = st.lists(st.integers(0, largest) | st.sampled_from([0, 1]), min_size=size, max_size=size).filter(any)
    return draw(counts), draw(counts)


def close(value: float, expected: float) -> bool:
    """The tolerance of the project: 1e-12, relative above 1."""
    return value == expected or abs(value - expected) <= 1e-12 * max(1.0, abs(expected))


def total(comparison: Comparison, direction: str) -> float:
    return math.fsum(comparison.contributions[direction].tolist())


def exact(live: list[float], reference: list[float]) -> dict[str, float]:
    pair = probabilities(np.array([live]), np.array([reference]))
    return {metric.value: found.value.item() for metric, found in estimates(pair).items()}


# Numbers from elsewhere


MANY = 200  # rows in each bin, from which on the noise floor is the large-sample formula of the cases


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case["name"])
def test_plain_probabilities_agree_with_eighty_digits(case):
    live, reference = case["live_probs"], case["ref_probs"]
    values = exact(live, reference)
    assert all(close(values[name], float(case[key])) for name, key in KEYS.items())
    assert close(kl_divergence(live, reference), float(case["kl_live_ref_nats"]))
    assert close(kl_divergence(reference, live, base=2), float(case["kl_ref_live_bits"]))


@pytest.mark.parametrize("case", COUNTED, ids=lambda case: case["name"])
def test_additive_smoothing_agrees_with_eighty_digits(case):
    result = compare_counts(
        live=case["live_counts"], reference=case["ref_counts"], smoothing="additive", pseudocount=case["alpha"]
    )
    assert all(close(getattr(result, name), case[key]) for name, key in KEYS.items())
    if min(case["live_counts"]) > MANY:
        assert result.noise_floor == pytest.approx(case["noise_floor_kl_nats_2nd_order"], rel=0.01)


@pytest.mark.parametrize("case", COUNTED, ids=lambda case: case["name"])
def test_anchored_smoothing_agrees_with_eighty_digits(case):
    expected = case["anchored"]
    result = compare_counts(live=case["live_counts"], reference=case["ref_counts"], pseudocount=expected["alpha"])
    assert all(close(getattr(result, name), expected[key]) for name, key in KEYS.items())
    if min(case["live_counts"]) > MANY:
        assert result.noise_floor == pytest.approx(expected["noise_floor_kl_nats"], rel=0.01)


def test_one_row_in_a_billion_is_measured_to_ten_digits():
    # KL = sum d^2 / 2q to first order, 2 (1e-9)^2 / (2/4), of which smoothing takes 4e-9: counts_huge_1e9 of the cases
    result = compare_counts(live=[250_000_000, 250_000_000, 250_000_001, 249_999_999], reference=[10**9] * 4)
    assert result.kl_live_reference == pytest.approx(3.999999984e-18, rel=1e-10)
    assert result.psi == pytest.approx(7.999999968e-18, rel=1e-10)
    assert result.hellinger == pytest.approx(9.99999998e-10, rel=1e-8)


@pytest.mark.parametrize(
    "case", [c for c in CASES["closed_forms"] if c["family"] == "gaussian"], ids=lambda c: c["name"]
)
def test_binned_normals_converge_to_the_closed_form(case):
    live = stats.norm(case["live"]["mu"], case["live"]["sd"])
    reference = stats.norm(case["ref"]["mu"], case["ref"]["sd"])
    low, high = sorted([live.ppf(1e-14), live.ppf(1 - 1e-14)])
    errors = []
    for bins in (20, 200, 2000):
        edges = np.concatenate([[-np.inf], np.linspace(low, high, bins + 1), [np.inf]])
        p, q = np.diff(live.cdf(edges)), np.diff(reference.cdf(edges))
        # np.diff of a cdf near 1 loses the right tail: take it from the survival function there.
        upper = edges[:-1] > np.median([live.mean(), reference.mean()])
        p = np.where(upper, -np.diff(live.sf(edges)), p)
        q = np.where(upper, -np.diff(reference.sf(edges)), q)
        errors.append(abs(kl_divergence(p, q) - case["kl_live_ref_nats"]))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3 * case["kl_live_ref_nats"]


def test_binomial_of_kullback_1959_table_2_1():
    # Kullback, Information Theory and Statistics, example 2.1 (quoted by Wikipedia, "Kullback-Leibler divergence"):
    # Binomial(2, 0.4) against the uniform; (32 ln 2 + 55 ln 3 - 50 ln 5) / 25 and (-4 ln 2 - 6 ln 3 + 6 ln 5) / 3.
    p, q = [9 / 25, 12 / 25, 4 / 25], [1 / 3, 1 / 3, 1 / 3]
    ln2, ln3, ln5 = math.log(2), math.log(3), math.log(5)
    assert close(kl_divergence(p, q), (32 * ln2 + 55 * ln3 - 50 * ln5) / 25)
    assert close(kl_divergence(q, p), (-4 * ln2 - 6 * ln3 + 6 * ln5) / 3)


def test_relative_entropy_of_the_scipy_documentation():
    # docs.scipy.org, scipy.stats.entropy (1.9.1): entropy([1/2, 1/2], qk=[9/10, 1/10])
    assert close(kl_divergence([1 / 2, 1 / 2], [9 / 10, 1 / 10]), 0.5108256237659907)


def test_jensen_shannon_distances_of_the_scipy_documentation():
    # docs.scipy.org, scipy.spatial.distance.jensenshannon: the square root of the divergence
    assert close(math.sqrt(exact([1.0, 0.0], [0.5, 0.5])["js"]), 0.46450140402245893)
    assert close(math.sqrt(exact([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])["js"] / math.log(2)), 1.0)
    assert exact([1.0, 0.0, 0.0], [1.0, 0.0, 0.0])["js"] == 0.0


def test_bits_of_the_d_standard_library():
    # dlang.org, std.numeric.kullbackLeiblerDivergence and jensenShannonDivergence, in bits to six digits
    point, even, uneven = [0.0, 0.0, 0.0, 1.0], [0.25] * 4, [0.2, 0.2, 0.2, 0.4]
    assert kl_divergence(point, even, base=2) == pytest.approx(2.0, rel=1e-15)
    assert kl_divergence(even, point, base=2) == math.inf
    assert kl_divergence(even, uneven, base=2) == pytest.approx(0.0719281, abs=5e-8)
    assert kl_divergence(uneven, even, base=2) == pytest.approx(0.0780719, abs=5e-8)
    assert exact(even, point)["js"] / math.log(2) == pytest.approx(0.548795, abs=5e-7)
    assert exact(even, uneven)["js"] / math.log(2) == pytest.approx(0.0186218, abs=5e-8)


@given(two_sides(largest=10**6))
def test_scipy_finds_the_same_entropy_and_chi_squared_relation(sides):
    live, reference = (np.array(side) for side in sides)
    assume((reference[live > 0] > 0).all())
    result = compare_counts(live=live, reference=reference, smoothing="none")
    assert close(result.kl_live_reference, float(stats.entropy(live, reference))) or result.kl_live_reference < 1e-12


# What holds for any counts


@given(two_sides(), METHODS)
def test_divergences_stay_in_their_bounds(sides, smoothing):
    result = compare_counts(live=sides[0], reference=sides[1], smoothing=smoothing)
    assert min(result.kl_live_reference, result.kl_reference_live, result.psi, result.js, result.hellinger) >= 0.0
    assert result.js <= math.log(2)
    assert result.hellinger <= 1.0
    assert all(getattr(result, metric.value) == estimate.value for metric, estimate in result.estimates.items())
    assert result.psi == pytest.approx(result.kl_live_reference + result.kl_reference_live, rel=1e-13)


@given(two_sides(), SMOOTHED, st.floats(0.01, 10))
def test_smoothed_divergences_are_finite_and_have_intervals(sides, smoothing, pseudocount):
    result = compare_counts(live=sides[0], reference=sides[1], smoothing=smoothing, pseudocount=pseudocount)
    assert all(math.isfinite(getattr(result, name)) for name in KEYS)
    for name in KEYS:
        interval = result.interval[name]
        assert interval is not None
        assert 0.0 <= interval[0] <= result.corrected[name] <= interval[1] < math.inf
        assert result.corrected[name] <= getattr(result, name)


@given(two_sides(), METHODS)
def test_contributions_add_up_to_the_divergence(sides, smoothing):
    result = compare_counts(live=sides[0], reference=sides[1], smoothing=smoothing)
    assert len(result.contributions["live_reference"]) == len(sides[0])
    assert close(total(result, "live_reference"), result.kl_live_reference)
    assert close(total(result, "reference_live"), result.kl_reference_live)


@given(two_sides(), METHODS)
def test_swapped_sides_swap_the_directions_of_plain_shares(sides, smoothing):
    assume(smoothing != "anchored")  # which treats the two sides differently on purpose
    one = compare_counts(live=sides[0], reference=sides[1], smoothing=smoothing)
    other = compare_counts(live=sides[1], reference=sides[0], smoothing=smoothing)
    assert close(one.kl_live_reference, other.kl_reference_live)
    assert close(one.js, other.js)


@given(two_sides(), METHODS, st.randoms())
def test_the_order_of_bins_does_not_matter(sides, smoothing, random):
    order = list(range(len(sides[0])))
    random.shuffle(order)
    one = compare_counts(live=sides[0], reference=sides[1], smoothing=smoothing)
    other = compare_counts(
        live=[sides[0][i] for i in order], reference=[sides[1][i] for i in order], smoothing=smoothing
    )
    assert all(close(getattr(one, name), getattr(other, name)) for name in KEYS)


@given(two_sides(largest=10**6), st.integers(1, 1000))
def test_equal_shapes_are_zero_without_smoothing_at_any_scale(sides, factor):
    counts = sides[0]
    same = compare_counts(live=counts, reference=[factor * count for count in counts], smoothing="none")
    assert (same.kl_live_reference, same.kl_reference_live, same.js, same.hellinger) == (0.0, 0.0, 0.0, 0.0)


@given(two_sides(largest=10**6), st.integers(1, 1000))
def test_equal_shapes_are_below_the_noise_floor_when_anchored(sides, factor):
    counts = sides[0]
    same = compare_counts(live=counts, reference=[factor * count for count in counts])
    assert same.corrected["kl_live_reference"] == 0.0
    assert same.direction is Direction.NONE


def test_empty_bins_of_both_sides_do_not_count_when_anchored():
    # Uniform smoothing would find 0.0136 nats between these equal proportions.
    result = compare_counts(live=[50, 50, 0, 0], reference=[500, 500, 0, 0])
    assert result.kl_live_reference == 0.0
    assert result.contributions["live_reference"].tolist() == [0.0] * 4
    assert result.noise_floor == compare_counts(live=[50, 50], reference=[500, 500]).noise_floor


@given(st.lists(two_sides(), min_size=1, max_size=300), METHODS)
def test_many_features_at_once_equal_one_by_one(features, method):
    def spec(size: int) -> NumericBins:
        return NumericBins(tuple(float(edge) for edge in range(size + 1)), ValueType.FLOAT)

    def counted(side: list[int]) -> Histogram:
        return histogram(spec(len(side)), [0, *side, 0, 0, 0])

    smoothing = Smoothing(SmoothingMethod(method))
    pairs = [(counted(live), counted(reference)) for live, reference in features]
    together = compare_histograms(pairs, smoothing)
    for pair, one in zip(pairs, together, strict=True):
        alone = compare_histograms([pair], smoothing)[0]
        assert all(close(getattr(one, name), getattr(alone, name)) for name in KEYS)
        assert len(one.contributions["live_reference"]) == pair[0].spec.size
        assert (one.live_rows, one.direction) == (pair[0].rows, alone.direction)
        for name in KEYS:
            expected = alone.interval[name]
            assert one.interval[name] == (expected and pytest.approx(expected, rel=1e-9, abs=1e-15))


@given(st.lists(st.lists(st.integers(0, 10**9), min_size=5, max_size=5), min_size=3, max_size=3))
def test_merging_histograms_is_associative_and_commutative(counts):
    spec = NumericBins((0, 1), ValueType.INTEGER)
    a, b, c = (histogram(spec, row) for row in counts)
    assert a.merge(b).merge(c) == a.merge(b.merge(c)) == merge(spec, [c, a, b])
    assert a.merge(b).rows == a.rows + b.rows


def test_counts_beyond_two_to_the_53_are_compared():
    live, reference = [2**60, 2**60, 2**59], [2**61 // 3, 2**61 // 3, 2**61 // 3]
    result = compare_counts(live=live, reference=reference)
    assert close(result.kl_live_reference, kl_divergence([0.4, 0.4, 0.2], [1 / 3, 1 / 3, 1 / 3]))
    assert (result.live_rows, result.reference_rows) == (sum(live), sum(reference))


def test_a_probability_near_the_smallest_float_stays_finite_and_right():
    tiny = 5e-324
    assert close(kl_divergence([0.5, 0.5, 0.0], [0.5, 0.5, tiny]), 0.0)
    assert close(kl_divergence([0.5, 0.5], [1.0, tiny]), 0.5 * math.log(0.5) + 0.5 * (math.log(0.5) - math.log(tiny)))
    assert close(kl_divergence([1.0, tiny], [0.5, 0.5]), math.log(2))


# Directions


@pytest.mark.parametrize(
    ("live", "reference", "direction"),
    [
        ([900, 100], [10_000, 0], Direction.NEW),
        ([1000, 0], [9000, 1000], Direction.LOST),
        ([500, 300, 200], [2000, 3000, 5000], Direction.RESHAPED),
        ([101, 99], [1000, 1000], Direction.NONE),
    ],
)
def test_direction_names_what_happened(live, reference, direction):
    assert compare_counts(live=live, reference=reference).direction is direction


@pytest.mark.parametrize(
    ("live", "reference", "direction"),
    [([5, 5], [10, 0], Direction.NEW), ([10, 0], [5, 5], Direction.LOST), ([5, 0], [0, 5], Direction.RESHAPED)],
)
def test_an_infinite_divergence_has_no_interval_but_a_direction(live, reference, direction):
    result = compare_counts(live=live, reference=reference, smoothing="none")
    assert result.psi == math.inf
    assert result.interval["psi"] is None
    assert result.interval["js"] is not None
    assert result.direction is direction


# Refusals


@pytest.mark.parametrize(
    ("live", "reference"),
    [
        ([0, 0], [1, 1]),
        ([1, 1], [0, 0]),
        ([1, 1], [1, 1, 1]),
        ([], []),
        ([-1, 2], [1, 1]),
        ([0.5, 0.5], [1, 1]),
        ([math.nan, 1], [1, 1]),
        ([math.inf, 1], [1, 1]),
        ([None, 1], [1, 1]),
        (["1", "2"], [1, 1]),
        ([True, False], [1, 1]),
        ([[1, 2]], [[1, 2]]),
        ([1, [2]], [1, 1]),
        ([2**63, 1], [1, 1]),
        ([2**62, 2**62], [1, 1]),
        (7, 7),
    ],
)
def test_what_is_no_row_of_counts_is_refused(live, reference):
    with pytest.raises(ValueError, match=r"live|reference|both sides"):
        compare_counts(live=live, reference=reference)


@pytest.mark.parametrize("arguments", [{"smoothing": "laplace"}, {"pseudocount": 0.0}, {"pseudocount": math.nan}])
def test_unknown_smoothing_is_refused(arguments):
    with pytest.raises(ValueError, match=r"laplace|pseudocount"):
        compare_counts(live=[1, 2], reference=[3, 4], **arguments)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ([12, 30, 41], [240, 610, 790]),
        ([0.5, 0.4], [0.5, 0.5]),
        ([0.5, 0.5], [0.5, 0.5 + 2e-9]),
        ([1.5, -0.5], [0.5, 0.5]),
        ([math.nan, 1.0], [0.5, 0.5]),
        ([1.0], [0.5, 0.5]),
        ([], []),
        ([[1.0]], [[1.0]]),
        (["0.5", "0.5"], [0.5, 0.5]),
    ],
)
def test_what_is_no_distribution_is_refused(p, q):
    with pytest.raises(ValueError, match=r"p:|q:|both sides"):
        kl_divergence(p, q)


@pytest.mark.parametrize("base", [0, 1, -2, math.inf, math.nan])
def test_what_is_no_base_is_refused(base):
    with pytest.raises(ValueError, match="base"):
        kl_divergence([0.5, 0.5], [0.5, 0.5], base=base)


def test_raw_counts_are_pointed_to_compare_counts():
    with pytest.raises(ValueError, match="compare_counts"):
        kl_divergence([12, 30], [240, 610])


def test_different_bin_specs_are_refused():
    one = histogram(NumericBins((0, 1), ValueType.INTEGER), [0, 1, 0, 0, 0])
    other = histogram(NumericBins((0, 2), ValueType.INTEGER), [0, 1, 0, 0, 0])
    with pytest.raises(InputError, match="binned differently"):
        compare_histograms([(one, other)])


def test_no_features_make_no_comparisons():
    assert compare_histograms([]) == []
