"""What a statement means and may do is ours to say, whatever the server, the role, the URL or the user's SQL set.

The server of all tests is set adversely (`ADVERSE` in tests/postgresql.py); here is what that alone would not show.
"""

import math
import sqlite3
from collections import Counter as Multiset
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from drift_monitor.core.binning import make_spec
from drift_monitor.core.bins import CategoricalBins, Kind, NumericBins, ValueType
from drift_monitor.errors import DatasetError, FailureReason
from drift_monitor.sources.dataset import FeatureColumn
from tests.postgresql import PostgresqlServer
from tests.sources.databases import Database, Postgresql, Sqlite, counter, table

NUMBERS = NumericBins((0, 10), ValueType.INTEGER)
FLOAT32 = [0.1, 0.6, 0.7, 1.1, 3.4028234663852886e38, 1.401298464324817e-45, -0.3, 16777217.0]
FLOAT64 = [0.1, 0.1 + 2**-56, 0.2 + 0.1, 1 / 3, 5e-324, 1.7e308, -2.5, 1e16, 1e16 + 2]
VALUES: dict[str, list[Any]] = {
    "real": FLOAT32,
    "double precision": FLOAT64,
    "smallint": [-32768, 0, 7, 32767],
    "integer": [-(2**31), -1, 0, 2**31 - 1],
    "bigint": [-(2**63), 2**53, 2**53 + 1, 2**63 - 2],
    "numeric": [Decimal("0.1"), Decimal("0.10000000000000000001"), Decimal("1e300"), Decimal("-7")],
    "numeric(12,3)": [Decimal("0.001"), Decimal("0.002"), Decimal("123456789.999")],
    "money": [Decimal("-0.01"), Decimal("0.1"), Decimal("12345678.90")],
    "date": [date(1969, 12, 31), date(2026, 3, 1), date(2026, 3, 2)],
    "interval": [timedelta(seconds=0.1), timedelta(days=1), timedelta(days=-3, milliseconds=1)],
}
DECLARED = ("REAL", "DOUBLE PRECISION", "NUM", "DEC(8,2)", "DECIMAL(9,3)", "NUMERIC", "INTEGER", "MONEY", "")


@pytest.mark.parametrize("kind", VALUES)
def test_each_of_few_numbers_has_a_bin_of_its_own_in_every_type_of_postgresql(
    postgresql: Postgresql, kind: str
) -> None:
    alone_in_their_bins(postgresql, kind, VALUES[kind])


@pytest.mark.parametrize("kind", DECLARED)
@pytest.mark.parametrize(
    "values", [FLOAT64, [1, 2, 2**53, 2**53 + 1], [0.5, 1, 1.5, 2]], ids=["floats", "integers", "both"]
)
def test_each_of_few_numbers_has_a_bin_of_its_own_in_every_type_of_sqlite(
    sqlite: Sqlite, kind: str, values: list[Any]
) -> None:
    alone_in_their_bins(sqlite, kind, values)


@pytest.mark.parametrize("kind", ["real", "double precision", "numeric"])
def test_no_row_lies_outside_of_bins_made_from_it(database: Database, kind: str) -> None:
    values = [math.sin(number) * 10.0 ** (number % 7) for number in range(3_000)]
    database.create("t", {"x": kind}, [(value,) for value in values])
    counts, spec = binned(database)
    assert (counts[0], counts[len(spec.edges)], counts.sum()) == (0, 0, len(values))


def alone_in_their_bins(database: Database, kind: str, values: list[Any]) -> None:
    rows = [value for times, value in enumerate(values, start=1) for _ in range(times)]
    database.create("t", {"x": kind}, [(value,) for value in rows])
    if isinstance(database, Sqlite):  # a column of reals holds integers as the nearest ones
        with closing(sqlite3.connect(database.path)) as file:
            rows = [value for (value,) in file.execute("SELECT x FROM t")]
    counts, _ = binned(database)
    assert sorted(count for count in counts if count) == sorted(Multiset(rows).values())
    assert (counts[0], sum(counts[-3:])) == (0, 0)  # below; above, invalid, missing


def binned(database: Database) -> tuple[Any, NumericBins]:
    source = database.source()
    found = source.profile(table(), [FeatureColumn(feature="x", column="x", kind=Kind.NUMERIC)], None)["x"]
    assert not isinstance(found, Exception), found
    spec = make_spec(found)
    assert isinstance(spec, NumericBins)
    return source.read(table(), [counter("x", spec)], None).counts["x"][0], spec


@pytest.mark.parametrize("encoding", ["LATIN1", "LATIN9", "SQL_ASCII"])
def test_texts_of_a_database_in_another_encoding(postgresql_server: PostgresqlServer, encoding: str) -> None:
    name = f"in_{encoding.lower()}"
    with postgresql_server.connect() as server:
        server.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")  # type: ignore[arg-type]
    database = Postgresql(postgresql_server.url(name))
    long = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 2_000
    database.create("t", {"c": "text"}, [("caf\xe9",), ("caf\xe9",), ("plain",), (long,), (None,)])
    labels = ["caf\xe9", "plain"]
    if encoding == "SQL_ASCII":
        database.execute(r"INSERT INTO t VALUES (E'na\xefve'), (E'na\xefve')")
        labels.append("not UTF-8: 6e61ef7665")
    source = database.source()
    profile = source.profile(table(), [FeatureColumn(feature="c", column="c")], None)["c"]
    found = dict(profile.labels)  # type: ignore[union-attr]
    shortened = next(label for label in found if "..." in label)
    assert Multiset(found) == Multiset(
        {labels[0]: 2, "plain": 1, shortened: 1, **{label: 2 for label in found if "6e61" in label}}
    )
    counted = source.read(table(), [counter("c", CategoricalBins(tuple(found)))], None).counts["c"][0]
    assert counted.tolist() == [*found.values(), 0, 0, 1]
    source.close()
    postgresql_server.drop_database(name)


WRITES = [
    "1 = 1); COMMIT; DROP TABLE t; SELECT (1",
    "1 = 1); ROLLBACK; INSERT INTO t VALUES (1); SELECT (1",
    "1 = 1)); COMMIT; BEGIN READ WRITE; DELETE FROM t; COMMIT; SELECT ((1",
    "set_config('transaction_read_only', 'off', false) = 'off' AND writes() = 1",
    "writes() = 1",
]


@pytest.mark.parametrize("where", WRITES)
def test_no_user_sql_writes_whatever_it_says(postgresql: Postgresql, where: str) -> None:
    postgresql.create("t", {"n": "int"}, [(1,), (2,)])
    postgresql.execute(
        "CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS $$BEGIN DELETE FROM t; RETURN 1; END$$"
    )
    source = postgresql.source()
    with pytest.raises(DatasetError) as caught:
        source.read(table(where=where), [counter("n", NUMBERS)], None)
    assert caught.value.reason is FailureReason.QUERY_FAILED
    for target in (counter("e", NUMBERS, expression=where.partition(";")[0] + "; DROP TABLE t"),):
        assert source.read(table(), [target], None).failed["e"].reason is FailureReason.QUERY_FAILED
    with pytest.raises(DatasetError):
        source.read(table("", query="SELECT n FROM t) AS d; DROP TABLE t; SELECT (1"), [], None)
    assert source.read(table(), [counter("n", NUMBERS)], None).rows.tolist() == [2]
    source.close()


def test_nothing_that_one_monitors_sql_sets_reaches_another(postgresql: Postgresql) -> None:
    postgresql.create("t", {"n": "int"}, [(1,)])
    source = postgresql.source(max_connections=1)
    shown = "current_setting('{0}') = '{1}'"
    for name, value in {
        "search_path": "pg_temp",
        "TimeZone": "Asia/Tokyo",
        "statement_timeout": "1",
        "my.own": "x",
    }.items():
        source.read(table(where=f"set_config('{name}', '{value}', false) IS NOT NULL"), [], None)
        found = f"coalesce(current_setting('{name}', true), '') = '{value}'"
        assert source.read(table(where=found), [], None).rows.tolist() == [0]
    source.read(table(where="pg_advisory_lock(1) IS NOT NULL"), [], None)
    with psycopg.connect(postgresql.url.replace("+psycopg", ""), autocommit=True) as other:
        assert other.execute("SELECT pg_try_advisory_lock(1)").fetchone() == (True,)
    assert source.read(table(where=shown.format("default_transaction_read_only", "on")), [], None).rows.tolist() == [1]
    source.close()


def test_the_search_path_is_the_urls_or_else_the_roles(postgresql: Postgresql) -> None:
    postgresql.execute('CREATE SCHEMA "it\'s \\ mine"; CREATE TABLE "it\'s \\ mine".t AS SELECT 1 AS n')
    postgresql.create("t", {"n": "int"}, [(1,), (2,)])
    given = '?options=-csearch_path%3D"it\'s\\%20\\\\\\%20mine"'
    source = Postgresql(postgresql.url + given).source()
    assert source.read(table(), [counter("n", NUMBERS)], None).rows.tolist() == [1]
    source.close()
    database = postgresql.url.rpartition("/")[2]
    postgresql.execute(f'ALTER DATABASE {database} SET search_path = "it\'s \\ mine"')
    source = postgresql.source()
    assert source.read(table(), [counter("n", NUMBERS)], None).rows.tolist() == [1]
    source.close()


def test_an_encoding_in_the_url_changes_nothing(postgresql: Postgresql) -> None:
    postgresql.create("t", {"c": "text"}, [("M\xfcnchen",), ("\u6771\u4eac",)])
    source = Postgresql(postgresql.url + "?client_encoding=latin1&options=-cclient_encoding%3Dlatin1").source()
    profile = source.profile(table(), [FeatureColumn(feature="c", column="c")], None)["c"]
    assert dict(profile.labels) == {"M\xfcnchen": 1, "\u6771\u4eac": 1}  # type: ignore[union-attr]
    source.close()
