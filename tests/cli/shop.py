"""A shop in a SQLite file for the tests of the command line: orders, a table to compare them with, a configuration."""

import json
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from drift_monitor.cli.main import main
from tests.migrated import lay_out

HOUR = timedelta(hours=1)
EDGES = (0, 10, 20, 40, 80)
COUNTRIES = ("DE", "FR", "ES")

CONFIG = """
store:
  url: sqlite:///{folder}/drift.db
sources:
  - name: shop
    url: sqlite:///{folder}/shop.db
monitors:
  - name: orders
    source: shop
    table: orders
    time_column: created_at
    every: 1h
    window: 4h
    settle: 1m
    min_rows: 20
    reference: {{table: training}}
    features:
      - {{name: amount, bins: {{edges: [0, 10, 20, 40, 80]}}}}
      - {{name: country, kind: categorical, bins: {{top: 3}}}}
    rules:
      - {{metric: psi, above: 0.1, severity: warning}}
      - {{metric: kl_live_reference, above: 5, severity: critical}}
receivers:
  - name: terminal
    log: {{}}
"""


@dataclass(frozen=True)
class Shop:
    """A folder with `shop.db`, `drift.yaml` and, once something has run, `drift.db`. `end`: after the last order."""

    folder: Path
    end: datetime

    @property
    def config(self) -> Path:
        return self.folder / "drift.yaml"

    @property
    def database(self) -> Path:
        return self.folder / "shop.db"

    @property
    def store(self) -> Path:
        return self.folder / "drift.db"

    def run(self, command: str, *arguments: str) -> Result:
        """The program with these arguments and this configuration; `command` may be of two words."""
        return CliRunner().invoke(main, [*command.split(), f"--config.file={self.config}", *arguments])

    def evaluate(self, *arguments: str) -> dict[str, Any]:
        """What `evaluate --format json` prints about its one monitor. Making the store anew would take most of it."""
        if not self.store.exists():
            lay_out(self.store)
        return dict(document_of(self.run("evaluate", "--format=json", *arguments))["evaluations"][0])

    def change_config(self, old: str, new: str) -> None:
        text = self.config.read_text(encoding="utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new), encoding="utf-8")

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the store, read past the program."""
        return select(self.store, sql, *values)

    def orders(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the shop."""
        return select(self.database, sql, *values)

    def hide(self) -> None:
        """The source is gone."""
        self.database.rename(self.folder / "hidden.db")

    def show(self) -> None:
        (self.folder / "hidden.db").rename(self.database)


def select(file: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.execute(sql, values))


def open_shop(folder: Path, *, drifted_hours: int = 6, hours: int = 30, end: datetime | None = None) -> Shop:
    """Orders of so many hours up to an hour ago, or to `end`; in the last ones prices have risen, none is from ES."""
    end = end or datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    (folder / "shop.db").write_bytes(_database(end, drifted_hours, hours))
    (folder / "drift.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    return Shop(folder, end)


def fire(shop: Shop) -> Shop:
    """Alerts on `psi` of both features fire in the last window."""
    shop.store.write_bytes(_store_of_firing(shop.end))
    return shop


@cache
def _store_of_firing(end: datetime) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        shop = open_shop(Path(folder), end=end)
        assert len(shop.evaluate(f"--at={end.isoformat()}")["alerts"]) == 2
        return shop.store.read_bytes()


@cache
def _database(end: datetime, drifted_hours: int, hours: int) -> bytes:
    random = np.random.default_rng(11)
    training = [row[1:] for row in _orders(random, end - 1000 * HOUR, 20, drifted=False)]
    orders = _orders(random, end - hours * HOUR, hours - drifted_hours, drifted=False)
    orders += _orders(random, end - drifted_hours * HOUR, drifted_hours, drifted=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE orders (created_at TIMESTAMP NOT NULL, amount INTEGER, country TEXT)")
            connection.execute("CREATE INDEX orders_created_at ON orders (created_at)")
            connection.execute("CREATE TABLE training (amount INTEGER, country TEXT)")
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", orders)
            connection.executemany("INSERT INTO training VALUES (?, ?)", training)
            connection.commit()
        return path.read_bytes()


def _orders(random: np.random.Generator, start: datetime, hours: int, *, drifted: bool) -> list[tuple[Any, ...]]:
    shares = (0.7, 0.3, 0.0) if drifted else (0.5, 0.3, 0.2)
    return [
        (
            (start + hour * HOUR + timedelta(seconds=60 * minute)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            None if random.random() < 0.05 else int(random.gamma(2, 25 if drifted else 8)),
            str(random.choice(COUNTRIES, p=shares)),
        )
        for hour in range(hours)
        for minute in range(60)
    ]


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def document_of(result: Result) -> dict[str, Any]:
    """The JSON on stdout, and nothing else there."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return dict(json.loads(result.stdout, parse_constant=refuse_constant))


def counted(values: Sequence[int | None]) -> list[int]:
    """Counts in the bins below | between the edges | above | invalid | missing, by numpy."""
    known = np.array([value for value in values if value is not None])
    inner, _ = np.histogram(known[known < EDGES[-1]], EDGES)
    above = int((known >= EDGES[-1]).sum())
    # numpy closes its last bin on the right, so values on the last edge were taken out before.
    return [int((known < EDGES[0]).sum()), *inner.tolist(), above, 0, len(values) - len(known)]
