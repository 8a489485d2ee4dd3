"""`drift-monitor explain`: one feature of one window as a chart in the terminal. Only the store is read."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
from rich.console import RenderableType
from rich.text import Text

from drift_monitor import words
from drift_monitor.cli.flags import TIMES, config_flag, monitor_flag, open_history, time_flag, units_flag
from drift_monitor.cli.tables import emit_shown, in_bits, plain, table
from drift_monitor.config.loading import load
from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import DIVERGENCES, Estimate, Metric
from drift_monitor.core.noise import visible
from drift_monitor.queries.evaluations import (
    EvaluatedAlert,
    Evaluation,
    bin_documents,
    feature_of,
    last_evaluation,
)
from drift_monitor.store.measurements import Measurement

BAR = 24  # characters of the longest bar
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
    alarms = [alarm for alarm in evaluation.alerts if alarm.record.key.feature == measurement.feature]
    emit_shown(*_chart(evaluation, measurement, alarms, units))


def _chart(
    evaluation: Evaluation, measurement: Measurement, alarms: list[EvaluatedAlert], units: str
) -> Iterator[RenderableType]:
    yield from _heading(measurement)
    if measurement.value(Metric.PSI) is not None:
        yield Text("")
        shown = table(
            ("", "value", "95 %, noise taken off", "noise floor", "unit"),
            numbers=("value", "95 %, noise taken off", "noise floor"),
        )
        for metric in DIVERGENCES:
            value, low, high, _, floor = measurement.estimate(metric)
            interval = "–" if low is None else f"{words.number(low)} to {words.number(high)}"
            unit = units if metric.unit else ""
            shown.add_row(metric.label, words.number(value), interval, words.number(floor), unit)
        yield shown
        floor = measurement.estimate(Metric.KL_LIVE_REFERENCE).noise_floor
        if floor is not None:
            least = words.number(visible(floor, measurement.compared_bins or 1))
            yield Text(f"At these numbers of rows a divergence from {least} {units} on could have been seen.")
        if measurement.surprise is not None:
            judged = (measurement.surprise, measurement.level, measurement.surprise_window)
            yield Text(f"For this feature: {words.surprise_text(*judged)}.")
        if measurement.uncertain:
            yield Text(words.UNCERTAIN)
    bins = bin_documents(measurement, evaluation.specs.get(measurement.bin_spec or ""))
    if bins:
        yield Text("")
        columns = ("bin", "reference", "", "live", "", f"KL live‖ref, {units}", f"KL ref‖live, {units}")
        shown = table(columns, numbers=("reference", "live", columns[5], columns[6]))
        reference = _shares([document["reference_count"] or 0 for document in bins])
        live = _shares([document["live_count"] for document in bins])
        longest = max(*reference, *live)
        for document, before, now in zip(bins, reference, live, strict=True):
            if document["label"] in _RESERVED and before == now == 0:
                continue
            shown.add_row(
                plain(document["label"]),
                words.percent(before),
                Text(words.bar(before / longest if longest else 0.0, BAR), style="blue"),
                words.percent(now),
                Text(words.bar(now / longest if longest else 0.0, BAR), style="magenta"),
                _signed(document["contribution_live_reference"]),
                _signed(document["contribution_reference_live"]),
            )
        yield shown
    if alarms:
        yield Text("")
        yield from (plain(_alarm(alarm, measurement)) for alarm in alarms)


def _heading(measurement: Measurement) -> Iterator[Text]:
    yield Text.assemble((plain(measurement.feature).plain, "bold"), f" of {plain(measurement.monitor).plain}")
    yield plain(
        f"{words.span(measurement.window_start, measurement.window_end)}, {measurement.status.value}: "
        f"{words.count(measurement.live_rows)} live rows against "
        f"{words.count(measurement.reference_rows)} reference rows"
    )
    if measurement.error is not None:
        yield plain(measurement.error, style="red")
    if measurement.value(Metric.PSI) is not None:
        yield Text(words.DIRECTION_SENTENCES[measurement.direction or Direction.NONE])


def _shares(counts: list[int]) -> list[float]:
    rows = sum(counts)
    return [count / rows if rows else 0.0 for count in counts]


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"


def _alarm(alarm: EvaluatedAlert, measurement: Measurement) -> str:
    record, rule = alarm.record, alarm.rule
    estimate = measurement.estimate(rule.metric) if rule.metric.is_divergence else Estimate(None)
    observed = record.observation.value
    saw = f"saw nothing ({record.observation.cause})" if observed is None else words.against(rule, estimate, observed)
    since = record.alert.since
    began = f" since {words.minute(since)}" if since is not None else ""
    return f"{rule.id}: {record.alert.phase.value}{began}, {saw}"
