"""Comparing two frames: kinds, bins and counts against numpy and hand-made numbers, and what is refused."""

import datetime
import math
import subprocess
import sys
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_monitor import FeatureComparison, compare, compare_counts
from drift_monitor.core.divergence import DIVERGENCES
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.errors import InputError
from tests.examples import examples


def _one(reference: Any, live: Any, **options: Any) -> FeatureComparison:
    report = compare(pd.DataFrame({"x": reference}), pd.DataFrame({"x": live}), **options)
    assert not report.skipped
    return report.features["x"]


def _counts(one: FeatureComparison, *, live: bool = True) -> dict[str, int]:
    """The bins that hold rows."""
    pairs = ((each.label, each.live_count if live else each.reference_count) for each in one.bins)
    return {label: rows for label, rows in pairs if rows}


def _edges(one: FeatureComparison) -> list[float]:
    return [each.lower for each in one.bins if each.lower is not None]


def test_numbers_are_counted_as_numpy_counts_them_and_compared_as_counts_are() -> None:
    random = np.random.default_rng(7)
    reference, live = random.normal(size=20_000), random.normal(0.3, 1.2, size=3_000)

    one = _one(reference, live)

    edges = np.array(_edges(one))
    inner = [np.histogram(side[side < edges[-1]], edges)[0] for side in (live, reference)]
    outer = [[(side < edges[0]).sum(), (side >= edges[-1]).sum()] for side in (live, reference)]
    expected = compare_counts(
        live=[outer[0][0], *inner[0], outer[0][1]], reference=[outer[1][0], *inner[1], outer[1][1]]
    )
    assert one.comparison is not None
    for name in (*DIVERGENCES, "noise_floor"):
        assert getattr(one.comparison, name) == pytest.approx(getattr(expected, name), rel=1e-12)
    assert one.comparison.interval["psi"] == pytest.approx(expected.interval["psi"], rel=1e-12)
    assert one.comparison.noise_floors == pytest.approx(expected.noise_floors, rel=1e-12)


def test_quantile_bins_of_the_reference_hold_equal_shares() -> None:
    one = _one(np.arange(16_000.0), np.arange(16_000.0))

    inner = [each.reference_count for each in one.bins[1:-3]]
    assert inner[3:-3] == [1000] * 14  # 16 quantiles; the first and the last are cut by the tail edges
    assert sum(inner) == 16_000


def test_a_shift_of_a_normal_is_found_near_its_closed_form() -> None:
    """KL of N(0.5, 1) from N(0, 1) is 0.125 nats; bins lose a little of it."""
    random = np.random.default_rng(3)

    one = _one(random.normal(size=100_000), random.normal(0.5, 1, size=100_000))

    assert one.comparison is not None
    assert one.comparison.corrected["kl_live_reference"] == pytest.approx(0.125, abs=0.01)


def test_published_letter_grades_against_their_reverse() -> None:
    """0.2708050 nats both ways without smoothing, for (.30 .25 .20 .15 .10) against the same backwards."""
    rows = [30, 25, 20, 15, 10]
    reference = [grade for grade, count in zip("ABCDE", rows, strict=True) for _ in range(count)]
    live = [grade for grade, count in zip("ABCDE", rows[::-1], strict=True) for _ in range(count)]

    one = _one(reference, live, smoothing="none")

    assert one.comparison is not None
    assert one.comparison.kl_live_reference == pytest.approx(0.2708050, abs=1e-7)
    assert one.comparison.kl_reference_live == pytest.approx(0.2708050, abs=1e-7)


def test_a_value_that_only_live_has_is_infinitely_far_without_smoothing() -> None:
    one = _one(["a", "b"], ["a", "c"], smoothing="none")

    assert one.comparison is not None
    assert math.isinf(one.comparison.kl_live_reference)
    assert one.comparison.interval["kl_live_reference"] is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.5, 2.5], "numeric"),
        ([1, 2], "numeric"),
        (pd.array([1, None], dtype="Int64"), "numeric"),
        (pd.array([1, 2], dtype="uint8"), "numeric"),
        (pd.array([1, 2**64 - 1], dtype="uint64"), "numeric"),
        (pd.array([0.5, None], dtype="Float64"), "numeric"),
        (pd.array([Decimal("0.10"), None], dtype=object), "numeric"),
        (pd.array([1, 2.5, None], dtype=object), "numeric"),
        (pd.array([10**30, 3], dtype=object), "numeric"),
        ([True, False], "boolean"),
        (pd.array([True, None], dtype="boolean"), "boolean"),
        (pd.array([True, None], dtype=object), "boolean"),
        (["a", None], "categorical"),
        (pd.array(["a", None], dtype="string"), "categorical"),
        (pd.Categorical([1, 2]), "categorical"),
        (pd.Categorical([True, False]), "categorical"),
        ([uuid.UUID(int=1), uuid.UUID(int=2)], "categorical"),
        ([b"\xff", b"b"], "categorical"),
        (pd.array(["a", 1], dtype=object), "categorical"),
    ],
)
def test_the_kind_of_a_column_follows_its_dtype_and_its_values(values: Any, kind: str) -> None:
    assert _one(values, values).live.spec.kind.value == kind


@pytest.mark.parametrize("dtype", ["int64[pyarrow]", "double[pyarrow]", "bool[pyarrow]", "string[pyarrow]"])
def test_arrow_columns_are_read_like_others(dtype: str) -> None:
    values = {"bool[pyarrow]": [True, None], "string[pyarrow]": ["a", None]}.get(dtype, [1, None])

    one = _one(pd.array(values, dtype=dtype), pd.array(values, dtype=dtype))

    assert one.live_missing_ratio == 0.5


def test_sparse_columns_are_read_like_others() -> None:
    one = _one(pd.arrays.SparseArray([0.0, 0.0, 1.0]), [0.0, 1.0, 1.0])

    assert [each.live_count for each in one.bins if each.live_count] == [1, 2]


@pytest.mark.parametrize(
    "values",
    [
        pd.date_range("2026-01-01", periods=2),
        pd.to_timedelta([1, 2], unit="s"),
        pd.period_range("2026-01", periods=2, freq="M"),
        [datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)],
        [[1], [2]],
        [{"a": 1}, {"a": 2}],
        [1j, 2j],
        [Decimal("sNaN"), Decimal(1)],
    ],
)
def test_columns_without_bins_are_skipped_with_a_reason_and_the_others_compared(values: Any) -> None:
    frame = pd.DataFrame({"x": values, "y": [1, 2]})

    report = compare(frame, frame)

    assert list(report.features) == ["y"]
    assert report.skipped["x"]


def test_a_live_column_without_bins_is_skipped_too() -> None:
    report = compare(pd.DataFrame({"x": [1.0]}), pd.DataFrame({"x": [pd.Timestamp("2026-01-01")]}))

    assert report.skipped["x"].startswith("live: ")


def test_nan_in_a_float_column_is_missing_as_pandas_has_it() -> None:
    one = _one([1.0, 2.0, 3.0, 4.0], [math.nan, 1.0, 2.0, math.nan])

    assert one.live_missing_ratio == 0.5
    assert _counts(one)["missing"] == 2


def test_infinite_values_lie_below_and_above() -> None:
    one = _one([1.0, 2.0], [-math.inf, math.inf])

    assert _counts(one) == {"below": 1, "above": 1}
    assert one.live_unseen_ratio == 1


def test_labels_never_seen_in_the_reference_are_unseen() -> None:
    one = _one(["a", "a", "b"], ["a", "z", None])

    assert _counts(one) == {"a": 1, "unseen": 1, "missing": 1}
    assert one.live_unseen_ratio == pytest.approx(1 / 3)


def test_text_among_live_numbers_is_invalid() -> None:
    one = _one([1.0, 2.0, 3.0], pd.array([1.0, "n/a", 3], dtype=object))

    assert _counts(one)["invalid"] == 1


def test_numbers_are_labels_where_the_reference_has_texts() -> None:
    one = _one(["1", "2"], [1, 3])

    assert _counts(one) == {"1": 1, "unseen": 1}


def test_equal_values_of_different_types_are_labels_of_their_own() -> None:
    one = _one(pd.array(["a", 1, 1.0, True], dtype=object), pd.array(["a", 1, 1.0, True], dtype=object))

    assert _counts(one) == {"a": 1, "1": 1, "1.0": 1, "True": 1}


def test_zero_and_one_are_truth_values_where_the_reference_has_some() -> None:
    one = _one([True, False], [1, 2])

    assert _counts(one) == {"true": 1, "invalid": 1}


def test_integers_beyond_floats_are_told_apart() -> None:
    one = _one([2**53, 2**53 + 1], [2**53 + 1, 2**53 + 1])

    assert _counts(one) == {str(2**53 + 1): 2}


def test_integer_edges_hold_for_a_live_column_that_nulls_made_float() -> None:
    one = _one([1, 2, 3, 4], [1.0, 2.0, None, 4.0])

    assert _counts(one) == {"1": 1, "2": 1, "4": 1, "missing": 1}


def test_decimals_are_compared_exactly() -> None:
    tenths = [Decimal("0.1"), Decimal("0.2"), Decimal("0.3")]

    one = _one(tenths, [Decimal("0.3"), Decimal("0.1"), Decimal("0.30000000000000000001")])

    assert [each.live_count for each in one.bins if each.lower is not None and each.live_count] != []
    assert sum(_counts(one).values()) == 3
    assert _counts(one, live=False) and "above" not in _counts(one, live=False)


def test_a_reference_without_values_makes_all_of_live_unseen() -> None:
    one = _one([None, None], [1.5, None])

    assert _counts(one) == {"unseen": 1, "missing": 1}


def test_a_column_without_values_on_both_sides_has_not_drifted() -> None:
    one = _one([math.nan, math.nan], [math.nan])

    assert one.psi == 0
    assert one.live_missing_ratio == 1


def test_category_codes_of_the_two_sides_may_differ() -> None:
    reference = pd.Categorical(["a", "b", "b"], categories=["b", "a"])
    live = pd.Categorical(["a", "c", None], categories=["c", "a", "unused"])

    assert _counts(_one(reference, live)) == {"a": 1, "unseen": 1, "missing": 1}


def test_fewer_rows_than_asked_for_are_insufficient_and_never_zero() -> None:
    report = compare(pd.DataFrame({"x": range(200)}), pd.DataFrame({"x": range(199)}), min_rows=200)

    row = report.to_frame().loc["x"]
    assert row["status"] == MeasurementStatus.INSUFFICIENT_DATA.value
    assert math.isnan(row["psi"]) and math.isnan(row["noise_floor"])
    assert row["live_rows"] == 199


def test_the_frame_has_one_row_a_feature_with_the_names_of_the_database_view() -> None:
    frame = compare(pd.DataFrame({"b": [1.0, 2.0], "a": ["x", "y"]}), pd.DataFrame({"b": [1.0], "a": ["z"]})).to_frame()

    assert list(frame.index) == ["b", "a"]
    assert {f"{name}{end}" for name in DIVERGENCES for end in ("", "_low", "_high")} <= set(frame.columns)
    assert {"status", "live_rows", "reference_rows", "noise_floor", "direction"} <= set(frame.columns)
    assert {"live_missing_ratio", "reference_missing_ratio", "live_unseen_ratio"} <= set(frame.columns)
    assert frame["psi"].dtype == np.float64
    assert frame["live_rows"].dtype == np.int64


def test_a_report_of_skipped_columns_only_has_an_empty_frame() -> None:
    frame = pd.DataFrame({"x": [[1]]})

    report = compare(frame, frame)

    assert report.to_frame().empty


def test_named_features_are_compared_whatever_else_the_sides_have() -> None:
    report = compare(pd.DataFrame({"x": [1], "old": [1]}), pd.DataFrame({"x": [1], "new": [1]}), features=["x"])

    assert list(report.features) == ["x"]


def test_columns_need_no_text_as_name() -> None:
    report = compare(pd.DataFrame([[1, 2]]), pd.DataFrame([[1, 2]]), features=[1])

    assert list(report.features) == ["1"]


_GOOD = pd.DataFrame({"age": [1.0]})


@pytest.mark.parametrize(
    ("reference", "live", "options", "message"),
    [
        ([1], _GOOD, {}, "reference must be a pandas DataFrame, found list"),
        (_GOOD, None, {}, "live must be a pandas DataFrame, found NoneType"),
        (_GOOD, _GOOD.iloc[:0], {}, "live has no rows"),
        (pd.DataFrame(), _GOOD, {}, "reference has no columns"),
        (_GOOD, pd.DataFrame({"ago": [1.0]}), {}, "no column in common: reference has 'age', live has 'ago'"),
        (_GOOD, _GOOD, {"features": ["agee"]}, r"reference has no column 'agee' \(did you mean 'age'\?\)"),
        (_GOOD, _GOOD, {"features": []}, "name at least one"),
        (_GOOD, _GOOD, {"features": "age"}, "must be a list"),
        (_GOOD, _GOOD, {"features": 3}, "must be a list"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), _GOOD, {}, "two columns named 'a'"),
        (_GOOD, _GOOD, {"smoothing": "laplace"}, "smoothing 'laplace' is unknown"),
        (_GOOD, _GOOD, {"pseudocount": 0}, "pseudocount 0 is no positive number"),
        (_GOOD, _GOOD, {"min_rows": 0}, "min_rows 0"),
        (_GOOD, _GOOD, {"min_rows": "many"}, "min_rows 'many'"),
    ],
)
def test_what_can_not_be_compared_is_a_value_error_that_says_why(
    reference: Any, live: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        compare(reference, live, **options)

    assert isinstance(caught.value, InputError)


def test_smoothing_is_that_of_counts() -> None:
    one = _one([False] * 6 + [True] * 4, [False] * 3 + [True] * 7, smoothing="additive", pseudocount=2.0)

    expected = compare_counts(live=[3, 7, 0, 0], reference=[6, 4, 0, 0], smoothing="additive", pseudocount=2.0)
    assert one.comparison is not None
    assert one.comparison.psi == pytest.approx(expected.psi, rel=1e-12)


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(allow_nan=True),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.dates(),
    st.just(pd.NA),
    st.lists(st.integers(), max_size=2),
)
_LISTS = st.one_of(
    st.lists(_VALUES, min_size=1, max_size=8),
    st.lists(st.floats(), min_size=1, max_size=8),
    st.lists(st.integers(), min_size=1, max_size=8),
    st.lists(st.text(st.characters(), max_size=3), min_size=1, max_size=8),
    st.lists(st.decimals(), min_size=1, max_size=8),
)


@examples(300)
@given(reference=_LISTS, live=_LISTS, as_objects=st.booleans())
def test_whatever_two_frames_hold_they_are_compared_or_refused(
    reference: list[Any], live: list[Any], as_objects: bool
) -> None:
    try:
        frames = [
            pd.DataFrame({"x": pd.Series(side, dtype=object if as_objects else None)}) for side in (reference, live)
        ]
    except (ValueError, TypeError, OverflowError, ArithmeticError):  # pandas itself can't hold these values
        return

    report = compare(*frames)

    for one in report.features.values():
        assert (one.reference.rows, one.live.rows) == (len(reference), len(live))
        assert one.psi >= 0
    assert set(report.features) | set(report.skipped) == {"x"}
    assert len(report.to_frame()) == len(report.features)


@examples(100)
@given(values=st.lists(st.one_of(st.floats(allow_infinity=False), st.none()), min_size=1, max_size=50))
def test_a_frame_has_not_drifted_from_itself(values: list[float | None]) -> None:
    one = _one(pd.Series(values, dtype=float), pd.Series(values, dtype=float), smoothing="none")

    assert one.psi == 0
    assert one.live_unseen_ratio == 0 or max(abs(value) for value in values if value is not None) == sys.float_info.max


def test_importing_the_package_does_not_load_a_database_library() -> None:
    program = (
        "import sys, drift_monitor; print([n for n in ('sqlalchemy', 'apscheduler', 'starlette') if n in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
