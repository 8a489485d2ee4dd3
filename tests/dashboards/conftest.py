"""One running service for all queries: a drifting table, its store on PostgreSQL, a real Prometheus that scrapes it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from drift_monitor.app import ServeOptions, Service
from drift_monitor.config.loading import load
from tests.cli.shop import HOUR, Shop, open_shop
from tests.postgresql import PostgresqlServer
from tests.processes.processes import PATIENCE_SECONDS, wait_until
from tests.prometheus.server import Prometheus, scraping

RULE = "      - {metric: kl_reference_live, above: 5, severity: critical}\n"
# Nobody listens on the discard port, so this receiver's messages wait.
RECEIVER = "  - name: hook\n    webhook: {url: http://127.0.0.1:9/}\n"


@dataclass(frozen=True, kw_only=True)
class Running:
    """What dashboards are looked at with."""

    prometheus: Prometheus
    server: PostgresqlServer
    database: str


@pytest.fixture(scope="package")
def running(postgresql_server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Measured for some hours, firing, with a message that waits, and scraped."""
    folder = tmp_path_factory.mktemp("dashboards")
    database = postgresql_server.create_database()
    shop = open_shop(folder)
    shop.change_config(f"sqlite:///{folder}/drift.db", postgresql_server.url(database))
    shop.change_config("receivers:\n", f"{RULE}receivers:\n{RECEIVER}")
    _measure(shop)
    with serving(shop) as port, scraping(port, folder) as prometheus:
        yield Running(prometheus=prometheus, server=postgresql_server, database=database)
    postgresql_server.drop_database(database)


@contextmanager
def serving(shop: Shop) -> Iterator[int]:
    """The whole service in a thread, as `run` composes it; its port."""
    ports: list[int] = []
    service = Service(load(shop.config), ServeOptions(listen_address="127.0.0.1:0"))
    thread = threading.Thread(target=service.run, args=(ports.append,))
    thread.start()
    try:
        yield wait_until(lambda: ports[0] if ports else None, "the service listens")
    finally:
        service.end()
        thread.join(PATIENCE_SECONDS)


def _measure(shop: Shop) -> None:
    assert shop.run("migrate").exit_code == 0
    span = f"--from={(shop.end - 8 * HOUR).isoformat()}", f"--to={shop.end.isoformat()}"
    done = shop.run("backfill", "--notify", *span)
    assert done.exit_code == 0, done.stderr
