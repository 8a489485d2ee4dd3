"""Profiles: exact ends, uniform samples, labels with exact counts; bounded whatever the table holds."""

import math
import random
from collections import Counter as Multiset
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from drift_monitor.core.binning import BooleanProfile, CategoricalProfile, NumericProfile, Profile, make_spec
from drift_monitor.core.bins import CategoricalBins, Kind, NumericBins, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.errors import FeatureError
from drift_monitor.sources import profile
from drift_monitor.sources.dataset import Dataset, FeatureColumn
from tests.sources.databases import Database, Postgresql, Sqlite, counter, expected, table


def profiles(database: Database, dataset: Dataset, *names: str, span: Span | None = None) -> dict[str, Any]:
    columns = [FeatureColumn(feature=name, column=name) for name in names]
    return dict(database.source().profile(dataset, columns, span))


def numeric(found: Profile | FeatureError) -> NumericProfile:
    assert isinstance(found, NumericProfile)
    return found


def test_small_tables_are_profiled_whole(database: Database) -> None:
    floats = [1.5, -2.0, None, 0.25]
    database.create("t", {"f": "float8", "i": "int", "c": "text", "b": "bool"}, [(f, 7, "x", True) for f in floats])
    found = profiles(database, table(), "f", "i", "c", "b")
    assert sorted(found["f"].sample) == [-2.0, 0.25, 1.5]
    assert (found["f"].minimum, found["f"].maximum, found["f"].rows) == (-2.0, 1.5, 4)
    assert (list(found["i"].sample), found["i"].value_type) == ([7] * 4, ValueType.INTEGER)
    assert found["c"] == CategoricalProfile(rows=4, labels=[("x", 4)], complete=True)
    assert found["b"] == BooleanProfile(rows=4)


def test_values_that_are_not_finite_are_in_no_range_and_no_sample(database: Database) -> None:
    values = [1.0, 2.0, math.inf, -math.inf, None]
    database.create("t", {"f": "float8"}, [(value,) for value in [*values, math.nan]])
    found = numeric(profiles(database, table(), "f")["f"])
    assert (found.minimum, found.maximum, sorted(found.sample)) == (1.0, 2.0, [1.0, 2.0])


def test_decimals_keep_their_digits_and_their_scale(postgresql: Postgresql) -> None:
    digits = Decimal("12345678901234567890.1234")
    rows = [(digits, Decimal("1e400"), Decimal("1.50")), (None, Decimal("NaN"), Decimal("2.25"))]
    postgresql.create("t", {"d": "numeric(30,4)", "u": "numeric", "s": "numeric(6,2)"}, rows)
    found = profiles(postgresql, table(), "d", "u", "s")
    assert (found["d"].minimum, found["d"].sample, found["d"].scale) == (digits, [digits], 4)
    assert (found["u"].maximum, found["u"].scale) == (Decimal("1e400"), None)
    assert found["s"].scale == 2


def test_the_scale_of_an_expression_is_known(postgresql: Postgresql) -> None:
    postgresql.create("t", {"d": "numeric(8,3)"}, [(Decimal("1.125"),)])
    columns = [
        FeatureColumn(feature="cast", expression="d::numeric(10,1)"),
        FeatureColumn(feature="sum", expression="d + 1"),
    ]
    found = postgresql.source().profile(table(), columns, None)
    assert (numeric(found["cast"]).scale, numeric(found["sum"]).scale) == (1, None)


def test_no_rows_have_a_profile_without_ends(database: Database) -> None:
    database.create("t", {"f": "float8", "c": "text"}, [])
    found = profiles(database, table(), "f", "c")
    assert (found["f"].minimum, found["f"].maximum, len(found["f"].sample), found["f"].rows) == (None, None, 0, 0)
    assert found["c"] == CategoricalProfile(rows=0, labels=[], complete=True)


def test_only_the_span_is_profiled(database: Database) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [
        ((start + timedelta(hours=hour)).isoformat(), float(hour), "old" if hour < 3 else "new") for hour in range(6)
    ]
    database.create("t", {"at": "timestamptz", "f": "float8", "c": "text"}, rows)
    span = Span(start + timedelta(hours=3), start + timedelta(hours=5))
    found = profiles(database, table(time_column="at"), "f", "c", span=span)
    assert (found["f"].minimum, found["f"].maximum, found["f"].rows) == (3.0, 4.0, 2)
    assert found["c"].labels == [("new", 2)]


@pytest.mark.parametrize("as_query", [True, False])
def test_a_large_table_is_sampled_uniformly_with_exact_ends(
    database: Database, monkeypatch: pytest.MonkeyPatch, as_query: bool
) -> None:
    """Rows in order of their value: a sample of pages or of the first rows would be far off."""
    monkeypatch.setattr(profile, "SAMPLED_ROWS", 4000)
    monkeypatch.setattr(profile, "FEWEST_SAMPLED_ROWS", 4000)
    database.create("t", {"f": "float8"}, [(number / 7,) for number in range(60_000)])
    if isinstance(database, Postgresql):
        database.execute("ANALYZE t")
    dataset = Dataset(monitor="m", query="SELECT f FROM t") if as_query else table()
    found = numeric(profiles(database, dataset, "f")["f"])
    assert (found.minimum, found.maximum) == (0.0, 59_999 / 7)
    assert 3_500 <= len(found.sample) <= 8_100
    ranks = np.sort(np.asarray(found.sample, dtype=float)) * 7 / 60_000
    assert np.abs(ranks - np.linspace(0, 1, len(ranks))).max() < 0.05


def test_labels_come_with_exact_counts_most_frequent_first(database: Database) -> None:
    rng = random.Random(2)
    cells: list[Any] = [rng.choice(["a", "b", "B", "", "é", None]) for _ in range(500)]
    database.create("t", {"c": "text"}, [(cell,) for cell in cells])
    counted = Multiset(cell for cell in cells if cell is not None)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    assert profiles(database, table(), "c")["c"] == CategoricalProfile(rows=500, labels=ordered, complete=True)


def test_labels_beyond_the_limit_make_the_profile_incomplete(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "MOST_LABELS", 3)
    cells = ["a"] * 5 + ["b"] * 4 + ["c"] * 3 + ["d"] * 2 + ["e"]
    database.create("t", {"c": "text"}, [(cell,) for cell in cells])
    found = profiles(database, table(), "c")["c"]
    assert (found.labels, found.complete) == ([("a", 5), ("b", 4), ("c", 3)], False)


@pytest.mark.slow
def test_two_hundred_thousand_labels_are_bounded_and_the_frequent_ones_exact(database: Database) -> None:
    many = [f"id-{number}" for number in range(200_000)]
    cells = [*many[:100_000], *["top"] * 3000, *["second"] * 2000, *many[100_000:], None]
    database.create("t", {"c": "text"}, [(cell,) for cell in cells])
    found = profiles(database, table(), "c")["c"]
    assert (len(found.labels), found.complete, found.rows) == (10_000, False, 205_001)
    assert found.labels[:2] == [("top", 3000), ("second", 2000)]
    spec = CategoricalBins(("top", "id-7"), tuple(many[100:10_100]))
    reading = database.source().read(table(), [counter("c", spec)], None)
    assert reading.counts["c"].tolist() == [[3000, 1, 10_000, 191_999, 1]]


def test_more_labels_than_can_be_counted_at_a_time_are_counted_again(
    sqlite: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "MOST_DISTINCT", 50)
    monkeypatch.setattr(profile, "MOST_LABELS", 10)
    cells = ["top"] * 30 + [f"id-{number}" for number in range(12_000)] + ["top"] * 30
    sqlite.create("t", {"c": "text"}, [(cell,) for cell in cells])
    found = profiles(sqlite, table(), "c")["c"]
    assert found.labels[0] == ("top", 60)
    assert not found.complete


def test_very_long_labels_are_cut_alike_everywhere(database: Database) -> None:
    long = "é" * 600
    other = "é" * 599 + "e"
    database.create("t", {"c": "text"}, [(long,), (long,), (other,), ("é" * 500,), ("x" * 10_000_000,)])
    found = profiles(database, table(), "c")["c"]
    labels = dict(found.labels)
    assert sorted(labels.values()) == [1, 1, 1, 2]
    assert max(len(label.encode()) for label in labels) <= 1000
    spec = CategoricalBins(tuple(labels))
    reading = database.source().read(table(), [counter("c", spec)], None)
    assert reading.counts["c"][0].tolist() == [*labels.values(), 0, 0, 0]


def test_long_labels_are_the_same_in_both_databases(sqlite: Sqlite, postgresql: Postgresql) -> None:
    for one in (sqlite, postgresql):
        one.create("t", {"c": "text"}, [("é" * 600,)])
    assert profiles(sqlite, table(), "c")["c"] == profiles(postgresql, table(), "c")["c"]


def test_bytes_that_are_no_text_have_a_label(sqlite: Sqlite) -> None:
    sqlite.create("t", {"c": "text"}, [("a\x00b",), (b"\xff\xfe",), (3,), (2.5,), ("a",)])
    sqlite.execute("INSERT INTO t VALUES (CAST(x'61FF' AS TEXT))")
    found = profiles(sqlite, table(), "c")["c"]
    assert set(dict(found.labels)) == {"a\ufffdb", "\ufffd\ufffd", "3", "2.5", "a", "a\ufffd"}


def test_integers_and_reals_of_one_column_are_reals(sqlite: Sqlite) -> None:
    sqlite.create("t", {"i": "int", "f": "float8"}, [(-1, 0.5), (2.5, 1.5), (None, None), ("x", "x")])
    found = profiles(sqlite, table(), "i", "f")
    assert (found["i"].value_type, found["i"].minimum, found["i"].maximum) == (ValueType.FLOAT, -1, 2.5)
    assert (found["f"].minimum, found["f"].maximum) == (0.5, 1.5)


def test_integers_past_the_floats_stay_inside_the_range(sqlite: Sqlite) -> None:
    sqlite.execute("CREATE TABLE t (f)")
    sqlite.execute(f"INSERT INTO t VALUES (0.5), ({2**53 + 1})")
    column = FeatureColumn(feature="f", column="f", kind=Kind.NUMERIC)
    found = numeric(sqlite.source().profile(table(), [column], None)["f"])
    assert found.value_type is ValueType.FLOAT
    assert found.maximum == float(2**53 + 2)


def test_one_bad_feature_does_not_stop_the_profile(database: Database) -> None:
    database.create("t", {"n": "int", "c": "text"}, [(0, "a"), (1, "b")])
    bad = "1 / n" if isinstance(database, Postgresql) else "abs(-9223372036854775807 - 1 + 0 * n)"
    columns = [
        FeatureColumn(feature="n", column="n"),
        FeatureColumn(feature="bad", expression=bad, kind=Kind.NUMERIC),
        FeatureColumn(feature="gone", column="gone"),
        FeatureColumn(feature="c", column="c"),
    ]
    found = database.source().profile(table(), columns, None)
    failed = [name for name, one in found.items() if isinstance(one, FeatureError)]
    assert failed == ["bad", "gone"]


def test_a_reference_counted_by_its_own_profile_has_nothing_outside(database: Database) -> None:
    rng = random.Random(4)
    values = [rng.choice([rng.gauss(5, 2), 0.0, None]) for _ in range(2000)]
    database.create("t", {"f": "float8"}, [(value,) for value in values])
    spec = make_spec(profiles(database, table(), "f")["f"])
    assert isinstance(spec, NumericBins)
    counts = database.source().read(table(), [counter("f", spec)], None).counts["f"][0].tolist()
    assert counts == expected(values, spec)
    assert [counts[ordinal] for ordinal in spec.unknown] == [0, 0]
