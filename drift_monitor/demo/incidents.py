"""The incidents of the demo: what goes wrong, in which column, from when until when.

A plan is a function of the seed and the moment at which the history ends. It has three quiet stretches and two bad
spells, in days before that moment:

    32 ......... 24.8 | 24.8 ........ 18 | 18 ........ 9.9 | 9.9 ............. 0
    a quiet week      | three incidents  | a quiet week    | four incidents, the last one still going on

The four weeks before that are quiet too: they are the reference. Each incident changes exactly one column, in a share
of its rows, after the rows were drawn: nothing that was derived from the column earlier moves with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLANNED = timedelta(days=32)
"""How long before the end of the history incidents and the quiet weeks around them begin."""
LIVE_WINDOW = timedelta(hours=24)
"""An incident stays visible in sliding windows of this length after its end."""

_START_DAYS = (24.8, 22.4, 20.1, 9.9, 7.1, 4.3, 1.6)
_LATER_HOURS = 6
_LASTING_HOURS = (36, 46)


class IncidentKind(StrEnum):
    """What happens to a column."""

    NEW_CATEGORY = "new category"
    LOST_SEGMENT = "lost segment"
    SHIFT = "shift"
    UNIT_CHANGE = "unit change"
    MISSING_JUMP = "missing-rate jump"
    DEFAULT_SPIKE = "spike at a default value"
    WIDENING = "widening"


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One thing that goes wrong in [start, end): in `share` of the rows, `feature` changes by or to `value`.

    `value` is the new or the lost label, the summand of a shift, the factor of a unit change or of a widening around
    `centre`, or the default value; a missing-rate jump has none.
    """

    kind: IncidentKind
    feature: str
    start: datetime
    end: datetime
    description: str
    share: float = 1.0
    value: str | float | None = None
    centre: float = 0.0

    def is_active(self, at: datetime) -> bool:
        return self.start <= at < self.end


@dataclass(frozen=True, eq=False)
class DemoColumn:
    """Values of one column and where they are missing; both of shape (rows,)."""

    values: NDArray[Any]
    missing: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A way in which a kind of incident may hit a feature; `share` and numeric `value` are ranges to draw from."""

    kind: IncidentKind
    feature: str
    description: str
    share: tuple[float, float] = (1.0, 1.0)
    value: tuple[float, float] | str | None = None
    centre: float = 0.0


def plan_incidents(candidates: Sequence[Candidate], *, seed: int, until: datetime) -> tuple[Incident, ...]:
    """One incident of each kind among the candidates, in an order of the seed's, the last one going on at `until`."""
    rng = np.random.default_rng([seed, _PLAN_STREAM])
    kinds = list(rng.permutation(sorted({candidate.kind for candidate in candidates})))
    incidents = []
    for kind, days in zip(kinds, _START_DAYS, strict=True):
        choices = [candidate for candidate in candidates if candidate.kind == kind]
        chosen = choices[int(rng.integers(len(choices)))]
        start = until - timedelta(hours=round(days * 24)) + timedelta(hours=int(rng.integers(_LATER_HOURS)))
        lasting = timedelta(hours=int(rng.integers(*_LASTING_HOURS)))
        share = round(float(rng.uniform(*chosen.share)), 2)
        value = round(float(rng.uniform(*chosen.value)), 2) if isinstance(chosen.value, tuple) else chosen.value
        incidents.append(
            Incident(
                kind=chosen.kind,
                feature=chosen.feature,
                start=start,
                end=start + lasting,
                description=chosen.description.format(share=f"{share:.0%}", value=value),
                share=share,
                value=value,
                centre=chosen.centre,
            )
        )
    last = incidents[-1]
    return (*incidents[:-1], replace(last, end=until + timedelta(hours=24)))


def apply_incident(incident: Incident, column: DemoColumn, rng: np.random.Generator) -> DemoColumn:
    """The column as it arrives while the incident goes on."""
    hit = rng.random(len(column.values)) < incident.share
    match incident.kind:
        case IncidentKind.MISSING_JUMP:
            return replace(column, missing=column.missing | hit)
        case IncidentKind.NEW_CATEGORY | IncidentKind.DEFAULT_SPIKE:
            return replace(column, values=np.where(hit, np.array(incident.value), column.values))
        case IncidentKind.LOST_SEGMENT:
            return replace(column, values=_without(column.values, incident.value, rng))
        case IncidentKind.SHIFT:
            return replace(column, values=np.where(hit, column.values + _number(incident), column.values))
        case IncidentKind.UNIT_CHANGE:
            return replace(column, values=np.where(hit, column.values * _number(incident), column.values))
        case IncidentKind.WIDENING:
            wider = incident.centre + (column.values - incident.centre) * _number(incident)
            return replace(column, values=np.where(hit, wider, column.values))


_PLAN_STREAM = 7_001
"""Keeps the random numbers of the plan apart from those of the rows."""


def _without(values: NDArray[Any], label: object, rng: np.random.Generator) -> NDArray[Any]:
    """The values with each occurrence of a label replaced by one of the others, as frequent as those are."""
    lost = values == label
    others = values[~lost]
    if not len(others):
        return values
    replaced = values.copy()
    replaced[lost] = rng.choice(others, size=int(lost.sum()))
    return replaced


def _number(incident: Incident) -> float:
    assert isinstance(incident.value, float)
    return incident.value
