"""`drift-monitor evaluate`: one evaluation now, for a pipeline or a person."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import click
from rich.console import RenderableType
from rich.text import Text

from drift_monitor.app import open_services
from drift_monitor.cli.flags import TIMES, config_flag, quiet_log_flags, time_flag
from drift_monitor.cli.output import emit_json, tell
from drift_monitor.cli.tables import emit_shown, measured, plain, table
from drift_monitor.config.loading import load
from drift_monitor.core.divergence import Estimate, Metric
from drift_monitor.core.rules import MeasurementStatus, Severity
from drift_monitor.evaluation.on_demand import Evaluated, deliver_once, evaluate_now, requested_window
from drift_monitor.queries.evaluations import EvaluatedAlert, evaluation_document
from drift_monitor.store.runs import RunState
from drift_monitor.words import against, minute, number, span

QUIET, DRIFT, NOT_EVALUATED = 0, 1, 3
_NAMED = 10  # features in a line
_TOO_FEW = (MeasurementStatus.NO_DATA, MeasurementStatus.INSUFFICIENT_DATA)
_STYLES = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}
_COLUMNS = (
    *("feature", "status", "live rows", "reference rows", "KL live‖ref", "KL ref‖live", "noise floor"),
    *("PSI", "PSI 95 %", "direction", "alerts"),
)


@click.command(
    epilog=f"{TIMES} Exit codes: 0 nothing fires at or above --fail-on, 1 something does (also where another monitor "
    "could not be evaluated), 2 usage or configuration, 3 could not be evaluated, or no feature of a monitor could be "
    "measured."
)
@config_flag
@click.option("--monitor", "monitors", multiple=True, metavar="NAME", help="Only this monitor; can be repeated.")
@time_flag("--at", "The window that ends then; by default the last one that is settled.")
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--fail-on",
    type=click.Choice([Severity.WARNING.value, Severity.CRITICAL.value]),
    default=Severity.WARNING.value,
    show_default=True,
    help="From which severity on the exit code is 1.",
)
@click.option("--fail-on-unmeasured", is_flag=True, help="Exit with 3 where any feature could not be measured.")
@quiet_log_flags
@click.pass_context
def evaluate(
    context: click.Context,
    config_file: Path,
    monitors: Sequence[str],
    at: datetime | None,
    shape: str,
    fail_on: str,
    fail_on_unmeasured: bool,
) -> None:
    """Evaluate one window now, and say by the exit code whether there is drift.

    Alerts take effect as in the daemon, and their messages are tried once. A window at or before the last evaluated one
    shows what would fire, and changes no alert; one that was evaluated already is shown as it is stored.
    """
    config = load(config_file)
    chosen = [config.monitor(name) for name in dict.fromkeys(monitors)] if monitors else config.monitors
    with open_services(config) as services:
        for monitor in chosen:
            # A time that suits one monitor only is refused before any is evaluated.
            requested_window(services, monitor, at)
        evaluated = [evaluate_now(services, monitor, at) for monitor in chosen]
        if not deliver_once(services, [monitor.name for monitor in chosen]):
            tell("some messages were not accepted within 10 s; they stay in the outbox")
    if shape == "json":
        emit_json({"evaluations": [evaluation_document(result.evaluation) for result in evaluated]})
    else:
        emit_shown(*(line for result in evaluated for line in _shown(result)))
    for result in evaluated:
        for problem in _problems(result):
            tell(f"monitor {result.monitor.name!r}: {problem}")
    context.exit(exit_code(evaluated, Severity(fail_on), whole=fail_on_unmeasured))


def exit_code(evaluated: Sequence[Evaluated], fail_on: Severity, *, whole: bool) -> int:
    """Drift that was found counts, whatever else failed. `whole`: all features have to be measured."""
    active = [alert for result in evaluated for alert in result.evaluation.active]
    if any(alert.is_firing and alert.rule.severity.rank >= fail_on.rank for alert in active):
        return DRIFT
    return NOT_EVALUATED if any(_is_blind(result, whole=whole) for result in evaluated) else QUIET


def _is_blind(result: Evaluated, *, whole: bool) -> bool:
    """Whether nothing could be measured, or with `whole` not everything."""
    measured, unmeasured = result.evaluation.measurements, _unmeasured(result)
    missing = bool(unmeasured) and (whole or len(unmeasured) == len(measured))
    return result.evaluation.run.state is not RunState.DONE or missing


def _unmeasured(result: Evaluated) -> Sequence[str]:
    return [one.feature for one in result.evaluation.measurements if one.status is not MeasurementStatus.OK]


def _problems(result: Evaluated) -> Iterator[str]:
    if result.problem is not None:
        yield f"could not be evaluated: {result.problem}"
    for measurement in result.evaluation.measurements:
        if measurement.error is not None:
            yield f"feature {measurement.feature!r} could not be measured: {measurement.error}"
    if unmeasured := _unmeasured(result):
        named = ", ".join(unmeasured[:_NAMED]) + (", …" if len(unmeasured) > _NAMED else "")
        total = len(result.evaluation.measurements)
        few = [one for one in result.evaluation.measurements if one.status in _TOO_FEW]
        why = f", {len(few)} of them for want of rows" if few else ""
        yield f"{len(unmeasured)} of {total} features could not be measured{why}: {named}"


def _shown(result: Evaluated) -> Iterator[RenderableType]:
    evaluation, run = result.evaluation, result.evaluation.run
    stored = ", evaluated before" if result.was_stored else ""
    window = f"  {span(run.window_start, run.key.window_end)}, {run.state.value}{stored}"
    yield Text.assemble((plain(run.key.monitor).plain, "bold"), window)
    if evaluation.measurements:
        shown = table(_COLUMNS, numbers=_COLUMNS[2:9])
        for measurement in evaluation.measurements:
            alarms = [alarm for alarm in evaluation.active if alarm.record.key.feature == measurement.feature]
            psi = measurement.estimate(Metric.PSI)
            shown.add_row(
                plain(measurement.feature),
                *measured(measurement),
                "–" if psi.low is None else f"{number(psi.low)} to {number(psi.high)}",
                measurement.direction.value if measurement.direction else "–",
                Text(", ").join(_label(alarm) for alarm in alarms),
            )
        yield shown
    for alarm in evaluation.active:
        record, rule = alarm.record, alarm.rule
        since = record.alert.since
        whose = f"{record.key.feature}: " if record.key.feature else ""
        began = "" if since is None else f" since {minute(since)}"
        of_feature = (one for one in evaluation.measurements if one.feature == record.key.feature)
        found = next(of_feature, None) if rule.metric.is_divergence else None
        said = against(rule, found.estimate(rule.metric) if found else Estimate(None), record.alert.value)
        line = f"  {record.alert.phase.value} {rule.severity.value}: {whose}{said}{began}"
        yield plain(line, style=_STYLES[rule.severity])
    yield Text("")


def _label(alarm: EvaluatedAlert) -> Text:
    state = "" if alarm.is_firing else " (pending)"
    return plain(f"{alarm.rule.id}{state}", style=_STYLES[alarm.rule.severity] if alarm.is_firing else "dim")
