"""Where nothing is wrong with the demo's data: what no alert may come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drift_monitor.demo.incidents import LIVE_WINDOW, PLANNED, Incident


@dataclass(frozen=True)
class Quiet:
    """A stretch of time in which nothing is wrong and no window holds a row of an incident."""

    start: datetime
    end: datetime


def quiet_stretches(incidents: Sequence[Incident], *, until: datetime) -> tuple[Quiet, ...]:
    """The stretches of at least a week, after the reference, that touch no incident and no window with its rows."""
    bounds = [until - PLANNED, *(incident.end + LIVE_WINDOW for incident in incidents)]
    ends = [*(incident.start for incident in incidents), until]
    stretches = (Quiet(start, end) for start, end in zip(bounds, ends, strict=True))
    return tuple(quiet for quiet in stretches if quiet.end - quiet.start >= timedelta(days=7))
