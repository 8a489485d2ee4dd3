"""`drift-monitor init`: look at a table and propose a configuration for it."""

from datetime import timedelta

import click

from drift_monitor.cli.printing import emit
from drift_monitor.clock import SystemClock
from drift_monitor.setup.proposal import configuration, propose
from drift_monitor.sources.source import Source

_PATIENCE = timedelta(minutes=5)  # for one statement: this is one look at everything, with a person who waits


@click.command()
@click.argument("url")
@click.argument("table")
def init(url: str, table: str) -> None:
    """Look at TABLE of the database at URL and print a complete, commented configuration.

    URL is written sqlite:///shop.db or postgresql+psycopg://user@host/database. The database is only read. A URL that
    holds a password is written as ${DRIFT_SOURCE_URL}.
    """
    clock = SystemClock()
    source = Source("source", url, max_connections=1, statement_timeout=_PATIENCE, clock=clock)
    try:
        emit(configuration(propose(source, table), url, clock.now()))
    finally:
        source.close()
