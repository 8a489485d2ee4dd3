"""Migrations build the schema once, whoever comes first, and refuse what is newer."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from drift_monitor.errors import StoreOutdated
from drift_monitor.store import migrate
from drift_monitor.store.connection import Store
from drift_monitor.store.schema import metadata
from drift_monitor.store.views import VIEWS, create_views
from tests.processes.processes import FORKS
from tests.store.conftest import opened
from tests.store.making import sqlite_url

VIEW_COLUMNS = {
    "drift_measurements": """monitor feature segment window_start window_end revision status live_rows reference_rows
        kl_live_reference kl_live_reference_low kl_live_reference_high
        kl_reference_live kl_reference_live_low kl_reference_live_high psi psi_low psi_high js js_low js_high
        hellinger hellinger_low hellinger_high noise_floor noise_floor_kl_reference_live noise_floor_psi noise_floor_js
        noise_floor_hellinger live_missing_ratio reference_missing_ratio live_unseen_ratio direction bin_spec error
        uncertain surprise level surprise_window calibration""",
    "drift_histograms": """monitor feature segment window_end revision bin label lower upper live_count
        reference_count contribution_live_reference contribution_reference_live""",
    "drift_episodes": """id monitor feature segment rule metric severity opened_window closed_window close_reason
        peak_value""",
    "drift_evaluations": """id monitor window_start window_end revision state health attempts rows_read started_at
        finished_at error""",
    "drift_monitors": "monitor source enabled next_window_end config_hash",
}


def test_a_migrated_store_is_accepted_and_left_alone(empty_url: str) -> None:
    with opened(empty_url) as store:
        assert migrate.upgrade(store)
        assert not migrate.upgrade(store)
        assert migrate.current(store) == migrate.head()
        migrate.check(store)


def test_a_store_without_schema_is_refused_with_the_command_that_helps(empty_url: str) -> None:
    with opened(empty_url) as store, pytest.raises(StoreOutdated, match="drift-monitor migrate"):
        migrate.check(store)


def test_looking_for_a_store_that_does_not_exist_creates_no_file(tmp_path: Path) -> None:
    with opened(sqlite_url(tmp_path)) as store:
        assert migrate.current(store) is None
    assert list(tmp_path.iterdir()) == []


def test_reading_before_the_migration_says_what_to_do(empty_url: str) -> None:
    with opened(empty_url) as store, pytest.raises(StoreOutdated, match="drift-monitor migrate"), store.read() as conn:
        conn.execute(text("SELECT * FROM drift_monitors"))


def test_a_schema_of_a_newer_version_is_neither_used_nor_touched(empty_url: str) -> None:
    with opened(empty_url) as store:
        migrate.upgrade(store)
        with store.begin() as connection:
            connection.execute(text("UPDATE schema_version SET version_num = '9999'"))
        with pytest.raises(StoreOutdated, match="newer version"):
            migrate.check(store)
        with pytest.raises(StoreOutdated, match="newer version"):
            migrate.upgrade(store)
        assert migrate.current(store) == "9999"


@pytest.mark.slow
@pytest.mark.processes
def test_four_processes_may_migrate_at_once(empty_url: str) -> None:
    with FORKS.Pool(4) as pool:
        changed = pool.map(_migrate, [empty_url] * 4, chunksize=1)
    assert sorted(changed) == [False, False, False, True]
    with opened(empty_url) as store:
        migrate.check(store)


def test_migrations_build_the_tables_of_the_schema(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": migrate.VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


def test_migrations_build_the_views_of_the_schema(store: Store) -> None:
    with store.begin() as connection:
        migrated = _view_definitions(connection)
        for name in VIEWS[store.dialect]:
            connection.execute(text(f"DROP VIEW {name}"))
        create_views(connection)
        assert migrated == _view_definitions(connection)
        assert set(migrated) == set(VIEW_COLUMNS)


@pytest.mark.parametrize("view", VIEW_COLUMNS)
def test_a_view_has_the_promised_columns(store: Store, view: str) -> None:
    with store.read() as connection:
        assert list(connection.execute(text(f"SELECT * FROM {view}")).keys()) == VIEW_COLUMNS[view].split()


def _view_definitions(connection: Connection) -> dict[str, str]:
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'view'"))
    else:
        found = connection.execute(
            text("SELECT viewname, definition FROM pg_views WHERE schemaname = current_schema()")
        )
    return {name: " ".join(definition.split()) for name, definition in found}


def _migrate(url: str) -> bool:
    with opened(url) as store:
        return migrate.upgrade(store)
