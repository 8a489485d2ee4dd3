"""The test server itself: fresh databases, a log to read, crashes and restarts."""

import psycopg
import pytest
import sqlalchemy as sa

from tests.postgresql import PostgresqlServer, find_binaries


def test_each_database_is_fresh_and_its_statements_are_in_the_servers_log(
    postgresql_server: PostgresqlServer, postgresql_url: str
) -> None:
    engine = sa.create_engine(postgresql_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (x int)"))
        connection.execute(sa.text("SELECT 1 AS one,\n  2 AS two"))
    engine.dispose()
    logged = [one.text for one in postgresql_server.statements(sa.make_url(postgresql_url).database or "")]
    assert "SELECT 1 AS one,\n  2 AS two" in logged


def test_a_stopped_server_refuses_and_a_restarted_one_answers() -> None:
    binaries = find_binaries()
    assert binaries
    server = PostgresqlServer(binaries)
    try:
        server.stop_immediate()
        with pytest.raises(psycopg.OperationalError):
            server.connect()
        server.start()
        server.restart("immediate")
        with server.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.close()
    assert not server.folder.exists()
