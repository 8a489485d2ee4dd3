"""A table of orders in which something goes wrong, watched hour by hour until the critical alert fires.

Everything is the service's own: the configuration is loaded, the rows are counted, the rules judged, and what is
returned is what the outbox holds for each receiver. Only the rows and the clock are set: from two o'clock on every
fifth amount is written in cents.
"""

import random
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from drift_monitor.app import open_services
from drift_monitor.config.loading import parse
from drift_monitor.evaluation.on_demand import evaluate_now
from drift_monitor.store import outbox
from drift_monitor.store.outbox import NotificationFilter, StoredNotification

EXTERNAL_URL = "https://drift.example.com"
CONFIG = """
store: {url: "sqlite:///drift.db"}
sources:
  - {name: shop, url: "sqlite:///shop.db", time_zone: UTC}
monitors:
  - name: orders
    source: shop
    table: orders
    time_column: created_at
    reference: {from: 2026-10-20, to: 2026-11-10}
    features: [amount, country]
    annotations: {owner: checkout team}
receivers:
  - name: team
    slack: {webhook_url: "https://hooks.slack.com/services/T000/B000/XXXX"}
  - name: data-team
    email: {smarthost: "mail.example.org:587", from: Drift <drift@example.org>, to: [data-team@example.org]}
grafana_url: https://grafana.example.com
"""
START = datetime(2026, 10, 20, tzinfo=UTC)
BROKEN_FROM = datetime(2026, 11, 20, 2, tzinfo=UTC)
END = datetime(2026, 11, 20, 14, tzinfo=UTC)
IN_CENTS = 1 / 5  # of the amounts
_HOUR = timedelta(hours=1)
_COUNTRIES = {"DE": 40, "FR": 25, "ES": 15, "IT": 12, "NL": 8}


@dataclass
class _Clock:
    """A present that is set."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def notifications() -> Mapping[str, Mapping[str, Any]]:
    """Receiver to the body that waits for it when the critical alert has fired."""
    with tempfile.TemporaryDirectory() as folder:
        _write_orders(Path(folder) / "shop.db")
        return _watch(Path(folder))


def _watch(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    config = parse(CONFIG.replace("sqlite:///", f"sqlite:///{folder}/"))
    clock = _Clock(BROKEN_FROM)
    with open_services(config, clock=clock, external_url=EXTERNAL_URL) as services:
        while clock.at < END:
            clock.at += _HOUR
            evaluate_now(services, config.monitor("orders"), clock.at - _HOUR)
            with services.store.read() as conn:
                waiting = outbox.page(conn, NotificationFilter(monitor="orders"), limit=100)
            told = {one.notification.receiver: one.notification.body for one in waiting if _is_critical(one)}
            if told:
                return told
    raise RuntimeError("no critical alert has fired")


def _is_critical(one: StoredNotification) -> bool:
    return any(alert["labels"]["severity"] == "critical" for alert in one.notification.body["alerts"])


def _write_orders(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders (created_at TIMESTAMP NOT NULL, amount REAL, country TEXT)")
        connection.execute("CREATE INDEX orders_created_at ON orders (created_at)")
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", _orders())


def _orders() -> Iterator[tuple[str, float, str]]:
    """About two orders a minute."""
    drawn = random.Random(7)  # noqa: S311 - a scene, not a secret
    moment = START
    while moment < END:
        moment += timedelta(seconds=drawn.expovariate(1 / 30))
        amount = round(drawn.lognormvariate(3.2, 0.6), 2)
        country = drawn.choices(list(_COUNTRIES), list(_COUNTRIES.values()))[0]
        if moment >= BROKEN_FROM and drawn.random() < IN_CENTS:
            amount = round(amount * 100, 2)
        yield moment.strftime("%Y-%m-%dT%H:%M:%SZ"), amount, country
