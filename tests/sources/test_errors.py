"""What can't be read is named, with the next step, and never stops what can."""

import logging
from typing import Any

import pytest

from drift_monitor.core.bins import CategoricalBins, Kind, NumericBins, ValueType
from drift_monitor.errors import DatasetError, FailureReason, FeatureError, SourceError, SourceUnavailable
from drift_monitor.sources import profile
from drift_monitor.sources.dataset import Dataset, FeatureColumn
from tests.postgresql import PostgresqlServer
from tests.sources.databases import Database, Postgresql, Sqlite, counter, make_source, table

NUMBERS = NumericBins((0, 2, 4), ValueType.INTEGER)
LABELS = CategoricalBins(("a",))


@pytest.fixture
def filled(database: Database) -> Database:
    database.create("orders", {"n": "int", "c": "text", "z": "int"}, [(1, "a", 0), (3, "b", 1), (3, None, 2)])
    return database


def orders(**options: Any) -> Dataset:
    return table("orders", **options)


def test_a_missing_table_is_named_with_its_likely_name(filled: Database) -> None:
    with pytest.raises(DatasetError) as caught:
        filled.source().read(table("Order"), [counter("n", NUMBERS)], None)
    assert caught.value.reason is FailureReason.TABLE_MISSING
    assert str(caught.value).startswith("monitor 'm', table 'Order': it does not exist (did you mean 'orders'?); check")


def test_a_missing_column_fails_its_feature_only(filled: Database) -> None:
    reading = filled.source().read(orders(), [counter("n", NUMBERS), counter("f", NUMBERS, column="nn")], None)
    assert reading.counts["n"].tolist() == [[0, 1, 2, 0, 0, 0]]
    error = reading.failed["f"]
    assert error.reason is FailureReason.COLUMN_MISSING
    assert str(error) == (
        "monitor 'm', feature 'f', column 'nn' of table 'orders': does not exist (did you mean 'n'?); "
        "check the name in the configuration, or restore the column"
    )


def test_a_missing_time_column_is_an_error_of_the_dataset(filled: Database) -> None:
    with pytest.raises(DatasetError, match="time column 'at' does not exist") as caught:
        filled.source().describe(orders(time_column="at"))
    assert caught.value.reason is FailureReason.COLUMN_MISSING


@pytest.mark.parametrize("change", ["DROP", "RENAME"])
def test_a_column_that_goes_between_two_readings_fails_its_feature(filled: Database, change: str) -> None:
    source = filled.source()
    counters = [counter("n", NUMBERS), counter("z", NUMBERS), counter("c", LABELS)]
    assert source.read(orders(), counters, None).failed == {}
    filled.execute("ALTER TABLE orders " + ("DROP COLUMN z" if change == "DROP" else "RENAME COLUMN z TO zz"))
    reading = source.read(orders(), counters, None)
    assert {name: error.reason for name, error in reading.failed.items()} == {"z": FailureReason.COLUMN_MISSING}
    assert set(reading.counts) == {"n", "c"}


def test_a_table_that_goes_between_two_readings_is_missing(filled: Database) -> None:
    source = filled.source()
    source.read(orders(), [counter("n", NUMBERS)], None)
    filled.execute("DROP TABLE orders")
    with pytest.raises(DatasetError) as caught:
        source.read(orders(), [counter("n", NUMBERS)], None)
    assert caught.value.reason is FailureReason.TABLE_MISSING


def test_a_number_that_becomes_text_is_not_cast_silently(filled: Database) -> None:
    source = filled.source()
    counters = [counter("n", NUMBERS), counter("z", NUMBERS)]
    source.read(orders(), counters, None)
    if isinstance(filled, Postgresql):
        filled.execute("ALTER TABLE orders ALTER COLUMN z TYPE text")
    else:
        filled.execute("ALTER TABLE orders DROP COLUMN z")
        filled.execute("ALTER TABLE orders ADD COLUMN z TEXT")
    reading = source.read(orders(), counters, None)
    error = reading.failed["z"]
    assert error.reason is FailureReason.TYPE_CHANGED
    assert "column 'z' of table 'orders': is text now, but its reference has numeric bins" in str(error).lower()
    assert set(reading.counts) == {"n"}


def test_an_expression_that_fails_on_some_row_fails_alone(filled: Database) -> None:
    bad = "10 / z" if isinstance(filled, Postgresql) else "json_extract(c, '$.x')"
    counters = [counter(f"n{number}", NUMBERS, column="n") for number in range(9)]
    counters.insert(4, counter("bad", NUMBERS, expression=bad))
    reading = filled.source().read(orders(), counters, None)
    assert set(reading.failed) == {"bad"}
    assert reading.failed["bad"].reason is FailureReason.QUERY_FAILED
    assert "feature 'bad', its expression of table 'orders'" in str(reading.failed["bad"])
    assert len(reading.counts) == 9
    assert all(counts.tolist() == [[0, 1, 2, 0, 0, 0]] for counts in reading.counts.values())


def test_expressions_that_make_no_sense_fail_alone(filled: Database) -> None:
    columns = [
        FeatureColumn(feature="good", expression="n + 1"),
        FeatureColumn(feature="typo", expression="nn + 1"),
        FeatureColumn(feature="syntax", expression="n +"),
        FeatureColumn(feature="function", expression="nosuch(n)"),
    ]
    described = filled.source().describe_features(orders(), columns)
    assert [name for name, found in described.items() if isinstance(found, FeatureError)] == [
        "typo",
        "syntax",
        "function",
    ]
    assert "nn" in str(described["typo"])


def test_a_where_that_fails_is_an_error_of_the_dataset(filled: Database) -> None:
    with pytest.raises(DatasetError, match=r"monitor 'm', table 'orders': .*nn"):
        filled.source().read(orders(where="nn = 1"), [counter("n", NUMBERS)], None)


def test_a_query_that_fails_is_an_error_of_the_dataset(filled: Database) -> None:
    with pytest.raises(DatasetError, match=r"monitor 'm', its query: .*nowhere"):
        filled.source().read(Dataset(monitor="m", query="SELECT * FROM nowhere"), [], None)


def test_types_without_bins_are_named(postgresql: Postgresql) -> None:
    postgresql.create("t", {"n": "int", "j": "jsonb", "u": "uuid", "d": "date", "a": "int[]", "b": "bytea"}, [])
    source = postgresql.source()
    columns = source.describe(table()).columns
    assert {name: info.kind for name, info in columns.items() if info.kind} == {"n": Kind.NUMERIC, "d": Kind.NUMERIC}
    assert columns["a"].sql_type == "integer[]"
    described = source.describe_features(table(), [FeatureColumn(feature=name, column=name) for name in "njud"])
    error = described["u"]
    assert isinstance(error, FeatureError)
    assert error.reason is FailureReason.UNSUPPORTED_TYPE
    assert "column 'u' of table 't': is of type uuid, which has no bins; leave it out, or watch" in str(error)


def test_a_kind_that_does_not_fit_is_refused_and_one_that_does_is_taken(filled: Database) -> None:
    columns = [
        FeatureColumn(feature="code", column="n", kind=Kind.CATEGORICAL),
        FeatureColumn(feature="flag", column="z", kind=Kind.BOOLEAN),
        FeatureColumn(feature="word", column="c", kind=Kind.NUMERIC),
    ]
    described = filled.source().describe_features(orders(), columns)
    assert [getattr(described[name], "value_type", None) for name in ("code", "flag")] == ["text", "boolean"]
    assert isinstance(described["word"], FeatureError)
    reading = filled.source().read(orders(), [counter("code", CategoricalBins(("3",)), column="n")], None)
    assert reading.counts["code"].tolist() == [[2, 0, 1, 0]]


@pytest.fixture
def granted(postgresql: Postgresql) -> Any:
    """A role that may read some columns, as the documentation tells people to make it."""
    postgresql.create("orders", {"n": "int", "secret": "int", "c": "text"}, [(1, 2, "a"), (3, 4, "b")])
    postgresql.create("hidden", {"n": "int"}, [])
    role = f"reader_{postgresql.url[-12:]}"
    postgresql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'only-read'")
    postgresql.execute(f"GRANT SELECT (n, c) ON orders TO {role}")
    url = postgresql.url.replace("postgres:postgres@", f"{role}:only-read@")
    yield make_source(url)
    postgresql.execute(f"DROP OWNED BY {role}")
    postgresql.execute(f"DROP ROLE {role}")


def test_a_role_with_some_columns_reads_those_and_is_told_of_the_others(granted: Any) -> None:
    description = granted.describe(orders())
    assert (list(description.columns), description.forbidden) == (["n", "c"], ("secret",))
    reading = granted.read(orders(), [counter("n", NUMBERS), counter("secret", NUMBERS), counter("c", LABELS)], None)
    assert reading.counts["n"].tolist() == [[0, 1, 1, 0, 0, 0]]
    assert reading.counts["c"].tolist() == [[1, 0, 1, 0]]
    error = reading.failed["secret"]
    assert error.reason is FailureReason.PERMISSION
    assert "column 'secret' of table 'orders': is not for our role to read; grant SELECT" in str(error)
    granted.close()


def test_a_role_with_some_columns_can_sample_them(granted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "FEWEST_SAMPLED_ROWS", 1)
    monkeypatch.setattr(profile, "SAMPLED_ROWS", 1)
    found = granted.profile(orders(), [FeatureColumn(feature="n", column="n")], None)["n"]
    assert (found.rows, found.minimum, found.maximum) == (2, 1, 3)
    granted.close()


def test_an_expression_over_a_forbidden_column_fails_alone(granted: Any) -> None:
    counters = [counter("n", NUMBERS), counter("e", NUMBERS, expression="secret + n")]
    reading = granted.read(orders(), counters, None)
    assert {name: error.reason for name, error in reading.failed.items()} == {"e": FailureReason.PERMISSION}
    assert set(reading.counts) == {"n"}
    granted.close()


def test_a_forbidden_table_is_named(granted: Any) -> None:
    with pytest.raises(DatasetError, match="table 'hidden': our role may read none of its columns") as caught:
        granted.read(table("hidden"), [counter("n", NUMBERS)], None)
    assert caught.value.reason is FailureReason.PERMISSION
    assert granted.tables() == ["orders"]
    granted.close()


def test_a_grant_that_is_taken_back_is_noticed(granted: Any, postgresql: Postgresql) -> None:
    counters = [counter("n", NUMBERS), counter("c", LABELS)]
    assert granted.read(orders(), counters, None).failed == {}
    postgresql.execute(f"REVOKE SELECT (c) ON orders FROM reader_{postgresql.url[-12:]}")
    reading = granted.read(orders(), counters, None)
    assert {name: error.reason for name, error in reading.failed.items()} == {"c": FailureReason.PERMISSION}
    granted.close()


def test_values_of_rows_are_in_no_error_and_no_log(postgresql: Postgresql, caplog: pytest.LogCaptureFixture) -> None:
    postgresql.create("t", {"c": "text", "n": "int"}, [("canary-4711", 1)])
    with caplog.at_level(logging.DEBUG):
        reading = postgresql.source().read(
            table(), [counter("cast", NUMBERS, expression="c::int"), counter("n", NUMBERS)], None
        )
    assert "InvalidTextRepresentation" in str(reading.failed["cast"])
    assert "canary" not in str(reading.failed["cast"])
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://nobody:secret-word@127.0.0.1:1/db", "source 'shop': connection failed: "),
        ("sqlite:////nowhere/at/all.db", "source 'shop': unable to open database file"),
        ("sqlite://", "a SQLite source needs a file"),
        ("mysql+pymysql://u:secret-word@h/db", "databases of kind 'mysql' can't be read; known are postgresql, sqlite"),
        ("no url at all", "source 'shop': its URL can't be parsed"),
        ("postgresql://u:secret-word@[::1/db", "source 'shop': its URL can't be parsed"),
        (
            "postgresql://u:secret-word@127.0.0.1:1/d?port=x",
            "source 'shop': Received non-integer port.*; check its URL",
        ),
        (
            "postgresql://u:secret-word@127.0.0.1:1/d?connect_timeout=soon",
            "source 'shop': bad value for connect_timeout",
        ),
        ("postgresql://u:secret-word@127.0.0.1:1/d?sslmode=sometimes", "source 'shop': .*invalid sslmode value"),
        ("postgresql://u:secret-word@127.0.0.1:1/d?host=a,b&port=1,2,3", "source 'shop': .*number of hosts and ports"),
    ],
)
def test_a_source_that_is_not_there_is_unavailable_and_keeps_its_password(url: str, message: str) -> None:
    with pytest.raises(SourceUnavailable, match=message) as caught:
        make_source(url).ping()
    assert caught.value.reason is FailureReason.UNREACHABLE
    assert "secret-word" not in str(caught.value)


def test_a_wrong_password_is_unavailable(postgresql_server: PostgresqlServer) -> None:
    with pytest.raises(SourceUnavailable, match="password authentication failed"):
        make_source(postgresql_server.url(password="wrong")).ping()


def test_a_sqlite_source_is_never_written(sqlite: Sqlite) -> None:
    sqlite.create("t", {"n": "int"}, [(1,)])
    source = sqlite.source()
    with source._session._engine.connect() as connection, pytest.raises(Exception, match=r"readonly|query_only"):
        connection.exec_driver_sql("INSERT INTO t VALUES (2)")
    with pytest.raises(SourceError):
        source.read(Dataset(monitor="m", query="DELETE FROM t RETURNING n"), [], None)
    assert source.read(table(), [], None).rows.tolist() == [1]


def test_rubbish_is_no_database(tmp_path: Any) -> None:
    (tmp_path / "rubbish.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(SourceUnavailable, match="file is not a database"):
        make_source(f"sqlite:///{tmp_path}/rubbish.db").tables()
