"""The shop that the stores in this folder were filled from: the same rows in every run, without the product's code.

Hour n begins n hours after `START`; `HOURS` of them were evaluated.
"""

import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = datetime(2024, 3, 30, 18, tzinfo=UTC)
HOURS = 36
HOUR = timedelta(hours=1)
FIRST_VISIT = -96

DRIFTED = {6, 7, 8, 9, 10, *range(20, 23), *range(28, HOURS)}  # amounts rise, countries change
CHANGED_DEVICES = {*range(-40, -24), 2, 3, 12, 13, 14, *range(33, HOURS)}
FEW, NONE, LATE = 16, 17, 25  # hours of few orders, of none, and of many that come late
EXPRESS_MISSING_FROM = HOURS - 2
COUNTRIES = ("DE", "FR", "Österreich", "日本", 'O"Neil\\', "")


def hour(number: int) -> datetime:
    """When an hour begins."""
    return START + number * HOUR


def orders(number: int) -> list[tuple[Any, ...]]:
    """The orders of an hour that are there when it is read first."""
    draw = random.Random(f"orders {number}")
    count = {FEW: 12, NONE: 0, LATE: 40}.get(number, 60)
    drifted = number in DRIFTED or number == LATE
    return [
        _order(draw, number, place / 60, drifted=drifted, express_missing=number >= EXPRESS_MISSING_FROM)
        for place in range(count)
    ]


def late_orders() -> list[tuple[Any, ...]]:
    """Orders of the hour `LATE` that come after it was read."""
    draw = random.Random("late")
    return [_order(draw, LATE, place / 400, drifted=False, express_missing=False) for place in range(400)]


def training() -> list[tuple[Any, ...]]:
    draw = random.Random("training")
    return [_order(draw, 0, 0, drifted=False, express_missing=False)[1:] for _ in range(500)]


def visits(number: int) -> list[tuple[Any, ...]]:
    draw = random.Random(f"visits {number}")
    devices = ("tablet", "tv", "bot") if number in CHANGED_DEVICES else ("phone", "desktop", "tablet")
    return [
        (
            _moment(number, place / 30),
            f"session {number} {place}",
            round(draw.random() ** 2 * 300, 1),
            devices[int(draw.random() ** 2 * 3)],
            draw.random() < 0.3,
        )
        for place in range(30)
    ]


def refunds(number: int) -> list[tuple[Any, ...]]:
    draw = random.Random(f"refunds {number}")
    return [(_moment(number, place / 30), int(draw.random() * 50)) for place in range(30)]


def lay_out(path: Path) -> None:
    """The tables, without rows."""
    execute(
        path,
        "CREATE TABLE orders (created_at TIMESTAMP NOT NULL, amount REAL, price REAL, quantity INTEGER, country TEXT,"
        " express BOOLEAN, note TEXT)",
        "CREATE TABLE training (amount REAL, price REAL, quantity INTEGER, country TEXT, express BOOLEAN, note TEXT)",
        "CREATE TABLE visits (at TIMESTAMP NOT NULL, session TEXT, seconds REAL, device TEXT, is_new BOOLEAN)",
        "CREATE TABLE refunds (at TIMESTAMP NOT NULL, amount INTEGER)",
    )


def lay_out_what_is_left(path: Path) -> None:
    """What the next window needs: its hours, and nothing of what references were made from."""
    lay_out(path)
    for number in range(HOURS - 6, HOURS + 1):
        insert(path, "orders", orders(number))
        insert(path, "visits", visits(number))
    execute(path, "ALTER TABLE orders DROP COLUMN note", "DROP TABLE training", "DROP TABLE refunds")


def insert(path: Path, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Orders lose their note where the table has none any more."""
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = len(connection.execute(f"PRAGMA table_info({table})").fetchall())
        places = ", ".join("?" * columns)
        connection.executemany(f"INSERT INTO {table} VALUES ({places})", [row[:columns] for row in rows])


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def _order(draw: random.Random, number: int, place: float, *, drifted: bool, express_missing: bool) -> tuple[Any, ...]:
    amount = draw.random() * 40 + (45 if drifted else 10 * draw.random())
    known = COUNTRIES[2:] if drifted else COUNTRIES[:4]
    country = "new" if drifted and draw.random() < 0.5 else known[int(draw.random() * 4)]
    return (
        _moment(number, place),
        None if draw.random() < 0.05 else round(amount, 2),
        round(draw.random() * 10, 3),
        1 + int(draw.random() * 5),
        country,
        None if express_missing and draw.random() < 0.8 else draw.random() < 0.4,
        f"note {int(draw.random() * 3)}",
    )


def _moment(number: int, place: float) -> str:
    return f"{hour(number) + place * HOUR:%Y-%m-%dT%H:%M:%S.%fZ}"


def all_visits(until: int) -> Iterator[tuple[Any, ...]]:
    """Those of all hours before one."""
    for number in range(FIRST_VISIT, until):
        yield from visits(number)
