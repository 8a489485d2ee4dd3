"""`drift-monitor calibration`: what a monitor's surprise is judged by."""

from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import RenderableType
from rich.text import Text

from drift_monitor.app import open_services
from drift_monitor.cli.flags import config_flag, monitor_flag, open_history, quiet_log_flags
from drift_monitor.cli.tables import emit_shown, plain, table
from drift_monitor.config.loading import load
from drift_monitor.config.schema import MonitorConfig
from drift_monitor.core.schedule import Span
from drift_monitor.errors import InputError
from drift_monitor.evaluation.calibration import LEAST_HISTORY, calibrate_now
from drift_monitor.evaluation.on_demand import requested_window
from drift_monitor.evaluation.reference import ensure_reference, window_of
from drift_monitor.store import calibrations
from drift_monitor.store.calibrations import CalibrationState, StoredCalibration
from drift_monitor.words import budget_text, number, span


@click.group()
def calibration() -> None:
    """What surprise is judged by: show it, calibrate anew."""


@calibration.command(short_help="Show levels, history and what was left out of it.")
@config_flag
@monitor_flag
@quiet_log_flags
def show(config_file: Path, monitor: str) -> None:
    """Show the newest calibration: its level for each length of window, its history, and what was left out of it."""
    config = load(config_file)
    configured = _with_budget(config.monitor(monitor))
    with open_history(config) as store, store.read() as conn:
        found = calibrations.latest(conn, monitor)
    if found is None:
        raise InputError(f"monitor {monitor!r} has no calibration yet: its first evaluation makes one")
    emit_shown(*_shown(configured, found))


@calibration.command(short_help="Calibrate a monitor anew.")
@config_flag
@monitor_flag
@quiet_log_flags
def update(config_file: Path, monitor: str) -> None:
    """Calibrate a monitor anew, on the last 28 days before its newest window; the service does so once a week.

    Works beside a running service, whose next evaluation uses it. What was judged before stays as it is.
    """
    config = load(config_file)
    configured = _with_budget(config.monitor(monitor))
    with open_services(config) as services:
        end = requested_window(services, configured, None)
        reference = ensure_reference(services, configured, window_of(configured, end))
        made = calibrate_now(services, configured, reference, end)
    emit_shown(*_shown(configured, made))


def _with_budget(monitor: MonitorConfig) -> MonitorConfig:
    if monitor.surprise_rule is None:
        raise InputError(
            f"monitor {monitor.name!r} has no budget of false alarms; give it a rule such as `false_alarms: 1 per 28d`"
        )
    return monitor


def _shown(monitor: MonitorConfig, found: StoredCalibration) -> Iterator[RenderableType]:
    rule = monitor.surprise_rule
    allowed = "" if rule is None else f", {budget_text(rule)}"
    yield Text.assemble((plain(monitor.name).plain, "bold"), f": {found.state.value}{allowed}")
    yield Text(f"history {_days(found.history)}")
    if found.state is CalibrationState.LEARNING or found.fitted is None:
        yield Text(f"There is no level before {LEAST_HISTORY.days} days of history.")
        return
    levels = table(("window", "usual", "level", "many: usual", "many: level"), numbers=("window", "usual", "level"))
    for known in found.fitted.lengths:
        numbers = (known.usual, known.level, known.many_usual, known.many_level)
        levels.add_row(f"{known.length} h", *map(number, numbers))
    yield levels
    if not found.incidents:
        yield Text("Nothing was left out of the history as an old incident.")
        return
    yield Text("Taken for old incidents and left out, each for its feature only:")
    left_out = table(("feature", "what", "hours", "height"), numbers=("height",))
    for hours in sorted(found.incidents, key=lambda hours: hours.span.start):
        what = "a second state, kept: which one is normal?" if hours.is_state else hours.series
        left_out.add_row(plain(hours.feature), what, span(hours.span.start, hours.span.end), number(hours.height))
    yield left_out


def _days(history: Span) -> str:
    return f"{span(history.start, history.end)}, {(history.end - history.start).days} days"
