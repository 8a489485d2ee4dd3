"""`drift-monitor run`: the daemon."""

from dataclasses import replace
from pathlib import Path

import click

from drift_monitor.app import Service
from drift_monitor.cli.flags import log_flags
from drift_monitor.cli.serving import WebFlags, web_flags
from drift_monitor.config.loading import load


@click.command()
@click.option(
    "--config.file",
    "config_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration.",
)
@click.option("--store.migrate", "migrate_store", is_flag=True, help="Bring a PostgreSQL store up to date at start.")
@web_flags
@log_flags
@click.pass_context
def run(context: click.Context, config_file: Path, migrate_store: bool, flags: WebFlags) -> None:
    """Watch the configured monitors until told to stop.

    SIGTERM finishes running evaluations and ends; SIGHUP loads the configuration anew.
    """
    options = replace(flags.options(), migrate_store=migrate_store)
    context.exit(Service(load(config_file), options).run())
