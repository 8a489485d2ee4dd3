"""`drift-monitor reference`: what live rows are compared with."""

from pathlib import Path

import click

from drift_monitor.app import open_services
from drift_monitor.cli.flags import config_flag, monitor_flag, quiet_log_flags
from drift_monitor.cli.output import emit, escape_lines, tell
from drift_monitor.config.loading import load
from drift_monitor.evaluation.on_demand import requested_window
from drift_monitor.evaluation.reference import rebuild_reference, window_of
from drift_monitor.words import count


@click.group()
def reference() -> None:
    """What live rows are compared with: build it anew."""


@reference.command(short_help="Build the reference of a monitor anew.")
@config_flag
@monitor_flag
@click.option("--feature", metavar="NAME", help="Only this feature.")
@quiet_log_flags
@click.pass_context
def rebuild(context: click.Context, config_file: Path, monitor: str, feature: str | None) -> None:
    """Build the reference of a monitor anew, from the rows that are there now: bins, and counts where it is fixed.

    After the reference rows were repaired, or a column has changed its type. Works beside a running service, whose next
    evaluation uses it; what was measured before stays as it is. Exit code 1 where a feature could not be built: its
    reference stays the one it was.
    """
    config = load(config_file)
    with open_services(config) as services:
        configured = config.monitor(monitor)
        window = window_of(configured, requested_window(services, configured, None))
        built = rebuild_reference(services, configured, window, feature)
    for name, found in built.features.items():
        rows = "" if found.counts is None else f", {count(found.counts.rows)} rows"
        emit(escape_lines(f"{name}: {len(found.spec.bins)} bins{rows}"))
    for name, error in built.failed.items():
        tell(f"{name}: not built: {error}")
    for name, few in built.waiting.items():
        tell(f"{name}: not built: its reference has {count(few)} rows, `min_rows` is {count(configured.min_rows)}")
    if built.failed or built.waiting:
        context.exit(1)
