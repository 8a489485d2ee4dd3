"""`drift-monitor demo`: data with known drift, its history measured, and the service on top of it.

Nothing is precomputed: incidents are rows in a database, found by the same backfill and the same daemon that users run.
Interrupted at any moment and started again, it goes on where it was.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.console import RenderableType

from drift_monitor.alerting.deliver import deliver_next
from drift_monitor.alerting.services import Services
from drift_monitor.app import Service, check_listen_address, open_services
from drift_monitor.cli.backfill import Show, showing_progress
from drift_monitor.cli.flags import DEMO_LOG_FILE, demo_log_flags
from drift_monitor.cli.output import tell
from drift_monitor.cli.run import WebFlags, web_flags
from drift_monitor.cli.summary import (
    Summary,
    counted,
    episode_table,
    incident_table,
    program_name,
    signposts,
    summarise,
)
from drift_monitor.cli.tables import emit_shown
from drift_monitor.clock import Clock, SystemClock
from drift_monitor.config.loading import load
from drift_monitor.demo.catalogue import CATALOGUE, DemoData
from drift_monitor.demo.database import History
from drift_monitor.errors import StoreError
from drift_monitor.evaluation.backfill import backfill

SEED = 2013


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Where everything is kept, also the log.",
)
@click.option("--once", is_flag=True, help="Prepare, evaluate, print the summary and exit.")
@click.option("--data", type=click.Choice(list(CATALOGUE)), default="payments", show_default=True)
@click.option("--seed", type=int, default=SEED, show_default=True, help="Of the generated data, when it is first made.")
@click.option("--webhook-url", metavar="URL", help="Also send the demo's alerts there.")
@web_flags
@demo_log_flags
@click.pass_context
def demo(
    context: click.Context,
    directory: Path,
    once: bool,
    data: str,
    seed: int,
    webhook_url: str | None,
    flags: WebFlags,
) -> None:
    """See drift being found, on data with known incidents or on real flights."""
    clock, chosen, options = SystemClock(), CATALOGUE[data], flags.options()
    if not once:
        check_listen_address(options)
    tell(f"making the rows in {directory}/, then measuring every window of the past")
    config_file, history = prepare(chosen, directory, seed=seed, until=clock.now(), webhook_url=webhook_url)
    with open_services(load(config_file), clock=clock, external_url=flags.url) as services:
        with showing_progress() as show:
            measure(services, chosen, history, show)
        deliver_all(services)
        summary = summarise(services, chosen, history)
    emit_shown(*_shown(summary, config_file, url=None if once else flags.url))
    if once:
        tell(f"`{program_name()} demo --data {data} --dir {directory}` goes on from here and serves the pages")
        return
    tell("serving; new rows arrive as time goes on. Ctrl-C stops, the same command goes on from there")
    options = replace(options, chore=appender(chosen, directory, clock))
    context.exit(Service(load(config_file), options, clock).run())


def prepare(
    data: DemoData, directory: Path, *, seed: int, until: datetime, webhook_url: str | None = None
) -> tuple[Path, History]:
    """Write or continue the rows and the configuration; where the configuration is."""
    directory.mkdir(parents=True, exist_ok=True)
    history = data.prepare(directory.absolute(), seed=seed, until=until)
    config_file = directory / "drift.yaml"
    config_file.write_text(data.config_yaml(directory.absolute(), history, webhook_url=webhook_url), encoding="utf-8")
    return config_file, history


def measure(services: Services, data: DemoData, history: History, show: Show) -> None:
    """Evaluate every window of the past that has not been, as `backfill` does, and queue its notifications."""
    start = data.first_window(history) - timedelta(microseconds=1)
    with services.store.lock():
        for monitor in services.config.monitors:
            for step in backfill(services, monitor, start, services.clock.now(), notify=True):
                show(monitor.name, step)
                if step.result is not None and not step.result.is_done:
                    raise StoreError(
                        f"monitor {monitor.name}: the window that ends {step.window_end.isoformat()} could not be "
                        "evaluated; see the log, and start the demo again"
                    )


def deliver_all(services: Services) -> None:
    """Send what waits; what a receiver does not take now is left to the daemon."""
    for receiver in services.senders:
        while deliver_next(services, receivers=[receiver]):
            pass


def appender(data: DemoData, directory: Path, clock: Clock) -> "_Appender":
    """A chore for the daemon: the rows of each hour once it is over."""
    return _Appender(data, directory.absolute(), clock)


class _Appender:
    def __init__(self, data: DemoData, directory: Path, clock: Clock) -> None:
        self._data = data
        self._directory = directory
        self._clock = clock
        self._next = clock.now()

    def __call__(self) -> None:
        now = self._clock.now()
        if now >= self._next:
            self._data.append(self._directory, until=now)
            self._next = now + timedelta(seconds=10)


def _shown(summary: Summary, config_file: Path, *, url: str | None) -> tuple[RenderableType, ...]:
    table = incident_table(summary) if summary.verdicts else episode_table(summary)
    places = signposts(summary, url=url, config_file=config_file, log_file=config_file.parent / DEMO_LOG_FILE)
    return ("", table, counted(summary), "", places)
