"""`drift-monitor alert`: what fires, and who looks after it. Only the store is touched."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import click
from rich.console import RenderableType
from rich.text import Text

from drift_monitor.alerting.episodes import former_rule
from drift_monitor.alerting.silences import acknowledge_alert, withdraw_acknowledgement
from drift_monitor.cli.flags import author_flag, comment_flag, config_flag, login_name, open_history
from drift_monitor.cli.output import emit_json, tell, tell_each
from drift_monitor.cli.tables import completed, emit_shown, plain, shortened, table
from drift_monitor.config.loading import load
from drift_monitor.config.schema import Config
from drift_monitor.core.rules import Severity
from drift_monitor.queries.alerts import ActiveAlert, active_alerts, read_alerts
from drift_monitor.store.alerts import AlertRow
from drift_monitor.store.connection import Store
from drift_monitor.words import amount, minute, threshold

_COLUMNS = ("id", "alert", "value", "threshold", "since (UTC)")
_STYLES = {Severity.CRITICAL: "red", Severity.WARNING: "yellow", Severity.INFO: ""}


@click.group()
def alert() -> None:
    """What fires now, and who looks after it."""


@alert.command("list")
@config_flag
@click.option("--monitor", metavar="NAME", help="Only this monitor.")
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_(config_file: Path, monitor: str | None, shape: str) -> None:
    """Print the alerts that fire or are pending: firing ones first, the gravest first."""
    config = load(config_file)
    name = None if monitor is None else config.monitor(monitor).name
    with open_history(config) as store:
        if shape == "json":
            emit_json({"alerts": read_alerts(config, store, monitor=name)})
            return
        with store.read() as conn:
            found = active_alerts(conn, config, monitor=name)
    if found:
        emit_shown(_table(found))
    else:
        tell("nothing fires or is pending")


_ids = click.argument("ids", metavar="ID...", nargs=-1, required=True)


@alert.command(short_help="Say that somebody looks after firing alerts.")
@_ids
@config_flag
@comment_flag
@author_flag
def ack(ids: tuple[str, ...], config_file: Path, comment: str, author: str | None) -> None:
    """Say that somebody looks after firing alerts: they are not repeated any more.

    `alert list` shows the ids. Their first characters are enough where no other begins with them.
    """
    config = load(config_file)
    who = login_name(author)
    with open_history(config) as store:
        work = partial(acknowledge_alert, store, author=who, comment=comment)
        _change_each(config, store, ids, work, "acknowledged")


@alert.command(short_help="Take acknowledgements back.")
@_ids
@config_flag
def unack(ids: tuple[str, ...], config_file: Path) -> None:
    """Take acknowledgements back: nobody looks after these alerts any more, and they are repeated again."""
    config = load(config_file)
    with open_history(config) as store:
        work = partial(withdraw_acknowledgement, store, actor=login_name(None))
        _change_each(config, store, ids, work, "no longer acknowledged")


def _change_each(config: Config, store: Store, ids: Sequence[str], work: Callable[[str], object], done: str) -> None:
    with store.read() as conn:
        firing = {id: active for active in active_alerts(conn, config) if (id := _id(active)) is not None}

    def change(text: str) -> str:
        id = completed(text, firing) or text
        work(id)
        if id not in firing:
            return f"{done}: {id}"
        of = firing[id].of
        return f"{done}: {id}, {of.metric} of {f'{of.key.feature} of ' if of.key.feature else ''}{of.monitor}"

    tell_each(ids, change)


def _id(active: ActiveAlert) -> str | None:
    """That of its episode; an alert that is pending has none."""
    return active.of.episode_id if isinstance(active.of, AlertRow) else active.of.id


def _table(found: Sequence[ActiveAlert]) -> RenderableType:
    ids = shortened([id for active in found if (id := _id(active)) is not None])
    shown = table(_COLUMNS, numbers=("value", "threshold"))
    for index, column in enumerate(shown.columns):
        column.no_wrap = index != 1
    for active in found:
        since = minute(_since(active))
        shown.add_row(ids.get(_id(active) or "", "–"), Text("\n").join(_described(active)), *_numbers(active), since)
    return shown


def _described(active: ActiveAlert) -> Iterator[Text]:
    """What it is, on short lines, and what people said of it."""
    of = active.of
    yield plain(f"{of.key.feature} of {of.monitor}" if of.key.feature else of.monitor, style="bold")
    pending = ", pending" if _id(active) is None else ""
    yield Text.assemble(f"{of.metric}, ", (of.severity, _STYLES[Severity(of.severity)]), pending)
    if active.handling.silenced_by:
        last = max(active.handling.silenced_by, key=lambda silence: silence.ends_at)
        yield plain(f"silenced until {minute(last.ends_at)} by {last.author}: {last.comment}")
    if active.handling.acknowledged is not None:
        yield plain(f"{active.handling.acknowledged.author} looks after it: {active.handling.acknowledged.comment}")


def _numbers(active: ActiveAlert) -> tuple[str, str]:
    """Value and threshold; an alert about the monitor itself has neither."""
    if not isinstance(active.of, AlertRow):
        return "–", "–"
    rule = former_rule(active.of, active.of.threshold)  # as the alert remembers it
    return amount(rule.metric, active.of.alert.value), threshold(rule)


def _since(active: ActiveAlert) -> datetime:
    if isinstance(active.of, AlertRow):
        return active.of.alert.since or active.of.last_window
    return active.of.opened_window
