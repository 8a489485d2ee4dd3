"""`drift-monitor compare`: two files, or two tables of a database, without any configuration.

Also as one HTML file: no script, nothing to load, everything from the tables escaped. It looks like the service's pages
because it is made of their style sheet and their chart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import click
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.console import RenderableType

from drift_monitor import words
from drift_monitor.cli.flags import database_url, units_flag
from drift_monitor.cli.output import emit, emit_json, tell
from drift_monitor.cli.tables import BITS_PER_NAT, emit_shown, plain, table
from drift_monitor.clock import SystemClock
from drift_monitor.comparison.frames import compare as compare_frames
from drift_monitor.comparison.frames import read_files
from drift_monitor.comparison.report import ComparisonReport, FeatureComparison
from drift_monitor.comparison.tables import compare_tables
from drift_monitor.config.schema import DEFAULT_RULES
from drift_monitor.core.comparison import Direction
from drift_monitor.core.rules import Rule, held_value
from drift_monitor.errors import DatasetError, InputError
from drift_monitor.sources.source import Source
from drift_monitor.web import phrases
from drift_monitor.web.charts.bins import BinBar, bins_chart
from drift_monitor.words import count, number

PER_NAT: Final = {"nats": 1.0, "bits": BITS_PER_NAT}
_NAMED = 5  # features in the verdict
_PATIENCE = timedelta(seconds=30)  # for one statement
_SHOWN = ("psi", "kl_live_reference", "kl_reference_live")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One feature of the page; `numbers` is its part of the report's document, `estimates` are values and intervals."""

    name: str
    numbers: dict[str, Any]
    estimates: list[tuple[str, str]]
    direction: str
    chart: Markup


def comparison_page(report: ComparisonReport, *, reference: str, live: str, units: str, at: datetime) -> str:
    """The whole page, worst feature first; `reference` and `live` name the two sides."""
    document = report.document(PER_NAT[units])
    by_name = {part["feature"]: part for part in document["features"]}
    environment = Environment(
        loader=PackageLoader("drift_monitor.cli", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=words.number,
        share=words.percent,
        count=words.count,
        instant=phrases.instant_text,
        iso=phrases.iso_text,
    )
    style = files("drift_monitor.web").joinpath("static", "page.css").read_text(encoding="utf-8")
    return environment.get_template("comparison.html").render(
        reference=reference,
        live=live,
        units=units,
        at=at,
        features=[_feature(feature, by_name[feature.feature], units) for feature in report.worst_first()],
        skipped=document["skipped"],
        verdict=_verdict(report),
        style=Markup(style),  # noqa: S704 - our own sheet
    )


def _feature(feature: FeatureComparison, document: dict[str, Any], units: str) -> Shown:
    estimates = []
    for name in _SHOWN:
        low, high = document[f"{name}_low"], document[f"{name}_high"]
        interval = "" if low is None else f"{number(low)} … {number(high)}"
        estimates.append((number(document[name]), interval))
    bars = [
        BinBar(
            name=words.bin_name(place),
            label=shown["label"],
            live=shown["live_count"] / feature.live.rows,
            reference=shown["reference_count"] / feature.reference.rows,
            live_reference=shown["contribution_live_reference"] or 0.0,
            reference_live=shown["contribution_reference_live"] or 0.0,
            is_reserved=place.reserved is not None,
        )
        for place, shown in zip(feature.live.spec.bins, document["bins"], strict=True)
    ]
    direction = document["direction"]
    return Shown(
        name=feature.feature,
        numbers=document,
        estimates=estimates,
        direction=words.DIRECTION_NAMES[Direction(direction)] if direction else "too few rows",
        chart=bins_chart(bars, title=f"{feature.feature}: live over reference", unit=units),
    )


_COLUMNS = (
    *("feature", "kind", "live rows", "KL live‖ref", "KL ref‖live", "noise floor", "PSI", "PSI 95 %"),
    *("JS", "missing ref", "missing live", "unseen", "direction"),
)


@click.command()
@click.argument("reference")
@click.argument("live")
@click.option("--source", "url", metavar="URL", callback=database_url, help="Both are tables of this database.")
@click.option("--features", metavar="NAME,NAME", help="Only these columns.")
@click.option("--format", "shape", type=click.Choice(["table", "json", "html"]), default="table", show_default=True)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write there, not to stdout."
)
@units_flag
@click.option(
    "--fail-on",
    type=click.Choice([rule.severity.value for rule in DEFAULT_RULES]),
    help="Exit with 1 where a feature breaks the default rule of this severity.",
)
@click.pass_context
def compare(
    context: click.Context,
    reference: str,
    live: str,
    url: str | None,
    features: str | None,
    shape: str,
    output: Path | None,
    units: str,
    fail_on: str | None,
) -> None:
    """Compare LIVE with REFERENCE: two CSV or Parquet files, or with --source two tables.

    Bins are made from the reference. The numbers are those a monitor would store; the last line holds them against the
    default rules.
    """
    names = None if features is None else [name.strip() for name in features.split(",") if name.strip()]
    if url is None:
        report = compare_frames(*read_files(Path(reference), Path(live)), features=names)
    else:
        report = _compare_tables(url, reference, live, names)
    for name, reason in report.skipped.items():
        tell(f"left out {name}: {reason}")
    match shape:
        case "json":
            sides = {"reference": reference, "live": live, "units": units, "verdict": _verdict(report)}
            emit_json(sides | report.document(PER_NAT[units]), output)
        case "html":
            at = SystemClock().now()
            emit(comparison_page(report, reference=reference, live=live, units=units, at=at), output)
        case _:
            emit_shown(_table(report, units), plain(_verdict(report)), output=output)
    if any(rule.severity.value == fail_on and report.drifted(rule) for rule in DEFAULT_RULES):
        context.exit(1)


def _verdict(report: ComparisonReport) -> str:
    """Which features break the default rules, the strictest first; where none does, what was held against what."""
    keys = f" Not judged, as keys differ anyway: {', '.join(sorted(report.keys))}." if report.keys else ""
    least = min(DEFAULT_RULES, key=lambda rule: rule.threshold)
    drifted = report.drifted(least)
    total = len(report.features) - len(report.keys)
    if not drifted:
        limit = f"{words.held(least)} of {least.metric.label} {least.side} {words.threshold(least)}"
        return f"No drift: none of {total} features has a {limit}.{keys}"
    named = "; ".join(_broken(feature, least) for feature in drifted[:_NAMED])
    more = f"; and {len(drifted) - _NAMED} more" if len(drifted) > _NAMED else ""
    return f"Drift in {len(drifted)} of {total} features: {named}{more}.{keys}"


def _broken(feature: FeatureComparison, rule: Rule) -> str:
    assert feature.comparison is not None  # what was not compared breaks no rule
    estimate = feature.comparison.estimates[rule.metric]
    return f"{feature.feature}: {words.against(rule, estimate, held_value(rule, estimate))}"


def _compare_tables(url: str, reference: str, live: str, features: Sequence[str] | None) -> ComparisonReport:
    source = Source("source", url, max_connections=1, statement_timeout=_PATIENCE, clock=SystemClock())
    try:
        return compare_tables(source, reference, live, features=features)
    except DatasetError as error:
        raise InputError(str(error)) from error
    finally:
        source.close()


def _table(report: ComparisonReport, units: str) -> RenderableType:
    shown = table(_COLUMNS, numbers=_COLUMNS[2:12])
    documents = {part["feature"]: part for part in report.document(PER_NAT[units])["features"]}
    for feature in report.worst_first():
        values = documents[feature.feature]
        low, high = values["psi_low"], values["psi_high"]
        shown.add_row(
            plain(feature.feature),
            values["kind"],
            count(values["live_rows"]),
            number(values["kl_live_reference"]),
            number(values["kl_reference_live"]),
            number(values["noise_floor"]),
            number(values["psi"]),
            "–" if low is None else f"{number(low)}..{number(high)}",
            number(values["js"]),
            number(values["reference_missing_ratio"]),
            number(values["live_missing_ratio"]),
            number(values["live_unseen_ratio"]),
            values["direction"] or values["status"],
        )
    return shown
