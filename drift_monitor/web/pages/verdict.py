"""One sentence on one measurement: which way it moved, how much, and how sure that is."""

import math
from dataclasses import dataclass
from enum import StrEnum

from drift_monitor.core.comparison import Direction
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import MeasurementStatus
from drift_monitor.store.measurements import Measurement
from drift_monitor.words import count, number


class Unit(StrEnum):
    """How divergences are shown; they are stored in nats."""

    NATS = "nats"
    BITS = "bits"

    @property
    def factor(self) -> float:
        return 1.0 if self is Unit.NATS else 1.0 / math.log(2.0)


@dataclass(frozen=True)
class Headline:
    """A few words, and the sentence with the numbers."""

    headline: str
    sentence: str


_HEADLINES = {
    Direction.NEW: "New values: live rows lie where the reference had hardly any.",
    Direction.LOST: "Lost values: what the reference had is missing from the live rows.",
    Direction.RESHAPED: "Reshaped: frequencies moved both ways, neither new nor lost values prevail.",
    Direction.NONE: "No drift beyond sampling noise.",
}


def verdict(one: Measurement, unit: Unit = Unit.NATS) -> Headline:
    """What this measurement says."""
    match one.status:
        case MeasurementStatus.OK:
            direction = one.direction or Direction.NONE
            return Headline(_HEADLINES[direction], _sentence(one, direction, unit))
        case MeasurementStatus.INSUFFICIENT_DATA:
            return Headline("Not measured: too few rows to compare.", f"{_rows(one)}; alerts stay as they were.")
        case MeasurementStatus.NO_DATA:
            return Headline("Not measured: one side has no rows.", f"{_rows(one)}; alerts stay as they were.")
        case MeasurementStatus.FAILED:
            return Headline("Not measured: the feature could not be read.", one.error or "The reason is not known.")


def _sentence(one: Measurement, direction: Direction, unit: Unit) -> str:
    forward = f"KL(live‖reference) is {_estimate(one, Metric.KL_LIVE_REFERENCE, unit)}"
    backward = f"KL(reference‖live) {_estimate(one, Metric.KL_REFERENCE_LIVE, unit)}"
    if direction is Direction.LOST:
        forward, backward = (
            f"KL(reference‖live) is {_estimate(one, Metric.KL_REFERENCE_LIVE, unit)}",
            f"KL(live‖reference) {_estimate(one, Metric.KL_LIVE_REFERENCE, unit)}",
        )
    floor = "" if one.noise_floor is None else f"; sampling alone gives about {number(unit.factor * one.noise_floor)}"
    return f"{forward}, {backward}{floor}. {_rows(one)}."


def _estimate(one: Measurement, metric: Metric, unit: Unit) -> str:
    value, low, high, _ = one.estimate(metric)
    if value is None:
        return "not known"
    text = f"{number(unit.factor * value)} {unit.value}"
    if low is None or high is None:
        return text
    ends = f"{number(unit.factor * low)} to {number(unit.factor * high)}"
    return f"{text} (95 % interval without the noise: {ends})"


def _rows(one: Measurement) -> str:
    return f"{count(one.live_rows)} live rows against {count(one.reference_rows)} reference rows"
