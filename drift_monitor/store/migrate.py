"""Migrations: the store's schema brought up to date by one process at a time, or refused.

Several replicas may start at once: one migrates, the others wait for its lock and find nothing left to do. On
PostgreSQL the lock and all steps are one transaction, so a migration that fails or dies leaves no trace; on SQLite a
lock file stands for the advisory lock. A store written by a newer version is never touched.
"""

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from drift_monitor.errors import StoreOutdated
from drift_monitor.store.connection import Store
from drift_monitor.store.postgresql import wait_longer
from drift_monitor.store.schema import VERSION_TABLE
from drift_monitor.store.sqlite import FileLock

MIGRATION_DEADLINE: Final = timedelta(minutes=30)  # of one statement: it may rewrite a large table
_ADVISORY_LOCK: Final = 0x6472_6966_74  # "drift"; any constant will do, so long as nobody else in the database uses it


def head() -> str:
    """The schema revision that this program needs."""
    newest = _scripts().get_current_head()
    assert newest is not None
    return newest


def current(store: Store) -> str | None:
    """The schema revision of the store; None where there is no schema yet."""
    if store.path is not None and not store.path.exists():
        return None
    with store.read() as connection:
        return _revision(connection)


def check(store: Store) -> None:
    """Raise StoreOutdated unless the store has exactly the schema that this program needs."""
    found = current(store)
    _refuse_newer(store, found)
    if found is None:
        raise StoreOutdated(f"store {store.name} has not been set up; run `drift-monitor migrate`")
    if found != head():
        raise StoreOutdated(
            f"store {store.name} has schema {found}, this version needs {head()}; run `drift-monitor migrate`"
        )
    store.schema = found


def upgrade(store: Store) -> bool:
    """Bring the schema up to date; False where it was already. Raises StoreOutdated where it is newer than we are."""
    store.schema = head()
    if store.path is None and current(store) == store.schema:
        return False
    with (
        nullcontext() if store.path is None else FileLock.wait(store.maintenance_lock),
        store.begin() as connection,
    ):
        if connection.dialect.name == "postgresql":
            wait_longer(connection, MIGRATION_DEADLINE)
            # Until the transaction ends no other replica migrates; to wait for one may take longer than any statement.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = '5min'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        found = _revision(connection)
        _refuse_newer(store, found)
        if found == head():
            return False
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return True


def _refuse_newer(store: Store, found: str | None) -> None:
    known = {script.revision for script in _scripts().walk_revisions()}
    if found is not None and found not in known:
        raise StoreOutdated(
            f"store {store.name} was written by a newer version (schema {found}, this one knows up to {head()}); "
            "install that version, or restore a backup from before the upgrade"
        )


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["version_table"] = VERSION_TABLE
    return config


def _folder() -> Path:
    """Inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    packed = package / "migrations"
    return packed if packed.is_dir() else package.parent / "migrations"
