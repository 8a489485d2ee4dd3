"""`drift-monitor explain`: one feature of one window as a chart in the terminal. Only the store is read."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
from rich.console import RenderableType
from rich.text import Text

from drift_monitor.alerting.annotations import DIRECTION_SENTENCES
from drift_monitor.cli.flags import TIMES, config_flag, monitor_flag, open_history, time_flag, units_flag
from drift_monitor.cli.printing import count, emit_shown, in_bits, number, plain, table
from drift_monitor.config.loading import load
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import DIVERGENCES, Metric
from drift_monitor.queries.evaluations import (
    EvaluatedAlert,
    Evaluation,
    JsonObject,
    bin_documents,
    feature_of,
    last_evaluation,
)
from drift_monitor.store.measurements import Measurement

BAR = 24  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉"
_RESERVED = frozenset({"below", "above", "invalid", "missing", "rare", "unseen"})


@click.command(epilog=TIMES)
@config_flag
@monitor_flag
@click.option("--feature", metavar="NAME", help="Which feature; by default the one that drifted most.")
@time_flag("--at", "The window that ends then; by default the last evaluated one.")
@units_flag
def explain(config_file: Path, monitor: str, feature: str | None, at: datetime | None, units: str) -> None:
    """Show where a feature drifted: reference and live share of each bin, and what each adds to both divergences."""
    config = load(config_file)
    with open_history(config) as store:
        evaluation = last_evaluation(store, config.monitor(monitor), at)
    measurement = feature_of(evaluation, feature)
    if units == "bits":
        measurement = in_bits(measurement)
    alarms = [alarm for alarm in evaluation.alarms if alarm.record.key.feature == measurement.feature]
    emit_shown(*_chart(evaluation, measurement, alarms, units))


def _chart(
    evaluation: Evaluation, measurement: Measurement, alarms: list[EvaluatedAlert], units: str
) -> Iterator[RenderableType]:
    yield from _heading(measurement)
    if measurement.value(Metric.PSI) is not None:
        yield Text("")
        yield _values(measurement, units)
    bins = bin_documents(measurement, evaluation.specs.get(measurement.bin_spec or ""))
    if bins:
        yield Text("")
        yield _bins(bins, units)
    if alarms:
        yield Text("")
        yield from (plain(_alarm(alarm)) for alarm in alarms)


def _heading(one: Measurement) -> Iterator[Text]:
    yield Text.assemble((plain(one.feature).plain, "bold"), f" of {plain(one.monitor).plain}")
    yield plain(
        f"{one.window_start:%Y-%m-%d %H:%M} to {one.window_end:%Y-%m-%d %H:%M} UTC, {one.status.value}: "
        f"{count(one.live_rows)} live rows against {count(one.reference_rows)} reference rows"
    )
    if one.error is not None:
        yield plain(one.error, style="red")
    if one.value(Metric.PSI) is not None:
        yield Text(DIRECTION_SENTENCES[one.direction or Direction.NONE])


def _values(one: Measurement, units: str) -> RenderableType:
    shown = table(("", "value", "95 %, noise taken off", "unit"), numbers=("value", "95 %, noise taken off"))
    for metric in DIVERGENCES:
        value, low, high, _ = one.estimate(metric)
        interval = "–" if low is None else f"{number(low)} to {number(high)}"
        shown.add_row(metric.label, number(value), interval, units if metric.unit else "")
    shown.add_row("noise floor of KL", number(one.noise_floor), "", units)
    return shown


def _bins(bins: list[JsonObject], units: str) -> RenderableType:
    columns = ("bin", "reference", "", "live", "", f"KL live‖ref, {units}", f"KL ref‖live, {units}")
    shown = table(columns, numbers=("reference", "live", columns[5], columns[6]))
    reference = _shares([one["reference_count"] or 0 for one in bins])
    live = _shares([one["live_count"] for one in bins])
    longest = max(*reference, *live)
    for one, before, now in zip(bins, reference, live, strict=True):
        if one["label"] in _RESERVED and before == now == 0:
            continue
        shown.add_row(
            plain(one["label"]),
            f"{before:.1%}",
            Text(bar(before, longest), style="blue"),
            f"{now:.1%}",
            Text(bar(now, longest), style="magenta"),
            _signed(one["contribution_live_reference"]),
            _signed(one["contribution_reference_live"]),
        )
    return shown


def bar(share: float, longest: float) -> str:
    """A bar in eighths of a character; the longest share fills it."""
    eighths = round(share / longest * BAR * 8) if longest else 0
    full, rest = divmod(eighths, 8)
    return ("█" * full + _EIGHTHS[rest].strip()).ljust(BAR)


def _shares(counts: list[int]) -> list[float]:
    rows = sum(counts)
    return [one / rows if rows else 0.0 for one in counts]


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"


def _alarm(alarm: EvaluatedAlert) -> str:
    record, rule = alarm.record, alarm.rule
    observed = record.observation.value
    saw = f"saw {observed:.4g}" if observed is not None else f"saw nothing ({record.observation.cause})"
    since = record.alert.since
    began = f" since {since:%Y-%m-%d %H:%M}" if since is not None else ""
    return f"{rule.id}: {record.alert.phase.value}{began}, {saw}, {rule.side} {rule.threshold:g} breaches"
