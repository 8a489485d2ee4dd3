"""Real tables to read, made by plain drivers, and an oracle that counts them one value at a time."""

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg import sql

from drift_monitor.clock import SystemClock
from drift_monitor.core.bins import BinSpec, BooleanBins, CategoricalBins, NumericBins
from drift_monitor.sources.dataset import Counter, Dataset
from drift_monitor.sources.source import Source


class Database(Protocol):
    """A database of the test's own, which the source under test reads."""

    name: str
    url: str

    def create(self, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
        """Make a table with these columns and rows. Types are PostgreSQL's; SQLite takes its nearest ones."""

    def execute(self, statement: str) -> None:
        """Run one statement as the owner."""

    def source(self, **options: Any) -> Source:
        """A source that reads this database."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Sqlite:
    """A SQLite file."""

    path: Path
    name = "sqlite"

    TYPES = {  # noqa: RUF012
        "float8": "REAL",
        "float4": "REAL",
        "bigint": "INTEGER",
        "int": "INTEGER",
        "numeric": "NUMERIC",
        "bool": "BOOLEAN",
        "text": "TEXT",
        "timestamptz": "TEXT",
        "timestamp": "TEXT",
    }

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def create(self, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
        declared = ", ".join(f"{quoted(name)} {self.TYPES.get(kind, kind)}" for name, kind in columns.items())
        marks = ", ".join("?" * len(columns))
        with sqlite3.connect(self.path) as connection:
            connection.execute(f"CREATE TABLE {quoted(table)} ({declared})")
            values = ([float(cell) if isinstance(cell, Decimal) else cell for cell in row] for row in rows)
            connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({marks})", values)
        connection.close()

    def execute(self, statement: str) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute(statement)
        connection.close()

    def source(self, **options: Any) -> Source:
        return make_source(self.url, **options)


@dataclass
class Postgresql:
    """A PostgreSQL database."""

    url: str
    name = "postgresql"

    def create(self, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
        declared = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in columns.items()]  # type: ignore[arg-type]
        with self._connect() as connection:
            identifier = sql.Identifier(table)
            connection.execute(sql.SQL("CREATE TABLE {} ({})").format(identifier, sql.SQL(", ").join(declared)))
            with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(identifier)) as copy:
                for row in rows:
                    copy.write_row(row)

    def execute(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def source(self, **options: Any) -> Source:
        return make_source(self.url, **options)

    def _connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True, client_encoding="utf8")


def make_source(url: str, **options: Any) -> Source:
    limits = {"max_connections": 2, "statement_timeout": timedelta(seconds=60)}
    return Source("shop", url, clock=SystemClock(), **{**limits, **options})


def table(name: str = "t", **options: Any) -> Dataset:
    return Dataset(monitor="m", table=name, **options)


def counter(feature: str, spec: BinSpec, **target: Any) -> Counter:
    return Counter(feature=feature, spec=spec, **(target or {"column": feature}))


def expected(values: Iterable[Any], spec: BinSpec) -> list[int]:
    """Counts of a spec by its definition, one value at a time, in exact arithmetic."""
    counts = [0] * spec.size
    for value in values:
        counts[_ordinal(value, spec)] += 1
    return counts


def _ordinal(value: Any, spec: BinSpec) -> int:
    if value is None:
        return spec.size - 1
    match spec:
        case NumericBins():
            return _number(value, spec)
        case CategoricalBins():
            if value in spec.labels:
                return spec.labels.index(value)
            rare = value in spec.rare_labels or not spec.rare_complete
            return len(spec.labels) + (0 if rare else 1)
        case BooleanBins():
            return int(value) if value in (0, 1) else 2


def _number(value: Any, spec: NumericBins) -> int:
    if not isinstance(value, int | float | Decimal) or math.isnan(value):
        return len(spec.edges) + 1
    if math.isinf(value):
        return 0 if value < 0 else len(spec.edges)
    return sum(1 for edge in spec.edges if Fraction(value) >= Fraction(edge))
