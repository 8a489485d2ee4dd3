"""One test's own store, receiver and configuration, made from a template in milliseconds.

The template is a store in which the first window of each monitor was evaluated; afterwards rows of that window came
late. So the windows that are due at the start of a service lead to a revision, to alerts that fire and that resolve.
"""

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg import sql
from sqlalchemy import text, update

from drift_monitor.app import open_services
from drift_monitor.clock import SystemClock
from drift_monitor.config.loading import load
from drift_monitor.evaluation.on_demand import evaluate_now
from drift_monitor.evaluation.planning import planned_run
from drift_monitor.store import runs
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.runs import Trigger
from drift_monitor.store.schema import outbox, run
from tests.notify.receivers import Receiver, receiver
from tests.postgresql import PostgresqlServer
from tests.processes.outcome import Outcome, read_outcome
from tests.processes.processes import SIGKILLED, NeverHappened, ServiceProcess, posts, started, wait_until
from tests.processes.service_process import QUICK, DaemonSettings, Halt, Orders
from tests.processes.world import HOUR, WINDOWS, Timeline, add_late_rows, build_source, configuration


@dataclass(frozen=True, kw_only=True)
class Template:
    """What stages of one kind of store are copied from."""

    folder: Path
    timeline: Timeline
    server: PostgresqlServer | None
    database: str = ""

    @property
    def kind(self) -> str:
        return "postgresql" if self.server else "sqlite"

    @property
    def source(self) -> Path:
        return self.folder / "source.db"

    def url(self, folder: Path, name: str) -> str:
        return self.server.url(name) if self.server else f"sqlite:///{folder}/{name}.db"

    def copy(self, folder: Path) -> str:
        """A store like the template's; its URL."""
        if self.server is None:
            shutil.copy(self.folder / f"{self.database}.db", folder / "store.db")
            return self.url(folder, "store")
        name = f"stage_{folder.name.replace('-', '_')}"[:60].lower()
        with self.server.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(self.database))
            )
        return self.server.url(name)

    def remove(self, url: str) -> None:
        if self.server is not None:
            self.server.drop_database(url.rpartition("/")[2])


def make_template(folder: Path, server: PostgresqlServer | None) -> Template:
    database = server.create_database() if server else "template"
    template = Template(folder=folder, timeline=Timeline.at(datetime.now(UTC)), server=server, database=database)
    timeline = template.timeline
    build_source(template.source, timeline)
    config = folder / "template.yml"
    store = template.url(folder, database)
    config.write_text(configuration(timeline, store=store, source=template.source, receiver="http://127.0.0.1:9"))
    with open_services(load(config), external_url="http://drift.test", migrate_store=True) as services:
        for monitor in services.config.monitors:
            first = planned_run(monitor, timeline.first, timeline.newest, Trigger.SCHEDULE)
            services.store.transact(lambda connection, first=first: runs.plan(connection, [first]))
            assert evaluate_now(services, monitor, timeline.first).problem is None
    add_late_rows(template.source, "orders", timeline.first - HOUR)
    return template


@dataclass
class Stage:
    """Where the processes of one test act."""

    template: Template
    folder: Path
    store: Store
    config: Path
    source: Path
    receiver: Receiver
    everybody: list[ServiceProcess] = field(default_factory=list)

    @property
    def timeline(self) -> Timeline:
        return self.template.timeline

    def orders(self, name: str, halt: Halt | None = None, *sabotage: str, settings: DaemonSettings = QUICK) -> Orders:
        return Orders(
            name=name, config=self.config, folder=self.folder, halt=halt, sabotage=sabotage, settings=settings
        )

    @contextmanager
    def started(self, *orders: Orders) -> Iterator[Sequence[ServiceProcess]]:
        with started(*orders) as running:
            self.everybody += running
            yield running

    def counts(self, table: str) -> dict[str, int]:
        """How many rows of `run` or `outbox` there are in each state."""
        with self.store.read() as connection:
            rows = connection.execute(text(f"SELECT state, count(*) FROM {table} GROUP BY state"))
            return dict(rows.all())

    def outcome(self) -> Outcome:
        steps = [step for process in self.everybody for step in process.steps]
        return read_outcome(self.store, posts(self.receiver), steps)

    def wait_until_quiet(self) -> None:
        """Until every window of both monitors is done, those to be revised too, and every notification sent."""
        windows = 2 * (1 + WINDOWS)

        def is_quiet() -> bool:
            runs, notifications = self.counts("run"), self.counts("outbox")
            done = runs.get("done", 0)
            return done == sum(runs.values()) and done >= windows and not notifications.get("pending", 0)

        try:
            wait_until(is_quiet, "quiet")
        except NeverHappened:
            logs = "\n".join(f"--- {one.orders.name}\n{one.log[-2000:]}" for one in self.everybody)
            raise NeverHappened(f"runs {self.counts('run')}, outbox {self.counts('outbox')}\n{logs}") from None

    def bury(self, process: ServiceProcess) -> None:
        """Wait until a process has killed itself, all that it has sent is received, and what it held is free."""
        assert process.wait() == SIGKILLED
        self._settle()

    def run_until_quiet(self, orders: Orders) -> None:
        """One service, after all others are dead, that works everything off and ends when told."""
        self._settle()
        with self.started(orders) as (process,):
            self.wait_until_quiet()
            end(process)

    def _settle(self) -> None:
        """As after a while in which nobody was there: no request is under way, and no lease holds any more."""
        self.receiver.wait_for_the_dead()

        def end_leases(connection: Transaction) -> None:
            over = self.store.now(connection) - timedelta(seconds=1)
            for table in (run, outbox):
                connection.execute(update(table).where(table.c.lease_until > over).values(lease_until=over))

        self.store.transact(end_leases)


def end(process: ServiceProcess) -> None:
    process.send(signal.SIGTERM)
    assert process.wait() == 0, process.log[-3000:]


@contextmanager
def staged(template: Template, folder: Path, source: Path | None = None) -> Iterator[Stage]:
    """A stage with a store, a receiver and a configuration of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    url = template.copy(folder)
    with receiver() as listening:
        config = folder / "drift.yml"
        where = source or template.source
        base = listening.url.removesuffix("/hook")
        config.write_text(configuration(template.timeline, store=url, source=where, receiver=base))
        store = Store(url, SystemClock())
        try:
            yield Stage(template=template, folder=folder, store=store, config=config, source=where, receiver=listening)
        finally:
            store.close()
            template.remove(url)
