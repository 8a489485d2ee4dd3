"""`drift-monitor demo`: data with known drift, and the service on top of it while its past fills in.

Nothing is precomputed: incidents are rows in a database, found by the same backfill and the same daemon that users run.
Rows are written and measured a piece at a time, oldest first, so that the first incident is on the page early.
Interrupted at any moment and started again, it goes on where it was.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import click

from drift_monitor.alerting.dispatch import deliver_next
from drift_monitor.alerting.services import PastProgress, Services
from drift_monitor.app import Service, check_listen_address, open_services
from drift_monitor.cli.backfill import Show, showing_progress
from drift_monitor.cli.flags import DEMO_LOG_FILE, demo_log_flags
from drift_monitor.cli.output import tell
from drift_monitor.cli.run import WebFlags, web_flags
from drift_monitor.cli.summary import counted, episode_table, incident_table, program_name, signposts, summarise
from drift_monitor.cli.tables import emit_shown
from drift_monitor.clock import Clock, SystemClock
from drift_monitor.config.loading import load
from drift_monitor.demo.data import DemoData
from drift_monitor.demo.flights import FlightsData
from drift_monitor.demo.payments import PaymentsData
from drift_monitor.errors import StoreError
from drift_monitor.evaluation.backfill import backfill, backfill_windows
from drift_monitor.store.sqlite import create_private
from drift_monitor.web.access import parse_address
from drift_monitor.web.server import try_address

SEED = 2013
DATA: Mapping[str, DemoData] = {data.monitor: data for data in (PaymentsData(), FlightsData())}
PORTS_TRIED = 20  # more that are taken one after the other are no coincidence
APPEND_EVERY = timedelta(seconds=10)  # a look at the clock; rows come by the hour


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
@click.option("--data", type=click.Choice(list(DATA)), default="payments", show_default=True)
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
    clock, chosen = SystemClock(), DATA[data]
    if not once:
        flags = on_a_free_port(flags)
        check_listen_address(flags.options())
    config_file = begin(chosen, directory, seed=seed, until=clock.now(), webhook_url=webhook_url)

    def fill_and_sum_up(services: Services, is_ending: Callable[[], bool]) -> None:
        with showing_progress() as show:
            fill(services, chosen, directory, show, is_ending)
        if is_ending():
            return
        summary = summarise(services, chosen, chosen.history(directory))
        table = incident_table(summary) if summary.verdicts else episode_table(summary)
        url, log_file = None if once else flags.url, directory / DEMO_LOG_FILE
        places = signposts(summary, url=url, config_file=config_file, log_file=log_file)
        emit_shown("", table, counted(summary), "", places)

    if once:
        tell(f"making the rows in {directory}/ and measuring every window of the past")
        with open_services(load(config_file), clock=clock, external_url=flags.url) as services, services.store.lock():
            fill_and_sum_up(services, lambda: False)
        tell(f"`{program_name()} demo --data {data} --dir {directory}` goes on from here and serves the pages")
        return
    tell(
        f"serving {flags.url} while the rows are made in {directory}/ and the past is measured; new rows arrive as "
        "time goes on. Ctrl-C stops, the same command goes on from there"
    )
    options = replace(flags.options(), before=fill_and_sum_up, chore=appender(chosen, directory, clock))
    context.exit(Service(load(config_file), options, clock).run())


def on_a_free_port(flags: WebFlags) -> WebFlags:
    """The flags, with the next free port where the one asked for is taken."""
    try:
        asked = parse_address(flags.listen_address)
    except ValueError as error:
        raise click.UsageError(f"--web.listen-address: {error}") from error
    host = flags.listen_address.rpartition(":")[0]
    for port in range(asked.port, min(asked.port + PORTS_TRIED, 65535) + 1):
        try:
            try_address(f"{host}:{port}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                break
        else:
            if port != asked.port:
                tell(f"port {asked.port} is taken, so the pages are on {port}")
            return replace(flags, listen_address=f"{host}:{port}")
    return flags


def begin(data: DemoData, directory: Path, *, seed: int, until: datetime, webhook_url: str | None = None) -> Path:
    """Begin or continue the demo's history, and write the configuration; where that is."""
    directory.mkdir(parents=True, exist_ok=True)
    history = data.begin(directory, seed=seed, until=until)
    config_file = directory / "drift.yaml"
    create_private(config_file)
    config_file.write_text(data.config_yaml(directory.absolute(), history, webhook_url=webhook_url), encoding="utf-8")
    return config_file


def fill(
    services: Services, data: DemoData, directory: Path, show: Show, is_ending: Callable[[], bool] = lambda: False
) -> None:
    """Write the rows of the past, evaluate its windows as `backfill` does, and send what that finds, piece by piece.

    What is there already is left alone. Ends early where `is_ending` says so.
    """
    (monitor,) = services.config.monitors
    now = services.clock.now()
    end = data.first_window(data.history(directory)) - timedelta(microseconds=1)
    total, done = len(backfill_windows(monitor, end, now, now)), 0
    services.past[monitor.name] = PastProgress(done=0, total=total, window_end=None)
    while end < now and not is_ending():
        start, end = end, min(end + data.piece, now)
        data.append(directory, until=end)
        for step in backfill(services, monitor, start, end, notify=True):
            if step.result is not None and not step.result.is_done:
                raise StoreError(
                    f"monitor {monitor.name}: the window that ends {step.window_end.isoformat()} could not be "
                    "evaluated; see the log, and start the demo again"
                )
            done += 1
            services.past[monitor.name] = PastProgress(done=done, total=total, window_end=step.window_end)
            show(monitor.name, replace(step, done=done, total=total))
            if is_ending():
                break
        # What a receiver does not take now is left to the daemon.
        for receiver in services.senders:
            while deliver_next(services, receivers=[receiver]) and not is_ending():
                pass
    del services.past[monitor.name]


def appender(data: DemoData, directory: Path, clock: Clock) -> Callable[[], None]:
    """A chore for the daemon: the rows of each hour once it is over."""
    next_look = clock.now()

    def append() -> None:
        nonlocal next_look
        now = clock.now()
        if now >= next_look:
            data.append(directory, until=now)
            next_look = now + APPEND_EVERY

    return append
