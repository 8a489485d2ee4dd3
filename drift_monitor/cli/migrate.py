"""`drift-monitor migrate`: the store's schema, brought up to date."""

from pathlib import Path

import click

from drift_monitor.cli.flags import config_flag, open_store
from drift_monitor.cli.printing import emit, escape_lines
from drift_monitor.config.loading import load
from drift_monitor.store import migrate as migrations


@click.command()
@config_flag
@click.option("--check", is_flag=True, help="Only say whether it is up to date; exit code 1 where it is not.")
def migrate(config_file: Path, check: bool) -> None:
    """Bring the store's schema up to date. Safe to start from several machines at once."""
    with open_store(load(config_file)) as store:
        store.check_file()
        if check:
            migrations.check(store)
        changed = not check and migrations.upgrade(store)
        said = "brought up to date" if changed else "up to date"
        emit(escape_lines(f"store {store.name}: {said}, schema {migrations.head()}"))
