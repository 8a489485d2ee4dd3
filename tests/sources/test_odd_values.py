"""Values that people store in ways of their own: understood where the meaning is certain, otherwise named."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.core.binning import make_spec
from drift_monitor.core.bins import BooleanBins, Kind, NumericBins, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.errors import DatasetError, FailureReason
from drift_monitor.sources.dataset import FeatureColumn
from tests.sources.databases import Database, Postgresql, Sqlite, counter, table

NUMBERS = NumericBins((0, 10), ValueType.INTEGER)
DAY = Span(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("true", "false"), [("t", "f"), ("yes", "no"), ("TRUE", "False"), ("Y", "N"), ("1", "0"), (" on", "off ")]
)
def test_truth_values_in_words(database: Database, true: str, false: str) -> None:
    rows = [(true,), (true,), (false,), ("maybe",), (None,), (None,), (None,)]
    database.create("t", {"paid": "text"}, rows)
    source = database.source()
    column = FeatureColumn(feature="paid", column="paid", kind=Kind.BOOLEAN)
    described = source.describe_features(table(), [column])["paid"]
    assert getattr(described, "kind", described) is Kind.BOOLEAN
    counted = source.read(table(), [counter("paid", BooleanBins())], None).counts["paid"][0]
    assert counted.tolist() == [1, 2, 1, 3]  # false, true, invalid, missing


def test_words_in_a_column_declared_boolean(sqlite: Sqlite) -> None:
    sqlite.create("t", {"paid": "BOOLEAN"}, [("yes",), (1,), ("F",), (0,), (2,), (None,)])
    counted = sqlite.source().read(table(), [counter("paid", BooleanBins())], None).counts["paid"][0]
    assert counted.tolist() == [2, 2, 1, 1]


@pytest.mark.parametrize("kind", ["bigint", "numeric", "float8"])
@pytest.mark.parametrize("scale", [1, 10**3, 10**6])
def test_epochs_are_exact_at_the_bounds(database: Database, kind: str, scale: int) -> None:
    start = int(DAY.start.timestamp()) * scale
    times = [start - 1, start, start + 86_400 * scale - 1, start + 86_400 * scale, None]
    database.create("t", {"at": kind}, [(at,) for at in times])
    reading = database.source().read(table(time_column="at"), [], [DAY])
    assert reading.rows.tolist() == [2]
    newest = reading.newest[0]
    assert newest is not None and abs(newest.timestamp() - (start / scale + 86_400 - 1 / scale)) < 1e-5


def test_the_end_of_a_day_and_short_offsets(sqlite: Sqlite) -> None:
    texts = [
        "2026-02-28T24:00:00Z",
        "2026-03-01 24:00:00Z",
        "2026-03-01T23:59+00",
        "2026-03-02T00:30+0100",
        "2026-03-01T00:30+0100",
    ]
    sqlite.create("t", {"at": "text"}, [(text,) for text in texts])
    assert sqlite.source().read(table(time_column="at"), [], [DAY]).rows.tolist() == [3]


@pytest.mark.parametrize("zone", ["", "Z"])
@pytest.mark.parametrize("form", ["{} {}", "{}T{}", "{}T{}.000000"])
def test_the_end_of_a_day_among_times_of_one_shape(sqlite: Sqlite, form: str, zone: str) -> None:
    """Texts of one shape are read all at once, by numpy, which knows of no 24:00."""
    days = [
        ("2026-02-28", "24:00:00"),
        ("2026-03-01", "12:00:00"),
        ("2026-03-01", "24:00:00"),
        ("2026-03-02", "00:00:00"),
    ]
    sqlite.create("t", {"at": "text", "x": "int"}, [(form.format(*day) + zone, 1) for day in days])
    read = sqlite.source().read(
        table(time_column="at", time_zone=None if zone else UTC), [counter("x", NUMBERS)], [DAY]
    )
    assert read.rows.tolist() == [2]


def test_unreadable_times_are_counted_and_shown_by_their_form(sqlite: Sqlite) -> None:
    good = [(f"2026-03-01 10:{minute:02}:00",) for minute in range(50)]
    bad: list[tuple[Any, ...]] = [("2026-03-01 1O:30",), ("2026-03-01 about noon",), ("2026-03-01 about nine",)]
    sqlite.create("t", {"at": "text", "x": "int"}, [(*row, 1) for row in (*good, *bad)])
    source = sqlite.source()
    with pytest.raises(DatasetError) as caught:
        source.read(table(time_column="at", time_zone=UTC), [counter("x", NUMBERS)], [DAY])
    text = str(caught.value)
    assert "'9999-99-99 aaaaa aaaa' (2 rows), '9999-99-99 9a:99' (1 rows)" in text
    assert "noon" not in text and caught.value.reason is FailureReason.UNSUPPORTED_TYPE


def test_rows_hidden_by_row_level_security_are_no_empty_table(postgresql: Postgresql) -> None:
    name = postgresql.url.rpartition("/")[2]
    postgresql.create("t", {"n": "int"}, [(1,), (2,)])
    postgresql.execute(
        f"DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD 'r'; GRANT SELECT ON t TO reader; "
        f"ALTER TABLE t ENABLE ROW LEVEL SECURITY; GRANT CONNECT ON DATABASE {name} TO reader"
    )
    url = postgresql.url.replace("postgres:postgres@", "reader:r@")
    source = Postgresql(url).source()
    with pytest.raises(
        DatasetError, match=r"row level security shows our role none of its rows.*CREATE POLICY"
    ) as caught:
        source.read(table(), [counter("n", NUMBERS)], None)
    assert caught.value.reason is FailureReason.PERMISSION
    postgresql.execute("CREATE POLICY p ON t FOR SELECT TO reader USING (n = 1)")
    assert source.read(table(), [counter("n", NUMBERS)], None).rows.tolist() == [1]
    source.close()
    postgresql.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_a_domain_over_a_domain_is_its_type(postgresql: Postgresql) -> None:
    postgresql.execute(
        "CREATE DOMAIN share AS numeric(8,3); CREATE DOMAIN discount AS share CHECK (VALUE < 1);"
        "CREATE TABLE t (d discount); INSERT INTO t VALUES (0.125), (0.5)"
    )
    info = postgresql.source().describe(table()).columns["d"]
    assert (info.kind, info.value_type, info.scale) == (Kind.NUMERIC, ValueType.DECIMAL, 3)


@pytest.mark.parametrize(
    ("declared", "value", "kind"),
    [
        ("NUM", 1.5, Kind.NUMERIC),
        ("DEC(8,2)", 1.5, Kind.NUMERIC),
        ("BIT", 1, Kind.BOOLEAN),
        ("UUID", "a", Kind.CATEGORICAL),
        ("JSON", "{}", Kind.CATEGORICAL),
        ("FIXED", 3, Kind.NUMERIC),
    ],
)
def test_types_that_sqlite_does_not_know(sqlite: Sqlite, declared: str, value: Any, kind: Kind) -> None:
    sqlite.create("t", {"x": declared}, [(value,), (None,)])
    assert sqlite.source().describe(table()).columns["x"].kind is kind


def test_a_role_that_may_write_in_spite_of_everything_is_told_until_it_may_not(postgresql: Postgresql) -> None:
    postgresql.execute("DROP ROLE IF EXISTS writer; CREATE ROLE writer LOGIN PASSWORD 'w'")
    source = Postgresql(postgresql.url.replace("postgres:postgres@", "writer:w@")).source()
    (risk,) = source.risks()
    assert "lo_unlink" in risk and "pg_logical_emit_message" in risk and "REVOKE EXECUTE" in risk
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    revoke = next(block for block in page.split("```") if block.startswith("sql\nREVOKE EXECUTE"))
    postgresql.execute(revoke.removeprefix("sql\n"))
    assert source.risks() == []
    source.close()
    assert "superuser" in postgresql.source().risks()[0]
    postgresql.execute("DROP ROLE writer")


@pytest.mark.parametrize("kind", ["float8", "float4", "bigint", "numeric", "numeric(8,2)"])
def test_a_column_that_was_never_filled_is_counted_once_it_is(database: Database, kind: str) -> None:
    database.create("t", {"x": kind}, [(None,)] * 5)
    source = database.source()
    profile = source.profile(table(), [FeatureColumn(feature="x", column="x", kind=Kind.NUMERIC)], None)["x"]
    assert not isinstance(profile, Exception), profile
    spec = make_spec(profile)
    assert source.read(table(), [counter("x", spec)], None).counts["x"].tolist() == [[0, 0, 5]]
    database.execute("INSERT INTO t VALUES (1), (0), (-7)")
    assert source.read(table(), [counter("x", spec)], None).counts["x"].tolist() == [[3, 0, 5]]
    source.close()
