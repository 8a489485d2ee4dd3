"""The same commands with store and source in PostgreSQL: same numbers, and a schema that only `migrate` makes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, nullcontext

import psycopg
import pytest

from tests.cli.shop import Shop, document_of, open_shop
from tests.postgresql import PostgresqlServer, pooler


@pytest.fixture(params=["direct", "pooled"])
def server_shop(
    request: pytest.FixtureRequest, shop: Shop, postgresql_server: PostgresqlServer, postgresql_url: str
) -> Iterator[Shop]:
    """The shop's tables copied to a server, which holds the store, too; used as it is, or through a pooler."""
    with (
        psycopg.connect(postgresql_url.replace("+psycopg", "")) as server,
        closing(sqlite3.connect(shop.database)) as file,
    ):
        server.execute("CREATE TABLE orders (created_at timestamptz, amount integer, country text)")
        server.execute("CREATE TABLE training (amount integer, country text)")
        for table, values in (("orders", "%s, %s, %s"), ("training", "%s, %s")):
            server.cursor().executemany(
                f"INSERT INTO {table} VALUES ({values})", list(file.execute(f"SELECT * FROM {table}"))
            )
    through = pooler(postgresql_server) if request.param == "pooled" else nullcontext(postgresql_server.port)
    with through as port:
        for name in ("drift", "shop"):
            url = postgresql_url.replace(f":{postgresql_server.port}/", f":{port}/")
            shop.change_config(f"sqlite:///{shop.folder}/{name}.db", url)
        yield shop


def test_the_schema_is_made_by_migrate_only(server_shop: Shop) -> None:
    refused = server_shop.run("evaluate", f"--at={server_shop.end.isoformat()}")

    assert refused.exit_code == 3
    assert "run `drift-monitor migrate`" in refused.stderr
    assert server_shop.run("migrate").exit_code == 0
    assert server_shop.run("evaluate", f"--at={server_shop.end.isoformat()}").exit_code == 1


def test_the_numbers_are_those_of_sqlite(server_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> None:
    at = f"--at={server_shop.end.isoformat()}"
    embedded = open_shop(tmp_path_factory.mktemp("embedded")).evaluate(at)["measurements"]
    server_shop.run("migrate")

    assert server_shop.evaluate(at)["measurements"] == embedded
    assert server_shop.run("explain", "--monitor=orders").exit_code == 0
    assert '"psi"' in server_shop.run("history", "--monitor=orders", "--format=json").stdout


def test_alerts_are_silenced_and_acknowledged_in_the_same_store(server_shop: Shop) -> None:
    server_shop.run("migrate")
    server_shop.evaluate(f"--at={server_shop.end.isoformat()}")
    why = "--comment=import"

    silence = server_shop.run("silence add", "feature=amount", "--duration=1h", why).stdout.strip()
    listed = {one["feature"]: one for one in document_of(server_shop.run("alert list", "--format=json"))["alerts"]}
    acknowledged = server_shop.run("alert ack", listed["country"]["id"][:8], why)
    ended = server_shop.run("silence expire", silence[:8])

    assert {feature: one["silenced_by"] for feature, one in listed.items()} == {"amount": [silence], "country": []}
    assert (acknowledged.exit_code, ended.exit_code) == (0, 0)
    assert "looks after it: import" in server_shop.run("alert list").stdout
    assert document_of(server_shop.run("silence list", "--format=json")) == {"silences": []}
