"""Make the stores in this folder: thirty-six hours of a shop, lived through by commit 7e1daeb.

    git worktree add ../then THE_COMMIT_THAT_ADDED_THIS_FILE      its drift_monitor/ is that of 7e1daeb, unchanged
    cd ../then && PYTHONPATH=$PWD python -m tests.store.stores.make

It calls that state's own use cases in the order in which its daemon does, and refuses to run with any other: names that
it imports have changed since, and the stores are not to be made anew. It is kept as the record of what they hold.

Both stores live through the same story by a clock that the script sets; the PostgreSQL server is told it by a function
`clock_timestamp` of the database's own, which is left out of the dump. Ids of silences, delays of tries and what
servers say differ from run to run, so a store made again is alike and not equal.
"""

import gzip
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from drift_monitor.monitoring.alerts.reminding import remind
from drift_monitor.monitoring.alerts.resend import resend
from drift_monitor.monitoring.alerts.silencing import (
    acknowledge_alert,
    add_silence,
    expire_silence,
    withdraw_acknowledgement,
)
from drift_monitor.monitoring.alerts.wellbeing import check_monitors
from drift_monitor.monitoring.attempt import attempt
from drift_monitor.monitoring.backfill import backfill
from drift_monitor.monitoring.deliver import deliver_next
from drift_monitor.monitoring.planning import plan_windows
from drift_monitor.monitoring.services import Services

from drift_monitor.app import declare, open_services
from drift_monitor.config.loading import load
from drift_monitor.core.matching import parse_matcher
from drift_monitor.store import alerts, leases, outbox
from drift_monitor.telemetry.logs import Step, log_step
from tests.postgresql import PostgresqlServer, find_binaries
from tests.store.stores import rows
from tests.store.stores.asking import FOLDER, NEXT, Asked, Hook, listening, load_postgresql, unpack_sqlite, view_rows
from tests.store.stores.rows import HOUR, HOURS, START, hour

COMMIT = "7e1daeb"
TTL = timedelta(minutes=1)
GONE = {4, 5, 6, *range(30, HOURS + 1)}  # windows in which there is no table `refunds`
ASLEEP = {*range(11, 17), *range(32, HOURS + 1)}  # windows in which nobody plans `sleeper`
BROKEN = {13, 14, 15, 16, 17, 18}  # ticks at which an error of our own stops `visits_range`
NOTE_DROPPED = 18
RETIRED = 23
RETIRED_MONITOR = """
  - name: retired
    source: shop
    table: orders
    time_column: created_at
    every: 1h
    window: 1h
    min_rows: 20
    reference: {table: training}
    features: [amount, country]
    rules:
      - {metric: psi, above: 0.3}
    receivers: [oncall, alertmanager]
"""


@dataclass
class MovingClock:
    """`now` is what it was set to."""

    at: datetime = START
    on_move: Callable[[datetime], None] = field(default=lambda at: None)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return time.monotonic()

    def move(self, at: datetime) -> None:
        self.at = at
        self.on_move(at)


class Story:
    """One store, hour by hour."""

    def __init__(self, asked: Asked, folder: Path, clock: MovingClock, hook: Hook) -> None:
        self.asked, self.folder, self.clock, self.hook = asked, folder, clock, hook
        self.number = 0
        os.environ.update(asked.environment)

    def live(self) -> None:
        source = self.asked.source
        rows.lay_out(source)
        rows.insert(source, "training", rows.training())
        rows.insert(source, "visits", rows.all_visits(0))
        for number in range(-18, 0):
            rows.insert(source, "refunds", rows.refunds(number))
        self.hook.statuses.update({"/refusing": 400, "/away": 503})
        self.clock.move(START)
        with self._open(self._first_configuration()) as services:
            for number in range(HOURS):
                if number == RETIRED:
                    services = replace(services, config=load(self.asked.config))
                    declare(services, whole=True)
                self._hour(services, number)
            self._leave(services)

    def _hour(self, services: Services, number: int) -> None:
        """Rows of hour `number` come; ten minutes after its end the window that ends with it is evaluated."""
        source, window = self.asked.source, number + 1
        self.number = number
        rows.insert(source, "orders", rows.orders(number))
        rows.insert(source, "visits", rows.visits(number))
        if number == rows.LATE + 1:
            rows.insert(source, "orders", rows.late_orders())
        if number == NOTE_DROPPED:
            rows.execute(source, "ALTER TABLE orders DROP COLUMN note")
        self._refunds(number, window)
        self.clock.move(hour(window) + timedelta(minutes=12))
        self._people(services, number)
        self._tick(services, window)

    def _refunds(self, number: int, window: int) -> None:
        source = self.asked.source
        with closing(sqlite3.connect(source)) as connection:
            is_there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'refunds'").fetchone()
        if is_there and window in GONE:
            rows.execute(source, "ALTER TABLE refunds RENAME TO refunds_away")
        if not is_there and window not in GONE:
            rows.execute(source, "ALTER TABLE refunds_away RENAME TO refunds")
        rows.insert(source, "refunds_away" if window in GONE else "refunds", rows.refunds(number))

    def _tick(self, services: Services, window: int) -> None:
        for monitor in services.config.monitors:
            asleep = monitor.name == "sleeper" and window in ASLEEP
            if not asleep and monitor.name != "visits_daily":
                plan_windows(services, monitor)
        while claim := services.store.transact(lambda conn: leases.claim(conn, services.owner, TTL)):
            attempt(services, services.config.monitor(claim.key.monitor), claim)
        check_monitors(services, START)
        remind(services)
        resend(services)
        while deliver_next(services):
            pass

    def _people(self, services: Services, number: int) -> None:
        """Silences, acknowledgements, a backfill."""
        store = services.store
        said = {"author": "Zoë", "comment": "Import – läuft noch"}
        match number:
            case 5:
                few = [parse_matcher("monitor=orders"), parse_matcher('feature=~"amount|total"')]
                add_silence(store, few, duration=3 * HOUR, **said)
                mistake = add_silence(
                    store, [parse_matcher("team=sales"), parse_matcher("feature!=price")], duration=HOUR, **said
                )
                expire_silence(store, mistake.id)
            case 9 | 21 | 31:
                country = self._firing(services, "orders", "country")
                acknowledge_alert(store, country, **said)
                if number == 21:
                    withdraw_acknowledgement(store, country)
            case 26:
                monitor = services.config.monitor("visits_daily")
                for _ in backfill(services, monitor, hour(-72), hour(20)):
                    pass
            case 27:
                add_silence(store, [parse_matcher("feature=amount")], duration=timedelta(days=300), **said)
                far = datetime(2190, 1, 1, tzinfo=UTC)
                add_silence(store, [parse_matcher("monitor=orders")], starts_at=far, ends_at=far + HOUR, **said)
            case 34:
                monitor = services.config.monitor("visits_daily")
                for _ in backfill(services, monitor, hour(20), hour(34)):
                    pass

    def _leave(self, services: Services) -> None:
        """A process is killed with a claim and a notification in its hands."""
        monitor = services.config.monitor("visits_trailing")
        self.clock.move(NEXT + timedelta(minutes=12))
        plan_windows(services, monitor)
        claim = services.store.transact(lambda conn: leases.claim(conn, services.owner, TTL, monitors=[monitor.name]))
        sending = services.store.transact(lambda conn: outbox.claim(conn, services.owner, TTL))
        assert claim is not None and sending is not None

    def _firing(self, services: Services, monitor: str, feature: str) -> str:
        with services.store.read() as conn:
            return next(one.id for one in alerts.open_episodes(conn, monitor) if one.key.feature == feature)

    def _first_configuration(self) -> Path:
        """One monitor and one rule more than the last one has."""
        text = self.asked.config.read_text(encoding="utf-8")
        first_rule = "    rules:\n"
        assert first_rule in text
        more = f'{first_rule}      - {{name: former, metric: hellinger, above: 0.2, "on": value}}\n'
        path = self.folder / "first.yaml"
        path.write_text(text.replace(first_rule, more, 1) + RETIRED_MONITOR, encoding="utf-8")
        return path

    @contextmanager
    def _open(self, config: Path) -> Iterator[Services]:
        def observe(step: Step, path: str) -> None:
            if step is Step.COMPUTE_DONE and path.startswith("visits_range/") and self.number in BROKEN:
                raise RuntimeError("an error of our own")
            log_step(step, path)

        with open_services(
            load(config),
            clock=self.clock,
            observe_step=observe,
            external_url="https://drift.example.org",
            migrate_store=True,
        ) as services:
            declare(services, whole=True)
            yield services


def make(engine: str, server: PostgresqlServer, folder: Path) -> None:
    random.seed(engine)
    with listening() as hook:
        url, clock, save = _sqlite(folder) if engine == "sqlite" else _postgresql(server)
        Story(Asked(url, folder / "shop.db", hook.url), folder, clock, hook).live()
        save()
    views = {"views": Asked(_copy(engine, server, folder, "views"), folder / "shop.db").views()}
    answers = {"answers": Asked(_copy(engine, server, folder, "answers"), folder / "shop.db").answers()}
    rest = folder / "rest.db"
    rows.lay_out_what_is_left(rest)
    with listening() as hook:
        asked = Asked(_copy(engine, server, folder, "next"), rest, hook.url)
        evaluated = asked.evaluate_next()
    upcoming = {
        "evaluated": evaluated,
        "posts": hook.accepted(),
        "notifications": asked.notifications_of_next(),
        "views": _rows_of_next(asked),
    }
    _write(f"{engine}.json.gz", json.dumps({**views, **answers, "next": upcoming}, ensure_ascii=False).encode())


def _rows_of_next(asked: Asked) -> dict[str, Any]:
    found = {}
    for view in ("drift_measurements", "drift_histograms"):
        given = view_rows(asked.store_url, view)
        place = given["columns"].index("window_end")
        kept = [row for row in given["rows"] if datetime.fromisoformat(row[place]) == NEXT]
        found[view] = {"columns": given["columns"], "rows": kept}
    return found


def _sqlite(folder: Path) -> tuple[str, MovingClock, Callable[[], None]]:
    path = folder / "drift.db"

    def save() -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _write("sqlite.db.gz", path.read_bytes())

    return f"sqlite:///{path}", MovingClock(), save


def _postgresql(server: PostgresqlServer) -> tuple[str, MovingClock, Callable[[], None]]:
    name = server.create_database()
    connection = server.connect(name)
    connection.execute("CREATE SCHEMA clock")
    connection.execute("CREATE TABLE clock.present (at timestamptz NOT NULL)")
    connection.execute("INSERT INTO clock.present VALUES (now())")
    connection.execute(
        "CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE"
        " AS 'SELECT at FROM clock.present'"
    )
    connection.execute(f"ALTER DATABASE {name} SET search_path = public, clock, pg_catalog")

    def move(at: datetime) -> None:
        connection.execute("UPDATE clock.present SET at = %s", [at])

    def save() -> None:
        connection.close()
        options = ["--no-owner", "--no-privileges", "--inserts", "--rows-per-insert=100", "--exclude-schema=clock"]
        url = server.url(name).replace("+psycopg", "")
        program = str((find_binaries() or Path()) / "pg_dump")
        dump = subprocess.run([program, *options, url], check=True, capture_output=True).stdout.decode()
        # Commands of psql, which pg_dump writes since 15.14 and older ones don't know.
        lines = [line for line in dump.splitlines(keepends=True) if not line.startswith(("\\restrict", "\\unrestrict"))]
        _write("postgresql.sql.gz", "".join(lines).encode())

    return server.url(name), MovingClock(on_move=move), save


def _copy(engine: str, server: PostgresqlServer, folder: Path, name: str) -> str:
    """The saved store anew."""
    if engine == "sqlite":
        unpack_sqlite(folder / f"{name}.db")
        return f"sqlite:///{folder / name}.db"
    url = server.url(server.create_database())
    load_postgresql(url)
    return url


def _write(name: str, content: bytes) -> None:
    packed = gzip.compress(content, 9, mtime=0)
    (FOLDER / name).write_bytes(packed)
    print(f"{name}: {len(packed) / 1000:.0f} kB")


def main() -> None:
    root = FOLDER.parent.parent.parent
    git = shutil.which("git") or "git"
    changed = subprocess.run(
        [git, "diff", "--quiet", COMMIT, "--", "drift_monitor", "migrations"], cwd=root, check=False
    )
    if changed.returncode:
        sys.exit(f"drift_monitor/ and migrations/ are not those of {COMMIT}")
    binaries = find_binaries()
    if binaries is None:
        sys.exit("no PostgreSQL")
    server = PostgresqlServer(binaries)
    try:
        for engine in ("sqlite", "postgresql"):
            with tempfile.TemporaryDirectory() as folder:
                make(engine, server, Path(folder))
    finally:
        server.close()


if __name__ == "__main__":
    main()
