"""A whole installation: PostgreSQL as source and store, the daemon, Prometheus, Alertmanagers, and people's webhooks.

The two paths go to Alertmanagers of their own; a user takes one of them. All tell the webhooks of these tests.

    rows ──► PostgreSQL ──► daemon ──► hook                                    the daemon's own webhook
                              │  └───► replicas[0], replicas[1] ──► hooks      the direct path
                              └──────► Prometheus ──► Alertmanager ──► hook    the path by rules
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.alertmanager import Alertmanager, alertmanager
from tests.endtoend.daemon import DaemonProcess, running
from tests.endtoend.patience import wait_until
from tests.endtoend.posts import statuses
from tests.endtoend.prometheus import PrometheusProcess, scraping
from tests.endtoend.shop import TABLES, Shop, shop
from tests.notify.receivers import Receiver, receiver
from tests.postgresql import PostgresqlServer
from tests.processes.processes import NeverHappened

CONFIG = """
store: {{url: "{store}"}}
sources: [{{name: shop, url: "{source}"}}]
receivers:
  - {{name: hook, webhook: {{url: "{hook}"}}}}{replicas}
monitors:{monitors}
"""
REPLICAS = """
  - {{name: replicas, alertmanager: {{urls: {urls}}}}}"""
# Windows of two seconds: 200 rows each.
MONITOR = """
  - name: {table}
    source: shop
    table: {table}
    time_column: at
    every: 2s
    window: 2s
    settle: 2s
    min_rows: 100
    reference: {{table: training}}
    features: [amount, country]
    rules: [{{metric: psi, above: 0.25, severity: critical}}]
    labels: {{team: shop}}"""
WINDOWS = 3  # are some
SERIES_OF_RULES = 2 * len(TABLES)  # one rule on two features of each monitor


@dataclass(frozen=True, kw_only=True)
class Notified:
    """An Alertmanager and the webhook that it tells."""

    alertmanager: Alertmanager
    hook: Receiver


@dataclass(frozen=True, kw_only=True)
class Installation:
    """Everything that runs."""

    server: PostgresqlServer
    store: str
    shop: Shop
    daemon: DaemonProcess
    prometheus: PrometheusProcess
    hook: Receiver
    by_rules: Notified
    replicas: Sequence[Notified]

    def wait_until(self, look: Callable[[], object], what: str) -> None:
        """Until it holds; if it never does, the daemon's last words are told, too."""
        try:
            wait_until(lambda: bool(look()), what)
        except NeverHappened as error:
            told = {table: [statuses(hook, table) for hook in self.hooks] for table in TABLES}
            raise NeverHappened(f"{error}\ntold: {told}\nthe log ends:\n{self.daemon.log[-3000:]}") from None

    def wait_until_measured(self, monitor: str, since: datetime) -> None:
        """Until some windows that ended after this moment were evaluated."""
        self.wait_until(lambda: self._measured(monitor, since) >= WINDOWS, f"windows of {monitor} are measured")

    def wait_until_all_is_known_to_be_well(self) -> None:
        """Until windows of every monitor were measured, and Prometheus has seen a few times that nothing fires."""
        begun = datetime.now(UTC)
        for table in TABLES:
            self.wait_until_measured(table, begun)
        quiet = "count_over_time(drift_alert_active[1m]) >= 3 and max_over_time(drift_alert_active[1m]) == 0"
        self.wait_until(lambda: len(self.prometheus.now(quiet)) == SERIES_OF_RULES, "Prometheus sees that all is well")

    @property
    def hooks(self) -> Sequence[Receiver]:
        """Every webhook there is."""
        return (self.hook, self.by_rules.hook, *(one.hook for one in self.replicas))

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Rows of the store's views."""
        with self.server.connect(self.store) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def _measured(self, monitor: str, since: datetime) -> int:
        """How many windows that ended after this moment were evaluated with enough rows."""
        (row,) = self.query(
            "SELECT count(DISTINCT window_end) FROM drift_measurements"
            " WHERE monitor = %s AND status = 'ok' AND window_end > %s",
            *(monitor, since),
        )
        return int(str(row[0]))


@contextmanager
def installation(folder: Path, server: PostgresqlServer, *, lookback: str, replicas: int = 0) -> Iterator[Installation]:
    """Started, with rows that are well, and told to nobody yet."""
    with ExitStack() as stack:
        selling = stack.enter_context(shop(server))
        hook = stack.enter_context(receiver())
        by_rules = _notified(stack, folder / "rules")
        directly = [_notified(stack, folder / f"replica{number}") for number in range(replicas)]
        store = server.create_database()
        config = folder / "drift.yaml"
        config.write_text(_configuration(server.url(store), selling.url, hook, directly))
        daemon = stack.enter_context(running(config))
        ports = {"daemon": daemon.port, "alertmanager": by_rules.alertmanager.port}
        yield Installation(
            server=server,
            store=store,
            shop=selling,
            daemon=daemon,
            prometheus=stack.enter_context(scraping(folder / "prometheus", lookback=lookback, **ports)),
            hook=hook,
            by_rules=by_rules,
            replicas=directly,
        )


def _notified(stack: ExitStack, folder: Path) -> Notified:
    hook = stack.enter_context(receiver())
    return Notified(alertmanager=stack.enter_context(alertmanager(folder, hook.url)), hook=hook)


def _configuration(store: str, source: str, hook: Receiver, replicas: Sequence[Notified]) -> str:
    urls = [one.alertmanager.url for one in replicas]
    return CONFIG.format(
        store=store,
        source=source,
        hook=hook.url,
        replicas=REPLICAS.format(urls=urls) if urls else "",
        monitors="".join(MONITOR.format(table=table) for table in TABLES),
    )
