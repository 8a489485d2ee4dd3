"""The user's own SQL, and names that nobody should give a table, work as they are."""

from datetime import UTC, datetime, timedelta

import pytest

from drift_monitor.core.bins import CategoricalBins, NumericBins, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.sources.dataset import Dataset, FeatureColumn
from tests.sources.databases import Database, counter, table

HOSTILE = (
    'a"; drop table x;--',
    "%s",
    "%(x)s",
    "100%",
    ":x",
    "{brace}",
    "select",
    "Mixed Case",
    "\N{PILE OF POO}",
    "a.b",
    "back\\slash",
    "'quoted'",
    "new\nline",
    "dataset",
    "n" * 63,
)
NUMBERS = NumericBins((0, 2, 4), ValueType.INTEGER)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_tables_columns_and_features(database: Database, name: str) -> None:
    database.create(name, {name: "int", "other": "text"}, [(1, name), (3, "b"), (None, None)])
    source = database.source()
    counters = [counter(name, NUMBERS), counter("other", CategoricalBins((name,), ("b",)))]
    reading = source.read(table(name), counters, None)
    assert reading.failed == {}
    assert reading.counts[name].tolist() == [[0, 1, 1, 0, 0, 1]]
    assert reading.counts["other"].tolist() == [[1, 1, 0, 1]]
    assert set(source.describe(table(name)).columns) == {name, "other"}
    profile = source.profile(table(name), [FeatureColumn(feature="f", column=name)], None)
    assert profile["f"].rows == 3


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("c LIKE '5%'", 1),
        ("c = ':x' OR c = ':y'", 1),
        ("c = '%(x)s'", 1),
        ("c = '{}' -- only braces", 1),
        ("c IN ('5%', '?') /* both */", 2),
        ("n % 2 = 1", 3),
        ("n = 1 OR n = 2", 2),
        ("c = 'back\\slash';", 1),
    ],
)
def test_where_is_taken_as_it_is(database: Database, where: str, rows: int) -> None:
    cells = ["5%", ":x", "%(x)s", "{}", "?", "back\\slash"]
    database.create("t", {"n": "int", "c": "text"}, list(enumerate(cells)))
    counters = [counter("n", NUMBERS), counter("e", NUMBERS, expression="n * 10 % 7 -- remainder")]
    reading = database.source().read(table(where=where), counters, None)
    assert reading.failed == {}
    assert reading.rows.tolist() == [rows]


def test_where_does_not_swallow_the_time_condition(database: Database) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    later = start + timedelta(hours=1)
    written = [start.isoformat(), later.isoformat()]
    database.create("t", {"at": "timestamptz", "n": "int"}, [(at, 1) for at in written])
    dataset = table(time_column="at", where="n = 1 OR n = 2 --")
    assert database.source().read(dataset, [], [Span(start, later)]).rows.tolist() == [1]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT n, c FROM t WHERE c LIKE '%a%'",
        "WITH chosen AS (SELECT * FROM t) SELECT n, c FROM chosen WHERE c <> 'b' -- the rest",
        "SELECT n, c FROM t WHERE c = 'a' ORDER BY n LIMIT 10;\n",
    ],
)
def test_a_query_is_a_dataset(database: Database, query: str) -> None:
    database.create("t", {"n": "int", "c": "text"}, [(1, "a"), (3, "b"), (5, "a")])
    source = database.source()
    dataset = Dataset(monitor="m", query=query)
    description = source.describe(dataset)
    assert {name: info.kind for name, info in description.columns.items()} == {"n": "numeric", "c": "categorical"}
    reading = source.read(dataset, [counter("n", NUMBERS), counter("c", CategoricalBins(("a",)))], None)
    assert reading.counts["n"].tolist() == [[0, 1, 0, 1, 0, 0]]
    assert reading.counts["c"].tolist() == [[2, 0, 0, 0]]


def test_a_view_is_a_dataset(database: Database) -> None:
    database.create("t", {"n": "int", "c": "text"}, [(1, "a"), (3, "b")])
    database.execute("CREATE VIEW v AS SELECT n, n / 2.0 AS half, upper(c) AS c FROM t")
    source = database.source()
    kinds = {name: info.kind for name, info in source.describe(table("v")).columns.items()}
    assert kinds == {"n": "numeric", "half": "numeric", "c": "categorical"}
    halves = NumericBins((0.5, 1.5), ValueType.FLOAT)
    reading = source.read(table("v"), [counter("half", halves), counter("c", CategoricalBins(("A",)))], None)
    assert reading.counts["half"].tolist() == [[0, 1, 1, 0, 0]]
    assert reading.counts["c"].tolist() == [[1, 0, 1, 0]]


def test_expressions_are_features(database: Database) -> None:
    database.create("t", {"n": "int", "c": "text"}, [(1, "a%"), (3, "b"), (None, None)])
    source = database.source()
    expressions = {
        "double": "n * 2",
        "long": "length(c) > 1",
        "like": "CASE WHEN c LIKE '%\\%%' ESCAPE '\\' THEN 'yes' END",
    }
    columns = [FeatureColumn(feature=name, expression=text) for name, text in expressions.items()]
    described = source.describe_features(table(), columns)
    assert described["double"].kind == "numeric"  # type: ignore[union-attr]
    assert described["like"].kind == "categorical"  # type: ignore[union-attr]
    counters = [
        counter("double", NUMBERS, expression=expressions["double"]),
        counter("like", CategoricalBins(("yes",)), expression=expressions["like"]),
    ]
    reading = source.read(table(), counters, None)
    assert reading.counts["double"].tolist() == [[0, 0, 1, 1, 0, 1]]
    assert reading.counts["like"].tolist() == [[1, 0, 0, 2]]


def test_a_table_in_another_schema(database: Database) -> None:
    if database.name == "sqlite":
        pytest.skip("SQLite has no schemas")
    database.execute("CREATE SCHEMA shop")
    database.execute('CREATE TABLE shop."the.orders" (n int)')
    database.execute('INSERT INTO shop."the.orders" VALUES (1), (3)')
    source = database.source()
    assert source.read(table("shop.the.orders"), [counter("n", NUMBERS)], None).rows.tolist() == [2]
    assert "shop.the.orders" in source.tables()
