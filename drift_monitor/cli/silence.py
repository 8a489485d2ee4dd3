"""`drift-monitor silence`: keep alerts from being told for a while. Only the store is touched."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.console import RenderableType
from rich.text import Text

from drift_monitor.alerting.silences import add_silence, expire_silence, label_names, list_silences, reaches
from drift_monitor.cli.flags import (
    TIMES,
    author_flag,
    comment_flag,
    config_flag,
    duration_flag,
    login_name,
    open_history,
    time_flag,
)
from drift_monitor.cli.output import emit, emit_json, tell, tell_each
from drift_monitor.cli.tables import completed, emit_shown, plain, shortened, table
from drift_monitor.config.loading import load
from drift_monitor.config.report import close_match
from drift_monitor.config.schema import Config
from drift_monitor.core.matching import Matcher, parse_matcher
from drift_monitor.errors import InputError
from drift_monitor.queries.alerts import active_alerts, read_silence, silence_document
from drift_monitor.store.connection import Store
from drift_monitor.store.silences import Silence, SilenceState
from drift_monitor.words import minute

_COLUMNS = ("id", "state", "silence", "from (UTC)", "until (UTC)")


def _matcher(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[Matcher, ...]:
    try:
        return tuple(parse_matcher(text) for text in texts)
    except InputError as error:
        raise click.UsageError(str(error), context) from error


@click.group()
def silence() -> None:
    """Keep alerts from being told for a while: add, list and end silences.

    A silence keeps back what has not been told: alerts that begin to fire, and repeats. What was told before is also
    told to be over. An alert that still fires when its silence ends is told then.
    """


@silence.command(epilog=TIMES, short_help="Silence alerts with certain labels.")
@click.argument("matchers", metavar="MATCHER...", nargs=-1, required=True, callback=_matcher)
@config_flag
@duration_flag("--duration", "For how long, such as 2h or 1d12h.")
@time_flag("--ends", "Until when, instead of --duration.", parameter="ends_at")
@time_flag("--starts", "From when on; by default now.", parameter="starts_at")
@comment_flag
@author_flag
@click.option(
    "--format", "shape", type=click.Choice(["plain", "json"]), default="plain", show_default=True, help="plain: its id."
)
def add(
    matchers: tuple[Matcher, ...],
    config_file: Path,
    duration: timedelta | None,
    ends_at: datetime | None,
    starts_at: datetime | None,
    comment: str,
    author: str | None,
    shape: str,
) -> None:
    """Silence alerts whose labels fit every MATCHER, and print the id of the silence.

    \b
    monitor=payments           the label has this value
    severity!=critical         it has another value, or there is no such label
    feature=~"amount|price"    the whole value fits the regular expression (RE2)
    feature!~"test_.*"         it does not

    Labels are those of notifications: alertname, monitor, feature, metric, rule, severity, and those of the monitors.
    """
    if (duration is None) == (ends_at is None):
        raise click.UsageError("say when it ends: one of --duration and --ends")
    config = load(config_file)
    who = login_name(author)
    with open_history(config) as store:
        added = add_silence(
            store, matchers, starts_at=starts_at, ends_at=ends_at, duration=duration, author=who, comment=comment
        )
        state = read_silence(store, added.id)[1]
        with store.read() as conn:
            standing = active_alerts(conn, config)
        covered = sum(
            active.document["state"] == "firing" and added.covers(active.handling.labels) for active in standing
        )
    _warn(config, matchers)
    if shape == "json":
        emit_json(silence_document(added, state))
        return
    emit(added.id)
    tell(f"silent from {minute(added.starts_at)} to {minute(added.ends_at)} UTC: {_written(added)}")
    if covered and state is SilenceState.ACTIVE:
        alerts = "1 alert that fires" if covered == 1 else f"{covered} alerts that fire"
        tell(f"this covers {alerts} now; whoever was told of it is told when it is over")


@silence.command("list", short_help="Print the silences that hold or will hold.")
@config_flag
@click.option("--expired", is_flag=True, help="Also those that have ended, as long as the store keeps them.")
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_(config_file: Path, expired: bool, shape: str) -> None:
    """Print the silences that hold or will hold, those that end first before others."""
    with open_history(load(config_file)) as store:
        found = list_silences(store, with_expired=expired)
    if shape == "json":
        emit_json({"silences": [silence_document(silence, state) for silence, state in found]})
    elif found:
        emit_shown(_table(found))
    else:
        tell("there is no silence" if expired else "no silence holds; --expired shows those that have ended")


@silence.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@config_flag
def expire(ids: tuple[str, ...], config_file: Path) -> None:
    """End silences now. The first characters of an id are enough where no other begins with them."""
    config = load(config_file)
    with open_history(config) as store:

        def end(text: str) -> str:
            ended = expire_silence(store, _meant(store, text), actor=login_name(None))
            return f"ended: {ended.id}, {_written(ended)}"

        tell_each(ids, end)


def _meant(store: Store, text: str) -> str:
    for with_expired in (False, True):
        ids = [silence.id for silence, _ in list_silences(store, with_expired=with_expired)]
        found = completed(text, ids)
        if found is not None:
            return found
    return text


def _warn(config: Config, matchers: Sequence[Matcher]) -> None:
    """What may be a slip: the silence is made all the same, for a configuration to come may fit it."""
    known = sorted(label_names(config))
    unknown = [matcher.name for matcher in matchers if matcher.name not in known]
    for name in dict.fromkeys(unknown):
        tell(f"warning: no alert has a label {name!r}; {close_match(name, known) or 'labels: ' + ', '.join(known)}")
    if not unknown and not reaches(config, matchers):
        tell("warning: no monitor of this configuration has an alert that this silence covers")


def _table(found: Sequence[tuple[Silence, SilenceState]]) -> RenderableType:
    ids = shortened([silence.id for silence, _ in found])
    shown = table(_COLUMNS)
    for index, column in enumerate(shown.columns):
        column.no_wrap = index != 2
    for silence, state in found:
        lines = (*map(str, silence.matchers), f"{silence.author}: {silence.comment}")
        said = Text("\n").join(map(plain, lines))
        style = "dim" if state is SilenceState.EXPIRED else ""
        shown.add_row(
            ids[silence.id], state.value, said, minute(silence.starts_at), minute(silence.ends_at), style=style
        )
    return shown


def _written(silence: Silence) -> str:
    return " ".join(map(str, silence.matchers))
