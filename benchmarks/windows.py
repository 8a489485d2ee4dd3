"""What a window costs: in a backfill, before stored windows, in the daemon, for 200 monitors; and its bytes.

A window costs the difference of two backfills over the same panes, one with a window every hour, one with a window a
day: reading and storing the panes, the reference and starting up are in both, so what is left is a window whose panes
are stored already, its commit included.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.figures import Bar, Beside, Checkout, Measured, Take
from benchmarks.scene import HOUR, Daemon, Setting, fill_source, last_hour, serving
from tests.postgresql import PostgresqlServer, find_binaries

DAY = timedelta(days=1)
START = datetime(2025, 3, 10, tzinfo=UTC)  # a Monday long over
ROWS = 20  # an hour: a pane is read fast, a window has 480
OLDER, LATER = 47, 72  # windows, and the stored ones after them
ROUNDS = 3  # hours that 200 monitors make up for
FEATURES = 20


@contextmanager
def folder_with_source(features: int, start: datetime, hours: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="drift-bench-") as name:
        fill_source(Path(name), features=features, start=start, hours=hours, rows=ROWS)
        yield Path(name)


def hourly_and_daily(
    checkout: Checkout, folder: Path, features: int, days: int, stores: tuple[str, str] = ("", "")
) -> float:
    """CPU seconds of one window whose panes are stored. At most a week: its panes are then read at once in both."""
    hourly = Setting(folder=folder, features=features, name="hourly", store_url=stores[0])
    daily = Setting(folder=folder, features=features, name="daily", store_url=stores[1], every="24h")
    for setting in (hourly, daily):
        if setting.store_url:
            checkout.command("migrate", "--config.file", setting.write())
    end = START + days * DAY
    # The daily windows begin with the one that ends where the hourly ones start: it has their panes.
    many, few = hourly.backfill(checkout, START, end), daily.backfill(checkout, START - HOUR, end)
    if not stores[0]:
        assert (hourly.states(), daily.states()) == ({"done": 24 * days}, {"done": days + 1})
    return (many - few) / (24 * days - days - 1)


def backfill(features: int, most: float) -> Take:
    """Windows of so many features, source and store in SQLite."""
    bar = Bar(f"backfill, SQLite, a window of {features} features", most)

    def take(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
        days = 2 if quick else 7
        with folder_with_source(features, START - DAY, 24 * (days + 1)) as folder, Beside() as beside:
            seconds = hourly_and_daily(checkout, folder, features, days)
        return {bar: beside.of(seconds)}

    return take


def backfill_postgresql(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
    """The same with the store in PostgreSQL; the CPU of our process only."""
    binaries = find_binaries()
    assert binaries is not None, "no PostgreSQL: install the server, or the package pgserver"
    measured = {}
    server = PostgresqlServer(binaries)
    try:
        for features, most in ((20, 0.04), (50, 0.08)):
            days = 2 if quick else 7
            stores = (server.url(server.create_database()), server.url(server.create_database()))
            with folder_with_source(features, START - DAY, 24 * (days + 1)) as folder, Beside() as beside:
                seconds = hourly_and_daily(checkout, folder, features, days, stores)
            bar = Bar(f"backfill, PostgreSQL store, a window of {features} features", most)
            measured[bar] = beside.of(seconds)
    finally:
        server.close()
    return measured


def before_stored(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
    """47 windows older than 72 stored ones: each of them is touched once, or the cost grows with their product.

    The panes of the older ones are read here, too. Starting up is taken off: the same command again finds all done.
    """
    older, later = (12, 24) if quick else (OLDER, LATER)
    bar = Bar(f"backfill of {older} windows before {later} stored ones, a window of both", 0.04)
    middle = START + older * HOUR
    with folder_with_source(FEATURES, START - DAY, 24 + older + later) as folder, Beside() as beside:
        setting = Setting(folder=folder, features=FEATURES)
        setting.backfill(checkout, middle, middle + later * HOUR)
        whole = setting.backfill(checkout, START, middle)
        assert setting.states() == {"done": older + later}
        nothing = setting.backfill(checkout, START, middle)
    return {bar: beside.of((whole - nothing) / (older + later))}


def storage(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
    """How much the store grows from N to 2N windows, hourly and daily: two equations for windows and panes."""
    days = 1 if quick else 3
    growths = []
    with folder_with_source(FEATURES, START - DAY, 24 * (2 * days + 1)) as folder:
        for every in ("1h", "24h"):
            setting = Setting(folder=folder, features=FEATURES, name=f"every{every}", every=every)
            setting.backfill(checkout, START - HOUR, START + days * DAY)
            before = setting.size()
            setting.backfill(checkout, START + days * DAY, START + 2 * days * DAY)
            growths.append((setting.size() - before) / (24 * days * FEATURES))
    window = (growths[0] - growths[1]) * 24 / 23
    return {
        Bar("stored a feature and window", 900, "bytes"): Measured(window),
        Bar("  its new pane besides", None, "bytes"): Measured(growths[0] - window),
    }


def daemon(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
    """The daemon's evaluation of a window whose newest pane has to be read, after an outage: one after the other.

    A pane has 20 rows, so the source's own statement is small; SQLite runs it in the same process, and it is included.
    """
    bar = Bar(f"daemon, an hourly evaluation of {FEATURES} features", 0.2)
    hours = 8 if quick else 24
    end = last_hour()
    with folder_with_source(FEATURES, end - hours * HOUR - DAY, 24 + hours) as folder, Beside() as beside:
        setting = Setting(folder=folder, features=FEATURES, extra={"catch_up": "100"})
        start = end - hours * HOUR  # a daemon makes up for what follows the last window of a schedule or a backfill
        setting.backfill(checkout, start - HOUR, start)
        with serving(checkout, folder, "run", "--config.file", setting.write(), "--log.level=error") as service:
            seconds, _ = catching_up(service, setting, first=4, last=1 + hours)
    return {bar: beside.of(seconds)}


def fleet(checkout: Checkout, quick: bool) -> Mapping[Bar, Measured]:
    """200 monitors that make up for three hours: what one hour of all of them costs, and how long it takes."""
    monitors = 20 if quick else 200
    cpu = Bar(f"{monitors} monitors x {FEATURES} features, one round", 60.0 * monitors / 200)
    wall = Bar("  on the wall, of the hour there is", 3600, "s")
    end = last_hour()
    with folder_with_source(FEATURES, end - ROUNDS * HOUR - DAY, 24 + ROUNDS) as folder, Beside() as beside:
        setting = Setting(folder=folder, features=FEATURES, monitors=monitors)
        setting.backfill(checkout, end - (ROUNDS + 1) * HOUR, end - ROUNDS * HOUR)
        with serving(checkout, folder, "run", "--config.file", setting.write(), "--log.level=error") as service:
            # The last quarter of a round is left out: there the workers run dry.
            last = monitors + round((ROUNDS - 0.25) * monitors)
            seconds, lasted = catching_up(service, setting, first=monitors + monitors // 4, last=last)
            service.wait(lambda: setting.states() == {"done": monitors * (1 + ROUNDS)})
    return {cpu: beside.of(seconds * monitors), wall: Measured(lasted * monitors)}


def catching_up(service: Daemon, setting: Setting, *, first: int, last: int) -> tuple[float, float]:
    """CPU and wall seconds of one evaluation, between the first and the last so many that are done."""
    marks = []
    for wanted in (first, last):
        service.wait(lambda wanted=wanted: setting.states().get("done", 0) >= wanted)  # type: ignore[misc]
        marks.append((setting.states()["done"], service.cpu(), time.perf_counter()))
    (started, cpu, wall), (ended, cpu_ended, wall_ended) = marks
    return (cpu_ended - cpu) / (ended - started), (wall_ended - wall) / (ended - started)
