"""Bins from a reference: every value has a place, atoms their own bin, edges the column's type."""

import json
import math
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.binning import (
    BooleanProfile,
    CategoricalProfile,
    Edges,
    NumericProfile,
    Quantiles,
    Top,
    Uniform,
    make_spec,
    successor,
)
from drift_monitor.core.bins import (
    BooleanBins,
    CategoricalBins,
    Number,
    NumericBins,
    ValueType,
    nearest_float,
    spec_from_json,
)
from drift_monitor.errors import InputError
from drift_monitor.words import bin_name

FLOATS = st.lists(st.floats(-1e300, 1e300) | st.sampled_from([0.0, -0.0, 1.5, -999.0]), min_size=1, max_size=200)
INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), min_size=1, max_size=200)
CENTS = st.lists(st.decimals(-1000, 1000, places=2), min_size=1, max_size=200)
BINNINGS = st.builds(Quantiles, st.integers(1, 40)) | st.builds(Uniform, st.integers(1, 40))
LARGEST = float(np.finfo(float).max)
TYPES = {ValueType.FLOAT: float, ValueType.INTEGER: int, ValueType.DECIMAL: Decimal}


def profile_of(values: list[Number], value_type: ValueType, scale: int | None = None) -> NumericProfile:
    return NumericProfile(
        value_type=value_type, rows=len(values), minimum=min(values), maximum=max(values), sample=values, scale=scale
    )


def numeric(values: list[Number], value_type: ValueType = ValueType.FLOAT, binning=None, scale=None) -> NumericBins:
    spec = make_spec(profile_of(values, value_type, scale), binning)
    assert isinstance(spec, NumericBins)
    return spec


def bin_of(spec: NumericBins, value: Number) -> int:
    """The contract's order, spelled out: how many edges are at or below the value."""
    return sum(1 for edge in spec.edges if edge <= value)


def assert_well_made(spec: NumericBins, values: list[Number], value_type: ValueType) -> None:
    assert all(low < high for low, high in zip(spec.edges[:-1], spec.edges[1:], strict=True))
    assert all(type(edge) is TYPES[value_type] for edge in spec.edges)
    assert all(0 < bin_of(spec, value) < len(spec.edges) for value in values)
    room = 4 * math.ulp(min(values)) if value_type is ValueType.FLOAT else 0
    assert min(values) - room <= spec.edges[0] <= min(values)


@given(FLOATS, BINNINGS)
def test_every_float_of_the_reference_lies_in_an_inner_bin(values, binning):
    assert_well_made(numeric(values, ValueType.FLOAT, binning), values, ValueType.FLOAT)


@given(INTEGERS, BINNINGS)
def test_every_integer_of_the_reference_lies_in_an_inner_bin(values, binning):
    assert_well_made(numeric(values, ValueType.INTEGER, binning), values, ValueType.INTEGER)


@given(CENTS, BINNINGS, st.sampled_from([2, None]))
def test_every_decimal_of_the_reference_lies_in_an_inner_bin(values, binning, scale):
    assert_well_made(numeric(values, ValueType.DECIMAL, binning, scale), values, ValueType.DECIMAL)


@given(FLOATS, st.integers(1, 40))
def test_a_frequent_value_has_its_own_bin(values, count):
    spec = numeric(values, ValueType.FLOAT, Quantiles(count))
    for value, rows in Counter(values).items():
        if rows > 1 and rows >= len(values) / (2 * count):
            place = bin_of(spec, value)
            low, high = spec.edges[place - 1 : place + 1]
            assert low <= value < high or value == high == max(spec.edges)
            assert high - low <= 8 * math.ulp(value)
            assert [other for other in set(values) if low <= other < high] in ([value], [])


@given(FLOATS)
def test_rounding_does_not_leave_the_bin_of_a_value_nor_enter_that_of_another(values):
    spec = numeric(values, ValueType.FLOAT, Quantiles(len(set(values))))
    ordered = sorted(set(values))
    for before, value, after in zip([-math.inf, *ordered], ordered, [*ordered[1:], math.inf], strict=False):
        for steps in range(-3, 4):
            near = value + steps * math.ulp(value)
            if before / 2 + value / 2 < near < value / 2 + after / 2 and math.isfinite(near) and abs(near) < LARGEST:
                assert bin_of(spec, near) == bin_of(spec, value), (near, value)


@pytest.mark.parametrize("value", [0.0, 2.0**-149, -(2.0**-140), 1.5])
def test_the_room_of_32_bits_is_that_of_the_value_also_around_zero(value):
    profile = NumericProfile(
        value_type=ValueType.FLOAT, rows=9, minimum=value, maximum=value, sample=[value] * 9, is_single=True
    )
    step = float(np.spacing(np.float32(abs(value))))
    assert make_spec(profile).edges == (value - 4 * step, value + 4 * step)


def test_a_value_of_32_bits_has_the_room_of_its_type():
    value = float(np.float32(0.1))
    profile = NumericProfile(
        value_type=ValueType.FLOAT, rows=9, minimum=value, maximum=1.0, sample=[value] * 8 + [1.0], is_single=True
    )
    spec = make_spec(profile)
    step = float(np.spacing(np.float32(0.1)))
    assert spec.edges[:2] == (value - 4 * step, value + 4 * step)
    assert [one.label for one in spec.bins][1] == "0.1"


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=200), st.randoms())
def test_the_order_of_the_sample_does_not_matter(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert numeric(values, ValueType.INTEGER).id == numeric(shuffled, ValueType.INTEGER).id


def test_default_is_sixteen_quantiles_and_four_tail_edges():
    values = [float(value) for value in range(1, 10_001)]
    levels = sorted([k / 16 for k in range(1, 16)] + [0.001, 0.01, 0.99, 0.999])
    expected = np.quantile(np.array(values), levels, method="inverted_cdf")
    spec = numeric(values)
    assert spec.edges == (1.0, *expected.tolist(), math.nextafter(10_000.0, math.inf))
    assert len(spec.edges) - 1 == 20


def test_few_distinct_values_have_one_bin_each():
    spec = numeric([1, 2, 3, 5] * 50, ValueType.INTEGER)
    assert spec.edges == (1, 2, 3, 4, 5, 6)
    assert [one.label for one in spec.bins] == ["below", "1", "2", "3", "4", "5", "above", "invalid", "missing"]


def test_a_zero_inflated_column_keeps_zero_apart():
    values = [0.0] * 900 + [float(value) for value in range(1, 101)]
    spec = numeric(values)
    assert bin_of(spec, 0.0) == bin_of(spec, math.nextafter(0.0, -1.0)) == bin_of(spec, math.nextafter(0.0, 1.0)) == 1
    assert bin_of(spec, 1.0) > 1


def test_a_constant_column_has_one_inner_bin():
    assert numeric([7.0] * 300).edges == (7.0 - 4 * math.ulp(7.0), 7.0 + 4 * math.ulp(7.0))
    assert numeric([7] * 300, ValueType.INTEGER).edges == (7, 8)


def test_range_is_that_of_the_whole_reference_not_of_the_sample():
    profile = NumericProfile(value_type=ValueType.FLOAT, rows=10**6, minimum=-50.0, maximum=90.0, sample=[1.0, 2.0])
    spec = make_spec(profile)
    assert isinstance(spec, NumericBins)
    assert spec.edges[0] == -50.0
    assert spec.edges[-1] == math.nextafter(90.0, math.inf)


def test_uniform_bins_have_equal_widths():
    assert numeric([0.0, 3.0, 10.0], binning=Uniform(4)).edges == (0.0, 2.5, 5.0, 7.5, math.nextafter(10.0, math.inf))
    assert numeric([0, 9], ValueType.INTEGER, Uniform(5)).edges == (0, 2, 4, 6, 8, 10)
    cents = numeric([Decimal("0.00"), Decimal("1.00")], ValueType.DECIMAL, Uniform(4), 2)
    assert cents.edges == (Decimal(0), Decimal("0.25"), Decimal("0.5"), Decimal("0.75"), Decimal("1.01"))


def test_uniform_bins_span_the_whole_float_range():
    edges = numeric([-1.7e308, 1.7e308], binning=Uniform(2)).edges
    assert edges == (-1.7e308, 0.0, math.nextafter(1.7e308, math.inf))


@pytest.mark.parametrize(
    ("value_type", "given_edges", "edges"),
    [
        (ValueType.FLOAT, (0, 1, 2.5), (0.0, 1.0, 2.5)),
        (ValueType.FLOAT, (Decimal("0.1"), 1), (0.1, 1.0)),
        (ValueType.INTEGER, (0, 10.0, Decimal(20)), (0, 10, 20)),
        (ValueType.INTEGER, (0.5, 1.5), (1, 2)),
        (ValueType.DECIMAL, (0, 0.1, Decimal("0.250")), (Decimal(0), Decimal("0.1"), Decimal("0.25"))),
    ],
)
def test_explicit_edges_are_literal_and_take_the_type_of_the_column(value_type, given_edges, edges):
    spec = numeric([TYPES[value_type](1)], value_type, Edges(given_edges))
    assert spec.edges == edges
    assert [type(edge) for edge in spec.edges] == [TYPES[value_type]] * len(edges)


def test_a_value_on_the_last_explicit_edge_is_above():
    spec = numeric([1.0], binning=Edges((0, 0.5, 1)))
    assert spec.bins[bin_of(spec, 1.0)].label == "above"


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((1,), "at least two edges"),
        ((0, math.inf), "not finite"),
        ((0, math.nan), "not finite"),
        ((1, 0), "increase strictly"),
        ((0, 2**53, 2**53 + 1), "increase strictly"),
        ((0, 10**400), "too large"),
        ((False, True), "no number"),
    ],
)
def test_edges_that_make_no_bins_are_refused(edges, message):
    with pytest.raises(InputError, match=message):
        numeric([1.0], binning=Edges(edges))


@pytest.mark.parametrize(
    ("value", "value_type", "scale", "expected"),
    [
        (1.0, ValueType.FLOAT, None, 1.0000000000000002),
        (0.0, ValueType.FLOAT, None, 5e-324),
        (2**53, ValueType.INTEGER, None, 2**53 + 1),
        (2**63 - 1, ValueType.INTEGER, None, 2**63),
        (Decimal("9.99"), ValueType.DECIMAL, 2, Decimal("10.00")),
        (Decimal("9" * 38), ValueType.DECIMAL, 10, Decimal("9" * 38 + ".0000000001")),
        (Decimal("1200"), ValueType.DECIMAL, -2, Decimal("1300")),
        (Decimal("1"), ValueType.DECIMAL, None, Decimal("1.0000000000000002")),
    ],
)
def test_successor_is_the_next_value_the_column_can_hold(value, value_type, scale, expected):
    assert successor(value, value_type, scale) == expected


def test_equal_decimals_make_the_same_spec_however_they_are_written():
    one = numeric([Decimal("1.0"), Decimal("2.00")], ValueType.DECIMAL, None, 2)
    other = numeric([Decimal("1.000"), Decimal(2)], ValueType.DECIMAL, None, 2)
    assert one.id == other.id


def test_the_largest_float_counts_as_above():
    largest = float(np.finfo(float).max)
    assert numeric([1.0, 2.0, largest]).edges[-1] == largest
    assert numeric([largest] * 5).edges == (largest - 4 * math.ulp(largest), largest)


@pytest.mark.parametrize("value_type", TYPES)
@pytest.mark.parametrize("binning", [None, Quantiles(5), Uniform(7)])
def test_a_reference_without_values_has_one_bin_for_all_numbers(value_type, binning):
    empty = NumericProfile(value_type=value_type, rows=300, minimum=None, maximum=None, sample=[])
    spec = make_spec(empty, binning)
    assert (spec.edges, spec.size, spec.unknown, spec.invalid, spec.missing) == ((), 3, (0,), 1, 2)
    assert [one.label for one in spec.bins] == ["any number", "invalid", "missing"]
    assert spec_from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_explicit_edges_need_no_reference_values():
    empty = NumericProfile(value_type=ValueType.FLOAT, rows=0, minimum=None, maximum=None, sample=[])
    assert make_spec(empty, Edges((0, 1))) == NumericBins((0.0, 1.0), ValueType.FLOAT)


def test_top_labels_are_the_most_frequent_ones_and_the_rest_is_rare():
    labels = [("it", 50), ("de", 500), ("fr", 300), ("at", 50), ("li", 1)]
    profile = CategoricalProfile(rows=2000, labels=labels)
    assert make_spec(profile) == CategoricalBins(("de", "fr", "at", "it"), ("li",))
    assert make_spec(profile, Top(2)) == CategoricalBins(("de", "fr"), ("at", "it", "li"))


def test_an_incomplete_list_of_labels_leaves_unseen_empty():
    spec = make_spec(CategoricalProfile(rows=10, labels=[("a", 10)], complete=False))
    assert isinstance(spec, CategoricalBins)
    assert spec.ordinal("never seen") == spec.rare


def test_a_boolean_column_has_its_two_bins():
    assert make_spec(BooleanProfile(rows=5)) == BooleanBins()


@pytest.mark.parametrize(
    ("profile", "binning"),
    [
        (BooleanProfile(rows=5), Quantiles()),
        (CategoricalProfile(rows=5, labels=[("a", 5)]), Uniform(3)),
        (profile_of([1.0], ValueType.FLOAT), Top(5)),
        (profile_of([1.0], ValueType.FLOAT), Quantiles(0)),
        (CategoricalProfile(rows=5, labels=[("a", 5)]), Top(0)),
    ],
)
def test_binning_that_does_not_fit_the_column_is_refused(profile, binning):
    with pytest.raises(InputError):
        make_spec(profile, binning)


@pytest.mark.parametrize(
    ("edges", "labels"),
    [
        ((0.1, 0.2, 0.3), ["[0.1, 0.2)", "[0.2, 0.3)"]),
        ((1.0000001, 1.0000002, 2.0), ["[1.0000001, 1.0000002)", "[1.0000002, 2)"]),
        ((1 / 3, 2 / 3), ["[0.333333, 0.666667)"]),
        ((1_000_000.0, 2_500_000.5), ["[1000000, 2500000)"]),  # rounded half to even, as everywhere in Python
        ((1e20, 3e20), ["[1e+20, 3e+20)"]),
        ((7.0, math.nextafter(7.0, 8.0), 9.0), ["7", "[7, 9)"]),
        ((0.1 - 4 * math.ulp(0.1), 0.1 + 4 * math.ulp(0.1)), ["0.1"]),
        ((0.0, 5e-324), ["0"]),
        ((-0.3 - 1e-9, -0.3 + 1e-9), ["[-0.300000001, -0.299999999)"]),
        ((-0.3 - 4 * math.ulp(0.3), -0.3 + 4 * math.ulp(0.3)), ["-0.3"]),
        (
            (123456.789012, 123456.789013, 123456.789014),
            ["[123456.789012, 123456.789013)", "[123456.789013, 123456.789014)"],
        ),
    ],
)
def test_labels_tell_edges_apart_and_call_a_single_value_by_its_name(edges, labels):
    spec = NumericBins(edges, ValueType.FLOAT)
    assert [one.label for one in spec.bins[1:-3]] == labels
    assert all(len(label) <= 2 * (12 + 6) for label in labels)
    if labels[0].startswith("["):
        assert bin_name(spec.bins[0]) == f"below {labels[0][1:].partition(',')[0]}"


@pytest.mark.parametrize(
    ("values", "value_type"),
    [
        ([Decimal("1e400"), Decimal("2e400"), Decimal(0)], ValueType.DECIMAL),
        ([Decimal("-2e308"), Decimal("2e308")], ValueType.DECIMAL),
        ([10**400, -(10**400), 3], ValueType.INTEGER),
    ],
    ids=["decimals", "both ends", "integers"],
)
@pytest.mark.parametrize("binning", [Quantiles(16), Uniform(4)])
def test_numbers_beyond_all_floats_have_bins_with_labels(values, value_type, binning):
    """A numeric column of a database may hold them: one feature must not keep its monitor from being measured."""
    spec = make_spec(profile_of(sorted(values * 100), value_type), binning)
    assert all(one.label for one in spec.bins)
    bounds = [nearest_float(one.lower) for one in spec.bins if one.lower is not None]
    assert all(math.isfinite(bound) for bound in bounds) and bounds == sorted(bounds)
    if binning == Quantiles(16):
        for value in values:
            assert spec.bins[bin_of(spec, value)].lower == value
