"""Sections that stand for a value of `core`: bins, smoothing, rules; how each is written, and what the program uses."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from drift_monitor.config.fields import Name, Number, Section, Threshold, mistake
from drift_monitor.core.binning import Binning, Edges, Quantiles, Top, Uniform
from drift_monitor.core.distribution import Smoothing, SmoothingMethod
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import SURPRISE_ENDS, SURPRISE_LEVEL, Budget, Comparand, Rule, Severity
from drift_monitor.core.times import format_duration, parse_duration
from drift_monitor.errors import InputError

_BUDGET = re.compile(r"([0-9]{1,6})\s+per\s+(\S+)")


def _budget(value: Any) -> Any:
    if isinstance(value, Budget):
        return value
    match = _BUDGET.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        count, period = (int(match[1]), parse_duration(match[2])) if match else (0, timedelta(0))
    except InputError:
        count, period = 0, timedelta(0)
    if count < 1 or period < timedelta(days=1):
        raise mistake("must be a number of false alarms in a time of a day or more, such as 1 per 28d")
    return Budget(count, period)


def written_budget(budget: Budget) -> str:
    """`1 per 28d`."""
    return f"{budget.count} per {format_duration(budget.period)}"


FalseAlarms = Annotated[Budget, BeforeValidator(_budget), PlainSerializer(written_budget)]


class BinsSection(Section):
    """How a feature's bins are made: a `Binning` of core."""

    exactly_one = (("quantiles", "uniform", "edges", "top"),)

    quantiles: int | None = Field(default=None, ge=2, le=1000)
    uniform: int | None = Field(default=None, ge=1, le=1000)
    edges: tuple[Number, ...] | None = Field(default=None, min_length=2, max_length=1001)
    top: int | None = Field(default=None, ge=1, le=1000)

    def used(self) -> Binning | None:
        if self.quantiles is not None:
            return Quantiles(self.quantiles)
        if self.uniform is not None:
            return Uniform(self.uniform)
        if self.edges is not None:
            return Edges(self.edges)
        return Top(self.top) if self.top is not None else None

    @staticmethod
    def written(binning: Binning) -> dict[str, Any]:
        match binning:
            case Quantiles(count):
                return {"quantiles": count}
            case Uniform(count):
                return {"uniform": count}
            case Top(count):
                return {"top": count}
            case Edges(edges):
                return {"edges": [edge if isinstance(edge, int | float) else str(edge) for edge in edges]}


class SmoothingSection(Section):
    """How counts become probabilities: a `Smoothing` of core."""

    method: SmoothingMethod = Smoothing.method
    pseudocount: float = Field(default=Smoothing.pseudocount, gt=0, le=1000, allow_inf_nan=False)

    def used(self) -> Smoothing:
        return Smoothing(self.method, self.pseudocount)

    @staticmethod
    def written(smoothing: Smoothing) -> dict[str, Any]:
        return {"method": smoothing.method.value, "pseudocount": smoothing.pseudocount}


class RuleSection(Section):
    """When an alert fires: a `Rule` of core."""

    exactly_one = (("above", "below", "false_alarms"),)
    placeholders: ClassVar = {"metric": "psi", "above": 0.1}

    name: Name | None = None
    metric: Metric = Field(description="what is compared with the threshold")
    false_alarms: FalseAlarms | None = None
    above: Threshold | None = None
    below: Threshold | None = None
    on: Comparand = Rule.on
    for_windows: int = Field(default=Rule.for_windows, alias="for", ge=1, le=10_000)
    keep_firing_for: int = Field(default=Rule.keep_firing_for, ge=0, le=10_000)
    severity: Severity = Rule.severity

    @model_validator(mode="before")
    @classmethod
    def _of_surprise(cls, value: Any) -> Any:
        """What keeps a budget of false alarms watches surprise, and needs no `metric`."""
        if isinstance(value, Mapping) and "false_alarms" in value and "metric" not in value:
            return {**value, "metric": Metric.SURPRISE.value}
        return value

    def used(self) -> Rule:
        if (self.above, self.below, self.false_alarms).count(None) != 2:
            raise PydanticCustomError("told", "the report has said which keys exclude each other")
        keys = {key: getattr(self, key) for key in type(self).model_fields if key != "name"}
        if self.false_alarms is not None:
            keys |= {"metric": Metric.SURPRISE, "above": SURPRISE_LEVEL, "ends_at": SURPRISE_ENDS}
        return Rule(id=self.name or f"{self.metric.value}:{self.severity.value}", **keys)

    @staticmethod
    def written(rule: Rule) -> dict[str, Any]:
        if rule.false_alarms is not None:
            budget = written_budget(rule.false_alarms)
            return {"name": rule.id, "false_alarms": budget, "severity": rule.severity.value}
        keys = {
            "name": rule.id,
            "metric": rule.metric.value,
            "above": rule.above,
            "below": rule.below,
            "on": rule.on.value if rule.metric.is_divergence else None,
            "for": rule.for_windows,
            "keep_firing_for": rule.keep_firing_for,
            "severity": rule.severity.value,
        }
        return {key: value for key, value in keys.items() if value is not None}
