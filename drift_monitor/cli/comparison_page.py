"""A comparison as one HTML file: no script, nothing to load, everything from the tables escaped.

It looks like the service's pages because it is made of their style sheet and their chart.
"""

from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from drift_monitor import words
from drift_monitor.cli.tables import BITS_PER_NAT
from drift_monitor.comparison.report import ComparisonReport, FeatureComparison
from drift_monitor.core.comparison import Direction
from drift_monitor.web import phrases
from drift_monitor.web.charts.bins import BinBar, bins_chart

PER_NAT: Final = {"nats": 1.0, "bits": BITS_PER_NAT}
_SHOWN = ("psi", "kl_live_reference", "kl_reference_live")


@dataclass(frozen=True, kw_only=True)
class PrintedEstimate:
    """A divergence and its interval as they are printed."""

    text: str
    interval: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One feature; `numbers` is its part of the report's document."""

    name: str
    numbers: dict[str, Any]
    intervals: list[PrintedEstimate]
    direction: str
    chart: Markup


def comparison_page(report: ComparisonReport, *, reference: str, live: str, units: str, at: datetime) -> str:
    """The whole page, worst feature first; `reference` and `live` name the two sides."""
    document = report.document(PER_NAT[units])
    by_name = {one["feature"]: one for one in document["features"]}
    return (
        _environment()
        .get_template("comparison.html")
        .render(
            reference=reference,
            live=live,
            units=units,
            at=at,
            features=[_feature(one, by_name[one.feature], units) for one in report.worst_first()],
            skipped=document["skipped"],
            style=Markup(_style()),  # noqa: S704 - our own sheet
        )
    )


def _feature(one: FeatureComparison, document: dict[str, Any], units: str) -> Shown:
    direction = document["direction"]
    return Shown(
        name=one.feature,
        numbers=document,
        intervals=[_value(document, name) for name in _SHOWN],
        direction=words.DIRECTION_NAMES[Direction(direction)] if direction else "too few rows",
        chart=bins_chart(_bars(one, document), title=f"{one.feature}: live over reference", unit=units),
    )


def _value(document: dict[str, Any], name: str) -> PrintedEstimate:
    low, high = document[f"{name}_low"], document[f"{name}_high"]
    interval = "" if low is None else f"{words.number(low)} … {words.number(high)}"
    return PrintedEstimate(text=words.number(document[name]), interval=interval)


def _bars(one: FeatureComparison, document: dict[str, Any]) -> list[BinBar]:
    return [
        BinBar(
            name=words.bin_name(each),
            label=shown["label"],
            live=shown["live_count"] / one.live.rows,
            reference=shown["reference_count"] / one.reference.rows,
            live_reference=shown["contribution_live_reference"] or 0.0,
            reference_live=shown["contribution_reference_live"] or 0.0,
            is_reserved=each.reserved is not None,
        )
        for each, shown in zip(one.live.spec.bins, document["bins"], strict=True)
    ]


def _style() -> str:
    return files("drift_monitor.web").joinpath("static", "page.css").read_text(encoding="utf-8")


def _environment() -> Environment:
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
    return environment
