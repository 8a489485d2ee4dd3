"""Tables the benchmarks read: seeded, loaded by COPY."""

from datetime import datetime

import numpy as np
import sqlalchemy as sa

FEATURES = 20
BATCH = 100_000
MISSING = 0.01


def fill_events(engine: sa.Engine, *, start: datetime, end: datetime, rows_a_week: int) -> int:
    """A table `events` with a time index and 20 float features of several shapes, rows evenly in time; its rows."""
    columns = ", ".join(f"f{number} double precision" for number in range(FEATURES))
    names = ", ".join(f"f{number}" for number in range(FEATURES))
    total = round(rows_a_week * (end - start).total_seconds() / (7 * 86_400))
    random = np.random.default_rng(7)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE events (at timestamptz NOT NULL, {columns})")
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY events (at, {names}) FROM STDIN") as copy:
            for first in range(0, total, BATCH):
                copy.write(_lines(random, start, end, first, min(BATCH, total - first), total))
        connection.exec_driver_sql("CREATE INDEX ON events (at)")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE events")
    return total


def _lines(random: np.random.Generator, start: datetime, end: datetime, first: int, count: int, total: int) -> str:
    seconds = (np.arange(first, first + count) + 0.5) * ((end - start).total_seconds() / total)
    times = np.datetime64(start.replace(tzinfo=None), "us") + (seconds * 1e6).astype("timedelta64[us]")
    values = np.empty((count, FEATURES))
    values[:, 0::4] = random.normal(size=values[:, 0::4].shape)
    values[:, 1::4] = random.lognormal(size=values[:, 1::4].shape)
    values[:, 2::4] = random.exponential(size=values[:, 2::4].shape)
    values[:, 3::4] = random.integers(0, 100, size=values[:, 3::4].shape)
    missing = random.random(values.shape) < MISSING
    rows = [
        "\t".join([f"{at}+00", *("\\N" if gone else repr(value) for value, gone in zip(row, holes, strict=True))])
        for at, row, holes in zip(times.astype(str).tolist(), values.tolist(), missing.tolist(), strict=True)
    ]
    return "\n".join(rows) + "\n"
