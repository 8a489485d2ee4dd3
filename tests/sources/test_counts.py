"""Counts equal the oracle's to the last row, on the values that other ways of counting get wrong."""

import math
import random
import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
import pytest

from drift_monitor.core.bins import BooleanBins, CategoricalBins, NumericBins, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.errors import InconsistentCounts
from drift_monitor.sources.statements import check_totals
from tests.sources.databases import Database, Postgresql, Sqlite, counter, expected, table

EDGES = (-1.5, -0.0, 5e-324, 0.1, 0.3, 1.0, 100.0, 1e300)
FLOATS: list[float | None] = [
    *(edge for edge in EDGES),
    *(math.nextafter(edge, math.inf) for edge in EDGES),
    *(math.nextafter(edge, -math.inf) for edge in EDGES),
    *(0.0, -0.0, 1e-310, -1e-310, math.inf, -math.inf, 1.7976931348623157e308, 0.1 + 0.2, None, None),
]
BIG = 2**53
INTEGER_EDGES = (-(2**63), -BIG - 1, -BIG, 0, 7, BIG, BIG + 1, BIG + 2, 2**63 - 1)
INTEGERS: list[int | None] = [
    *(edge + step for edge in INTEGER_EDGES for step in (-1, 0, 1) if -(2**63) <= edge + step < 2**63),
    None,
]


def count(database: Database, column_type: str, values: list[Any], spec: Any) -> list[int]:
    database.create("t", {"x": column_type}, [(value,) for value in values])
    reading = database.source().read(table(), [counter("x", spec)], None)
    assert reading.failed == {}
    assert reading.rows.tolist() == [len(values)]
    return [int(number) for number in reading.counts["x"][0]]


def test_floats_on_edges_beside_them_and_beyond_all(database: Database) -> None:
    spec = NumericBins(EDGES, ValueType.FLOAT)
    assert count(database, "float8", FLOATS, spec) == expected(FLOATS, spec)


def test_nan_is_invalid_and_null_is_missing(postgresql: Postgresql) -> None:
    spec = NumericBins(EDGES, ValueType.FLOAT)
    values = [*FLOATS, math.nan, math.nan, math.nan]
    found = count(postgresql, "float8", values, spec)
    assert found == expected(values, spec)
    assert found[spec.invalid] == 3


def test_integers_past_two_to_the_fifty_third_keep_their_sides(database: Database) -> None:
    spec = NumericBins(INTEGER_EDGES, ValueType.INTEGER)
    assert count(database, "bigint", INTEGERS, spec) == expected(INTEGERS, spec)


def test_integer_edges_beyond_the_column_are_reached_by_no_value(database: Database) -> None:
    spec = NumericBins((-(2**70), 0, 2**63), ValueType.INTEGER)
    assert count(database, "bigint", INTEGERS, spec) == expected(INTEGERS, spec)


@pytest.mark.parametrize("kind", ["smallint", "int"])
def test_small_integers_count_exactly(database: Database, kind: str) -> None:
    spec = NumericBins((-3, 0, 1, 2, 1000), ValueType.INTEGER)
    values = [-32768, -4, -3, -2, 0, 1, 2, 999, 1000, 32767, None]
    assert count(database, kind, values, spec) == expected(values, spec)


def test_integers_against_fractional_edges(database: Database) -> None:
    spec = NumericBins((0.5, 2.0, 2.0000000000000004), ValueType.FLOAT)
    values = [0, 1, 2, 3, None]
    assert count(database, "bigint", values, spec) == expected(values, spec)


def test_decimals_are_compared_as_decimals(postgresql: Postgresql) -> None:
    spec = NumericBins((Decimal("-1"), Decimal("0.1"), Decimal("0.3"), Decimal("1e30")), ValueType.DECIMAL)
    texts = ("0.29999999999999999999", "0.3", "0.30000000000000000001", "0.1", "-1", "1e400", "-1e400", "1e30", "NaN")
    values = [*(Decimal(text) for text in texts), None]
    found = count(postgresql, "numeric", values, spec)
    assert found == expected(values, spec)
    assert found[spec.invalid] == 1


def test_infinite_decimals_are_below_and_above(postgresql: Postgresql) -> None:
    spec = NumericBins((Decimal("0"), Decimal("1")), ValueType.DECIMAL)
    values = [Decimal("Infinity"), Decimal("-Infinity"), Decimal("0.5")]
    assert count(postgresql, "numeric", values, spec) == [1, 1, 1, 0, 0]


def test_float_edges_over_a_decimal_column_are_exact(postgresql: Postgresql) -> None:
    spec = NumericBins((0.1, 0.3), ValueType.FLOAT)
    values = [
        Decimal("0.1"),
        Decimal(float("0.1")),
        Decimal("0.3"),
        Decimal(float("0.3")),
        Decimal("0.29999999999999999999"),
    ]
    assert count(postgresql, "numeric", values, spec) == expected(values, spec)


def test_single_floats_are_compared_by_their_own_value(postgresql: Postgresql) -> None:
    tenth = struct.unpack("f", struct.pack("f", 0.1))[0]
    assert tenth > 0.1
    spec = NumericBins((0.0, 0.1, tenth, 1.0), ValueType.FLOAT)
    values = [0.0, tenth, -tenth, 0.5, 1.0, math.inf, math.nan, None]
    assert count(postgresql, "float4", values, spec) == expected(values, spec)


def test_arithmetic_bins_would_differ_and_ours_do_not(database: Database) -> None:
    spec = NumericBins(tuple(number / 10 for number in range(11)), ValueType.FLOAT)
    values = [number / 1000 for number in range(1001)]
    assert count(database, "float8", values, spec) == expected(values, spec)


def test_text_and_blobs_in_a_number_column_are_invalid(sqlite: Sqlite) -> None:
    spec = NumericBins((0.0, 1.0, 2.0), ValueType.FLOAT)
    values = ["abc", "", "nan", "1.5 apples", b"\x00\x01", 0.5, 1, 2**60, None]
    found = count(sqlite, "float8", values, spec)
    assert found == [0, 1, 1, 1, 5, 1]


def test_reals_among_integers_count_exactly(sqlite: Sqlite) -> None:
    spec = NumericBins((0, 1, BIG, BIG + 1), ValueType.INTEGER)
    values = [0.5, 0.999, 1.0000001, 1, BIG, BIG + 1, BIG + 2, float(BIG), math.inf, -math.inf, None]
    assert count(sqlite, "bigint", values, spec) == expected(values, spec)


def test_labels_are_compared_byte_by_byte(database: Database) -> None:
    values = ["a", "A", "a ", " a", "", "é", "e\u0301", "ß", "ss", "NULL", "missing", "'", '"', "%s", ":x", None, None]
    spec = CategoricalBins(("a", "A", "", "é", "'", "missing"), ("a ", "%s"))
    assert count(database, "text", values, spec) == expected(values, spec)


def test_a_collation_that_merges_labels_does_not_merge_ours(database: Database) -> None:
    values = ["a", "A", "b", "B", None]
    if isinstance(database, Postgresql):
        try:
            database.execute(
                "CREATE COLLATION merging (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("this PostgreSQL was built without ICU, and has no collation that merges labels")
    kind = "text COLLATE merging" if isinstance(database, Postgresql) else "TEXT COLLATE NOCASE"
    spec = CategoricalBins(("a", "b"), ("B",))
    assert count(database, kind, values, spec) == expected(values, spec)


def test_labels_beyond_those_remembered_are_rare_not_unseen(database: Database) -> None:
    spec = CategoricalBins(("a",), ("b",), rare_complete=False)
    assert count(database, "text", ["a", "b", "c", "d", None], spec) == [1, 3, 0, 1]


def test_truth_values_have_their_bins(database: Database) -> None:
    values = [True, False, True, None]
    assert count(database, "bool", values, BooleanBins()) == [1, 2, 0, 1]


def test_integers_can_be_truth_values(database: Database) -> None:
    assert count(database, "int", [0, 1, 1, 2, None], BooleanBins()) == [1, 2, 1, 1]


def test_every_kind_together_over_many_slices(database: Database) -> None:
    """Random rows, three kinds, spans that touch, overlap, are apart and are empty."""
    rng = random.Random(7)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [
        (
            start + timedelta(seconds=rng.randrange(-3600, 7200)),
            rng.choice([None, rng.gauss(0, 1)]),
            rng.randrange(-5, 5),
            rng.choice(["x", "y", "z", None]),
            rng.choice([True, False, None]),
        )
        for _ in range(3000)
    ]
    stored = [(_written(database, at), *cells) for at, *cells in rows]
    database.create("t", {"at": "timestamptz", "f": "float8", "i": "int", "c": "text", "b": "bool"}, stored)
    specs = {
        "f": NumericBins((-1.0, 0.0, 1.0), ValueType.FLOAT),
        "i": NumericBins((-2, 0, 3), ValueType.INTEGER),
        "c": CategoricalBins(("x",), ("y",)),
        "b": BooleanBins(),
    }
    spans = [
        Span(start + timedelta(minutes=low), start + timedelta(minutes=high))
        for low, high in ((0, 10), (10, 20), (15, 40), (60, 61), (500, 600), (0, 10))
    ]
    counters = [counter(name, spec) for name, spec in specs.items()]
    reading = database.source().read(table(time_column="at"), counters, spans)
    for position, span in enumerate(spans):
        inside = [row for row in rows if span.start <= row[0] < span.end]
        assert reading.rows[position] == len(inside)
        assert reading.newest[position] == max((row[0] for row in inside), default=None)
        for column, (name, spec) in enumerate(specs.items(), start=1):
            assert reading.counts[name][position].tolist() == expected((row[column] for row in inside), spec), name


def test_few_bins_are_packed_into_one_key_and_unpacked_again(postgresql: Postgresql) -> None:
    """A table of enough rows, so that features share keys."""
    rng = np.random.default_rng(3)
    names = [f"f{number}" for number in range(7)]
    values = rng.integers(0, 40, size=(120_000, 7))
    postgresql.create("t", dict.fromkeys(names, "int"), values.tolist())
    postgresql.execute("ANALYZE t")
    specs = {
        name: NumericBins(tuple(range(0, 5 + 7 * number, 3)), ValueType.INTEGER) for number, name in enumerate(names)
    }
    reading = postgresql.source().read(table(), [counter(name, spec) for name, spec in specs.items()], None)
    for number, (name, spec) in enumerate(specs.items()):
        ordinals = np.searchsorted(np.array(spec.edges), values[:, number], side="right")
        assert reading.counts[name][0].tolist() == np.bincount(ordinals, minlength=spec.size).tolist()


def test_a_reading_without_features_counts_rows(database: Database) -> None:
    database.create("t", {"x": "int"}, [(1,), (2,), (None,)])
    assert database.source().read(table(), [], None).rows.tolist() == [3]


def test_an_empty_table_has_counts_of_zero(database: Database) -> None:
    database.create("t", {"x": "int", "c": "text"}, [])
    specs = {"x": NumericBins((0, 1), ValueType.INTEGER), "c": CategoricalBins(("a",))}
    reading = database.source().read(table(), [counter(name, spec) for name, spec in specs.items()], None)
    assert reading.rows.tolist() == [0]
    assert {name: counts.tolist() for name, counts in reading.counts.items()} == {"x": [[0] * 5], "c": [[0] * 4]}


def test_no_spans_take_no_statement(database: Database) -> None:
    database.create("t", {"at": "timestamptz", "x": "int"}, [])
    spec = NumericBins((0, 1), ValueType.INTEGER)
    reading = database.source().read(table(time_column="at"), [counter("x", spec)], [])
    assert (reading.statements, reading.rows.shape, reading.counts["x"].shape) == (0, (0,), (0, 5))


def test_bins_that_do_not_add_up_to_the_rows_are_refused() -> None:
    with pytest.raises(InconsistentCounts, match=r"monitor 'm', feature 'x': 3 rows in its bins, 4 in table 't'"):
        check_totals(table(), np.array([4]), {"x": np.array([[1, 2]])})


def _written(database: Database, at: datetime) -> str:
    return at.isoformat() if isinstance(database, Postgresql) else at.strftime("%Y-%m-%dT%H:%M:%SZ")
