"""`drift-monitor backfill`: the past, oldest window first, in pieces if need be."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from drift_monitor.alerting.services import Services
from drift_monitor.app import open_services
from drift_monitor.cli.flags import TIMES, config_flag, quiet_log_flags, time_flag
from drift_monitor.cli.output import tell
from drift_monitor.cli.progress import Show, showing_progress
from drift_monitor.config.loading import load
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.times import rfc3339
from drift_monitor.errors import InputError, SourceError
from drift_monitor.evaluation.attempt import Result
from drift_monitor.evaluation.backfill import Progress as Step
from drift_monitor.evaluation.backfill import backfill as fill

DONE, INCOMPLETE, INTERRUPTED = 0, 3, 130


@dataclass
class BackfillCounts:
    """How the windows of one monitor ended."""

    monitor: str
    evaluated: int = 0
    there: int = 0
    problem: str | None = None

    def add(self, step: Step) -> None:
        if step.result is None:
            self.there += 1
        elif step.result is Result.DONE:
            self.evaluated += 1
        else:
            self.problem = f"the window that ends at {rfc3339(step.window_end)} is {step.result.value}; see the log"

    def __str__(self) -> str:
        return f"{self.monitor}: {self.evaluated:,} windows evaluated, {self.there:,} already there"


@click.command(epilog=f"{TIMES} Exit code 3: some windows could not be evaluated; start it again.")
@config_flag
@click.option("--monitor", "monitors", multiple=True, metavar="NAME", help="Only this monitor; can be repeated.")
@time_flag("--from", "Windows that end after this time ...", required=True, parameter="start")
@time_flag("--to", "... and not after this one.", required=True, parameter="end")
@click.option("--notify", is_flag=True, help="Send the messages about what fired in the past, too.")
@quiet_log_flags
@click.pass_context
def backfill(
    context: click.Context, config_file: Path, monitors: Sequence[str], start: datetime, end: datetime, notify: bool
) -> None:
    """Evaluate the windows of the past, oldest first, as if the daemon had been running.

    Can be interrupted and started again: what is stored is not read or evaluated twice.
    """
    if start >= end:
        raise InputError(f"--from {rfc3339(start)} must be before --to {rfc3339(end)}")
    config = load(config_file)
    chosen = [config.monitor(name) for name in dict.fromkeys(monitors)] if monitors else config.monitors
    try:
        with open_services(config) as services, showing_progress() as show:
            tallies = [_fill(services, monitor, start, end, notify, show) for monitor in chosen]
    except KeyboardInterrupt:
        tell("interrupted; the windows that are done are kept: start the same command again to go on")
        context.exit(INTERRUPTED)
    for tally in tallies:
        tell(str(tally))
        if tally.problem is not None:
            tell(f"{tally.monitor}: {tally.problem}; start the same command again to go on")
    context.exit(INCOMPLETE if any(tally.problem for tally in tallies) else DONE)


def _fill(
    services: Services, monitor: MonitorConfig, start: datetime, end: datetime, notify: bool, show: Show
) -> BackfillCounts:
    """One monitor, up to the first window that fails: later ones have to wait for it. Others are not affected."""
    tally = BackfillCounts(monitor.name)
    try:
        for step in fill(services, monitor, start, end, notify=notify):
            tally.add(step)
            show(monitor.name, step)
            if tally.problem is not None:
                break
    except SourceError as error:
        tally.problem = str(error)
    return tally
